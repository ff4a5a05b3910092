//! PUBLISH (section 3.3).

use super::{Role, Version};
use crate::codec::error::DecodeError;
use crate::codec::forwarded::{Forwarded, SubscriptionIds, is_forwarded};
use crate::codec::property::{Properties, Property, id};
use crate::codec::reader::Reader;
use crate::codec::version::QoS;
use crate::codec::writer::{VARINT_MAX, encode_varint, varint_len};

/// A PUBLISH, borrowed from the read buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Publish<'a> {
    pub dup: bool,
    pub qos: QoS,
    pub retain: bool,
    /// Empty only if `topic_alias` stands for it.
    pub topic: &'a str,
    /// 0 at QoS 0.
    pub packet_id: u16,
    /// Never 0.
    pub topic_alias: Option<u16>,
    pub message_expiry_s: Option<u32>,
    pub properties: Forwarded<'a>,
    /// Empty in what clients send (MQTT-3.3.4-6).
    pub subscription_ids: SubscriptionIds<'a>,
    pub payload: &'a [u8],
}

/// What precedes the payload of a PUBLISH that is sent.
#[derive(Clone, Copy, Debug)]
pub struct PublishHead<'a> {
    /// Empty if `topic_alias` stands for it.
    pub topic: &'a str,
    pub qos: QoS,
    pub retain: bool,
    /// Sent as 0 at QoS 0 (MQTT-3.3.1-2).
    pub dup: bool,
    /// Not sent at QoS 0 (MQTT-2.2.1-2).
    pub packet_id: u16,
    pub message_expiry_s: Option<u32>,
    pub topic_alias: Option<u16>,
    pub subscription_ids: &'a [u32],
    pub forwarded: Forwarded<'a>,
    /// Bytes of the payload, which the caller appends.
    pub payload_len: usize,
}

impl<'a> Publish<'a> {
    /// Decodes what a client sent to a server.
    ///
    /// # Errors
    /// Whatever section 3.3 forbids a client.
    #[inline]
    pub fn decode(
        header: u8,
        body: &'a [u8],
        version: Version,
    ) -> Result<Publish<'a>, DecodeError> {
        Publish::decode_as(header, body, version, Role::Server)
    }

    /// Decodes in either role. `header` is the first byte of the packet.
    ///
    /// # Errors
    /// Whatever section 3.3 forbids the sender.
    #[inline]
    pub fn decode_as(
        header: u8,
        body: &'a [u8],
        version: Version,
        role: Role,
    ) -> Result<Publish<'a>, DecodeError> {
        let qos = QoS::try_from(header >> 1 & 3).map_err(|_| DecodeError::PublishQoS)?;
        let mut dup = header & 8 != 0;
        let mut reader = Reader::new(body);
        let topic = reader.topic()?;
        let mut packet_id = 0;
        if qos != QoS::AtMostOnce {
            packet_id = reader.packet_id()?;
        } else if dup {
            match version {
                // 3.1 says nothing of DUP at QoS 0.
                Version::V31 => dup = false,
                _ => return Err(DecodeError::DupAtQoS0),
            }
        }
        let section = match version {
            Version::V5 => reader.section()?,
            _ => &[],
        };
        // Most PUBLISH have no properties.
        let optional = match section {
            [] => Optional::default(),
            _ => Optional::read(section, role)?,
        };
        if topic.is_empty() && optional.topic_alias.is_none() {
            return Err(DecodeError::TopicEmpty);
        }
        Ok(Publish {
            dup,
            qos,
            retain: header & 1 != 0,
            topic,
            packet_id,
            topic_alias: optional.topic_alias,
            message_expiry_s: optional.message_expiry_s,
            properties: optional.forwarded,
            subscription_ids: optional.subscription_ids,
            payload: reader.rest(),
        })
    }

    /// Appends the packet.
    pub fn encode(&self, version: Version, out: &mut Vec<u8>) {
        let subscription_ids: Vec<u32> = self.subscription_ids.iter().collect();
        let head = PublishHead {
            topic: self.topic,
            qos: self.qos,
            retain: self.retain,
            dup: self.dup,
            packet_id: self.packet_id,
            message_expiry_s: self.message_expiry_s,
            topic_alias: self.topic_alias,
            subscription_ids: &subscription_ids,
            forwarded: self.properties,
            payload_len: self.payload.len(),
        };
        if head.encode(version, out) {
            out.extend_from_slice(self.payload);
        }
    }
}

