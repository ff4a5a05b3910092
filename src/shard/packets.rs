//! From bytes to packets, and from each packet to what is done about it.

use super::close::Ending;
use super::conn::{Conn, Pause, Phase};
use super::connect::CONNECT;
use super::{Drop, Effects, Refusal, Shard};
use crate::auth::{AuthRequest, AuthStep};
use crate::base::{ConnId, Now};
use crate::codec::stranger::{self, Stranger, status};
use crate::codec::{
    Ack, AckKind, Auth, DecodeError, Disconnect, Frame, PING_RESP, ReasonCode, Role, Version,
    decode, frame,
};
use crate::limits::{ALWAYS_KEPT_BYTES, CONNECT_BYTES_MAX};
use crate::session::{Recorded, Violation, Window};

/// What holds for the packets of one read.
struct Bound {
    packet_bytes_max: usize,
    /// Set once CONNACK was sent.
    up: Option<Up>,
}

/// A connection that is a client.
#[derive(Clone, Copy)]
pub(super) struct Up {
    /// What was announced to it.
    pub announced: u8,
    /// Slot of its session.
    pub session: u32,
    pub version: Version,
    /// Whether access rules hold.
    pub is_restricted: bool,
    /// Whether its topics lie below a prefix.
    pub is_mounted: bool,
}

/// What to do after a packet.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// The next packet.
    Go,
    /// No more bytes of this connection now: it is gone, or waits for a verdict.
    Stop,
}

impl Shard {
    pub(super) fn handle_bytes(&mut self, now: Now, id: ConnId, bytes: &[u8], fx: &mut Effects) {
        self.counters.bytes_in += bytes.len() as u64;
        let Some(conn) = self.conns.get_mut(id.0) else {
            return;
        };
        if conn.tail.is_empty() {
            let used = self.parse(now, id, bytes, fx);
            if used < bytes.len() && self.conns.get(id.0).is_some() {
                self.keep_tail(now, id, bytes[used..].to_vec(), fx);
            }
            return;
        }
        let mut tail = std::mem::take(&mut conn.tail);
        self.tail_bytes -= tail.len();
        tail.extend_from_slice(bytes);
        self.parse_tail(now, id, tail, fx);
    }

    /// Goes on with what was read before input had to stop.
    pub(super) fn resume_input(&mut self, now: Now, id: ConnId, fx: &mut Effects) {
        let Some(conn) = self.conns.get_mut(id.0) else {
            return;
        };
        if conn.wants_input() && !conn.tail.is_empty() {
            let tail = std::mem::take(&mut conn.tail);
            self.tail_bytes -= tail.len();
            self.parse_tail(now, id, tail, fx);
        }
    }

    fn parse_tail(&mut self, now: Now, id: ConnId, mut tail: Vec<u8>, fx: &mut Effects) {
        let used = self.parse(now, id, &tail, fx);
        if used < tail.len() {
            tail.drain(..used);
            self.keep_tail(now, id, tail, fx);
        }
    }

    /// Keeps the beginning of a packet until the rest comes. With the budget for memory spent only
    /// small ones are kept: whoever sends a large one then is cut.
    fn keep_tail(&mut self, now: Now, id: ConnId, tail: Vec<u8>, fx: &mut Effects) {
        let Some(conn) = self.conns.get_mut(id.0) else {
            return;
        };
        self.tail_bytes += tail.len();
        // What waits for its turn is no more than one read.
        let is_half = conn.pause != Some(Pause::Turn);
        let is_large = is_half && tail.len() > ALWAYS_KEPT_BYTES;
        conn.tail = tail;
        if is_large && self.is_over_budget(fx) {
            self.counters.refuse(Refusal::MemoryBudget);
            self.end(now, id, Ending::MemoryBudget, fx);
        }
    }

    /// Whether what waits for the rest of a packet, for a socket or for its turn is more than is
    /// allowed.
    pub(super) fn is_over_budget(&self, fx: &Effects) -> bool {
        self.budgeted_bytes(fx) > self.options.limits.memory_budget_bytes
    }

