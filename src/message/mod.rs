//! The application message: immutable, one allocation, shared by every queue and core it crosses.
//!
//! [`Content`] is the same message while it is still borrowed from a read buffer. Most messages
//! never become a [`Message`]: QoS 0 to connected receivers is encoded straight from the borrow.

mod pack;

pub use pack::Pack;

use crate::codec::{Forwarded, QoS};
use triomphe::ThinArc;

/// "Does not expire", as [`Content::expires_ms`].
pub const NEVER_MS: u64 = u64::MAX;

/// A message as the broker passes it on, borrowed.
#[derive(Clone, Copy)]
pub struct Content<'a> {
    /// Topic name, never empty: an alias is resolved before.
    pub topic: &'a str,
    /// Application payload.
    pub payload: &'a [u8],
    /// The properties that are passed on unchanged (MQTT-3.3.2-4, -15 to -18, -20).
    pub properties: Forwarded<'a>,
    /// QoS of the publisher.
    pub qos: QoS,
    /// RETAIN as the publisher set it.
    pub retain: bool,
    /// Monotonic millisecond after which the message is not begun to be delivered
    /// (MQTT-3.3.2-5); [`NEVER_MS`] without an expiry interval.
    pub expires_ms: u64,
}

impl Content<'_> {
    /// Whether the expiry interval has passed.
    pub fn expired(&self, now_ms: u64) -> bool {
        now_ms >= self.expires_ms
    }

    /// The interval to send now: what was received less the time spent here, in seconds rounded
    /// up (MQTT-3.3.2-6).
    pub fn expiry_left_s(&self, now_ms: u64) -> Option<u32> {
        expiry_left_s(self.expires_ms, now_ms)
    }
}

fn expiry_left_s(expires_ms: u64, now_ms: u64) -> Option<u32> {
    (expires_ms != NEVER_MS).then(|| expires_ms.saturating_sub(now_ms).div_ceil(1000) as u32)
}

struct Header {
    expires_ms: u64,
    topic_len: u16,
    qos: QoS,
    retain: bool,
    properties_len: u32,
}

/// A message that outlives the read that brought it. Cloning counts a reference.
#[derive(Clone)]
pub struct Message(ThinArc<Header, u8>);

impl Message {
    /// Copies `content`; `scratch` is any buffer, reused from call to call.
    pub fn copy_of(content: &Content<'_>, scratch: &mut Vec<u8>) -> Message {
        scratch.clear();
        scratch.extend_from_slice(content.topic.as_bytes());
        content.properties.write_to(scratch);
        let properties_len = (scratch.len() - content.topic.len()) as u32;
        scratch.extend_from_slice(content.payload);
        let header = Header {
            expires_ms: content.expires_ms,
            topic_len: content.topic.len() as u16,
            qos: content.qos,
            retain: content.retain,
            properties_len,
        };
        Message(ThinArc::from_header_and_slice(header, scratch))
    }

    /// The message, borrowed.
    #[inline]
    pub fn content(&self) -> Content<'_> {
        let header = &self.0.header.header;
        let (topic, rest) = self.0.slice.split_at(header.topic_len as usize);
        let (properties, payload) = rest.split_at(header.properties_len as usize);
        Content {
            // SAFETY: `copy_of` is the only constructor, and it wrote these bytes from a `&str`.
            topic: unsafe { std::str::from_utf8_unchecked(topic) },
            payload,
            properties: Forwarded::from_stored(properties),
            qos: header.qos,
            retain: header.retain,
            expires_ms: header.expires_ms,
        }
    }

    /// Topic name.
    pub fn topic(&self) -> &str {
        self.content().topic
    }

    /// Monotonic millisecond of its end, [`NEVER_MS`] without one.
    #[inline]
    pub fn expires_ms(&self) -> u64 {
        self.0.header.header.expires_ms
    }

    /// Bytes it occupies: what queue and retained budgets count.
    #[inline]
    pub fn size(&self) -> usize {
        std::mem::size_of::<Header>() + 16 + self.0.slice.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn content() -> Content<'static> {
        Content {
            topic: "a/ü",
            payload: b"payload",
            properties: Forwarded::from_stored(&[1, 1]),
            qos: QoS::AtLeastOnce,
            retain: true,
            expires_ms: 5_000,
        }
    }

    #[test]
    fn a_copy_is_the_same_message() {
        let mut scratch = vec![9; 3];
        let message = Message::copy_of(&content(), &mut scratch);
        let copy = message.content();
        assert_eq!((copy.topic, copy.payload), ("a/ü", &b"payload"[..]));
        assert_eq!(
            (copy.qos, copy.retain, copy.expires_ms),
            (QoS::AtLeastOnce, true, 5_000)
        );
        let mut properties = vec![];
        copy.properties.write_to(&mut properties);
        assert_eq!(properties, [1, 1]);
    }

    #[test]
    fn expiry_counts_down_and_rounds_up() {
        assert_eq!(content().expiry_left_s(1_500), Some(4));
        assert_eq!(content().expiry_left_s(9_000), Some(0));
        assert!(content().expired(5_000) && !content().expired(4_999));
        assert_eq!(
            Content {
                expires_ms: NEVER_MS,
                ..content()
            }
            .expiry_left_s(7),
            None
        );
    }
}
