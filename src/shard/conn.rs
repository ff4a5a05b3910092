//! One connection as the shard sees it: where it stands, and how packets are put on it.

use super::access::Bounds;
use crate::base::{Now, Peer};
use crate::codec::{self, Ack, AckKind, PublishHead, QoS, ReasonCode, Version};
use crate::message::Content;
use crate::session::{Aliases, alias, will::Will};
use std::sync::Arc;

/// Where a connection stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Nothing but CONNECT is accepted (MQTT-3.1.0-1).
    AwaitingConnect,
    /// CONNECT came; enhanced authentication goes on until CONNACK.
    Authenticating,
    /// CONNACK was sent.
    Up,
}

/// Why nothing of a connection is read. One reason keeps the other from coming up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pause {
    /// Until a verdict comes.
    Undecided,
    /// As many acknowledgements are owed to it as it may wait for: until one is given.
    OwedAll,
    /// Others have their turn first.
    Turn,
}

/// What CONNECT asked for that matters later on, as bits.
#[derive(Clone, Copy)]
pub struct Asked(u8);

impl Asked {
    const PROBLEM_INFORMATION: u8 = 1;
    const EXPIRY: u8 = 2;

    /// Of CONNECT's properties.
    pub fn of(properties: &codec::ConnectProperties<'_>) -> Asked {
        let wants_reasons = properties.request_problem_information;
        let has_expiry = properties
            .session_expiry_s
            .is_some_and(|expiry_s| expiry_s > 0);
        let bit = |is_set: bool, bit| if is_set { bit } else { 0 };
        Asked(bit(wants_reasons, Self::PROBLEM_INFORMATION) | bit(has_expiry, Self::EXPIRY))
    }

    /// Request Problem Information (MQTT-3.1.2-29).
    pub fn for_problem_information(self) -> bool {
        self.0 & Self::PROBLEM_INFORMATION != 0
    }

    /// For a session that outlives the connection: only then may DISCONNECT (section 3.14.2.2.2),
    /// whatever this broker made of it.
    pub fn for_expiry(self) -> bool {
        self.0 & Self::EXPIRY != 0
    }
}

/// A connection. Kept small: an idle fleet is made of these.
pub struct Conn {
    pub peer: Peer,
    pub phase: Phase,
    pub version: Version,
    /// Which access rules hold.
    pub bounds: Bounds,
    /// Why nothing of it is read, if nothing is.
    pub pause: Option<Pause>,
    pub asked: Asked,
    /// Which announcement CONNACK made to it: see [`Promises`](super::promises::Promises).
    pub announced: u8,
    /// Slot of the session once up.
    pub session: u32,
    /// Maximum Packet Size of the client, in bytes.
    pub packet_bytes_max: u32,
    /// Topic Alias Maximum towards the client.
    pub alias_maximum: u16,
    /// Silence longer than this ends the connection, in milliseconds; 0: never.
    pub silence_ms_max: u32,
    /// Names the last question to the authenticator: no other connection of the shard had it, so a
    /// late verdict meets nobody else. 0: nothing was asked.
    pub attempt: u32,
    /// When it was opened here, in monotonic milliseconds.
    pub opened_ms: u64,
    /// When it last brought a packet, in monotonic milliseconds.
    pub last_packet_ms: u64,
    /// The earliest alarm that is set for it, [`u64::MAX`] without one.
    pub alarm_ms: u64,
    /// A packet that has not come whole.
    pub tail: Vec<u8>,
    pub rare: Option<Box<Rare>>,
}

const _: () = assert!(
    std::mem::size_of::<Conn>() <= 128,
    "the idle budget counts on it"
);

/// What few connections have, or only for a moment.
#[derive(Default)]
pub struct Rare {
    pub aliases: Aliases,
    /// CONNECT, while it is decided.
    pub connect: Option<PendingConnect>,
    /// Prefix of the client's topics.
    pub mountpoint: Option<Arc<str>>,
    /// Authentication Method of CONNECT.
    pub method: Option<Box<str>>,
    /// What the authenticator wants to see again with the next step.
    pub auth_state: Option<Box<[u8]>>,
    /// Whether a re-authentication is going on (section 4.12.1).
    pub reauthenticating: bool,
}

impl Rare {
    /// Whether some of it is needed as long as the connection lasts.
    pub fn stays(&self) -> bool {
        self.method.is_some() || self.mountpoint.is_some()
    }
}

/// What CONNECT asked for.
pub struct PendingConnect {
    pub client_id: Box<str>,
    /// The id was made here (MQTT-3.2.2-16).
    pub assigned: bool,
    pub username: Option<Box<str>>,
    pub clean_start: bool,
    pub keep_alive_s: u16,
    pub expiry_s: u32,
    /// The client asked for another expiry.
    pub expiry_changed: bool,
    pub receive_maximum: u16,
    pub will: Option<Box<Will>>,
}

