//! Messages on the client's side: what is sent, what comes, and the acknowledgements of both. All
//! kinds of load talk so; what a message means to them is their own.

use crate::net::Fault;
use ringmq::codec::frame::Frame;
use ringmq::codec::{
    Ack, AckKind, Forwarded, PacketType, Publish, PublishHead, QoS, ReasonCode, Role, Subscribe,
    SubscribeOptions, Version,
};

/// A message to be sent.
#[derive(Clone, Copy, Debug, Default)]
pub struct Outgoing<'a> {
    pub topic: &'a str,
    pub qos: QoS,
    /// 0 at QoS 0.
    pub packet_id: u16,
    pub retain: bool,
    /// As they stand on the wire (v5).
    pub properties: &'a [u8],
    /// Two parts, one after the other.
    pub payload: [&'a [u8]; 2],
}

impl Outgoing<'_> {
    #[inline]
    pub fn encode(&self, version: Version, out: &mut Vec<u8>) {
        let [first, second] = self.payload;
        let head = PublishHead {
            topic: self.topic,
            qos: self.qos,
            retain: self.retain,
            dup: false,
            packet_id: self.packet_id,
            message_expiry_s: None,
            topic_alias: None,
            subscription_ids: &[],
            forwarded: Forwarded::from_stored(self.properties),
            payload_len: first.len() + second.len(),
        };
        assert!(head.encode(version, out), "no packet holds more");
        out.extend_from_slice(first);
        out.extend_from_slice(second);
    }
}

/// QoS 2 messages that came to a client and are not released.
#[derive(Debug, Default)]
pub struct Unreleased(Vec<u16>);

impl Unreleased {
    /// There is no session any more that had some.
    pub fn clear(&mut self) {
        self.0 = Vec::new();
    }
}

/// A packet about messages, as it concerns a client.
#[derive(Debug)]
pub enum Heard<'a> {
    Message(Publish<'a>),
    /// QoS 2: it came before, and the broker has not seen the answer.
    Repeated,
    /// QoS 2: the broker will not send it again.
    Released,
    /// PUBACK, PUBREC or PUBCOMP of a message that the client has sent.
    Ack(Ack<'a>),
}

/// Takes a packet about messages, and appends what the protocol answers to a message or PUBREL.
///
/// # Errors
/// It is malformed.
#[inline]
pub fn hear<'a>(
    frame: Frame<'a>,
    version: Version,
    unreleased: &mut Unreleased,
    out: &mut Vec<u8>,
) -> Result<Heard<'a>, Fault> {
    if frame.packet_type() != PacketType::Publish {
        let ack = Ack::decode(frame.header, frame.body, version)?;
        if ack.kind != AckKind::PubRel {
            return Ok(Heard::Ack(ack));
        }
        unreleased.0.retain(|id| *id != ack.packet_id);
        Ack::new(AckKind::PubComp, ack.packet_id, ReasonCode::Success).encode(version, out);
        return Ok(Heard::Released);
    }
    let publish = Publish::decode_as(frame.header, frame.body, version, Role::Client)?;
    let id = publish.packet_id;
    match publish.qos {
        QoS::AtMostOnce => {}
        QoS::AtLeastOnce => {
            Ack::new(AckKind::PubAck, id, ReasonCode::Success).encode(version, out);
        }
        QoS::ExactlyOnce => {
            Ack::new(AckKind::PubRec, id, ReasonCode::Success).encode(version, out);
            if !unreleased.0.contains(&id) {
                unreleased.0.push(id);
            } else if publish.dup {
                return Ok(Heard::Repeated);
            }
        }
    }
    Ok(Heard::Message(publish))
}

/// Appends a SUBSCRIBE to one filter.
pub fn subscribe(filter: &str, qos: QoS, version: Version, out: &mut Vec<u8>) {
    let filters = [(filter, SubscribeOptions::with_qos(qos))];
    Subscribe::new(1, &filters).encode(version, out);
}

#[cfg(test)]
mod tests {
    use super::*;
    use ringmq::codec::frame;

    /// What comes of a packet: its kind, and the answer.
    fn heard(bytes: &[u8], unreleased: &mut Unreleased) -> (&'static str, Vec<u8>) {
        let frame = frame::next(bytes, 1024).unwrap().unwrap();
        let mut out = Vec::new();
        let kind = match hear(frame, Version::V311, unreleased, &mut out).unwrap() {
            Heard::Message(publish) => {
                assert_eq!((publish.topic, publish.payload), ("t", &b"ab"[..]));
                "message"
            }
            Heard::Repeated => "repeated",
            Heard::Released => "released",
            Heard::Ack(_) => "ack",
        };
        (kind, out)
    }

    #[test]
    fn answers_as_the_protocol_wants() {
        let mut unreleased = Unreleased::default();
        let mut hear = |bytes: &[u8]| heard(bytes, &mut unreleased);
        assert_eq!(hear(b"\x30\x05\0\x01tab"), ("message", vec![]));
        let at_least = hear(b"\x32\x07\0\x01t\0\x07ab");
        assert_eq!(at_least, ("message", vec![0x40, 2, 0, 7]));
        let received = vec![0x50, 2, 0, 8];
        let exactly = hear(b"\x34\x07\0\x01t\0\x08ab");
        assert_eq!(exactly, ("message", received.clone()));
        assert_eq!(
            hear(b"\x3c\x07\0\x01t\0\x08ab"),
            ("repeated", received.clone())
        );
        assert_eq!(hear(b"\x62\x02\0\x08"), ("released", vec![0x70, 2, 0, 8]));
        assert_eq!(hear(b"\x3c\x07\0\x01t\0\x08ab"), ("message", received));
        assert_eq!(hear(b"\x40\x02\0\x09"), ("ack", vec![]));
    }

    #[test]
    fn is_sent_as_it_is_heard() {
        let message = Outgoing {
            topic: "t",
            qos: QoS::AtLeastOnce,
            packet_id: 7,
            payload: [b"a", b"b"],
            ..Outgoing::default()
        };
        let mut out = Vec::new();
        message.encode(Version::V311, &mut out);
        assert_eq!(out, b"\x32\x07\0\x01t\0\x07ab");
    }
}