    /// What is held to the memory budget.
    pub fn budgeted_bytes(&self, fx: &Effects) -> usize {
        self.counters.queued_bytes + self.tail_bytes + fx.out.left()
    }

    /// How much more the memory budget has room for.
    pub(super) fn budget_left(&self, fx: &Effects) -> usize {
        let budget = self.options.limits.memory_budget_bytes;
        budget.saturating_sub(self.budgeted_bytes(fx))
    }

    /// How much may wait for a socket that does not take it.
    pub(super) fn outbox_bytes_max(&self, fx: &Effects) -> usize {
        let limit = self.options.limits.outbox_bytes_max;
        match self.is_over_budget(fx) {
            true => limit.min(ALWAYS_KEPT_BYTES),
            false => limit,
        }
    }

    /// How much of one client may be under way unacknowledged: of bytes as much as may wait for it.
    /// With the budget for memory spent it is little, so that whoever acknowledges is served still,
    /// and who does not holds one message more at most.
    pub(super) fn window_max(&self, fx: &Effects) -> Window {
        let bytes = self.options.limits.queue_bytes_max;
        Window {
            count: self.options.mqtt.inflight_max,
            bytes: match self.is_over_budget(fx) {
                true => bytes.min(ALWAYS_KEPT_BYTES),
                false => bytes,
            },
        }
    }

    /// Forgets a connection.
    pub(super) fn take_conn(&mut self, id: ConnId) -> Option<Conn> {
        let conn = self.conns.remove(id.0)?;
        self.tail_bytes -= conn.tail.len();
        Some(conn)
    }

    /// Handles whole packets; returns how many bytes they took.
    fn parse(&mut self, now: Now, id: ConnId, bytes: &[u8], fx: &mut Effects) -> usize {
        let mut used = 0;
        // The phase changes with CONNECT alone: PUBLISH after PUBLISH asks for it once.
        let mut bound = self.bound(id);
        if bound.up.is_none() && self.is_stranger(id, bytes) {
            self.turn_away(id, bytes[0], fx);
            return 0;
        }
        loop {
            let rest = &bytes[used..];
            let frame = match frame::next(rest, bound.packet_bytes_max) {
                Ok(Some(frame)) => frame,
                Ok(None) => break,
                Err(error) => {
                    self.handle_violation(now, id, error.into(), fx);
                    break;
                }
            };
            used += frame.len;
            let handled = match bound.up {
                Some(up) if frame.header >> 4 == 3 => {
                    self.counters.packets_in[3] += 1;
                    self.handle_publish(now, (id, up), &frame, fx)
                }
                _ => self.handle_frame(now, id, (&frame, rest), fx),
            };
            match handled {
                // AUTH may have brought other rules.
                Ok(Next::Go) if self.slices.is_spent() && used < bytes.len() => {
                    self.put_off_input(id);
                    break;
                }
                Ok(Next::Go) if bound.up.is_none() || frame.header >> 4 == 15 => {
                    bound = self.bound(id);
                }
                Ok(Next::Go) => {}
                Ok(Next::Stop) => break,
                Err(violation) => {
                    self.handle_violation(now, id, violation, fx);
                    break;
                }
            }
        }
        if used > 0
            && let Some(conn) = self.conns.get_mut(id.0)
        {
            conn.last_packet_ms = now.ms;
        }
        used
    }

    /// Whether what begins a connection is no CONNECT, but something else that is known.
    fn is_stranger(&self, id: ConnId, bytes: &[u8]) -> bool {
        let conn = self.conns.get(id.0);
        let begins = conn.is_some_and(|conn| conn.phase == Phase::AwaitingConnect);
        let known = |first: &u8| matches!(stranger::of(*first), Stranger::Http | Stranger::Tls);
        begins && bytes.first().is_some_and(known)
    }

