//! CONNACK (section 3.2).

use super::Version;
use crate::codec::error::DecodeError;
use crate::codec::forwarded::UserProperties;
use crate::codec::property::{Properties, Property, id, write_some};
use crate::codec::reader::Reader;
use crate::codec::reason::ReasonCode;
use crate::codec::version::QoS;
use crate::codec::writer;

/// A CONNACK.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ConnAck<'a> {
    /// Sent only with `Success` (MQTT-3.2.2-6), and not in 3.1, which does not have it.
    pub session_present: bool,
    /// 3.x is sent the nearest return code.
    pub reason: ReasonCode,
    pub properties: ConnAckProperties<'a>,
}

/// Properties of CONNACK (section 3.2.2.3); what is `None` is not sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ConnAckProperties<'a> {
    pub session_expiry_s: Option<u32>,
    /// Not 0; absent it is 65,535.
    pub receive_maximum: Option<u16>,
    /// QoS 0 or 1; absent it is QoS 2.
    pub maximum_qos: Option<QoS>,
    pub retain_available: Option<bool>,
    /// Maximum Packet Size, not 0.
    pub packet_bytes_max: Option<u32>,
    pub assigned_client_id: Option<&'a str>,
    /// 0, the same as absent, is not sent.
    pub topic_alias_maximum: u16,
    pub reason_string: Option<&'a str>,
    pub user_properties: UserProperties<'a>,
    pub wildcard_subscription_available: Option<bool>,
    pub subscription_identifiers_available: Option<bool>,
    pub shared_subscription_available: Option<bool>,
    pub server_keep_alive_s: Option<u16>,
    pub response_information: Option<&'a str>,
    pub server_reference: Option<&'a str>,
    pub authentication_method: Option<&'a str>,
    pub authentication_data: Option<&'a [u8]>,
}

impl<'a> ConnAck<'a> {
    /// Decodes what a server sent; `header` is the first byte of the packet.
    ///
    /// # Errors
    /// Reserved flags, a code that is not in the table (MQTT-3.2.2-8), Session Present with a
    /// refusal (MQTT-3.2.2-6), and what holds for every packet.
    pub fn decode(
        header: u8,
        body: &'a [u8],
        version: Version,
    ) -> Result<ConnAck<'a>, DecodeError> {
        if header != 0x20 {
            return Err(DecodeError::HeaderFlags);
        }
        let mut reader = Reader::new(body);
        let flags = match version {
            Version::V31 => reader.u8().map(|_| 0)?,
            _ => reader.u8()?,
        };
        let code = reader.u8()?;
        let reason = read_reason(code, version)?;
        if flags > 1 || (flags == 1 && reason != ReasonCode::Success) {
            return Err(DecodeError::ConnAckFlags);
        }
        let properties = match version {
            Version::V5 => ConnAckProperties::read(&mut reader)?,
            _ => ConnAckProperties::default(),
        };
        reader.finish()?;
        Ok(ConnAck {
            session_present: flags == 1,
            reason,
            properties,
        })
    }

    /// Appends the packet.
    ///
    /// # Panics
    /// If a field has more than 65,535 bytes.
    pub fn encode(&self, version: Version, out: &mut Vec<u8>) {
        let present = self.session_present && self.reason == ReasonCode::Success;
        let present = u8::from(present && version != Version::V31);
        if version != Version::V5 {
            let code = self.reason.connack_return_code_v3();
            out.extend_from_slice(&[0x20, 2, present, code]);
            return;
        }
        writer::packet(out, 0x20, |out| {
            out.extend_from_slice(&[present, self.reason as u8]);
            writer::section(out, |out| self.properties.write(out));
        });
    }
}

fn read_reason(code: u8, version: Version) -> Result<ReasonCode, DecodeError> {
    let reason = match version {
        Version::V5 => ReasonCode::from_u8(code).filter(|reason| is_allowed(*reason)),
        _ => ReasonCode::from_connack_return_code_v3(code),
    };
    reason.ok_or(DecodeError::ReasonCodeNotAllowed { code })
}