/// What properties say.
#[derive(Default)]
struct Optional<'a> {
    topic_alias: Option<u16>,
    message_expiry_s: Option<u32>,
    forwarded: Forwarded<'a>,
    subscription_ids: SubscriptionIds<'a>,
}

impl<'a> Optional<'a> {
    #[inline(never)]
    fn read(section: &'a [u8], role: Role) -> Result<Optional<'a>, DecodeError> {
        let mut read = Optional::default();
        let mut forwarded_len = 0;
        let mut properties = Properties::of(section);
        while let Some(property) = properties.next()? {
            match property {
                Property::TopicAlias(0) => return Err(DecodeError::TopicAliasZero),
                Property::TopicAlias(alias) => read.topic_alias = Some(alias),
                Property::MessageExpiryInterval(s) => read.message_expiry_s = Some(s),
                Property::SubscriptionIdentifier(_) if role == Role::Client => {}
                Property::SubscriptionIdentifier(_) => {
                    return Err(DecodeError::SubscriptionIdFromClient);
                }
                _ if is_forwarded(&property) => forwarded_len += properties.last_len(),
                _ => return Err(properties.not_allowed()),
            }
        }
        read.forwarded = Forwarded::of_section(section, forwarded_len);
        let ids = properties.section_with(id::SUBSCRIPTION_IDENTIFIER);
        read.subscription_ids = SubscriptionIds::of_section(ids);
        Ok(read)
    }
}

impl PublishHead<'_> {
    /// Appends everything up to the payload, and reserves room for the payload.
    ///
    /// Lengths are added up beforehand, so that nothing is moved and the buffer grows at most
    /// once. The topic has at most 65,535 bytes. False, and nothing is appended: the packet would
    /// have a Remaining Length of more than 268,435,455, which it cannot say.
    #[inline]
    pub fn encode(&self, version: Version, out: &mut Vec<u8>) -> bool {
        debug_assert!(self.topic.len() <= super::super::topic::BYTES_MAX);
        let id_len = 2 * usize::from(self.qos != QoS::AtMostOnce);
        let is_v5 = version == Version::V5;
        let properties_len = if is_v5 { self.properties_len() } else { 0 };
        let properties_size = match is_v5 {
            true => varint_len(properties_len) + properties_len,
            false => 0,
        };
        let remaining = 2 + self.topic.len() + id_len + properties_size + self.payload_len;
        if remaining > VARINT_MAX {
            return false;
        }
        let (length, width) = encode_varint(remaining);
        out.reserve(1 + width + remaining);
        self.put_fixed_header(length, width, out);
        out.extend_from_slice(self.topic.as_bytes());
        if id_len != 0 {
            out.extend_from_slice(&self.packet_id.to_be_bytes());
        }
        match properties_len {
            0 if is_v5 => out.push(0),
            0 => {}
            _ => self.put_properties(properties_len, out),
        }
        true
    }

    /// First byte, Remaining Length and the topic's length, in one copy.
    #[inline]
    fn put_fixed_header(&self, length: [u8; 4], width: usize, out: &mut Vec<u8>) {
        let dup = self.dup && self.qos != QoS::AtMostOnce;
        let flags = u8::from(dup) << 3 | (self.qos as u8) << 1 | u8::from(self.retain);
        let [a, b, c, d] = length;
        let mut head = [0x30 | flags, a, b, c, d, 0, 0];
        let topic_len = (self.topic.len() as u16).to_be_bytes();
        head[1 + width..3 + width].copy_from_slice(&topic_len);
        out.extend_from_slice(&head[..3 + width]);
    }

    #[inline]
    fn properties_len(&self) -> usize {
        let fixed = 5 * usize::from(self.message_expiry_s.is_some())
            + 3 * usize::from(self.topic_alias.is_some());
        let ids = self.subscription_ids.iter();
        let ids = ids.map(|id| 1 + varint_len(*id as usize)).sum::<usize>();
        fixed + ids + self.forwarded.len()
    }

