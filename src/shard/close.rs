//! The end of connections and of sessions.

use super::conn::{Conn, Phase};
use super::connect::Refused;
use super::{Drop, Effects, Event, Refusal, Shard};
use crate::base::{ConnId, Now};
use crate::codec::{Disconnect, ReasonCode, Version};
use crate::message::{Content, Message};
use crate::session::{Stage, Violation, will::Will};
use std::borrow::Cow;

/// Why a connection ends.
#[derive(Clone, Copy, Debug)]
pub(super) enum Ending {
    /// DISCONNECT came; the will goes with reason 0x00 (MQTT-3.14.4-3).
    ByClient {
        with_will: bool,
    },
    /// The peer closed it, or it broke.
    PeerClosed,
    Violation(Violation),
    /// Another connection has the same client id (MQTT-3.1.4-3).
    TakenOver,
    /// MQTT-3.1.2-22.
    KeepAlive,
    /// Re-authentication failed (MQTT-4.12.1-2).
    Refused(ReasonCode),
    /// What has to be answered is larger than the client takes (MQTT-3.1.2-24); silently before
    /// CONNACK, and with 0x95 after it.
    AnswerTooLarge {
        told: bool,
    },
    /// An operator took it off.
    Kicked,
    /// What let it in has come to its end.
    Expired,
    /// It sends a large packet bit by bit while there is no memory for it.
    MemoryBudget,
    Shutdown,
}

impl Ending {
    /// What a v5 client is told; `None` when it ended the connection itself.
    fn reason(self) -> Option<ReasonCode> {
        Some(match self {
            Ending::ByClient { .. } | Ending::PeerClosed => return None,
            Ending::AnswerTooLarge { told } => return told.then_some(ReasonCode::PacketTooLarge),
            Ending::Violation(violation) => violation.reason(),
            Ending::TakenOver => ReasonCode::SessionTakenOver,
            Ending::KeepAlive => ReasonCode::KeepAliveTimeout,
            Ending::Refused(reason) => in_disconnect(reason),
            Ending::Kicked => ReasonCode::AdministrativeAction,
            Ending::Expired => ReasonCode::MaximumConnectTime,
            Ending::MemoryBudget => ReasonCode::QuotaExceeded,
            Ending::Shutdown => ReasonCode::ServerShuttingDown,
        })
    }

    /// What is told as Reason String.
    fn said(self) -> Cow<'static, str> {
        let sentence = match self {
            Ending::ByClient { .. } | Ending::PeerClosed => "",
            Ending::Violation(violation) => return violation.to_string().into(),
            Ending::TakenOver => "another connection has this client identifier now",
            Ending::KeepAlive => "nothing was heard for longer than the keep alive allows",
            Ending::Refused(ReasonCode::NotAuthorized) => "not authorized any more",
            Ending::Refused(ReasonCode::Banned) => "banned",
            Ending::Refused(_) => "the identity of this client cannot be confirmed now",
            Ending::AnswerTooLarge { .. } => "the answer is larger than Maximum Packet Size",
            Ending::Kicked => "taken off by an operator",
            Ending::Expired => "the time that this client was let in for is over",
            Ending::MemoryBudget => "no memory is left for large packets",
            Ending::Shutdown => "the server is shutting down",
        };
        sentence.into()
    }

    /// The word in presence events and logs.
    pub(super) fn name(self) -> &'static str {
        match self {
            Ending::ByClient { with_will: false } => "normal",
            Ending::ByClient { with_will: true } => "disconnect_with_will",
            Ending::PeerClosed => "closed",
            Ending::Violation(_) => "protocol_violation",
            Ending::TakenOver => "taken_over",
            Ending::KeepAlive => "keep_alive_timeout",
            Ending::Refused(_) => "not_authorized",
            Ending::AnswerTooLarge { .. } => "answer_too_large",
            Ending::Kicked => "kicked",
            Ending::Expired => "expired",
            Ending::MemoryBudget => "memory_budget",
            Ending::Shutdown => "shutdown",
        }
    }
}

/// The code nearest to a refusal that DISCONNECT may have (section 3.14.2.1): some are for CONNACK
/// alone.
fn in_disconnect(reason: ReasonCode) -> ReasonCode {
    match reason {
        ReasonCode::BadUserNameOrPassword | ReasonCode::BadAuthenticationMethod => {
            ReasonCode::NotAuthorized
        }
        ReasonCode::Banned => ReasonCode::AdministrativeAction,
        ReasonCode::ServerUnavailable => ReasonCode::ServerBusy,
        reason => reason,
    }
}

