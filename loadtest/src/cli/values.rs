//! How values on the command line are read.

use crate::measure::clock::SECOND;
use ringmq::codec::{QoS, Version};
use std::net::{SocketAddr, ToSocketAddrs};

/// `4`, `5`, `3`
pub fn version(text: &str) -> Result<Version, String> {
    match text {
        "3" | "3.1" => Ok(Version::V31),
        "4" | "3.1.1" => Ok(Version::V311),
        "5" | "5.0" => Ok(Version::V5),
        _ => Err("3 (MQTT 3.1), 4 (3.1.1) or 5 is expected".into()),
    }
}

/// `0`, `1`, `2`
pub fn qos(text: &str) -> Result<QoS, String> {
    let number = text.parse::<u8>().ok();
    number
        .and_then(|number| QoS::try_from(number).ok())
        .ok_or_else(|| "0, 1 or 2 is expected".into())
}

/// Seconds, also `0.5`, as nanoseconds.
pub fn seconds(text: &str) -> Result<u64, String> {
    match text.parse::<f64>() {
        Ok(seconds) if (0.0..=1e9).contains(&seconds) => Ok((seconds * SECOND as f64) as u64),
        _ => Err("a number of seconds is expected".into()),
    }
}

/// Looks the broker's name up, and prefers IPv4.
///
/// # Errors
/// A sentence: no port, or no such host.
pub fn broker(text: &str) -> Result<SocketAddr, String> {
    let bare = text
        .strip_prefix("tcp://")
        .or(text.strip_prefix("mqtt://"))
        .unwrap_or(text);
    if bare
        .rsplit_once(':')
        .is_none_or(|(_, port)| port.parse::<u16>().is_err())
    {
        return Err(format!("`{text}` is not HOST:PORT"));
    }
    let found = bare.to_socket_addrs();
    let mut found: Vec<SocketAddr> = found
        .map_err(|error| format!("the broker `{text}` is not found: {error}"))?
        .collect();
    found.sort_by_key(|address| !address.is_ipv4());
    found
        .first()
        .copied()
        .ok_or_else(|| format!("the broker `{text}` has no address"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn are_read() {
        assert_eq!(version("5"), Ok(Version::V5));
        assert_eq!(version("3.1.1"), Ok(Version::V311));
        assert!(version("6").is_err());
        assert_eq!(qos("2"), Ok(QoS::ExactlyOnce));
        assert!(qos("3").is_err());
        assert_eq!(seconds("0.25"), Ok(250_000_000));
        assert!(seconds("-1").is_err() && seconds("NaN").is_err());
        assert_eq!(broker("tcp://127.0.0.1:1883").unwrap().port(), 1883);
        assert_eq!(broker("[::1]:9").unwrap().to_string(), "[::1]:9");
        assert_eq!(
            broker("localhost").unwrap_err(),
            "`localhost` is not HOST:PORT"
        );
    }
}