    fn put_properties(&self, len: usize, out: &mut Vec<u8>) {
        let (encoded, width) = encode_varint(len);
        out.extend_from_slice(&encoded[..width]);
        if let Some(s) = self.message_expiry_s {
            let [a, b, c, d] = s.to_be_bytes();
            out.extend_from_slice(&[id::MESSAGE_EXPIRY_INTERVAL, a, b, c, d]);
        }
        if let Some(alias) = self.topic_alias {
            let [a, b] = alias.to_be_bytes();
            out.extend_from_slice(&[id::TOPIC_ALIAS, a, b]);
        }
        for &id in self.subscription_ids {
            Property::SubscriptionIdentifier(id).write(out);
        }
        self.forwarded.write_to(out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const V5_QOS1: &[u8] = &[
        0, 3, b'a', b'/', b'b', 0, 7, // topic, packet identifier
        16, 0x01, 1, 0x02, 0, 0, 0, 9, 0x23, 0, 4, // format, expiry, alias
        0x09, 0, 3, 1, 2, 3, // correlation data
        b'h', b'i',
    ];

    #[test]
    fn what_would_be_longer_than_a_packet_is_not_begun() {
        let head = PublishHead {
            topic: "t",
            qos: QoS::AtMostOnce,
            retain: false,
            dup: false,
            packet_id: 0,
            message_expiry_s: None,
            topic_alias: None,
            subscription_ids: &[1, 2, 3],
            forwarded: Forwarded::from_stored(&[]),
            payload_len: VARINT_MAX - 3 - 6,
        };
        let mut out = vec![7];
        assert!(!head.encode(Version::V5, &mut out));
        assert_eq!(out, [7]);
    }

    #[test]
    fn properties_to_forward_are_set_apart() {
        let publish = Publish::decode(0x3B, V5_QOS1, Version::V5).unwrap();
        assert_eq!((publish.topic, publish.packet_id), ("a/b", 7));
        assert_eq!(
            (publish.dup, publish.retain, publish.qos),
            (true, true, QoS::AtLeastOnce)
        );
        assert_eq!(
            (publish.topic_alias, publish.message_expiry_s),
            (Some(4), Some(9))
        );
        assert_eq!(publish.payload, b"hi");
        let mut forwarded = vec![];
        publish.properties.write_to(&mut forwarded);
        assert_eq!(forwarded, [0x01, 1, 0x09, 0, 3, 1, 2, 3]);
        assert_eq!(publish.properties.len(), forwarded.len());
        assert_eq!(publish.properties.correlation_data(), Some(&[1, 2, 3][..]));
        assert!(publish.properties.payload_is_utf8());
    }

    #[test]
    fn head_is_as_the_specification_lays_it_out() {
        let head = PublishHead {
            topic: "a/b",
            qos: QoS::AtLeastOnce,
            retain: true,
            dup: false,
            packet_id: 0x0102,
            message_expiry_s: Some(3),
            topic_alias: Some(4),
            subscription_ids: &[5, 200],
            forwarded: Forwarded::from_stored(&[0x01, 1]),
            payload_len: 1,
        };
        let mut out = vec![];
        head.encode(Version::V5, &mut out);
        let properties = [2, 0, 0, 0, 3, 0x23, 0, 4, 0x0B, 5, 0x0B, 0xC8, 1, 1, 1];
        let mut wanted = vec![0x33, 24, 0, 3, b'a', b'/', b'b', 1, 2, 15];
        wanted.extend_from_slice(&properties);
        assert_eq!(out, wanted);
        out.clear();
        head.encode(Version::V311, &mut out);
        assert_eq!(out, [0x33, 8, 0, 3, b'a', b'/', b'b', 1, 2]);
    }

    #[test]
    fn qos_0_has_neither_dup_nor_packet_id() {
        let mut out = vec![];
        let head = PublishHead {
            topic: "t",
            qos: QoS::AtMostOnce,
            retain: false,
            dup: true,
            packet_id: 9,
            message_expiry_s: None,
            topic_alias: None,
            subscription_ids: &[],
            forwarded: Forwarded::default(),
            payload_len: 0,
        };
        head.encode(Version::V5, &mut out);
        assert_eq!(out, [0x30, 4, 0, 1, b't', 0]);
        assert_eq!(
            Publish::decode(0x38, &[0, 1, b't'], Version::V311),
            Err(DecodeError::DupAtQoS0)
        );
        assert!(
            !Publish::decode(0x38, &[0, 1, b't'], Version::V31)
                .unwrap()
                .dup
        );
    }
}
