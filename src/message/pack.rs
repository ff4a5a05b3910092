//! Messages packed one after the other in one piece of memory, to cross cores together.
//!
//! A message of its own is an allocation that one core makes and another frees, which costs more
//! than copying a small message twice. Whoever opens a pack borrows each message from it, as from a
//! read buffer, and most are encoded straight from there.

use super::Content;
use crate::codec::{Forwarded, QoS};

/// Messages of at most [`Pack::MESSAGE_BYTES_MAX`] each, in order.
#[derive(Default)]
pub struct Pack {
    bytes: Vec<u8>,
    count: u32,
    /// Where the last topic is, and its length: messages of one topic in a row share it.
    topic: (u32, u16),
}

/// What stands before each message's bytes.
struct Head {
    expires_ms: u64,
    payload_len: u32,
    properties_len: u32,
    topic_len: u16,
    qos: QoS,
    retain: bool,
    /// The topic is that of the message before.
    same_topic: bool,
}

const HEAD_BYTES: usize = 8 + 4 + 4 + 2 + 1;
/// Memory of an emptied pack that is kept for the next.
const SPARE_BYTES_MAX: usize = 128 * 1024;

impl Pack {
    /// Above this a message is better shared than copied.
    pub const MESSAGE_BYTES_MAX: usize = 4096;

    /// Whether such a message goes into a pack.
    #[inline]
    pub fn takes(content: &Content<'_>) -> bool {
        content.topic.len() + content.payload.len() <= Self::MESSAGE_BYTES_MAX
    }

    /// Adds a copy.
    #[inline]
    pub fn push(&mut self, content: &Content<'_>) {
        let topic = content.topic.as_bytes();
        let same_topic = self.count > 0 && self.last_topic() == topic;
        let head = Head {
            expires_ms: content.expires_ms,
            payload_len: content.payload.len() as u32,
            properties_len: content.properties.len() as u32,
            topic_len: topic.len() as u16,
            qos: content.qos,
            retain: content.retain,
            same_topic,
        };
        self.bytes.extend_from_slice(&head.to_bytes());
        if !same_topic {
            self.topic = (self.bytes.len() as u32, head.topic_len);
            self.bytes.extend_from_slice(topic);
        }
        if head.properties_len > 0 {
            content.properties.write_to(&mut self.bytes);
        }
        self.bytes.extend_from_slice(content.payload);
        self.count += 1;
    }

    fn last_topic(&self) -> &[u8] {
        let (start, len) = self.topic;
        &self.bytes[start as usize..][..usize::from(len)]
    }

    /// How many messages are in it.
    pub fn len(&self) -> usize {
        self.count as usize
    }

    /// Whether none is in it.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The messages, in the order in which they were added, each with whether its topic is that of
    /// the one before.
    pub fn iter(&self) -> impl Iterator<Item = (Content<'_>, bool)> {
        let mut rest = self.bytes.as_slice();
        let mut topic: &[u8] = &[];
        std::iter::from_fn(move || {
            let (head, mut after) = rest.split_first_chunk()?;
            let head = Head::from_bytes(head);
            if !head.same_topic {
                (topic, after) = after.split_at(head.topic_len.into());
            }
            let (properties, after) = after.split_at(head.properties_len as usize);
            let (payload, after) = after.split_at(head.payload_len as usize);
            rest = after;
            let content = Content {
                // SAFETY: `push` is the only writer, and it wrote these bytes from a `&str`.
                topic: unsafe { std::str::from_utf8_unchecked(topic) },
                payload,
                properties: Forwarded::from_stored(properties),
                qos: head.qos,
                retain: head.retain,
                expires_ms: head.expires_ms,
            };
            Some((content, head.same_topic))
        })
    }

    /// Empty, with its memory unless that is large.
    pub fn emptied(mut self) -> Pack {
        self.bytes.clear();
        self.bytes.shrink_to(SPARE_BYTES_MAX);
        self.count = 0;
        self
    }
}

impl Head {
    #[inline]
    fn to_bytes(&self) -> [u8; HEAD_BYTES] {
        let mut bytes = [0; HEAD_BYTES];
        bytes[..8].copy_from_slice(&self.expires_ms.to_ne_bytes());
        bytes[8..12].copy_from_slice(&self.payload_len.to_ne_bytes());
        bytes[12..16].copy_from_slice(&self.properties_len.to_ne_bytes());
        bytes[16..18].copy_from_slice(&self.topic_len.to_ne_bytes());
        bytes[18] = self.qos as u8 | u8::from(self.retain) << 2 | u8::from(self.same_topic) << 3;
        bytes
    }

    #[inline]
    fn from_bytes(bytes: &[u8; HEAD_BYTES]) -> Head {
        let four = |at: usize| [bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]];
        let (low, high) = (four(0), four(4));
        let eight = [
            low[0], low[1], low[2], low[3], high[0], high[1], high[2], high[3],
        ];
        Head {
            expires_ms: u64::from_ne_bytes(eight),
            payload_len: u32::from_ne_bytes(four(8)),
            properties_len: u32::from_ne_bytes(four(12)),
            topic_len: u16::from_ne_bytes([bytes[16], bytes[17]]),
            qos: match bytes[18] & 3 {
                0 => QoS::AtMostOnce,
                1 => QoS::AtLeastOnce,
                _ => QoS::ExactlyOnce,
            },
            retain: bytes[18] & 4 != 0,
            same_topic: bytes[18] & 8 != 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::NEVER_MS;
    use super::*;
    use proptest::prelude::*;

    type Parts = (String, Vec<u8>, Vec<u8>, u8, bool, u64);

    fn parts() -> impl Strategy<Value = Parts> {
        (
            prop_oneof!["[a-zäß/+]{1,40}", Just("one of many".to_owned())],
            proptest::collection::vec(any::<u8>(), 0..200),
            proptest::collection::vec(any::<u8>(), 0..30),
            0..3u8,
            any::<bool>(),
            prop_oneof![Just(NEVER_MS), any::<u64>()],
        )
    }

    fn content((topic, payload, properties, qos, retain, expires_ms): &Parts) -> Content<'_> {
        Content {
            topic,
            payload,
            properties: Forwarded::from_stored(properties),
            qos: [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce][usize::from(*qos)],
            retain: *retain,
            expires_ms: *expires_ms,
        }
    }

    proptest! {
        #[test]
        fn what_goes_in_comes_out_in_order(all in proptest::collection::vec(parts(), 0..20)) {
            let mut pack = Pack::default();
            pack.push(&content(&("old".into(), vec![1], vec![], 0, false, 7)));
            let mut pack = pack.emptied();
            prop_assert!(pack.is_empty() && pack.iter().next().is_none());
            for one in &all {
                pack.push(&content(one));
            }
            prop_assert_eq!(pack.len(), all.len());
            let mut before = None;
            for ((found, is_same), one) in pack.iter().zip(&all) {
                let wanted = content(one);
                prop_assert_eq!(is_same, before == Some(wanted.topic));
                before = Some(wanted.topic);
                prop_assert_eq!((found.topic, found.payload), (wanted.topic, wanted.payload));
                prop_assert_eq!((found.qos, found.retain), (wanted.qos, wanted.retain));
                prop_assert_eq!(found.expires_ms, wanted.expires_ms);
                let (mut left, mut right) = (vec![], vec![]);
                found.properties.write_to(&mut left);
                wanted.properties.write_to(&mut right);
                prop_assert_eq!(left, right);
            }
            prop_assert_eq!(pack.iter().count(), all.len());
        }
    }
}