/// Whether the code is in the packet's table (MQTT-3.2.2-8).
fn is_allowed(reason: ReasonCode) -> bool {
    use ReasonCode::*;
    match reason {
        Success | BadAuthenticationMethod | TopicNameInvalid | PacketTooLarge | QuotaExceeded => {
            true
        }
        PayloadFormatInvalid | RetainNotSupported | QoSNotSupported | UseAnotherServer => true,
        ServerMoved | ConnectionRateExceeded => true,
        _ => (UnspecifiedError..=Banned).contains(&reason),
    }
}

impl<'a> ConnAckProperties<'a> {
    fn read(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        let mut read = ConnAckProperties::default();
        let mut properties = Properties::read(reader)?;
        while let Some(property) = properties.next()? {
            match property {
                Property::ReceiveMaximum(0) | Property::MaximumPacketSize(0) => {
                    return Err(properties.bad_value());
                }
                Property::User(..) => {}
                _ => read.take(property).ok_or(properties.not_allowed())?,
            }
        }
        let section = properties.section_with(id::USER_PROPERTY);
        read.user_properties = UserProperties::from_stored(section);
        Ok(read)
    }

    /// `None` if the property has no place here.
    fn take(&mut self, property: Property<'a>) -> Option<()> {
        use Property::*;
        match property {
            SessionExpiryInterval(s) => self.session_expiry_s = Some(s),
            ReceiveMaximum(maximum) => self.receive_maximum = Some(maximum),
            MaximumQoS(false) => self.maximum_qos = Some(QoS::AtMostOnce),
            MaximumQoS(true) => self.maximum_qos = Some(QoS::AtLeastOnce),
            RetainAvailable(on) => self.retain_available = Some(on),
            MaximumPacketSize(bytes) => self.packet_bytes_max = Some(bytes),
            AssignedClientIdentifier(id) => self.assigned_client_id = Some(id),
            TopicAliasMaximum(maximum) => self.topic_alias_maximum = maximum,
            ReasonString(text) => self.reason_string = Some(text),
            WildcardSubscriptionAvailable(on) => self.wildcard_subscription_available = Some(on),
            SubscriptionIdentifierAvailable(on) => {
                self.subscription_identifiers_available = Some(on);
            }
            SharedSubscriptionAvailable(on) => self.shared_subscription_available = Some(on),
            ServerKeepAlive(s) => self.server_keep_alive_s = Some(s),
            ResponseInformation(text) => self.response_information = Some(text),
            ServerReference(text) => self.server_reference = Some(text),
            AuthenticationMethod(name) => self.authentication_method = Some(name),
            AuthenticationData(data) => self.authentication_data = Some(data),
            _ => return None,
        }
        Some(())
    }

    fn write(&self, out: &mut Vec<u8>) {
        use Property::*;
        write_some(out, self.session_expiry_s, SessionExpiryInterval);
        write_some(out, self.receive_maximum, ReceiveMaximum);
        // QoS 2 is said by leaving the property out.
        let lower = self.maximum_qos.filter(|qos| *qos < QoS::ExactlyOnce);
        write_some(out, lower.map(|qos| qos == QoS::AtLeastOnce), MaximumQoS);
        write_some(out, self.retain_available, RetainAvailable);
        write_some(out, self.packet_bytes_max, MaximumPacketSize);
        write_some(out, self.assigned_client_id, AssignedClientIdentifier);
        let aliases = Some(self.topic_alias_maximum).filter(|maximum| *maximum != 0);
        write_some(out, aliases, TopicAliasMaximum);
        write_some(out, self.reason_string, ReasonString);
        write_some(
            out,
            self.wildcard_subscription_available,
            WildcardSubscriptionAvailable,
        );
        let identifiers = self.subscription_identifiers_available;
        write_some(out, identifiers, SubscriptionIdentifierAvailable);
        write_some(
            out,
            self.shared_subscription_available,
            SharedSubscriptionAvailable,
        );
        write_some(out, self.server_keep_alive_s, ServerKeepAlive);
        write_some(out, self.response_information, ResponseInformation);
        write_some(out, self.server_reference, ServerReference);
        write_some(out, self.authentication_method, AuthenticationMethod);
        write_some(out, self.authentication_data, AuthenticationData);
        self.user_properties.write_to(out);
    }
}
