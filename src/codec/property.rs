//! Properties of MQTT 5.0 (section 2.2.2): one reader and one writer for all packets.

use super::error::DecodeError;
use super::reader::Reader;
use super::writer;

/// A property and its value. Two-valued ones are `bool`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Property<'a> {
    PayloadFormatIndicator(bool),
    MessageExpiryInterval(u32),
    ContentType(&'a str),
    ResponseTopic(&'a str),
    CorrelationData(&'a [u8]),
    SubscriptionIdentifier(u32),
    SessionExpiryInterval(u32),
    AssignedClientIdentifier(&'a str),
    ServerKeepAlive(u16),
    AuthenticationMethod(&'a str),
    AuthenticationData(&'a [u8]),
    RequestProblemInformation(bool),
    WillDelayInterval(u32),
    RequestResponseInformation(bool),
    ResponseInformation(&'a str),
    ServerReference(&'a str),
    ReasonString(&'a str),
    ReceiveMaximum(u16),
    TopicAliasMaximum(u16),
    TopicAlias(u16),
    MaximumQoS(bool),
    RetainAvailable(bool),
    User(&'a str, &'a str),
    MaximumPacketSize(u32),
    WildcardSubscriptionAvailable(bool),
    SubscriptionIdentifierAvailable(bool),
    SharedSubscriptionAvailable(bool),
}

/// Identifiers (section 2.2.2.2).
pub(super) mod id {
    pub const PAYLOAD_FORMAT_INDICATOR: u8 = 0x01;
    pub const MESSAGE_EXPIRY_INTERVAL: u8 = 0x02;
    pub const CONTENT_TYPE: u8 = 0x03;
    pub const RESPONSE_TOPIC: u8 = 0x08;
    pub const CORRELATION_DATA: u8 = 0x09;
    pub const SUBSCRIPTION_IDENTIFIER: u8 = 0x0B;
    pub const SESSION_EXPIRY_INTERVAL: u8 = 0x11;
    pub const ASSIGNED_CLIENT_IDENTIFIER: u8 = 0x12;
    pub const SERVER_KEEP_ALIVE: u8 = 0x13;
    pub const AUTHENTICATION_METHOD: u8 = 0x15;
    pub const AUTHENTICATION_DATA: u8 = 0x16;
    pub const REQUEST_PROBLEM_INFORMATION: u8 = 0x17;
    pub const WILL_DELAY_INTERVAL: u8 = 0x18;
    pub const REQUEST_RESPONSE_INFORMATION: u8 = 0x19;
    pub const RESPONSE_INFORMATION: u8 = 0x1A;
    pub const SERVER_REFERENCE: u8 = 0x1C;
    pub const REASON_STRING: u8 = 0x1F;
    pub const RECEIVE_MAXIMUM: u8 = 0x21;
    pub const TOPIC_ALIAS_MAXIMUM: u8 = 0x22;
    pub const TOPIC_ALIAS: u8 = 0x23;
    pub const MAXIMUM_QOS: u8 = 0x24;
    pub const RETAIN_AVAILABLE: u8 = 0x25;
    pub const USER_PROPERTY: u8 = 0x26;
    pub const MAXIMUM_PACKET_SIZE: u8 = 0x27;
    pub const WILDCARD_SUBSCRIPTION_AVAILABLE: u8 = 0x28;
    pub const SUBSCRIPTION_IDENTIFIER_AVAILABLE: u8 = 0x29;
    pub const SHARED_SUBSCRIPTION_AVAILABLE: u8 = 0x2A;
}

/// The properties of one section, in order, each checked as it is reached.
pub(super) struct Properties<'a> {
    section: &'a [u8],
    reader: Reader<'a>,
    /// One bit for each identifier met.
    seen: u64,
    /// The last one's first byte, as offset in the section.
    start: usize,
}

impl<'a> Properties<'a> {
    /// Reads the section's length and steps over the section.
    #[inline]
    pub fn read(reader: &mut Reader<'a>) -> Result<Properties<'a>, DecodeError> {
        reader.section().map(Properties::of)
    }

    /// The properties of a section, without its length.
    #[inline]
    pub fn of(section: &'a [u8]) -> Properties<'a> {
        Properties {
            section,
            reader: Reader::new(section),
            seen: 0,
            start: 0,
        }
    }

    /// The next property.
    ///
    /// # Errors
    /// An identifier that does not exist, a value out of range, or a property that came before
    /// and may not be repeated.
    #[inline]
    pub fn next(&mut self) -> Result<Option<Property<'a>>, DecodeError> {
        if self.reader.is_empty() {
            return Ok(None);
        }
        self.start = self.section.len() - self.reader.len();
        let id = self.reader.u8()?;
        let property = read_value(id, &mut self.reader)?;
        let bit = 1u64 << (id & 63);
        let repeatable = matches!(id, id::USER_PROPERTY | id::SUBSCRIPTION_IDENTIFIER);
        if self.seen & bit != 0 && !repeatable {
            return Err(DecodeError::PropertyRepeated { id });
        }
        self.seen |= bit;
        Ok(Some(property))
    }

    /// The error for the property given last, in a packet where it has no place.
    #[cold]
    pub fn not_allowed(&self) -> DecodeError {
        DecodeError::PropertyNotAllowed { id: self.last_id() }
    }

    /// The error for a value of the property given last.
    #[cold]
    pub fn bad_value(&self) -> DecodeError {
        DecodeError::PropertyValue { id: self.last_id() }
    }

    /// The error for the property given last, where it may come once only.
    #[cold]
    pub fn repeated(&self) -> DecodeError {
        DecodeError::PropertyRepeated { id: self.last_id() }
    }

    /// Bytes of the property given last, identifier included.
    #[inline]
    pub fn last_len(&self) -> usize {
        self.section.len() - self.reader.len() - self.start
    }

    /// The whole section, if a property with this identifier was met, else nothing.
    #[inline]
    pub fn section_with(&self, id: u8) -> &'a [u8] {
        match self.seen & (1 << id) {
            0 => &[],
            _ => self.section,
        }
    }

    /// The whole section.
    #[inline]
    pub fn section(&self) -> &'a [u8] {
        self.section
    }

    fn last_id(&self) -> u8 {
        self.section.get(self.start).copied().unwrap_or(0)
    }
}

fn read_value<'a>(id: u8, from: &mut Reader<'a>) -> Result<Property<'a>, DecodeError> {
    use Property::*;
    let flag = |from: &mut Reader<'a>| match from.u8()? {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(DecodeError::PropertyValue { id }),
    };
    Ok(match id {
        id::PAYLOAD_FORMAT_INDICATOR => PayloadFormatIndicator(flag(from)?),
        id::MESSAGE_EXPIRY_INTERVAL => MessageExpiryInterval(from.u32()?),
        id::CONTENT_TYPE => ContentType(from.string()?),
        id::RESPONSE_TOPIC => ResponseTopic(response_topic(from)?),
        id::CORRELATION_DATA => CorrelationData(from.binary()?),
        id::SUBSCRIPTION_IDENTIFIER => SubscriptionIdentifier(subscription_id(from)?),
        id::SESSION_EXPIRY_INTERVAL => SessionExpiryInterval(from.u32()?),
        id::ASSIGNED_CLIENT_IDENTIFIER => AssignedClientIdentifier(from.string()?),
        id::SERVER_KEEP_ALIVE => ServerKeepAlive(from.u16()?),
        id::AUTHENTICATION_METHOD => AuthenticationMethod(from.string()?),
        id::AUTHENTICATION_DATA => AuthenticationData(from.binary()?),
        id::REQUEST_PROBLEM_INFORMATION => RequestProblemInformation(flag(from)?),
        id::WILL_DELAY_INTERVAL => WillDelayInterval(from.u32()?),
        id::REQUEST_RESPONSE_INFORMATION => RequestResponseInformation(flag(from)?),
        id::RESPONSE_INFORMATION => ResponseInformation(from.string()?),
        id::SERVER_REFERENCE => ServerReference(from.string()?),
        id::REASON_STRING => ReasonString(from.string()?),
        id::RECEIVE_MAXIMUM => ReceiveMaximum(from.u16()?),
        id::TOPIC_ALIAS_MAXIMUM => TopicAliasMaximum(from.u16()?),
        id::TOPIC_ALIAS => TopicAlias(from.u16()?),
        id::MAXIMUM_QOS => MaximumQoS(flag(from)?),
        id::RETAIN_AVAILABLE => RetainAvailable(flag(from)?),
        id::USER_PROPERTY => User(from.string()?, from.string()?),
        id::MAXIMUM_PACKET_SIZE => MaximumPacketSize(from.u32()?),
        id::WILDCARD_SUBSCRIPTION_AVAILABLE => WildcardSubscriptionAvailable(flag(from)?),
        id::SUBSCRIPTION_IDENTIFIER_AVAILABLE => SubscriptionIdentifierAvailable(flag(from)?),
        id::SHARED_SUBSCRIPTION_AVAILABLE => SharedSubscriptionAvailable(flag(from)?),
        _ => return Err(DecodeError::PropertyNotAllowed { id }),
    })
}

/// MQTT-3.3.2-13, -14; a Response Topic is a topic name, so not empty (MQTT-4.7.3-1).
fn response_topic<'a>(from: &mut Reader<'a>) -> Result<&'a str, DecodeError> {
    match from.topic() {
        Ok("") => Err(DecodeError::PropertyValue {
            id: id::RESPONSE_TOPIC,
        }),
        Err(DecodeError::TopicWildcard) => Err(DecodeError::ResponseTopicWildcard),
        topic => topic,
    }
}

fn subscription_id(from: &mut Reader<'_>) -> Result<u32, DecodeError> {
    match from.varint()? {
        0 => Err(DecodeError::SubscriptionIdZero),
        id => Ok(id),
    }
}

impl Property<'_> {
    /// Appends identifier and value.
    #[rustfmt::skip] // A table.
    pub fn write(&self, out: &mut Vec<u8>) {
        use Property::*;
        match *self {
            PayloadFormatIndicator(v) => flag(out, id::PAYLOAD_FORMAT_INDICATOR, v),
            MessageExpiryInterval(v) => four(out, id::MESSAGE_EXPIRY_INTERVAL, v),
            ContentType(v) => text(out, id::CONTENT_TYPE, v),
            ResponseTopic(v) => text(out, id::RESPONSE_TOPIC, v),
            CorrelationData(v) => data(out, id::CORRELATION_DATA, v),
            SubscriptionIdentifier(v) => {
                out.push(id::SUBSCRIPTION_IDENTIFIER);
                writer::varint(out, v as usize);
            }
            SessionExpiryInterval(v) => four(out, id::SESSION_EXPIRY_INTERVAL, v),
            AssignedClientIdentifier(v) => text(out, id::ASSIGNED_CLIENT_IDENTIFIER, v),
            ServerKeepAlive(v) => two(out, id::SERVER_KEEP_ALIVE, v),
            AuthenticationMethod(v) => text(out, id::AUTHENTICATION_METHOD, v),
            AuthenticationData(v) => data(out, id::AUTHENTICATION_DATA, v),
            RequestProblemInformation(v) => flag(out, id::REQUEST_PROBLEM_INFORMATION, v),
            WillDelayInterval(v) => four(out, id::WILL_DELAY_INTERVAL, v),
            RequestResponseInformation(v) => flag(out, id::REQUEST_RESPONSE_INFORMATION, v),
            ResponseInformation(v) => text(out, id::RESPONSE_INFORMATION, v),
            ServerReference(v) => text(out, id::SERVER_REFERENCE, v),
            ReasonString(v) => text(out, id::REASON_STRING, v),
            ReceiveMaximum(v) => two(out, id::RECEIVE_MAXIMUM, v),
            TopicAliasMaximum(v) => two(out, id::TOPIC_ALIAS_MAXIMUM, v),
            TopicAlias(v) => two(out, id::TOPIC_ALIAS, v),
            MaximumQoS(v) => flag(out, id::MAXIMUM_QOS, v),
            RetainAvailable(v) => flag(out, id::RETAIN_AVAILABLE, v),
            User(name, value) => {
                text(out, id::USER_PROPERTY, name);
                writer::string(out, value);
            }
            MaximumPacketSize(v) => four(out, id::MAXIMUM_PACKET_SIZE, v),
            WildcardSubscriptionAvailable(v) => flag(out, id::WILDCARD_SUBSCRIPTION_AVAILABLE, v),
            SubscriptionIdentifierAvailable(v) => {
                flag(out, id::SUBSCRIPTION_IDENTIFIER_AVAILABLE, v);
            }
            SharedSubscriptionAvailable(v) => flag(out, id::SHARED_SUBSCRIPTION_AVAILABLE, v),
        }
    }
}

