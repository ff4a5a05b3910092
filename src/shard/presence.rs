//! Presence: who came and who went, under `$SYS`. One shard owns a client id, so the events of a
//! client come in the order in which they happened, and `epoch` only grows.

use super::close::Ending;
use super::conn::Conn;
use super::{Effects, Event, Shard};
use crate::base::{Now, Peer};
use crate::codec::{Forwarded, QoS, Version};
use crate::message::{Content, Message, NEVER_MS};
use serde::Serialize;

#[derive(Serialize)]
struct Presence<'a> {
    clientid: &'a str,
    username: Option<&'a str>,
    ipaddress: String,
    epoch: u64,
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
            protocol: match session.version {
                Version::V31 => 3,
                Version::V311 => 4,
                Version::V5 => 5,
            },
            connack: 0,
        };
        self.announce(now, (slot, &peer), ("connected", what), fx);
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
        self.announce(now, (slot, &conn.peer), ("disconnected", what), fx);
    }

    fn announce(
        &mut self,
        now: Now,
        (slot, peer): (u32, &Peer),
        (event, what): (&str, What),
        fx: &mut Effects,
    ) {
        if !self.options.presence {
            return;
        }
        let session = self.sessions.get(slot).expect("looked up by the caller");
        // An id may hold characters that no topic name may.
        let level = session.client_id.replace(['+', '#'], "_");
        let topic = format!("$SYS/brokers/{}/clients/{level}/{event}", self.options.node);
        if topic.len() > usize::from(u16::MAX) || self.router.route(&topic).is_empty() {
            return;
        }
        let presence = Presence {
            clientid: &session.client_id,
            username: session.username.as_deref(),
            ipaddress: peer.ip().to_string(),
            epoch: session.epoch,
            ts: now.unix_ms,
            what,
        };
        let payload = serde_json::to_vec(&presence).expect("plain fields always serialize");
        let content = Content {
            topic: &topic,
            payload: &payload,
            properties: Forwarded::from_stored(&[]),
            qos: QoS::AtLeastOnce,
            retain: false,
            expires_ms: NEVER_MS,
        };
        let message = Message::copy_of(&content, &mut self.scratch);
        self.handle_internal(now, &message, fx);
    }
}
