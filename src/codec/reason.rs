//! Reason codes of MQTT 5.0 and what 3.x makes of them.

/// Reason code (section 2.4). `Success` is also Normal disconnection and Granted QoS 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum ReasonCode {
    #[default]
    Success = 0x00,
    GrantedQoS1 = 0x01,
    GrantedQoS2 = 0x02,
    DisconnectWithWill = 0x04,
    NoMatchingSubscribers = 0x10,
    NoSubscriptionExisted = 0x11,
    ContinueAuthentication = 0x18,
    ReAuthenticate = 0x19,
    UnspecifiedError = 0x80,
    MalformedPacket = 0x81,
    ProtocolError = 0x82,
    ImplementationSpecificError = 0x83,
    UnsupportedProtocolVersion = 0x84,
    ClientIdentifierNotValid = 0x85,
    BadUserNameOrPassword = 0x86,
    NotAuthorized = 0x87,
    ServerUnavailable = 0x88,
    ServerBusy = 0x89,
    Banned = 0x8A,
    ServerShuttingDown = 0x8B,
    BadAuthenticationMethod = 0x8C,
    KeepAliveTimeout = 0x8D,
    SessionTakenOver = 0x8E,
    TopicFilterInvalid = 0x8F,
    TopicNameInvalid = 0x90,
    PacketIdentifierInUse = 0x91,
    PacketIdentifierNotFound = 0x92,
    ReceiveMaximumExceeded = 0x93,
    TopicAliasInvalid = 0x94,
    PacketTooLarge = 0x95,
    MessageRateTooHigh = 0x96,
    QuotaExceeded = 0x97,
    AdministrativeAction = 0x98,
    PayloadFormatInvalid = 0x99,
    RetainNotSupported = 0x9A,
    QoSNotSupported = 0x9B,
    UseAnotherServer = 0x9C,
    ServerMoved = 0x9D,
    SharedSubscriptionsNotSupported = 0x9E,
    ConnectionRateExceeded = 0x9F,
    MaximumConnectTime = 0xA0,
    SubscriptionIdentifiersNotSupported = 0xA1,
    WildcardSubscriptionsNotSupported = 0xA2,
}

use ReasonCode::*;

/// Every code of section 2.4, in ascending order.
pub const ALL: [ReasonCode; 43] = [
    Success,
    GrantedQoS1,
    GrantedQoS2,
    DisconnectWithWill,
    NoMatchingSubscribers,
    NoSubscriptionExisted,
    ContinueAuthentication,
    ReAuthenticate,
    UnspecifiedError,
    MalformedPacket,
    ProtocolError,
    ImplementationSpecificError,
    UnsupportedProtocolVersion,
    ClientIdentifierNotValid,
    BadUserNameOrPassword,
    NotAuthorized,
    ServerUnavailable,
    ServerBusy,
    Banned,
    ServerShuttingDown,
    BadAuthenticationMethod,
    KeepAliveTimeout,
    SessionTakenOver,
    TopicFilterInvalid,
    TopicNameInvalid,
    PacketIdentifierInUse,
    PacketIdentifierNotFound,
    ReceiveMaximumExceeded,
    TopicAliasInvalid,
    PacketTooLarge,
    MessageRateTooHigh,
    QuotaExceeded,
    AdministrativeAction,
    PayloadFormatInvalid,
    RetainNotSupported,
    QoSNotSupported,
    UseAnotherServer,
    ServerMoved,
    SharedSubscriptionsNotSupported,
    ConnectionRateExceeded,
    MaximumConnectTime,
    SubscriptionIdentifiersNotSupported,
    WildcardSubscriptionsNotSupported,
];

/// Where each code stands in [`ALL`] plus one, 0 for numbers that are no code.
const POSITION: [u8; 256] = {
    let mut table = [0; 256];
    let mut i = 0;
    while i < ALL.len() {
        table[ALL[i] as usize] = i as u8 + 1;
        i += 1;
    }
    table
};

impl ReasonCode {
    /// The code with this number, if there is one.
    #[inline]
    pub fn from_u8(value: u8) -> Option<ReasonCode> {
        let position = usize::from(POSITION[usize::from(value)]);
        ALL.get(position.wrapping_sub(1)).copied()
    }

    /// Whether the code says that something failed: 0x80 and above.
    #[inline]
    pub fn is_error(self) -> bool {
        self as u8 >= 0x80
    }

    /// The nearest CONNACK return code of 3.x, 0 to 5.
    pub fn connack_return_code_v3(self) -> u8 {
        match self {
            _ if !self.is_error() => 0,
            UnsupportedProtocolVersion => 1,
            ClientIdentifierNotValid => 2,
            ServerUnavailable
            | ServerBusy
            | ServerShuttingDown
            | UseAnotherServer
            | ServerMoved
            | QuotaExceeded
            | MessageRateTooHigh
            | ConnectionRateExceeded
            | MaximumConnectTime => 3,
            BadUserNameOrPassword => 4,
            _ => 5,
        }
    }

    /// What a CONNACK return code of 3.x says; `None` above 5.
    pub fn from_connack_return_code_v3(code: u8) -> Option<ReasonCode> {
        let codes = [
            Success,
            UnsupportedProtocolVersion,
            ClientIdentifierNotValid,
            ServerUnavailable,
            BadUserNameOrPassword,
            NotAuthorized,
        ];
        codes.get(usize::from(code)).copied()
    }

    /// The SUBACK return code of 3.1.1: the granted QoS or 0x80 (MQTT-3.9.3-2 of 3.1.1).
    pub fn suback_return_code_v3(self) -> u8 {
        (self as u8).min(0x80)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_is_its_code_or_none() {
        for value in 0..=255u8 {
            let known = ALL.iter().find(|code| **code as u8 == value).copied();
            assert_eq!(ReasonCode::from_u8(value), known);
        }
        assert!(ALL.windows(2).all(|pair| pair[0] < pair[1]));
    }

    #[test]
    fn version_3_gets_the_nearest_code() {
        for code in 0..=5 {
            let reason = ReasonCode::from_connack_return_code_v3(code).unwrap();
            assert_eq!(reason.connack_return_code_v3(), code);
        }
        assert_eq!(ReasonCode::from_connack_return_code_v3(6), None);
        assert_eq!(Banned.connack_return_code_v3(), 5);
        assert_eq!(ServerBusy.connack_return_code_v3(), 3);
        assert_eq!(GrantedQoS2.suback_return_code_v3(), 2);
        assert_eq!(
            WildcardSubscriptionsNotSupported.suback_return_code_v3(),
            0x80
        );
    }
}
