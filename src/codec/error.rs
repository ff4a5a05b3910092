//! What can be wrong with the bytes of a packet.

use super::reason::ReasonCode;
use std::fmt;

/// Why a packet was refused. `Display` gives a sentence that can go out as Reason String.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DecodeError {
    /// CONNECT names another protocol.
    NotMqtt,
    /// CONNECT names MQTT, in a version that is not spoken here.
    UnsupportedVersion {
        level: u8,
    },
    /// Larger than Maximum Packet Size.
    PacketTooLarge,
    /// Remaining Length of more than four bytes.
    LengthTooLong,
    /// A packet type that the version does not have.
    UnknownPacketType,
    /// A packet that only the other side sends.
    WrongDirection,
    /// Reserved bits of the fixed header.
    HeaderFlags,
    /// A field reaches beyond its packet or property section.
    Truncated,
    /// Bytes are left after the last field.
    TrailingBytes,
    NotUtf8,
    NulCharacter,
    PublishQoS,
    DupAtQoS0,
    PacketIdZero,
    TopicWildcard,
    TopicEmpty,
    TopicAliasZero,
    ResponseTopicWildcard,
    SubscriptionIdFromClient,
    SubscriptionIdZero,
    /// An identifier that is unknown or has no place in this packet.
    PropertyNotAllowed {
        id: u8,
    },
    PropertyRepeated {
        id: u8,
    },
    /// A value outside the property's range.
    PropertyValue {
        id: u8,
    },
    ConnectFlagReserved,
    WillFlags,
    WillQoS,
    PasswordWithoutUserName,
    AuthenticationDataWithoutMethod,
    AuthenticationMethodMissing,
    NoFilters,
    SubscribeOptionsReserved,
    SubscribeQoS,
    RetainHandling,
    NoLocalOnShared,
    /// A reason code that is unknown or not in this packet's table.
    ReasonCodeNotAllowed {
        code: u8,
    },
    /// CONNACK: reserved acknowledge flags, or Session Present with a refusal.
    ConnAckFlags,
    /// DISCONNECT of a server that carries a Session Expiry Interval.
    SessionExpiryFromServer,
}

use DecodeError::*;

impl DecodeError {
    /// The reason code to answer with.
    pub fn reason(&self) -> ReasonCode {
        match self {
            NotMqtt | UnsupportedVersion { .. } => ReasonCode::UnsupportedProtocolVersion,
            DecodeError::PacketTooLarge => ReasonCode::PacketTooLarge,
            TopicWildcard => ReasonCode::TopicNameInvalid,
            TopicAliasZero => ReasonCode::TopicAliasInvalid,
            WrongDirection
            | TopicEmpty
            | ResponseTopicWildcard
            | SubscriptionIdFromClient
            | SubscriptionIdZero
            | PropertyRepeated { .. }
            | PropertyValue { .. }
            | AuthenticationDataWithoutMethod
            | AuthenticationMethodMissing
            | NoFilters
            | SubscribeQoS
            | RetainHandling
            | NoLocalOnShared
            | ReasonCodeNotAllowed { .. }
            | SessionExpiryFromServer => ReasonCode::ProtocolError,
            _ => ReasonCode::MalformedPacket,
        }
    }

