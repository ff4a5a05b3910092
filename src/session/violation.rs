//! What a client can do wrong, and the one mapping from it to a reason code.

use crate::codec::{DecodeError, ReasonCode};
use std::fmt;

/// A reason to end a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Violation {
    /// Not well-formed, or against the packet's own rules.
    Decode(DecodeError),
    /// MQTT-3.1.0-2.
    SecondConnect,
    /// A packet that only servers send, or AUTH where there is no exchange.
    UnexpectedPacket,
    /// MQTT-3.3.4-7.
    ReceiveMaximumExceeded,
    /// MQTT-3.3.2-9, or an alias that was never defined.
    TopicAliasInvalid,
    /// MQTT-3.2.2-11.
    QoSNotSupported,
    /// MQTT-3.2.2-14.
    RetainNotSupported,
    /// A topic of more levels than this broker's limit.
    TopicLevels,
    /// A topic of more bytes than this broker's limit.
    TopicLength,
    /// Session Expiry raised from 0 in DISCONNECT (section 3.14.2.2.2).
    SessionExpiryRaised,
    /// AUTH with another method than CONNECT had (MQTT-4.12.1-1).
    MethodChanged,
    /// A 3.x client's publish or subscription was refused and its version cannot be told.
    Denied,
}

impl Violation {
    /// The code that v5 clients are told.
    pub fn reason(self) -> ReasonCode {
        match self {
            Violation::Decode(error) => error.reason(),
            Violation::SecondConnect
            | Violation::UnexpectedPacket
            | Violation::SessionExpiryRaised
            | Violation::MethodChanged => ReasonCode::ProtocolError,
            Violation::ReceiveMaximumExceeded => ReasonCode::ReceiveMaximumExceeded,
            Violation::TopicAliasInvalid => ReasonCode::TopicAliasInvalid,
            Violation::QoSNotSupported => ReasonCode::QoSNotSupported,
            Violation::RetainNotSupported => ReasonCode::RetainNotSupported,
            Violation::TopicLevels | Violation::TopicLength => ReasonCode::TopicNameInvalid,
            Violation::Denied => ReasonCode::NotAuthorized,
        }
    }
}

impl From<DecodeError> for Violation {
    fn from(error: DecodeError) -> Self {
        Violation::Decode(error)
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Violation::Decode(error) => return error.fmt(f),
            Violation::SecondConnect => "a second CONNECT on one connection",
            Violation::UnexpectedPacket => "a packet that has no place here",
            Violation::ReceiveMaximumExceeded => "more QoS 2 messages open than Receive Maximum",
            Violation::TopicAliasInvalid => "a topic alias that is not in use",
            Violation::QoSNotSupported => "a QoS above Maximum QoS",
            Violation::RetainNotSupported => "RETAIN where it is not available",
            Violation::TopicLevels => "a topic name of more levels than this broker's limit",
            Violation::TopicLength => "a topic name of more bytes than this broker's limit",
            Violation::SessionExpiryRaised => "Session Expiry Interval raised from 0",
            Violation::MethodChanged => "another Authentication Method than CONNECT named",
            Violation::Denied => "not authorized",
        })
    }
}