    /// Ends the connection of one who speaks something else, with an answer where there is one.
    fn turn_away(&mut self, id: ConnId, first: u8, fx: &mut Effects) {
        if stranger::of(first) == Stranger::Tls {
            return self.drop_silently(id, Refusal::TlsOnMqtt, fx);
        }
        let text = "this port speaks MQTT, not HTTP";
        stranger::http_answer(status::BAD_REQUEST, text, &[], fx.out.of(id));
        self.drop_silently(id, Refusal::HttpOnMqtt, fx);
    }

    fn bound(&self, id: ConnId) -> Bound {
        match self.conns.get(id.0) {
            Some(conn) if conn.phase == Phase::Up => {
                let packet_bytes_max = self.promises.of(conn.announced).packet_bytes_max;
                let up = Some(Up {
                    announced: conn.announced,
                    session: conn.session,
                    version: conn.version,
                    is_restricted: self.is_restricted(conn),
                    is_mounted: conn.is_mounted(),
                });
                Bound {
                    packet_bytes_max: packet_bytes_max as usize,
                    up,
                }
            }
            _ => Bound {
                packet_bytes_max: CONNECT_BYTES_MAX
                    .min(self.options.mqtt.packet_bytes_max as usize),
                up: None,
            },
        }
    }

    fn handle_frame(
        &mut self,
        now: Now,
        id: ConnId,
        (frame, rest): (&Frame<'_>, &[u8]),
        fx: &mut Effects,
    ) -> Result<Next, Violation> {
        let kind = frame.header >> 4;
        self.counters.packets_in[kind as usize] += 1;
        let conn = self
            .conns
            .get(id.0)
            .expect("bytes come from an open connection");
        match conn.phase {
            Phase::Up => self.handle_other(now, id, frame, fx),
            Phase::AwaitingConnect if frame.header == CONNECT => {
                self.handle_connect(now, id, (frame.body, rest), fx);
                Ok(self.next(id))
            }
            Phase::AwaitingConnect => {
                let why = match kind {
                    1..=14 => Refusal::ProtocolViolation,
                    _ => Refusal::NotMqtt,
                };
                self.drop_silently(id, why, fx);
                Ok(Next::Stop)
            }
            Phase::Authenticating => match kind {
                15 => self.handle_auth(now, id, frame, fx),
                14 => self.handle_disconnect(now, id, frame, fx),
                _ => Err(Violation::UnexpectedPacket),
            },
        }
    }

    /// Whether there is still somebody to handle packets of.
    pub(super) fn next(&self, id: ConnId) -> Next {
        match self.conns.get(id.0).is_some_and(|conn| conn.wants_input()) {
            true => Next::Go,
            false => Next::Stop,
        }
    }

    fn handle_other(
        &mut self,
        now: Now,
        id: ConnId,
        frame: &Frame<'_>,
        fx: &mut Effects,
    ) -> Result<Next, Violation> {
        match frame.header >> 4 {
            1 => Err(Violation::SecondConnect),
            4 => self.handle_ack(now, id, (AckKind::PubAck, frame), fx),
            5 => self.handle_ack(now, id, (AckKind::PubRec, frame), fx),
            6 => self.handle_ack(now, id, (AckKind::PubRel, frame), fx),
            7 => self.handle_ack(now, id, (AckKind::PubComp, frame), fx),
            8 => self.handle_subscribe(now, id, frame, fx),
            10 => self.handle_unsubscribe(now, id, frame, fx),
            12 => self.handle_pingreq(id, frame, fx),
            14 => self.handle_disconnect(now, id, frame, fx),
            15 => self.handle_auth(now, id, frame, fx),
            _ => Err(Violation::UnexpectedPacket),
        }
    }

    fn handle_pingreq(
        &mut self,
        id: ConnId,
        frame: &Frame<'_>,
        fx: &mut Effects,
    ) -> Result<Next, Violation> {
        decode(*frame, Version::V5, Role::Server)?;
        fx.out.of(id).extend_from_slice(&PING_RESP);
        self.counters.packets_out[13] += 1;
        Ok(Next::Go)
    }

    fn handle_ack(
        &mut self,
        now: Now,
        id: ConnId,
        (kind, frame): (AckKind, &Frame<'_>),
        fx: &mut Effects,
    ) -> Result<Next, Violation> {
        let conn = self.conns.get(id.0).expect("looked up by the caller");
        let ack = Ack::decode(frame.header, frame.body, conn.version)?;
        let slot = conn.session;
        let session = self
            .sessions
            .get_mut(slot)
            .expect("who is up has a session");
        let flow = session.flow_mut();
        let (packet_id, failed) = (ack.packet_id, ack.reason.is_error());
        let mut answer = None;
        let mut done = None;
        let mut received = 0;
        match kind {
            AckKind::PubAck => done = flow.out.handle_puback(packet_id),
            AckKind::PubRec if failed => done = flow.out.handle_pubrec_error(packet_id),
            AckKind::PubRec => {
                let mut released = None;
                let reason = match flow.out.handle_pubrec(packet_id, &mut released) {
                    Recorded::Release => ReasonCode::Success,
                    Recorded::Unknown => ReasonCode::PacketIdentifierNotFound,
                };
                answer = Some((AckKind::PubRel, reason));
                if let Some(released) = released {
                    self.counters.queued_bytes -= released.size();
                    received = released.kept;
                }
            }
            AckKind::PubRel => {
                let reason = match flow.inbound.release(packet_id) {
                    true => ReasonCode::Success,
                    false => ReasonCode::PacketIdentifierNotFound,
                };
                answer = Some((AckKind::PubComp, reason));
            }
            AckKind::PubComp => {
                if let Some(kept) = flow.out.handle_pubcomp(packet_id) {
                    self.counters.ledger.held -= 1;
                    self.counters.ledger.delivered += 1;
                    self.trim(kept);
                }
            }
        }
        if let Some(delivery) = done {
            self.settle(&delivery, failed);
        }
        match answer {
            Some((AckKind::PubRel, _)) if self.holds_release(slot, packet_id, received) => {}
            Some((AckKind::PubComp, reason)) if self.durable.is_some() => {
                self.release_kept((id, slot), (packet_id, reason), fx)
            }
            Some((kind, reason)) => conn_ack(self, id, (kind, packet_id, reason), fx),
            None => {}
        }
        self.pump(now, slot, fx);
        Ok(Next::Go)
    }

    /// A delivery was acknowledged, or refused for good.
    fn settle(&mut self, delivery: &crate::session::Delivery, failed: bool) {
        if failed {
            return self.forget(delivery, Some(Drop::Refused));
        }
        self.counters.ledger.held -= 1;
        self.counters.ledger.delivered += 1;
        self.counters.queued_bytes -= delivery.size();
        self.trim(delivery.kept);
    }

    fn handle_disconnect(
        &mut self,
        now: Now,
        id: ConnId,
        frame: &Frame<'_>,
        fx: &mut Effects,
    ) -> Result<Next, Violation> {
        let conn = self.conns.get(id.0).expect("looked up by the caller");
        let disconnect = Disconnect::decode(frame.header, frame.body, conn.version, Role::Server)?;
        if let (Some(expiry_s), Some(session)) = (
            disconnect.session_expiry_s,
            self.sessions.get_mut(conn.session),
        ) {
            if !conn.asked.for_expiry() && expiry_s > 0 {
                return Err(Violation::SessionExpiryRaised);
            }
            let announced = self.promises.of(conn.announced);
            session.expiry_s = expiry_s.min(announced.session_expiry_max_s);
        }
        let with_will = disconnect.reason != ReasonCode::Success;
        self.end(now, id, Ending::ByClient { with_will }, fx);
        Ok(Next::Stop)
    }

    fn handle_auth(
        &mut self,
        now: Now,
        id: ConnId,
        frame: &Frame<'_>,
        fx: &mut Effects,
    ) -> Result<Next, Violation> {
        let attempt = self.ticket();
        let conn = self.conns.get_mut(id.0).expect("looked up by the caller");
        if conn.version != Version::V5 {
            return Err(Violation::UnexpectedPacket);
        }
        let auth = Auth::decode(frame.header, frame.body, Role::Server)?;
        let up = conn.phase == Phase::Up;
        let session = conn.session;
        let rare = conn.rare_mut();
        let Some(method) = rare.method.clone() else {
            return Err(Violation::UnexpectedPacket);
        };
        if auth.method != Some(&*method) {
            return Err(Violation::MethodChanged);
        }
        let step = match auth.reason {
            ReasonCode::ReAuthenticate if up && !rare.reauthenticating => AuthStep::Reauthenticate,
            ReasonCode::ContinueAuthentication if !up || rare.reauthenticating => {
                AuthStep::Continue
            }
            _ => return Err(Violation::UnexpectedPacket),
        };
        rare.reauthenticating = up;
        let state = rare.auth_state.take();
        let (client_id, username) = match &rare.connect {
            Some(pending) => (pending.client_id.clone(), pending.username.clone()),
            None => {
                let session = self.sessions.get(session).expect("who is up has a session");
                let username = session.username.clone().filter(|_| session.is_named);
                (session.client_id.clone(), username)
            }
        };
        conn.attempt = attempt;
        let request = AuthRequest {
            conn: id,
            attempt: conn.attempt,
            peer: conn.peer.clone(),
            client_id,
            username,
            password: None,
            method: Some(method),
            data: auth.data.map(Into::into),
            voucher: Default::default(),
            state,
            step,
        };
        self.ask(now, request, fx);
        Ok(self.next(id))
    }

    /// AUTH towards the client (MQTT-4.12.0-2, -5). False, and nothing sent, when it is larger than
    /// the client takes (MQTT-3.1.2-24).
    pub(super) fn send_auth(
        &mut self,
        id: ConnId,
        (reason, data): (ReasonCode, Option<&[u8]>),
        fx: &mut Effects,
    ) -> bool {
        let conn = self.conns.get(id.0).expect("looked up by the caller");
        let method = conn.rare.as_ref().and_then(|rare| rare.method.as_deref());
        let out = fx.out.of(id);
        let start = out.len();
        Auth {
            reason,
            method,
            data,
            ..Auth::default()
        }
        .encode(out);
        let fits = out.len() - start <= conn.packet_bytes_max as usize;
        if fits {
            self.counters.packets_out[15] += 1;
        } else {
            out.truncate(start);
        }
        fits
    }

    pub(super) fn handle_violation(
        &mut self,
        now: Now,
        id: ConnId,
        violation: Violation,
        fx: &mut Effects,
    ) {
        let Some(conn) = self.conns.get(id.0) else {
            return;
        };
        let too_large = Violation::Decode(DecodeError::PacketTooLarge);
        let why = match violation {
            v if v == too_large => Refusal::PacketTooLarge,
            Violation::ReceiveMaximumExceeded => Refusal::ReceiveMaximum,
            Violation::TopicLevels => Refusal::TopicLevels,
            Violation::TopicLength => Refusal::TopicLength,
            _ => Refusal::ProtocolViolation,
        };
        if conn.phase == Phase::AwaitingConnect {
            return self.drop_silently(id, why, fx);
        }
        // What was denied was counted when it was.
        if violation != Violation::Denied {
            self.counters.refuse(why);
        }
        self.end(now, id, Ending::Violation(violation), fx);
    }
}

/// Puts an acknowledgement on the connection.
pub(super) fn conn_ack(
    shard: &mut Shard,
    id: ConnId,
    (kind, packet_id, reason): (AckKind, u16, ReasonCode),
    fx: &mut Effects,
) {
    let conn = shard.conns.get(id.0).expect("looked up by the caller");
    conn.put_ack(kind, packet_id, reason, fx.out.of(id));
    shard.counters.packets_out[kind as usize >> 4] += 1;
}
