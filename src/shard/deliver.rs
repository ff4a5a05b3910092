//! Deliveries: from a message and a receiver to bytes in its outbox, or to its queue.

use super::conn::{Conn, Outgoing, encode_publish};
use super::slices::Unfinished;
use super::{Drop, Effects, Shard};
use crate::base::{ConnId, Now};
use crate::codec::{AckKind, QoS, ReasonCode, Version};
use crate::message::{Content, Message};
use crate::session::{Deal, Delivery, Flow, Ids, QueueBounds, Stage};

/// A message on its way to its receivers; it is copied once, if anybody has to keep it.
pub struct Parcel<'a> {
    pub content: Content<'a>,
    message: Option<Message>,
    /// Whether images pay: for one receiver, its outbox is the better place to encode to.
    pub has_many: bool,
    /// Which images in [`Images`] are of this message.
    made: [bool; 4],
}

impl<'a> Parcel<'a> {
    /// A message that is still borrowed.
    pub fn borrowed(content: Content<'a>) -> Parcel<'a> {
        Parcel {
            content,
            message: None,
            has_many: false,
            made: [false; 4],
        }
    }

    /// A message that is kept already.
    pub fn kept(message: &'a Message) -> Parcel<'a> {
        Parcel {
            message: Some(message.clone()),
            ..Parcel::borrowed(message.content())
        }
    }

    /// The message to keep.
    pub fn message(&mut self, scratch: &mut Vec<u8>) -> Message {
        self.message
            .get_or_insert_with(|| Message::copy_of(&self.content, scratch))
            .clone()
    }
}

/// On what terms a receiver gets a message.
pub struct Terms<'a> {
    /// Granted QoS.
    pub qos: QoS,
    pub retain: bool,
    pub ids: &'a [u32],
    pub deal: Option<Box<Deal>>,
}

/// One QoS 0 PUBLISH as bytes, made once for all receivers of a message that get the same. The
/// parcel knows which are its own: what an earlier message left here is never sent for it.
#[derive(Default)]
pub struct Images([Vec<u8>; 4]);

impl Images {
    #[inline]
    fn of(
        &mut self,
        now: Now,
        version: Version,
        message: &Outgoing<'_>,
        made: &mut [bool; 4],
    ) -> Option<&[u8]> {
        let layout = usize::from(version == Version::V5) * 2 + usize::from(message.retain);
        let image = &mut self.0[layout];
        if !std::mem::replace(&mut made[layout], true) {
            image.clear();
            let topic = (message.content.topic, None);
            encode_publish(now, version, topic, message, image);
        }
        // Empty: it would be no packet.
        (!image.is_empty()).then_some(image)
    }
}

impl Shard {
    /// Delivers to the session in `slot`, now or later.
    #[inline]
    pub(super) fn deliver(
        &mut self,
        now: Now,
        slot: u32,
        terms: Terms<'_>,
        parcel: &mut Parcel<'_>,
        fx: &mut Effects,
    ) {
        if parcel.content.retain {
            self.supersede(slot, parcel.content.topic);
        }
        let qos = terms.qos.min(parcel.content.qos);
        let Some(session) = self.sessions.get_mut(slot) else {
            debug_assert!(false, "a route leads to no session");
            return self.counters.ledger.drop_one(Drop::SessionEnded);
        };
        match (qos, session.conn) {
            (QoS::AtMostOnce, Some(conn)) if !session.has_queued_qos0() => {
                self.send_qos0(now, conn, &terms, parcel, fx)
            }
            (QoS::AtMostOnce, None) if !self.options.limits.queue_qos0 => {
                self.counters.ledger.drop_one(Drop::Offline)
            }
            (_, None) if session.is_over() => self.counters.ledger.drop_one(Drop::SessionEnded),
            (_, conn) => {
                let delivery = Delivery {
                    message: parcel.message(&mut self.scratch),
                    qos,
                    retain: terms.retain,
                    ids: terms.ids.into(),
                    deal: terms.deal,
                    kept: 0,
                };
                self.hand_over(now, (slot, conn), delivery, fx);
            }
        }
    }

