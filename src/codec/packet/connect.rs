//! CONNECT (section 3.1).

use super::Version;
use crate::codec::error::DecodeError;
use crate::codec::forwarded::{Forwarded, UserProperties, is_forwarded};
use crate::codec::property::{Properties, Property, id, write_some};
use crate::codec::reader::Reader;
use crate::codec::version::QoS;
use crate::codec::writer;
use std::fmt;
use std::num::{NonZeroU16, NonZeroU32};

/// A CONNECT, borrowed from the read buffer.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Connect<'a> {
    pub version: Version,
    /// Clean Session of 3.x is mapped on it.
    pub clean_start: bool,
    /// 0 turns keep alive off.
    pub keep_alive_s: u16,
    /// Empty if the server is to assign one.
    pub client_id: &'a str,
    pub will: Option<Will<'a>>,
    pub username: Option<&'a str>,
    pub password: Option<&'a [u8]>,
    pub properties: ConnectProperties<'a>,
}

/// Properties of CONNECT (section 3.1.2.11), with the values that absence stands for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct ConnectProperties<'a> {
    pub session_expiry_s: Option<u32>,
    pub receive_maximum: Option<NonZeroU16>,
    /// Maximum Packet Size.
    pub packet_bytes_max: Option<NonZeroU32>,
    /// 0 if the client takes no aliases.
    pub topic_alias_maximum: u16,
    pub request_response_information: bool,
    /// True unless the client says otherwise.
    pub request_problem_information: bool,
    pub user_properties: UserProperties<'a>,
    pub authentication_method: Option<&'a str>,
    /// Only together with a method.
    pub authentication_data: Option<&'a [u8]>,
}

/// What to publish when the connection is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Will<'a> {
    /// A valid topic name, not empty.
    pub topic: &'a str,
    pub payload: &'a [u8],
    pub qos: QoS,
    pub retain: bool,
    pub delay_s: u32,
    /// Counted from the publication.
    pub message_expiry_s: Option<u32>,
    pub properties: Forwarded<'a>,
}

impl Default for ConnectProperties<'_> {
    fn default() -> Self {
        ConnectProperties {
            session_expiry_s: None,
            receive_maximum: None,
            packet_bytes_max: None,
            topic_alias_maximum: 0,
            request_response_information: false,
            request_problem_information: true,
            user_properties: UserProperties::default(),
            authentication_method: None,
            authentication_data: None,
        }
    }
}

/// The version that a CONNECT's body asks for, if it is one of those spoken here: how to answer a
/// CONNECT that is malformed further on.
pub fn connect_version(body: &[u8]) -> Option<Version> {
    read_version(&mut Reader::new(body)).ok()
}

/// MQTT-3.1.2-1, -2.
fn read_version(reader: &mut Reader<'_>) -> Result<Version, DecodeError> {
    let name = reader.binary().map_err(|_| DecodeError::NotMqtt)?;
    if name != b"MQTT" && name != b"MQIsdp" {
        return Err(DecodeError::NotMqtt);
    }
    match (name, reader.u8()?) {
        (b"MQIsdp", 3) => Ok(Version::V31),
        (b"MQTT", 4) => Ok(Version::V311),
        (b"MQTT", 5) => Ok(Version::V5),
        (_, level) => Err(DecodeError::UnsupportedVersion { level }),
    }
}

const USER_NAME: u8 = 0x80;
const PASSWORD: u8 = 0x40;
const WILL_RETAIN: u8 = 0x20;
const WILL_QOS: u8 = 0x18;
const WILL: u8 = 0x04;
const CLEAN_START: u8 = 0x02;
const RESERVED: u8 = 0x01;