impl Shard {
    pub(super) fn handle_closed(&mut self, now: Now, id: ConnId, fx: &mut Effects) {
        self.end(now, id, Ending::PeerClosed, fx);
    }

    pub(super) fn handle_drained(&mut self, now: Now, id: ConnId, fx: &mut Effects) {
        if let Some(conn) = self.conns.get(id.0).filter(|conn| conn.phase == Phase::Up) {
            let slot = conn.session;
            self.pump(now, slot, fx);
        }
    }

    pub(super) fn handle_kick(&mut self, now: Now, client_id: &str, fx: &mut Effects) {
        let session = self
            .find_session(client_id)
            .and_then(|slot| self.sessions.get(slot));
        if let Some(id) = session.and_then(|session| session.conn) {
            self.end(now, id, Ending::Kicked, fx);
        }
    }

    /// Wills first, while there is somebody to receive them; then everybody is told.
    pub(super) fn publish_last_wills(&mut self, now: Now, fx: &mut Effects) {
        let slots: Vec<u32> = self.sessions.iter_from(0).map(|(slot, _)| slot).collect();
        for slot in slots {
            let session = self.sessions.get_mut(slot).expect("listed just now");
            if let Some(will) = session.will.take() {
                self.publish_will(now, &will, fx);
            }
        }
    }

    pub(super) fn handle_shutdown(&mut self, now: Now, fx: &mut Effects) {
        self.publish_last_wills(now, fx);
        let ids: Vec<u32> = self.conns.iter_from(0).map(|(id, _)| id).collect();
        for id in ids {
            self.end(now, ConnId(id), Ending::Shutdown, fx);
        }
    }

    /// Ends a connection: tells the client where its version can be told, lets go of the
    /// connection, and lets the session go on as its expiry says.
    pub(super) fn end(&mut self, now: Now, id: ConnId, ending: Ending, fx: &mut Effects) {
        let Some(conn) = self.conns.get(id.0) else {
            return;
        };
        if matches!(ending, Ending::AnswerTooLarge { .. }) {
            self.counters.refuse(Refusal::AnswerTooLarge);
        }
        if conn.phase != Phase::Up {
            return self.end_before_connack(id, ending, fx);
        }
        let conn = self.take_conn(id).expect("looked up just now");
        match ending {
            Ending::PeerClosed => fx.out.discard(id),
            // Not even CONNACK is true yet.
            _ if fx.out.is_held(id) => {
                fx.out.discard(id);
                fx.closes.push(id);
            }
            _ => {
                self.send_disconnect(&conn, id, ending, fx);
                fx.closes.push(id);
            }
        }
        let slot = conn.session;
        let session = self
            .sessions
            .get_mut(slot)
            .expect("who is up has a session");
        session.conn = None;
        session.access = None;
        session.disconnected_ms = now.ms;
        if let Some(flow) = &mut session.flow {
            flow.out.handle_disconnect();
            flow.subacks.clear();
            if let Some(request) = flow.request.take() {
                self.tail_bytes -= request.filters.len();
            }
            flow.acks.handle_disconnect();
        }
        session.drop_idle_flow();
        if let Ending::Violation(violation) = ending {
            let client_id = session.client_id.clone();
            let what = violation.to_string();
            fx.events.push(Event::Violation {
                client_id,
                peer: conn.peer.clone(),
                what,
            });
        }
        self.announce_disconnected(now, (slot, &conn), ending, fx);
        self.set_member_connected(slot, false, fx);
        self.settle_will(now, slot, ending, fx);
        let session = self.sessions.get(slot).expect("looked up before");
        if session.persists() {
            self.keep_left(now, slot);
            self.offer_dealt(now, slot, fx);
            self.arm_session(slot);
        } else {
            self.end_session(now, slot, fx);
        }
    }