/// Appends the property if there is a value.
pub(super) fn write_some<'a, T>(
    out: &mut Vec<u8>,
    value: Option<T>,
    property: impl FnOnce(T) -> Property<'a>,
) {
    if let Some(value) = value {
        property(value).write(out);
    }
}

fn flag(out: &mut Vec<u8>, id: u8, value: bool) {
    out.extend_from_slice(&[id, u8::from(value)]);
}

fn two(out: &mut Vec<u8>, id: u8, value: u16) {
    out.push(id);
    writer::u16(out, value);
}

fn four(out: &mut Vec<u8>, id: u8, value: u32) {
    out.push(id);
    writer::u32(out, value);
}

fn text(out: &mut Vec<u8>, id: u8, value: &str) {
    data(out, id, value.as_bytes());
}

fn data(out: &mut Vec<u8>, id: u8, value: &[u8]) {
    out.push(id);
    writer::binary(out, value);
}

/// The properties of a section that was checked before, as (bytes with identifier, value).
/// Ends where a section that was not turns out to be wrong.
#[derive(Clone)]
pub(super) struct Checked<'a> {
    reader: Reader<'a>,
}

impl<'a> Checked<'a> {
    pub fn new(section: &'a [u8]) -> Self {
        Checked {
            reader: Reader::new(section),
        }
    }
}

impl<'a> Iterator for Checked<'a> {
    type Item = (&'a [u8], Property<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        let mut bytes = self.reader;
        let id = self.reader.u8().ok()?;
        let property = read_value(id, &mut self.reader).ok()?;
        let bytes = bytes.bytes(bytes.len() - self.reader.len()).ok()?;
        Some((bytes, property))
    }
}
