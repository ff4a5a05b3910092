//! The other end of the control socket: one request, one answer.

use std::fmt;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use super::api::{Reply, Request};
use super::folder::DataDir;
use crate::limits::CONTROL_REPLY_BYTES_MAX;

/// How long a node may take to answer: its shards are asked.
const PATIENCE: Duration = Duration::from_secs(10);

#[derive(Debug)]
pub struct Client {
    stream: BufReader<UnixStream>,
}

/// Why there is nobody to talk to.
#[derive(Debug)]
pub enum Unreachable {
    /// No process serves this data folder; a socket that a dead one left counts for nothing.
    NotRunning,
    /// Something is there but cannot be talked to: a sentence.
    Refused(String),
}

impl Client {
    /// # Errors
    /// Nobody is there, or it cannot be talked to.
    pub fn connect(folder: &DataDir) -> Result<Self, Unreachable> {
        let path = folder.socket();
        let stream = match UnixStream::connect(&path) {
            Ok(stream) => stream,
            Err(error) => {
                return Err(match error.kind() {
                    io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
                        Unreachable::NotRunning
                    }
                    _ => Unreachable::Refused(format!("{}: {error}", path.display())),
                });
            }
        };
        let timeouts = stream
            .set_read_timeout(Some(PATIENCE))
            .and_then(|()| stream.set_write_timeout(Some(PATIENCE)));
        match timeouts {
            Ok(()) => Ok(Self {
                stream: BufReader::new(stream),
            }),
            Err(error) => Err(Unreachable::Refused(error.to_string())),
        }
    }

    /// Asks, and waits for the answer.
    ///
    /// # Errors
    /// The connection broke, the answer did not come in ten seconds, or it is no answer.
    pub fn request(&mut self, request: &Request) -> io::Result<Reply> {
        let mut line = serde_json::to_vec(request)?;
        line.push(b'\n');
        self.stream.get_mut().write_all(&line)?;
        let mut answer = Vec::new();
        let limit = CONTROL_REPLY_BYTES_MAX as u64;
        (&mut self.stream)
            .take(limit)
            .read_until(b'\n', &mut answer)?;
        if answer.last() != Some(&b'\n') {
            return Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                "the broker did not answer",
            ));
        }
        Ok(serde_json::from_slice(&answer)?)
    }
}

impl fmt::Display for Unreachable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotRunning => f.write_str("ringmq is not running"),
            Self::Refused(reason) => f.write_str(reason),
        }
    }
}