    fn end_before_connack(&mut self, id: ConnId, ending: Ending, fx: &mut Effects) {
        let conn = self.conns.get(id.0).expect("looked up by the caller");
        let says = conn.phase == Phase::Authenticating && conn.version == Version::V5;
        match ending.reason().filter(|_| says) {
            Some(reason) => {
                let text = match ending.said() {
                    Cow::Borrowed(sentence) => sentence,
                    Cow::Owned(_) => "what came is not allowed before CONNACK",
                };
                let refused = Refused {
                    // CONNACK has no code for a server that shuts down (section 3.2.2.2).
                    reason: match reason {
                        ReasonCode::ServerShuttingDown => ReasonCode::ServerUnavailable,
                        reason => reason,
                    },
                    why: Refusal::ProtocolViolation,
                    text,
                };
                self.refuse(id, refused, fx);
                // Counted by whoever found the reason.
                self.counters.refused[Refusal::ProtocolViolation as usize] -= 1;
            }
            None => {
                self.take_conn(id);
                match ending {
                    Ending::PeerClosed => fx.out.discard(id),
                    _ => fx.closes.push(id),
                }
            }
        }
    }

    /// DISCONNECT with the reason, for v5 (MQTT-3.14.2-1); 3.x clients are just cut.
    fn send_disconnect(&mut self, conn: &Conn, id: ConnId, ending: Ending, fx: &mut Effects) {
        let Some(reason) = ending.reason().filter(|_| conn.version == Version::V5) else {
            return;
        };
        let said = ending.said();
        let reason_string = conn.reason_string(&said);
        let out = fx.out.of(id);
        Disconnect {
            reason,
            reason_string,
            ..Disconnect::default()
        }
        .encode(conn.version, out);
        self.counters.packets_out[14] += 1;
    }

    /// The will is dropped, published, or kept for its delay (MQTT-3.1.2-8, -10).
    fn settle_will(&mut self, now: Now, slot: u32, ending: Ending, fx: &mut Effects) {
        let session = self
            .sessions
            .get_mut(slot)
            .expect("looked up by the caller");
        if matches!(ending, Ending::ByClient { with_will: false }) {
            session.will = None;
        }
        let persists = session.persists();
        let waits = |will: &Will| will.delay_s > 0 && persists;
        if session.will.as_deref().is_some_and(waits) {
            return;
        }
        if let Some(will) = session.will.take() {
            self.publish_will(now, &will, fx);
        }
    }

    /// Publishes a will; its expiry interval starts now.
    pub(super) fn publish_will(&mut self, now: Now, will: &Will, fx: &mut Effects) {
        let Some(expiry_s) = will.message_expiry_s else {
            return self.handle_internal(now, &will.message, fx);
        };
        let expires_ms = super::MqttOptions::expires_ms(now.ms, Some(expiry_s));
        let content = Content {
            expires_ms,
            ..will.message.content()
        };
        let message = Message::copy_of(&content, &mut self.scratch);
        self.handle_internal(now, &message, fx);
    }

    /// Ends a session: its subscriptions, its will, its deliveries. Gives the change that says so.
    pub(super) fn end_session(&mut self, now: Now, slot: u32, fx: &mut Effects) -> u64 {
        let by = self.client_ref(slot);
        self.leave_all(slot, fx);
        self.forget_client_id(slot);
        let session = self
            .sessions
            .get_mut(slot)
            .expect("looked up by the caller");
        session.client_id = Box::default();
        let (will, flow) = (session.will.take(), session.flow.take());
        self.leave_routes(slot);
        let ended = self.keep_end(slot);
        if let Some(will) = will {
            self.publish_will(now, &will, fx);
        }
        let Some(mut flow) = flow else {
            return ended;
        };
        for (stage, delivery) in flow.out.drain() {
            match delivery {
                Ok(delivery) => self.return_dealt(now, (by, stage), delivery, fx),
                Err(kept) => {
                    debug_assert_eq!(stage, Some(Stage::Comp));
                    self.counters.ledger.held -= 1;
                    self.counters.ledger.delivered += 1;
                    self.trim(kept);
                }
            }
        }
        for delivery in flow.retained.drain(..) {
            self.forget(&delivery, Some(Drop::SessionEnded));
        }
        ended
    }

    pub(super) fn forget_client_id(&mut self, slot: u32) {
        use std::hash::BuildHasher;
        let session = self.sessions.get(slot).expect("looked up by the caller");
        let hash = self.hasher.hash_one(&*session.client_id);
        if let Ok(entry) = self.by_client_id.find_entry(hash, |known| *known == slot) {
            entry.remove();
        }
        let (len, capacity) = (self.by_client_id.len(), self.by_client_id.capacity());
        if capacity > 1024 && capacity > 4 * len {
            let (sessions, hasher) = (&self.sessions, &self.hasher);
            self.by_client_id.shrink_to(2 * len, |slot| {
                let known = sessions.get(*slot).expect("in the table while it lives");
                hasher.hash_one(&*known.client_id)
            });
        }
    }
}
