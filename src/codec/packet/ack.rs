//! PUBACK, PUBREC, PUBREL and PUBCOMP (sections 3.4 to 3.7), which share one form.

use super::Version;
use crate::codec::error::DecodeError;
use crate::codec::forwarded::UserProperties;
use crate::codec::property::{Properties, Property, id, write_some};
use crate::codec::reader::Reader;
use crate::codec::reason::ReasonCode;
use crate::codec::writer;

/// Which of the four it is; the discriminant is the first byte of the packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum AckKind {
    PubAck = 0x40,
    PubRec = 0x50,
    PubRel = 0x62,
    PubComp = 0x70,
}

/// An acknowledgement of a QoS 1 or QoS 2 message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ack<'a> {
    pub kind: AckKind,
    pub packet_id: u16,
    /// `Success` in 3.x, which has no reason here.
    pub reason: ReasonCode,
    pub reason_string: Option<&'a str>,
    pub user_properties: UserProperties<'a>,
}

impl<'a> Ack<'a> {
    /// One without properties.
    #[inline]
    pub fn new(kind: AckKind, packet_id: u16, reason: ReasonCode) -> Ack<'a> {
        Ack {
            kind,
            packet_id,
            reason,
            reason_string: None,
            user_properties: UserProperties::default(),
        }
    }

    /// Decodes any of the four; `header` is the first byte of the packet.
    ///
    /// # Errors
    /// Reserved flags (MQTT-3.6.1-1; 3.1 may set DUP in PUBREL), packet identifier 0, a code that
    /// is not in the packet's table, and what section 2.2.2 forbids of properties.
    #[inline]
    pub fn decode(header: u8, body: &'a [u8], version: Version) -> Result<Ack<'a>, DecodeError> {
        let kind = AckKind::of(header, version)?;
        let mut reader = Reader::new(body);
        let mut ack = Ack::new(kind, reader.packet_id()?, ReasonCode::Success);
        if !reader.is_empty() {
            match version {
                Version::V5 => ack.read_reason(&mut reader)?,
                _ => return Err(DecodeError::TrailingBytes),
            }
        }
        Ok(ack)
    }

    /// Appends the packet: four bytes unless v5 has more to say than `Success`.
    #[inline]
    pub fn encode(&self, version: Version, out: &mut Vec<u8>) {
        let [high, low] = self.packet_id.to_be_bytes();
        let kind = self.kind as u8;
        if version != Version::V5 || self.is_plain_success() {
            out.extend_from_slice(&[kind, 2, high, low]);
        } else if self.has_properties() {
            self.encode_properties(out);
        } else {
            out.extend_from_slice(&[kind, 3, high, low, self.reason as u8]);
        }
    }

    fn read_reason(&mut self, reader: &mut Reader<'a>) -> Result<(), DecodeError> {
        let code = reader.u8()?;
        self.reason = ReasonCode::from_u8(code)
            .filter(|reason| self.kind.allows(*reason))
            .ok_or(DecodeError::ReasonCodeNotAllowed { code })?;
        if reader.is_empty() {
            return Ok(());
        }
        let mut properties = Properties::read(reader)?;
        while let Some(property) = properties.next()? {
            match property {
                Property::ReasonString(text) => self.reason_string = Some(text),
                Property::User(..) => {}
                _ => return Err(properties.not_allowed()),
            }
        }
        let section = properties.section_with(id::USER_PROPERTY);
        self.user_properties = UserProperties::from_stored(section);
        reader.finish()
    }

    fn encode_properties(&self, out: &mut Vec<u8>) {
        writer::packet(out, self.kind as u8, |out| {
            writer::u16(out, self.packet_id);
            out.push(self.reason as u8);
            writer::section(out, |out| {
                write_some(out, self.reason_string, Property::ReasonString);
                self.user_properties.write_to(out);
            });
        });
    }

    #[inline]
    fn is_plain_success(&self) -> bool {
        self.reason == ReasonCode::Success && !self.has_properties()
    }

    #[inline]
    fn has_properties(&self) -> bool {
        self.reason_string.is_some() || !self.user_properties.is_empty()
    }
}

impl AckKind {
    #[inline]
    fn of(header: u8, version: Version) -> Result<AckKind, DecodeError> {
        match header {
            0x40 => Ok(AckKind::PubAck),
            0x50 => Ok(AckKind::PubRec),
            0x62 => Ok(AckKind::PubRel),
            0x6A if version == Version::V31 => Ok(AckKind::PubRel),
            0x70 => Ok(AckKind::PubComp),
            _ => Err(DecodeError::HeaderFlags),
        }
    }

    /// Whether the code is in the packet's table (MQTT-3.4.2-1, 3.5.2-1, 3.6.2-1, 3.7.2-1).
    pub fn allows(self, reason: ReasonCode) -> bool {
        use ReasonCode::*;
        match self {
            AckKind::PubAck | AckKind::PubRec => matches!(
                reason,
                Success
                    | NoMatchingSubscribers
                    | UnspecifiedError
                    | ImplementationSpecificError
                    | NotAuthorized
                    | TopicNameInvalid
                    | PacketIdentifierInUse
                    | QuotaExceeded
                    | PayloadFormatInvalid
            ),
            AckKind::PubRel | AckKind::PubComp => {
                matches!(reason, Success | PacketIdentifierNotFound)
            }
        }
    }
}
