//! Protocol version and quality of service, as the wire numbers them.

/// Version of the protocol; the discriminant is the protocol level in CONNECT.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Version {
    /// MQTT 3.1, protocol name `MQIsdp`.
    V31 = 3,
    /// MQTT 3.1.1.
    V311 = 4,
    /// MQTT 5.0.
    V5 = 5,
}

/// Quality of service of a message or a subscription.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum QoS {
    #[default]
    AtMostOnce = 0,
    AtLeastOnce = 1,
    ExactlyOnce = 2,
}

/// A number that is no quality of service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotAQoS(pub u8);

impl TryFrom<u8> for QoS {
    type Error = NotAQoS;

    #[inline]
    fn try_from(value: u8) -> Result<QoS, NotAQoS> {
        match value {
            0 => Ok(QoS::AtMostOnce),
            1 => Ok(QoS::AtLeastOnce),
            2 => Ok(QoS::ExactlyOnce),
            _ => Err(NotAQoS(value)),
        }
    }
}
