//! Presence: who came and who went, under `$SYS`. One shard owns a client id, so the events of a
//! client come in the order in which they happened, and `epoch` only grows.

use super::close::Ending;
use super::conn::{Conn, PendingConnect};
use super::{Effects, Event, Shard};
use crate::base::{ConnId, Now, Peer};
use crate::codec::{Forwarded, QoS, ReasonCode, Version};
use crate::message::{Content, Message, NEVER_MS};
use serde::Serialize;

#[derive(Serialize)]
struct Presence<'a> {
    clientid: &'a str,
    username: Option<&'a str>,
    ipaddress: String,
    /// Of the connection; who was refused never had one.
    #[serde(skip_serializing_if = "Option::is_none")]
    epoch: Option<u64>,
    /// Unix milliseconds.
    ts: u64,
    #[serde(flatten)]
    what: What,
}

#[derive(Serialize)]
#[serde(untagged)]
enum What {
    Connected {
        clean_sess: bool,
        protocol: u8,
        connack: u8,
    },
    Disconnected {
        reason: &'static str,
    },
}

impl Shard {
    pub(super) fn announce_connected(
        &mut self,
        now: Now,
        slot: u32,
        (session_present, clean_start): (bool, bool),
        fx: &mut Effects,
    ) {
        let session = self.sessions.get(slot).expect("established by the caller");
        let conn = session
            .conn
            .and_then(|id| self.conns.get(id.0))
            .expect("established by the caller");
        let peer = conn.peer.clone();
        let client_id = session.client_id.clone();
        fx.events.push(Event::Connected {
            client_id,
            peer: peer.clone(),
            session_present,
        });
        let what = What::Connected {
            clean_sess: clean_start,
            protocol: level(session.version),
            connack: 0,
        };
        self.announce_of(now, (slot, &peer), ("connected", what), fx);
    }

    /// CONNECT is refused: emqttd calls that a connect too, with the code of its CONNACK.
    pub(super) fn announce_refused(
        &mut self,
        now: Now,
        id: ConnId,
        (pending, reason): (&PendingConnect, ReasonCode),
        fx: &mut Effects,
    ) {
        let conn = self.conns.get(id.0).expect("looked up by the caller");
        let (version, ipaddress) = (conn.version, conn.peer.ip().to_string());
        let presence = Presence {
            clientid: &pending.client_id,
            username: pending.username.as_deref(),
            ipaddress,
            epoch: None,
            ts: now.unix_ms,
            what: What::Connected {
                clean_sess: pending.clean_start,
                protocol: level(version),
                connack: match version {
                    Version::V5 => reason as u8,
                    _ => reason.connack_return_code_v3(),
                },
            },
        };
        if let Some(message) = self.presence("connected", &presence) {
            self.handle_internal(now, &message, fx);
        }
    }

    pub(super) fn announce_disconnected(
        &mut self,
        now: Now,
        (slot, conn): (u32, &Conn),
        ending: Ending,
        fx: &mut Effects,
    ) {
        let session = self.sessions.get(slot).expect("looked up by the caller");
        let (client_id, reason) = (session.client_id.clone(), ending.name());
        fx.events.push(Event::Disconnected {
            client_id,
            peer: conn.peer.clone(),
            reason,
        });
        let what = What::Disconnected { reason };
        self.announce_of(now, (slot, &conn.peer), ("disconnected", what), fx);
    }

    fn announce_of(
        &mut self,
        now: Now,
        (slot, peer): (u32, &Peer),
        (event, what): (&str, What),
        fx: &mut Effects,
    ) {
        let session = self.sessions.get(slot).expect("looked up by the caller");
        let (client_id, username) = (session.client_id.clone(), session.username.clone());
        let presence = Presence {
            clientid: &client_id,
            username: username.as_deref(),
            ipaddress: peer.ip().to_string(),
            epoch: Some(session.epoch),
            ts: now.unix_ms,
            what,
        };
        if let Some(message) = self.presence(event, &presence) {
            self.handle_internal(now, &message, fx);
        }
    }

    /// The message, if somebody wants it.
    fn presence(&mut self, event: &str, presence: &Presence<'_>) -> Option<Message> {
        if !self.options.presence {
            return None;
        }
        // An id may hold characters that no topic name may.
        let client = presence.clientid.replace(['+', '#'], "_");
        let topic = format!(
            "$SYS/brokers/{}/clients/{client}/{event}",
            self.options.node
        );
        if topic.len() > usize::from(u16::MAX) || self.router.route(&topic).is_empty() {
            return None;
        }
        let payload = serde_json::to_vec(presence).expect("plain fields always serialize");
        let content = Content {
            topic: &topic,
            payload: &payload,
            properties: Forwarded::from_stored(&[]),
            qos: QoS::AtLeastOnce,
            retain: false,
            expires_ms: NEVER_MS,
        };
        Some(Message::copy_of(&content, &mut self.scratch))
    }
}

/// Protocol Level of CONNECT.
fn level(version: Version) -> u8 {
    match version {
        Version::V31 => 3,
        Version::V311 => 4,
        Version::V5 => 5,
    }
}