impl<'a> Connect<'a> {
    /// Decodes a CONNECT of any version; `header` is the first byte of the packet.
    ///
    /// # Errors
    /// [`DecodeError::NotMqtt`] for another protocol's name, [`DecodeError::UnsupportedVersion`]
    /// for another level of this one, and whatever else section 3.1 forbids; then
    /// [`connect_version`] says in which version to answer.
    pub fn decode(header: u8, body: &'a [u8]) -> Result<Connect<'a>, DecodeError> {
        if header != 0x10 {
            return Err(DecodeError::HeaderFlags);
        }
        let mut reader = Reader::new(body);
        let version = read_version(&mut reader)?;
        let flags = checked_flags(reader.u8()?, version)?;
        let keep_alive_s = reader.u16()?;
        let properties = match version {
            Version::V5 => ConnectProperties::read(&mut reader)?,
            _ => ConnectProperties::default(),
        };
        let client_id = reader.string()?;
        let will = match flags & WILL {
            0 => None,
            _ => Some(Will::read(&mut reader, flags, version)?),
        };
        // In 3.1 the Remaining Length takes precedence over the two flags.
        let expected = |flag, reader: &Reader<'_>| {
            flags & flag != 0 && !(version == Version::V31 && reader.is_empty())
        };
        let username = expected(USER_NAME, &reader)
            .then(|| reader.string())
            .transpose()?;
        let password = expected(PASSWORD, &reader)
            .then(|| reader.binary())
            .transpose()?;
        reader.finish()?;
        Ok(Connect {
            version,
            clean_start: flags & CLEAN_START != 0,
            keep_alive_s,
            client_id,
            will,
            username,
            password,
            properties,
        })
    }

    /// Appends the packet in [`Connect::version`].
    ///
    /// # Panics
    /// If a field has more than 65,535 bytes.
    pub fn encode(&self, out: &mut Vec<u8>) {
        writer::packet(out, 0x10, |out| {
            writer::string(
                out,
                match self.version {
                    Version::V31 => "MQIsdp",
                    _ => "MQTT",
                },
            );
            out.extend_from_slice(&[self.version as u8, self.flags()]);
            writer::u16(out, self.keep_alive_s);
            if self.version == Version::V5 {
                writer::section(out, |out| self.properties.write(out));
            }
            writer::string(out, self.client_id);
            if let Some(will) = &self.will {
                will.write(self.version, out);
            }
            if let Some(username) = self.username {
                writer::string(out, username);
            }
            if let Some(password) = self.password {
                writer::binary(out, password);
            }
        });
    }

    fn flags(&self) -> u8 {
        let set = |bit, on: bool| if on { bit } else { 0 };
        let will = self.will.as_ref().map_or(0, |will| {
            WILL | (will.qos as u8) << 3 | set(WILL_RETAIN, will.retain)
        });
        will | set(CLEAN_START, self.clean_start)
            | set(USER_NAME, self.username.is_some())
            | set(PASSWORD, self.password.is_some())
    }
}

/// MQTT-3.1.2-3, -11 to -13, and MQTT-3.1.2-22 of 3.1.1. In 3.1 the reserved bit is not used,
/// and the will's bits have no meaning without Will Flag.
fn checked_flags(flags: u8, version: Version) -> Result<u8, DecodeError> {
    if flags & RESERVED != 0 && version != Version::V31 {
        return Err(DecodeError::ConnectFlagReserved);
    }
    if flags & WILL == 0 {
        if flags & (WILL_QOS | WILL_RETAIN) != 0 && version != Version::V31 {
            return Err(DecodeError::WillFlags);
        }
    } else if flags & WILL_QOS == WILL_QOS {
        return Err(DecodeError::WillQoS);
    }
    if flags & (USER_NAME | PASSWORD) == PASSWORD && version != Version::V5 {
        return Err(DecodeError::PasswordWithoutUserName);
    }
    Ok(flags)
}

impl<'a> ConnectProperties<'a> {
    fn read(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        let mut read = ConnectProperties::default();
        let mut properties = Properties::read(reader)?;
        while let Some(property) = properties.next()? {
            match property {
                Property::SessionExpiryInterval(s) => read.session_expiry_s = Some(s),
                Property::ReceiveMaximum(maximum) => {
                    let maximum = NonZeroU16::new(maximum);
                    read.receive_maximum = Some(maximum.ok_or(properties.bad_value())?);
                }
                Property::MaximumPacketSize(bytes) => {
                    let bytes = NonZeroU32::new(bytes);
                    read.packet_bytes_max = Some(bytes.ok_or(properties.bad_value())?);
                }
                Property::TopicAliasMaximum(maximum) => read.topic_alias_maximum = maximum,
                Property::RequestResponseInformation(on) => read.request_response_information = on,
                Property::RequestProblemInformation(on) => read.request_problem_information = on,
                Property::AuthenticationMethod(name) => read.authentication_method = Some(name),
                Property::AuthenticationData(data) => read.authentication_data = Some(data),
                Property::User(..) => {}
                _ => return Err(properties.not_allowed()),
            }
        }
        if read.authentication_data.is_some() && read.authentication_method.is_none() {
            return Err(DecodeError::AuthenticationDataWithoutMethod);
        }
        let section = properties.section_with(id::USER_PROPERTY);
        read.user_properties = UserProperties::from_stored(section);
        Ok(read)
    }