    fn send_qos0(
        &mut self,
        now: Now,
        id: ConnId,
        terms: &Terms<'_>,
        parcel: &mut Parcel<'_>,
        fx: &mut Effects,
    ) {
        let backlog_max = self.outbox_bytes_max(fx);
        let conn = self
            .conns
            .get_mut(id.0)
            .expect("a session's connection is open");
        let ledger = &mut self.counters.ledger;
        let Some(out) = fx.out.with_room(id, backlog_max) else {
            return ledger.drop_one(Drop::SlowConsumer);
        };
        let message = Outgoing {
            content: parcel.content,
            qos: QoS::AtMostOnce,
            retain: terms.retain,
            dup: false,
            packet_id: 0,
            ids: terms.ids,
        };
        let shares = conn.alias_maximum == 0 && !conn.is_mounted() && terms.ids.is_empty();
        let sent = if parcel.has_many && shares {
            let image = self
                .images
                .of(now, conn.version, &message, &mut parcel.made)
                .filter(|image| image.len() <= conn.packet_bytes_max as usize);
            image.map(|image| out.extend_from_slice(image)).is_some()
        } else {
            conn.put_publish(now, &message, out)
        };
        if sent {
            self.counters.publish_out[0] += 1;
            ledger.delivered += 1;
        } else {
            ledger.drop_one(Drop::PacketTooLarge);
        }
    }

    /// A delivery that has to be acknowledged, or that waits: into the window if it can begin
    /// now, else into the queue.
    fn hand_over(
        &mut self,
        now: Now,
        (slot, conn): (u32, Option<ConnId>),
        mut delivery: Delivery,
        fx: &mut Effects,
    ) {
        let outbox_bytes_max = self.outbox_bytes_max(fx);
        let window_max = self.window_max(fx);
        let waiting = self.tail_bytes + fx.out.left();
        let limits = &self.options.limits;
        let is_kept = delivery.qos == QoS::ExactlyOnce && self.kept_as(slot).is_some();
        let session = self
            .sessions
            .get_mut(slot)
            .expect("looked up by the caller");
        let window = session.window(window_max);
        let flow = session.flow.get_or_insert_default();
        let ready = conn.filter(|&conn| {
            flow.retained.is_empty()
                && flow.out.can_begin(window, is_kept)
                && fx.out.backlog(conn) <= outbox_bytes_max
        });
        let bytes = self.counters.queued_bytes + delivery.size();
        if ready.is_none() && bytes + waiting > limits.memory_budget_bytes {
            return self.counters.ledger.drop_one(Drop::MemoryBudget);
        }
        self.append(slot, &mut delivery);
        self.counters.ledger.held += 1;
        self.counters.queued_bytes = bytes;
        match ready {
            Some(_) if is_kept => self.begin_kept(slot, delivery),
            Some(id) => self.begin_now(now, (slot, id), delivery, fx),
            None => self.enqueue(now, slot, delivery),
        }
    }

    fn begin_now(
        &mut self,
        now: Now,
        (slot, id): (u32, ConnId),
        delivery: Delivery,
        fx: &mut Effects,
    ) {
        let session = self
            .sessions
            .get_mut(slot)
            .expect("looked up by the caller");
        let conn = self
            .conns
            .get_mut(id.0)
            .expect("a session's connection is open");
        let begun = begin(now, conn, session.flow_mut(), delivery, fx.out.of(id));
        self.account_begun(begun);
    }

    pub(super) fn queue_bounds(&self) -> QueueBounds {
        let limits = &self.options.limits;
        QueueBounds {
            length_max: limits.queue_length_max,
            bytes_max: limits.queue_bytes_max,
            drop_oldest: limits.queue_drop == super::DropPolicy::Oldest,
        }
    }

    fn enqueue(&mut self, now: Now, slot: u32, delivery: Delivery) {
        let bounds = self.queue_bounds();
        let session = self
            .sessions
            .get_mut(slot)
            .expect("looked up by the caller");
        let mut dropped = Vec::new();
        let out = &mut session.flow_mut().out;
        out.enqueue(delivery, bounds, now.ms, &mut dropped);
        for delivery in dropped {
            let why = if delivery.message.content().expired(now.ms) {
                None
            } else {
                Some(Drop::QueueFull)
            };
            self.forget(&delivery, why);
        }
    }

