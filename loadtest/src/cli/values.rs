//! How values on the command line are read.

use crate::measure::clock::SECOND;
use ringmq::codec::{QoS, Version};

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
    }
}
