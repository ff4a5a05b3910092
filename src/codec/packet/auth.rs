//! AUTH (section 3.15), of 5.0 only.

use super::Role;
use crate::codec::error::DecodeError;
use crate::codec::forwarded::UserProperties;
use crate::codec::property::{Properties, Property, id, write_some};
use crate::codec::reader::Reader;
use crate::codec::reason::ReasonCode;
use crate::codec::writer;
use std::fmt;

/// A step of an authentication exchange.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct Auth<'a> {
    /// `Success` (from servers), `ContinueAuthentication` or `ReAuthenticate` (from clients).
    pub reason: ReasonCode,
    /// Authentication Method; absent only with `Success` and nothing else.
    pub method: Option<&'a str>,
    /// Authentication Data.
    pub data: Option<&'a [u8]>,
    pub reason_string: Option<&'a str>,
    pub user_properties: UserProperties<'a>,
}

impl<'a> Auth<'a> {
    /// Decodes; `header` is the first byte of the packet.
    ///
    /// # Errors
    /// Reserved flags (MQTT-3.15.1-1), a code that is not in the sender's table (MQTT-3.15.2-1),
    /// no method (section 3.15.2.2.2), and what holds for every packet.
    pub fn decode(header: u8, body: &'a [u8], role: Role) -> Result<Auth<'a>, DecodeError> {
        if header != 0xF0 {
            return Err(DecodeError::HeaderFlags);
        }
        let mut reader = Reader::new(body);
        let code = match reader.is_empty() {
            true => ReasonCode::Success as u8,
            false => reader.u8()?,
        };
        let mut auth = Auth {
            reason: ReasonCode::from_u8(code)
                .filter(|reason| is_allowed(*reason, role))
                .ok_or(DecodeError::ReasonCodeNotAllowed { code })?,
            ..Auth::default()
        };
        if !body.is_empty() {
            auth.read_properties(&mut reader)?;
        }
        reader.finish()?;
        Ok(auth)
    }

    /// Appends the packet, of two bytes if there is nothing to say.
    ///
    /// # Panics
    /// If a field has more than 65,535 bytes.
    pub fn encode(&self, out: &mut Vec<u8>) {
        if *self == Auth::default() {
            out.extend_from_slice(&[0xF0, 0]);
            return;
        }
        writer::packet(out, 0xF0, |out| {
            out.push(self.reason as u8);
            writer::section(out, |out| {
                write_some(out, self.method, Property::AuthenticationMethod);
                write_some(out, self.data, Property::AuthenticationData);
                write_some(out, self.reason_string, Property::ReasonString);
                self.user_properties.write_to(out);
            });
        });
    }

    fn read_properties(&mut self, reader: &mut Reader<'a>) -> Result<(), DecodeError> {
        let mut properties = Properties::read(reader)?;
        while let Some(property) = properties.next()? {
            match property {
                Property::AuthenticationMethod(name) => self.method = Some(name),
                Property::AuthenticationData(data) => self.data = Some(data),
                Property::ReasonString(text) => self.reason_string = Some(text),
                Property::User(..) => {}
                _ => return Err(properties.not_allowed()),
            }
        }
        let section = properties.section_with(id::USER_PROPERTY);
        self.user_properties = UserProperties::from_stored(section);
        match self.method {
            Some(_) => Ok(()),
            None => Err(DecodeError::AuthenticationMethodMissing),
        }
    }
}

fn is_allowed(reason: ReasonCode, role: Role) -> bool {
    match reason {
        ReasonCode::ContinueAuthentication => true,
        ReasonCode::Success => role == Role::Client,
        ReasonCode::ReAuthenticate => role == Role::Server,
        _ => false,
    }
}

/// Leaves the data out.
impl fmt::Debug for Auth<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Auth")
            .field("reason", &self.reason)
            .field("method", &self.method)
            .field("reason_string", &self.reason_string)
            .field("user_properties", &self.user_properties)
            .finish_non_exhaustive()
    }
}