    /// A held delivery is given up: because it expired (`None`), or for the reason given.
    pub(super) fn forget(&mut self, delivery: &Delivery, why: Option<Drop>) {
        self.counters.ledger.held -= 1;
        self.counters.queued_bytes -= delivery.size();
        self.trim(delivery.kept);
        match why {
            Some(why) => self.counters.ledger.drop_one(why),
            None => self.counters.ledger.expired += 1,
        }
    }

    fn account_begun(&mut self, begun: Begun) {
        match begun {
            Begun::Sent(qos) => self.counters.publish_out[qos as usize] += 1,
            Begun::TooLarge(delivery) => self.forget(&delivery, Some(Drop::PacketTooLarge)),
        }
    }

    /// Sends what waits for the session as far as its window and its connection let it.
    pub(super) fn pump(&mut self, now: Now, slot: u32, fx: &mut Effects) {
        self.pump_all(now, slot, fx);
        let flow = self.sessions.get(slot).and_then(|s| s.flow.as_ref());
        if flow.is_some_and(|flow| !flow.full_told.is_empty()) {
            self.tell_room(slot, fx);
        }
    }

    fn pump_all(&mut self, now: Now, slot: u32, fx: &mut Effects) {
        while let Some(id) = self.pump_conn(slot, fx) {
            let window_max = self.window_max(fx);
            let session = self.sessions.get_mut(slot).expect("looked up just now");
            if self.slices.is_spent() {
                let generation = session.generation;
                let deliveries = Unfinished::Deliveries { slot, generation };
                return self.slices.put_off(deliveries);
            }
            self.slices.spend(1);
            let window = session.window(window_max);
            let Some(flow) = session.flow.as_deref_mut() else {
                return;
            };
            let conn = self
                .conns
                .get_mut(id.0)
                .expect("a session's connection is open");
            if let Some((inflight, again)) = flow.out.next_resend(window) {
                let out = fx.out.of(id);
                let packet_id = inflight.id;
                match (&inflight.delivery, inflight.stage) {
                    (Some(delivery), stage) if stage != Stage::Comp => {
                        let message = outgoing(delivery, packet_id, again);
                        let qos = delivery.qos as usize;
                        if conn.put_publish(now, &message, out) {
                            self.counters.publish_out[qos] += u64::from(!again);
                            self.counters.packets_out[3] += u64::from(again);
                        } else {
                            let delivery = flow.out.abandon(packet_id).expect("just resent");
                            self.forget(&delivery, Some(Drop::PacketTooLarge));
                        }
                    }
                    _ => {
                        conn.put_ack(AckKind::PubRel, packet_id, ReasonCode::Success, out);
                        self.counters.packets_out[6] += 1;
                    }
                }
                continue;
            }
            if flow.is_retained_next() && self.pump_retained(now, (slot, id), fx) {
                continue;
            }
            if !self.pump_queued(now, (slot, id), fx) {
                return;
            }
        }
    }

    /// Sends the first of the queue. False: nothing to do now.
    fn pump_queued(&mut self, now: Now, (slot, id): (u32, ConnId), fx: &mut Effects) -> bool {
        let window_max = self.window_max(fx);
        let session = self
            .sessions
            .get_mut(slot)
            .expect("looked up by the caller");
        let window = session.window(window_max);
        let Some(flow) = session.flow.as_deref_mut() else {
            return false;
        };
        let Some(first) = flow.out.queued() else {
            return false;
        };
        let qos = first.qos;
        let is_expired = first.message.content().expired(now.ms);
        if !is_expired && qos != QoS::AtMostOnce && !flow.out.can_begin_queued(window) {
            return false;
        }
        flow.is_retained_turn = true;
        let is_doubted = flow.out.is_queued_doubted();
        let delivery = flow.out.dequeue().expect("looked at just now");
        if is_expired {
            self.forget(&delivery, None);
        } else if is_doubted && !self.may_still_have(id, delivery.message.topic()) {
            self.withhold(now, slot, delivery, fx);
        } else if qos == QoS::AtMostOnce {
            self.send_waiting_qos0(now, id, &delivery, fx);
        } else if delivery.waits_for_store() {
            self.begin_kept(slot, delivery);
        } else {
            self.begin_now(now, (slot, id), delivery, fx);
        }
        true
    }

