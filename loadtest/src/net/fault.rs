//! What goes wrong with a connection, in words, and how often.

use ringmq::codec::{DecodeError, ReasonCode};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;

/// Why a connection could not be made or was lost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// TCP: refused, reset, no route, no free port, no file descriptor.
    System(Errno),
    /// TLS, WebSocket, CONNACK or SUBACK not in time.
    Timeout,
    /// What rustls says of it.
    Tls(Box<str>),
    /// The broker refuses the upgrade, or breaks the protocol.
    WebSocket(Box<str>),
    /// CONNACK with this reason code (3.x: the code that means the same).
    Refused(ReasonCode),
    /// SUBACK with this reason code.
    SubscriptionRefused(ReasonCode),
    /// The broker closed without a word.
    Closed,
    /// DISCONNECT from the broker.
    Disconnected(ReasonCode),
    /// No PINGRESP until the next PINGREQ was due.
    Silent,
    /// What came is not MQTT.
    Malformed(DecodeError),
    /// A packet that has no place here.
    Unexpected(&'static str),
}

/// How often each fault came.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Faults(BTreeMap<String, u64>);

impl Faults {
    pub fn count(&mut self, fault: &Fault) {
        *self.0.entry(fault.to_string()).or_default() += 1;
    }

    pub fn merge(&mut self, other: Faults) {
        for (fault, count) in other.0 {
            *self.0.entry(fault).or_default() += count;
        }
    }

    pub fn total(&self) -> u64 {
        self.0.values().sum()
    }

    /// In the order of their words.
    pub fn iter(&self) -> impl Iterator<Item = (&str, u64)> {
        self.0.iter().map(|(fault, count)| (fault.as_str(), *count))
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::System(Errno::CONNREFUSED) => f.write_str("connection refused"),
            Fault::System(Errno::CONNRESET | Errno::PIPE) => f.write_str("reset by the broker"),
            Fault::System(Errno::ADDRNOTAVAIL) => {
                f.write_str("no free port left at the source address (give more --sources)")
            }
            Fault::System(Errno::MFILE) => f.write_str("no file descriptor left"),
            Fault::System(errno) => write!(f, "{}", std::io::Error::from(*errno)),
            Fault::Timeout => f.write_str("no answer in time"),
            Fault::Tls(text) => write!(f, "TLS: {text}"),
            Fault::WebSocket(text) => write!(f, "WebSocket: {text}"),
            Fault::Refused(reason) => write!(f, "CONNACK {}", Reason(*reason)),
            Fault::SubscriptionRefused(reason) => write!(f, "SUBACK {}", Reason(*reason)),
            Fault::Closed => f.write_str("closed by the broker"),
            Fault::Disconnected(reason) => write!(f, "DISCONNECT {}", Reason(*reason)),
            Fault::Silent => f.write_str("no PINGRESP"),
            Fault::Malformed(error) => write!(f, "not MQTT: {error}"),
            Fault::Unexpected(packet) => write!(f, "unexpected {packet}"),
        }
    }
}

impl From<DecodeError> for Fault {
    fn from(error: DecodeError) -> Fault {
        Fault::Malformed(error)
    }
}

/// A reason code in the standard's words: `0x87 not authorized`.
struct Reason(ReasonCode);

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "0x{:02X}", self.0 as u8)?;
        for letter in format!("{:?}", self.0).chars() {
            if letter.is_uppercase() {
                f.write_str(" ")?;
            }
            write!(f, "{}", letter.to_ascii_lowercase())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn are_counted_by_their_words() {
        let mut faults = Faults::default();
        faults.count(&Fault::Refused(ReasonCode::NotAuthorized));
        faults.count(&Fault::Refused(ReasonCode::NotAuthorized));
        let mut others = Faults::default();
        others.count(&Fault::System(Errno::CONNREFUSED));
        others.count(&Fault::Refused(ReasonCode::NotAuthorized));
        faults.merge(others);
        let all: Vec<_> = faults.iter().collect();
        assert_eq!(
            all,
            [
                ("CONNACK 0x87 not authorized", 3),
                ("connection refused", 1)
            ]
        );
        assert_eq!(faults.total(), 4);
    }
}