    /// The statement or section of MQTT 5.0 (of 3.1.1 where only that has the rule).
    pub fn clause(&self) -> &'static str {
        match self {
            NotMqtt => "MQTT-3.1.2-1",
            UnsupportedVersion { .. } => "MQTT-3.1.2-2",
            DecodeError::PacketTooLarge => "MQTT-3.2.2-15",
            LengthTooLong => "section 2.1.4",
            UnknownPacketType | WrongDirection => "section 2.1.2",
            HeaderFlags => "MQTT-2.1.3-1",
            Truncated | TrailingBytes => "section 4.13.1",
            NotUtf8 => "MQTT-1.5.4-1",
            NulCharacter => "MQTT-1.5.4-2",
            PublishQoS => "MQTT-3.3.1-4",
            DupAtQoS0 => "MQTT-3.3.1-2",
            PacketIdZero => "MQTT-2.2.1-3",
            TopicWildcard => "MQTT-3.3.2-2",
            TopicEmpty => "MQTT-4.7.3-1",
            TopicAliasZero => "MQTT-3.3.2-8",
            ResponseTopicWildcard => "MQTT-3.3.2-14",
            SubscriptionIdFromClient => "MQTT-3.3.4-6",
            SubscriptionIdZero => "section 3.8.2.1.2",
            PropertyNotAllowed { .. } | PropertyRepeated { .. } | PropertyValue { .. } => {
                "section 2.2.2.2"
            }
            ConnectFlagReserved => "MQTT-3.1.2-3",
            WillFlags => "MQTT-3.1.2-11",
            WillQoS => "MQTT-3.1.2-12",
            PasswordWithoutUserName => "MQTT-3.1.2-22 of 3.1.1",
            AuthenticationDataWithoutMethod => "section 3.1.2.11.10",
            AuthenticationMethodMissing => "section 3.15.2.2.2",
            NoFilters => "MQTT-3.8.3-2",
            SubscribeOptionsReserved => "MQTT-3.8.3-5",
            SubscribeQoS | RetainHandling => "section 3.8.3.1",
            NoLocalOnShared => "MQTT-3.8.3-4",
            ReasonCodeNotAllowed { .. } => "section 2.4",
            ConnAckFlags => "MQTT-3.2.2-1",
            SessionExpiryFromServer => "MQTT-3.14.2-2",
        }
    }

    /// The same without figures and clause.
    pub fn sentence(&self) -> &'static str {
        match self {
            NotMqtt => "the protocol name is not MQTT",
            UnsupportedVersion { .. } => "this protocol version is not supported",
            DecodeError::PacketTooLarge => "the packet is larger than Maximum Packet Size",
            LengthTooLong => "a variable byte integer has more than four bytes",
            UnknownPacketType => "this protocol version has no such packet type",
            WrongDirection => "this packet is sent by the other side only",
            HeaderFlags => "reserved flags of the fixed header are not as required",
            Truncated => "a field reaches beyond the packet",
            TrailingBytes => "there are bytes after the last field",
            NotUtf8 => "a string is not well-formed UTF-8",
            NulCharacter => "a string contains U+0000",
            PublishQoS => "QoS 3 does not exist",
            DupAtQoS0 => "DUP is set on a QoS 0 PUBLISH",
            PacketIdZero => "the packet identifier is 0",
            TopicWildcard => "a topic name contains a wildcard",
            TopicEmpty => "the topic name is empty",
            TopicAliasZero => "the topic alias is 0",
            ResponseTopicWildcard => "the response topic contains a wildcard",
            SubscriptionIdFromClient => "a client sent a subscription identifier in PUBLISH",
            SubscriptionIdZero => "the subscription identifier is 0",
            PropertyNotAllowed { .. } => "a property has no place in this packet",
            PropertyRepeated { .. } => "a property is repeated",
            PropertyValue { .. } => "a property has a value out of its range",
            ConnectFlagReserved => "the reserved flag of CONNECT is set",
            WillFlags => "Will QoS or Will Retain is set without Will Flag",
            WillQoS => "Will QoS 3 does not exist",
            PasswordWithoutUserName => "a password without a user name",
            AuthenticationDataWithoutMethod => "authentication data without a method",
            AuthenticationMethodMissing => "the authentication method is missing",
            NoFilters => "the packet contains no topic filter",
            SubscribeOptionsReserved => "reserved bits of the subscription options are set",
            SubscribeQoS => "a subscription asks for QoS 3",
            RetainHandling => "Retain Handling 3 does not exist",
            NoLocalOnShared => "No Local is set on a shared subscription",
            ReasonCodeNotAllowed { .. } => "a reason code has no place in this packet",
            ConnAckFlags => "the acknowledge flags of CONNACK are not valid",
            SessionExpiryFromServer => "a server sent a Session Expiry Interval in DISCONNECT",
        }
    }
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.sentence())?;
        match self {
            UnsupportedVersion { level } => write!(f, " (level {level})")?,
            PropertyNotAllowed { id } | PropertyRepeated { id } | PropertyValue { id } => {
                write!(f, " (identifier {id})")?;
            }
            ReasonCodeNotAllowed { code } => write!(f, " (0x{code:02X})")?,
            _ => {}
        }
        write!(f, " [{}]", self.clause())
    }
}

impl std::error::Error for DecodeError {}