    /// The session's connection, if it takes more.
    fn pump_conn(&self, slot: u32, fx: &Effects) -> Option<ConnId> {
        let session = self.sessions.get(slot)?;
        session.flow.as_ref()?;
        let conn = session.conn?;
        (fx.out.backlog(conn) <= self.outbox_bytes_max(fx)).then_some(conn)
    }

    /// Sends the next retained message that waits, or asks for more. False: nothing to do now.
    fn pump_retained(&mut self, now: Now, (slot, id): (u32, ConnId), fx: &mut Effects) -> bool {
        let window_max = self.window_max(fx);
        let session = self
            .sessions
            .get_mut(slot)
            .expect("looked up by the caller");
        let window = session.window(window_max);
        let Some(flow) = session.flow.as_deref_mut() else {
            return false;
        };
        let Some(first) = flow.retained.front() else {
            return self.ask_retained(now, slot, fx);
        };
        let qos = first.qos;
        if qos != QoS::AtMostOnce && !flow.out.has_room(window) {
            return false;
        }
        let delivery = flow.retained.pop_front().expect("looked at just now");
        flow.is_retained_turn = false;
        let is_doubted = flow.retained_doubted > 0;
        flow.retained_doubted = flow.retained_doubted.saturating_sub(1);
        if delivery.message.content().expired(now.ms) {
            self.forget(&delivery, None);
        } else if is_doubted && !self.may_still_have(id, delivery.message.topic()) {
            self.withhold(now, slot, delivery, fx);
        } else if qos == QoS::AtMostOnce {
            self.send_waiting_qos0(now, id, &delivery, fx);
        } else {
            let session = self
                .sessions
                .get_mut(slot)
                .expect("looked up by the caller");
            let flow = session.flow_mut();
            let conn = self
                .conns
                .get_mut(id.0)
                .expect("a session's connection is open");
            let begun = begin(now, conn, flow, delivery, fx.out.of(id));
            self.account_begun(begun);
        }
        true
    }

    fn send_waiting_qos0(&mut self, now: Now, id: ConnId, delivery: &Delivery, fx: &mut Effects) {
        let conn = self
            .conns
            .get_mut(id.0)
            .expect("a session's connection is open");
        if conn.put_publish(now, &outgoing(delivery, 0, false), fx.out.of(id)) {
            self.counters.publish_out[0] += 1;
            self.counters.ledger.held -= 1;
            self.counters.ledger.delivered += 1;
            self.counters.queued_bytes -= delivery.size();
        } else {
            self.forget(delivery, Some(Drop::PacketTooLarge));
        }
    }
}

enum Begun {
    Sent(QoS),
    TooLarge(Delivery),
}

/// Gives the delivery an id and puts it on the connection.
fn begin(
    now: Now,
    conn: &mut Conn,
    flow: &mut Flow,
    delivery: Delivery,
    out: &mut Vec<u8>,
) -> Begun {
    let qos = delivery.qos;
    let begun = flow.out.begin(delivery);
    let packet_id = begun.id;
    let delivery = begun
        .delivery
        .as_ref()
        .expect("kept until it is acknowledged");
    if conn.put_publish(now, &outgoing(delivery, packet_id, false), out) {
        return Begun::Sent(qos);
    }
    let delivery = flow.out.abandon(packet_id).expect("begun just now");
    Begun::TooLarge(delivery)
}

fn outgoing(delivery: &Delivery, packet_id: u16, dup: bool) -> Outgoing<'_> {
    Outgoing {
        content: delivery.message.content(),
        qos: delivery.qos,
        retain: delivery.retain,
        dup,
        packet_id,
        ids: Ids::as_slice(&delivery.ids),
    }
}
