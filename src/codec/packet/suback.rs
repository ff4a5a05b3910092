//! SUBACK (section 3.9) and UNSUBACK (section 3.11), which share one form.

use super::Version;
use crate::codec::error::DecodeError;
use crate::codec::forwarded::UserProperties;
use crate::codec::property::{Properties, Property, id, write_some};
use crate::codec::reader::Reader;
use crate::codec::reason::ReasonCode;
use crate::codec::writer;

/// A SUBACK.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SubAck<'a> {
    pub packet_id: u16,
    pub reason_string: Option<&'a str>,
    pub user_properties: UserProperties<'a>,
    /// One for each filter, in order (MQTT-3.8.4-6). 3.x is sent 0x80 for any error.
    pub reasons: &'a [ReasonCode],
}

/// An UNSUBACK.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnsubAck<'a> {
    pub packet_id: u16,
    pub reason_string: Option<&'a str>,
    pub user_properties: UserProperties<'a>,
    /// One for each filter, in order (MQTT-3.11.3-1). 3.x is sent none.
    pub reasons: &'a [ReasonCode],
}

impl<'a> SubAck<'a> {
    /// One without properties.
    pub fn new(packet_id: u16, reasons: &'a [ReasonCode]) -> SubAck<'a> {
        SubAck {
            packet_id,
            reason_string: None,
            user_properties: UserProperties::default(),
            reasons,
        }
    }

    /// Decodes; `header` is the first byte of the packet.
    ///
    /// # Errors
    /// Reserved flags, a code that is not in the table (MQTT-3.9.3-2), none at all, and what
    /// holds for every packet.
    pub fn decode(header: u8, body: &'a [u8], version: Version) -> Result<SubAck<'a>, DecodeError> {
        if header != 0x90 {
            return Err(DecodeError::HeaderFlags);
        }
        let (common, codes) = Common::read(body, version)?;
        let is_v5 = version == Version::V5;
        let reasons = reasons(codes, |reason| match is_v5 {
            true => is_suback_code(reason),
            false => reason <= ReasonCode::GrantedQoS2 || reason == ReasonCode::UnspecifiedError,
        })?;
        if reasons.is_empty() {
            return Err(DecodeError::Truncated);
        }
        Ok(SubAck {
            packet_id: common.packet_id,
            reason_string: common.reason_string,
            user_properties: common.user_properties,
            reasons,
        })
    }

    /// Appends the packet.
    pub fn encode(&self, version: Version, out: &mut Vec<u8>) {
        let common = Common {
            packet_id: self.packet_id,
            reason_string: self.reason_string,
            user_properties: self.user_properties,
        };
        writer::packet(out, 0x90, |out| {
            common.write(version, out);
            match version {
                Version::V5 => out.extend(self.reasons.iter().map(|reason| *reason as u8)),
                _ => out.extend(
                    self.reasons
                        .iter()
                        .map(|reason| reason.suback_return_code_v3()),
                ),
            }
        });
    }
}

impl<'a> UnsubAck<'a> {
    /// One without properties.
    pub fn new(packet_id: u16, reasons: &'a [ReasonCode]) -> UnsubAck<'a> {
        UnsubAck {
            packet_id,
            reason_string: None,
            user_properties: UserProperties::default(),
            reasons,
        }
    }

    /// Decodes; `header` is the first byte of the packet.
    ///
    /// # Errors
    /// Reserved flags, a code that is not in the table (MQTT-3.11.3-2), and what holds for every
    /// packet.
    pub fn decode(
        header: u8,
        body: &'a [u8],
        version: Version,
    ) -> Result<UnsubAck<'a>, DecodeError> {
        if header != 0xB0 {
            return Err(DecodeError::HeaderFlags);
        }
        let (common, codes) = Common::read(body, version)?;
        if version != Version::V5 && !codes.is_empty() {
            return Err(DecodeError::TrailingBytes);
        }
        Ok(UnsubAck {
            packet_id: common.packet_id,
            reason_string: common.reason_string,
            user_properties: common.user_properties,
            reasons: reasons(codes, is_unsuback_code)?,
        })
    }

    /// Appends the packet.
    pub fn encode(&self, version: Version, out: &mut Vec<u8>) {
        let common = Common {
            packet_id: self.packet_id,
            reason_string: self.reason_string,
            user_properties: self.user_properties,
        };
        writer::packet(out, 0xB0, |out| {
            common.write(version, out);
            if version == Version::V5 {
                out.extend(self.reasons.iter().map(|reason| *reason as u8));
            }
        });
    }
}

/// What precedes the codes.
struct Common<'a> {
    packet_id: u16,
    reason_string: Option<&'a str>,
    user_properties: UserProperties<'a>,
}

impl<'a> Common<'a> {
    fn read(body: &'a [u8], version: Version) -> Result<(Common<'a>, &'a [u8]), DecodeError> {
        let mut reader = Reader::new(body);
        let mut common = Common {
            packet_id: reader.packet_id()?,
            reason_string: None,
            user_properties: UserProperties::default(),
        };
        if version == Version::V5 {
            let mut properties = Properties::read(&mut reader)?;
            while let Some(property) = properties.next()? {
                match property {
                    Property::ReasonString(text) => common.reason_string = Some(text),
                    Property::User(..) => {}
                    _ => return Err(properties.not_allowed()),
                }
            }
            let section = properties.section_with(id::USER_PROPERTY);
            common.user_properties = UserProperties::from_stored(section);
        }
        Ok((common, reader.rest()))
    }

    fn write(&self, version: Version, out: &mut Vec<u8>) {
        writer::u16(out, self.packet_id);
        if version == Version::V5 {
            writer::section(out, |out| {
                write_some(out, self.reason_string, Property::ReasonString);
                self.user_properties.write_to(out);
            });
        }
    }
}

/// The bytes as reason codes, if all of them are, and allowed here.
fn reasons(
    codes: &[u8],
    is_allowed: impl Fn(ReasonCode) -> bool,
) -> Result<&[ReasonCode], DecodeError> {
    let is_good = |code: u8| ReasonCode::from_u8(code).is_some_and(&is_allowed);
    if let Some(&code) = codes.iter().find(|code| !is_good(**code)) {
        return Err(DecodeError::ReasonCodeNotAllowed { code });
    }
    // SAFETY: `ReasonCode` is `repr(u8)`, and every byte was just seen to be one of its values.
    Ok(unsafe { std::slice::from_raw_parts(codes.as_ptr().cast(), codes.len()) })
}

fn is_suback_code(reason: ReasonCode) -> bool {
    use ReasonCode::*;
    matches!(
        reason,
        Success
            | GrantedQoS1
            | GrantedQoS2
            | UnspecifiedError
            | ImplementationSpecificError
            | NotAuthorized
            | TopicFilterInvalid
            | PacketIdentifierInUse
            | QuotaExceeded
            | SharedSubscriptionsNotSupported
            | SubscriptionIdentifiersNotSupported
            | WildcardSubscriptionsNotSupported
    )
}

fn is_unsuback_code(reason: ReasonCode) -> bool {
    use ReasonCode::*;
    matches!(
        reason,
        Success
            | NoSubscriptionExisted
            | UnspecifiedError
            | ImplementationSpecificError
            | NotAuthorized
            | TopicFilterInvalid
            | PacketIdentifierInUse
    )
}