    fn write(&self, out: &mut Vec<u8>) {
        write_some(out, self.session_expiry_s, Property::SessionExpiryInterval);
        let maximum = self.receive_maximum.map(NonZeroU16::get);
        write_some(out, maximum, Property::ReceiveMaximum);
        let bytes = self.packet_bytes_max.map(NonZeroU32::get);
        write_some(out, bytes, Property::MaximumPacketSize);
        let aliases = Some(self.topic_alias_maximum).filter(|maximum| *maximum != 0);
        write_some(out, aliases, Property::TopicAliasMaximum);
        if self.request_response_information {
            Property::RequestResponseInformation(true).write(out);
        }
        if !self.request_problem_information {
            Property::RequestProblemInformation(false).write(out);
        }
        write_some(
            out,
            self.authentication_method,
            Property::AuthenticationMethod,
        );
        write_some(out, self.authentication_data, Property::AuthenticationData);
        self.user_properties.write_to(out);
    }
}

impl<'a> Will<'a> {
    /// MQTT-3.1.2-9, MQTT-3.1.3-1, -11.
    fn read(reader: &mut Reader<'a>, flags: u8, version: Version) -> Result<Self, DecodeError> {
        let mut will = Will {
            topic: "",
            payload: &[],
            qos: QoS::try_from((flags & WILL_QOS) >> 3).map_err(|_| DecodeError::WillQoS)?,
            retain: flags & WILL_RETAIN != 0,
            delay_s: 0,
            message_expiry_s: None,
            properties: Forwarded::default(),
        };
        if version == Version::V5 {
            will.read_properties(reader)?;
        }
        will.topic = reader.topic()?;
        if will.topic.is_empty() {
            return Err(DecodeError::TopicEmpty);
        }
        will.payload = reader.binary()?;
        Ok(will)
    }

    fn read_properties(&mut self, reader: &mut Reader<'a>) -> Result<(), DecodeError> {
        let mut forwarded_len = 0;
        let mut properties = Properties::read(reader)?;
        while let Some(property) = properties.next()? {
            match property {
                Property::WillDelayInterval(s) => self.delay_s = s,
                Property::MessageExpiryInterval(s) => self.message_expiry_s = Some(s),
                _ if is_forwarded(&property) => forwarded_len += properties.last_len(),
                _ => return Err(properties.not_allowed()),
            }
        }
        self.properties = Forwarded::of_section(properties.section(), forwarded_len);
        Ok(())
    }

    fn write(&self, version: Version, out: &mut Vec<u8>) {
        if version == Version::V5 {
            writer::section(out, |out| {
                let delay_s = Some(self.delay_s).filter(|s| *s != 0);
                write_some(out, delay_s, Property::WillDelayInterval);
                write_some(out, self.message_expiry_s, Property::MessageExpiryInterval);
                self.properties.write_to(out);
            });
        }
        writer::string(out, self.topic);
        writer::binary(out, self.payload);
    }
}

/// Leaves secrets out.
impl fmt::Debug for Connect<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connect")
            .field("version", &self.version)
            .field("clean_start", &self.clean_start)
            .field("keep_alive_s", &self.keep_alive_s)
            .field("client_id", &self.client_id)
            .field("will", &self.will)
            .field("username", &self.username)
            .field("properties", &self.properties)
            .finish_non_exhaustive()
    }
}

/// Leaves authentication data out.
impl fmt::Debug for ConnectProperties<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConnectProperties")
            .field("session_expiry_s", &self.session_expiry_s)
            .field("receive_maximum", &self.receive_maximum)
            .field("packet_bytes_max", &self.packet_bytes_max)
            .field("topic_alias_maximum", &self.topic_alias_maximum)
            .field("user_properties", &self.user_properties)
            .field("authentication_method", &self.authentication_method)
            .finish_non_exhaustive()
    }
}
