//! DISCONNECT (section 3.14).

use super::{Role, Version};
use crate::codec::error::DecodeError;
use crate::codec::forwarded::UserProperties;
use crate::codec::property::{Properties, Property, id, write_some};
use crate::codec::reader::Reader;
use crate::codec::reason::ReasonCode;
use crate::codec::writer;

/// A DISCONNECT. In 3.x only clients send it, and it carries nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Disconnect<'a> {
    pub reason: ReasonCode,
    /// A client's only (MQTT-3.14.2-2).
    pub session_expiry_s: Option<u32>,
    pub reason_string: Option<&'a str>,
    pub user_properties: UserProperties<'a>,
    /// A server's only.
    pub server_reference: Option<&'a str>,
}

impl<'a> Disconnect<'a> {
    /// One without properties.
    pub fn new(reason: ReasonCode) -> Disconnect<'a> {
        Disconnect {
            reason,
            ..Disconnect::default()
        }
    }

    /// Decodes; `header` is the first byte of the packet.
    ///
    /// # Errors
    /// Reserved flags (MQTT-3.14.1-1), a code that is not in the sender's table (MQTT-3.14.2-1),
    /// Session Expiry from a server (MQTT-3.14.2-2), and what holds for every packet.
    pub fn decode(
        header: u8,
        body: &'a [u8],
        version: Version,
        role: Role,
    ) -> Result<Disconnect<'a>, DecodeError> {
        if header != 0xE0 {
            return Err(DecodeError::HeaderFlags);
        }
        let mut reader = Reader::new(body);
        if version != Version::V5 {
            reader.finish()?;
            return match role {
                Role::Server => Ok(Disconnect::default()),
                Role::Client => Err(DecodeError::WrongDirection),
            };
        }
        let mut disconnect = Disconnect::default();
        if !reader.is_empty() {
            let code = reader.u8()?;
            disconnect.reason = ReasonCode::from_u8(code)
                .filter(|reason| is_allowed(*reason, role))
                .ok_or(DecodeError::ReasonCodeNotAllowed { code })?;
        }
        if !reader.is_empty() {
            disconnect.read_properties(&mut reader, role)?;
        }
        reader.finish()?;
        Ok(disconnect)
    }

    /// Appends the packet, of two bytes if there is nothing to say.
    pub fn encode(&self, version: Version, out: &mut Vec<u8>) {
        if version != Version::V5 || *self == Disconnect::default() {
            out.extend_from_slice(&[0xE0, 0]);
        } else if *self == Disconnect::new(self.reason) {
            out.extend_from_slice(&[0xE0, 1, self.reason as u8]);
        } else {
            writer::packet(out, 0xE0, |out| {
                out.push(self.reason as u8);
                writer::section(out, |out| self.write_properties(out));
            });
        }
    }

    fn read_properties(&mut self, reader: &mut Reader<'a>, role: Role) -> Result<(), DecodeError> {
        let mut properties = Properties::read(reader)?;
        while let Some(property) = properties.next()? {
            match property {
                Property::SessionExpiryInterval(s) => match role {
                    Role::Server => self.session_expiry_s = Some(s),
                    Role::Client => return Err(DecodeError::SessionExpiryFromServer),
                },
                Property::ReasonString(text) => self.reason_string = Some(text),
                Property::ServerReference(text) => self.server_reference = Some(text),
                Property::User(..) => {}
                _ => return Err(properties.not_allowed()),
            }
        }
        let section = properties.section_with(id::USER_PROPERTY);
        self.user_properties = UserProperties::from_stored(section);
        Ok(())
    }

    fn write_properties(&self, out: &mut Vec<u8>) {
        write_some(out, self.session_expiry_s, Property::SessionExpiryInterval);
        write_some(out, self.reason_string, Property::ReasonString);
        write_some(out, self.server_reference, Property::ServerReference);
        self.user_properties.write_to(out);
    }
}

/// Whether the code is in the table, for the sender that `role` receives from.
fn is_allowed(reason: ReasonCode, role: Role) -> bool {
    use ReasonCode::*;
    match reason {
        Success | UnspecifiedError | MalformedPacket | ProtocolError => true,
        ImplementationSpecificError | TopicNameInvalid => true,
        DisconnectWithWill => role == Role::Server,
        NotAuthorized | ServerBusy | ServerShuttingDown | BadAuthenticationMethod => {
            role == Role::Client
        }
        KeepAliveTimeout | SessionTakenOver | TopicFilterInvalid => role == Role::Client,
        _ if (ReceiveMaximumExceeded..=PayloadFormatInvalid).contains(&reason) => true,
        _ => reason >= RetainNotSupported && role == Role::Client,
    }
}
