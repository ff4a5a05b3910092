//! A ringmq's own word on its processor time and memory, from its control socket.

use super::process::Usage;
use serde_json::Value;
use std::io::{self, BufRead, BufReader, ErrorKind, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

/// The socket in a node's data folder.
const SOCKET: &str = "control.sock";
const REQUEST: &[u8] = b"{\"request\":\"status\"}\n";
/// It asks its shards, which may be busy; a look that comes later than this is none.
const PATIENCE: Duration = Duration::from_secs(2);

/// What the node with this data folder has used.
///
/// # Errors
/// Nobody answers there, or somebody else.
pub fn usage(data_dir: &Path) -> io::Result<Usage> {
    let mut stream = UnixStream::connect(data_dir.join(SOCKET))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(REQUEST)?;
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line)?;
    parse(&line).ok_or_else(|| io::Error::new(ErrorKind::InvalidData, "no status of a ringmq"))
}

fn parse(line: &str) -> Option<Usage> {
    let reply: Value = serde_json::from_str(line).ok()?;
    let process = &reply["value"]["process"];
    Some(Usage {
        cpu_ns: process["cpu_us"].as_u64()? * 1_000,
        resident_bytes: process["resident_bytes"].as_u64()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_a_node_says() {
        let line = r#"{"reply":"status","value":{"process":{"cpu_us":7,"resident_bytes":9}}}"#;
        let expected = Usage {
            cpu_ns: 7_000,
            resident_bytes: 9,
        };
        assert_eq!(parse(line), Some(expected));
        assert_eq!(parse(r#"{"reply":"error","value":"no"}"#), None);
        assert_eq!(parse(""), None);
    }
}
