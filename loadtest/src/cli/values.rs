//! How values on the command line are read.

use crate::measure::clock::SECOND;
use ringmq::codec::{QoS, Version};
use std::str::FromStr;

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

/// More than no seconds.
pub fn some_seconds(text: &str) -> Result<u64, String> {
    match seconds(text) {
        Ok(0) => Err("a time is longer than 0 s".into()),
        other => other,
    }
}

/// A whole number of at least 1.
pub fn count<T: FromStr + PartialOrd + From<u8>>(text: &str) -> Result<T, String> {
    match text.parse::<T>() {
        Ok(number) if number >= T::from(1) => Ok(number),
        _ => Err("a whole number of at least 1 is expected".into()),
    }
}

/// So many a second; 0 is none.
pub fn rate(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(rate) if (0.0..=1e9).contains(&rate) => Ok(rate),
        _ => Err("a number from 0 on is expected".into()),
    }
}

/// A part of one.
pub fn share(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(share) if (0.0..=1.0).contains(&share) => Ok(share),
        _ => Err("a share from 0 to 1 is expected".into()),
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
        assert!(some_seconds("0").is_err() && some_seconds("0.1").is_ok());
        assert_eq!(
            (count::<u16>("65535"), count::<u32>("1")),
            (Ok(65_535), Ok(1))
        );
        assert!(count::<u16>("65536").is_err() && count::<u64>("0").is_err());
        assert!(rate("-1").is_err() && rate("inf").is_err() && rate("0.5") == Ok(0.5));
        assert!(share("1.1").is_err() && share("1") == Ok(1.0));
    }
}