/// An application message about to be put on a connection.
#[derive(Clone, Copy)]
pub struct Outgoing<'a> {
    pub content: Content<'a>,
    pub qos: QoS,
    pub retain: bool,
    pub dup: bool,
    /// 0 with QoS 0.
    pub packet_id: u16,
    pub ids: &'a [u32],
}

impl Conn {
    /// A connection that has not said anything.
    pub fn new(peer: Peer, now: Now) -> Conn {
        Conn {
            peer,
            phase: Phase::AwaitingConnect,
            version: Version::V5,
            bounds: Bounds::default(),
            pause: None,
            asked: Asked(Asked::PROBLEM_INFORMATION),
            announced: 0,
            session: u32::MAX,
            packet_bytes_max: u32::MAX,
            alias_maximum: 0,
            silence_ms_max: 0,
            attempt: 0,
            opened_ms: now.ms,
            last_packet_ms: now.ms,
            alarm_ms: u64::MAX,
            tail: Vec::new(),
            rare: None,
        }
    }

    /// Whether more bytes may be brought.
    pub fn wants_input(&self) -> bool {
        self.pause.is_none()
    }

    /// What few connections have.
    pub fn rare_mut(&mut self) -> &mut Rare {
        self.rare.get_or_insert_default()
    }

    /// Whether its topics lie below a prefix.
    #[inline]
    pub fn is_mounted(&self) -> bool {
        self.mountpoint().is_some()
    }

    /// The prefix of its topics.
    #[inline]
    pub fn mountpoint(&self) -> Option<&str> {
        self.rare.as_ref()?.mountpoint.as_deref()
    }

    /// A topic as the client knows it. What lies elsewhere (it subscribed when it came through
    /// another listener) keeps its whole name.
    pub fn unmounted<'a>(&self, topic: &'a str) -> &'a str {
        let prefix = self.mountpoint().unwrap_or_default();
        match topic.strip_prefix(prefix) {
            Some(rest) if !rest.is_empty() => rest,
            _ => topic,
        }
    }

    /// Appends PUBLISH to `out`. False, and nothing appended, when it is larger than the client
    /// takes (MQTT-3.1.2-24).
    pub fn put_publish(&mut self, now: Now, message: &Outgoing<'_>, out: &mut Vec<u8>) -> bool {
        let topic = match self.is_mounted() {
            true => self.unmounted(message.content.topic),
            false => message.content.topic,
        };
        let naming = match self.alias_maximum {
            0 => alias::Outgoing::Full,
            maximum => self.rare_mut().aliases.outgoing(topic, maximum),
        };
        let (topic, alias) = match naming {
            alias::Outgoing::Full => (topic, None),
            alias::Outgoing::Define(alias) => (topic, Some(alias)),
            alias::Outgoing::Known(alias) => ("", Some(alias)),
        };
        let start = out.len();
        let is_packet = encode_publish(now, self.version, (topic, alias), message, out);
        if !is_packet || out.len() - start > self.packet_bytes_max as usize {
            out.truncate(start);
            return false;
        }
        if let alias::Outgoing::Define(alias) = naming {
            self.rare_mut().aliases.defined(alias, topic);
        }
        true
    }

    /// Appends PUBACK, PUBREC, PUBREL or PUBCOMP.
    #[inline]
    pub fn put_ack(&self, kind: AckKind, packet_id: u16, reason: ReasonCode, out: &mut Vec<u8>) {
        Ack::new(kind, packet_id, reason).encode(self.version, out);
    }

    /// The reason string to send: what was said, if the client wants to hear it and takes packets
    /// of that size.
    pub fn reason_string<'a>(&self, text: &'a str) -> Option<&'a str> {
        // Fixed header, reason, property length and the string's own length.
        const OVERHEAD: usize = 16;
        let fits = text.len() + OVERHEAD <= self.packet_bytes_max as usize;
        let wanted = self.version == Version::V5 && self.asked.for_problem_information();
        (wanted && fits).then_some(text)
    }
}

/// Encodes PUBLISH; the topic may differ from the content's where an alias stands for it. False,
/// and nothing is appended: what has to go with the message makes it larger than a packet may be.
pub fn encode_publish(
    now: Now,
    version: codec::Version,
    (topic, topic_alias): (&str, Option<u16>),
    message: &Outgoing<'_>,
    out: &mut Vec<u8>,
) -> bool {
    let content = &message.content;
    let head = PublishHead {
        topic,
        qos: message.qos,
        retain: message.retain,
        dup: message.dup,
        packet_id: message.packet_id,
        message_expiry_s: content.expiry_left_s(now.ms),
        topic_alias,
        subscription_ids: message.ids,
        forwarded: content.properties,
        payload_len: content.payload.len(),
    };
    let is_packet = head.encode(version, out);
    if is_packet {
        out.extend_from_slice(content.payload);
    }
    is_packet
}
