//! QoS 1 and 2 towards the client: packet ids, the in-flight window, the queue behind it.

use super::delivery::Delivery;
use crate::codec::QoS;
use crate::message::NEVER_MS;
use std::collections::VecDeque;

/// What the client owes for a PUBLISH that was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// QoS 1: PUBACK.
    Ack,
    /// QoS 2: PUBREC.
    Rec,
    /// QoS 2, after PUBREC: PUBCOMP. The message itself is forgotten.
    Comp,
}

/// A delivery with a packet id.
pub struct Inflight {
    pub id: u16,
    pub stage: Stage,
    /// `None` from PUBREC on.
    pub delivery: Option<Delivery>,
    /// As [`Delivery::kept`], for as long as the exchange lasts.
    pub kept: u64,
    /// The change that has to be committed before the next packet of the exchange may be sent;
    /// [`OPEN`]: none.
    gate: u64,
    /// PUBLISH was sent, on this connection or an earlier one.
    was_sent: bool,
}

/// No change is waited for.
const OPEN: u64 = 0;
/// A change that has not been numbered yet.
const SHUT: u64 = u64::MAX;

/// What opening a gate let through.
#[derive(Debug, PartialEq, Eq)]
pub enum Opened {
    /// Nothing waits for it now.
    Nothing,
    /// PUBREL is due on this connection.
    Release,
    /// PUBLISH, in its turn.
    Publish,
}

/// How much may be under way, not acknowledged.
#[derive(Clone, Copy, Debug)]
pub struct Window {
    pub count: u16,
    /// One delivery may begin whatever its size.
    pub bytes: usize,
}

/// How much may wait.
#[derive(Clone, Copy, Debug)]
pub struct QueueBounds {
    pub length_max: usize,
    pub bytes_max: usize,
    /// Whether the oldest gives way to the newest, or the newest is turned away.
    pub drop_oldest: bool,
}

/// What PUBREC found.
#[derive(Debug, PartialEq, Eq)]
pub enum Recorded {
    /// PUBREL is due: the first PUBREC or a repeated one.
    Release,
    /// There is no such message (reason 0x92).
    Unknown,
}

/// Deliveries of one session that need acknowledging, and those waiting for room.
#[derive(Default)]
pub struct Outbound {
    last_id: u16,
    /// Ids after `last_id` known to be free without looking.
    free_ahead: u16,
    /// In the order of first sending, which is the order of resending (MQTT-4.6.0-1).
    inflight: VecDeque<Inflight>,
    /// How many of `inflight`, from the front, were sent on this connection: the used part of the
    /// send quota (MQTT-4.9.0-2).
    sent: usize,
    /// How many of `inflight`, at its end, were never sent: they wait for a store.
    fresh: usize,
    /// Of the deliveries in `inflight`, which are kept until PUBACK or PUBREC.
    inflight_bytes: usize,
    queue: VecDeque<Delivery>,
    queue_bytes: usize,
    /// How many of `queue` are of QoS 0, and their bytes.
    queue_qos0: usize,
    queue_qos0_bytes: usize,
    /// How many of `queue`, from the front, were there at [`Outbound::mark_queue`].
    queue_marked: usize,
    /// No delivery in `queue` expires before; 0: not known.
    queue_expires_ms: u64,
    /// How many of `queue`, from the front, were there at [`Outbound::doubt_queue`]; never fewer.
    queue_doubted: usize,
}

/// Deliveries that [`Outbound::may_overtake`] looks at.
const OVERTAKEN_MAX: usize = 1024;

impl Outbound {
    /// Whether a new delivery may begin at once, with `window` unacknowledged at most; `later`: it
    /// is to be sent when a store has it.
    #[inline]
    pub fn can_begin(&self, window: Window, later: bool) -> bool {
        self.queue.is_empty() && (self.has_room(window) || later && self.has_room_later(window))
    }

    /// Whether one more delivery may be in flight, whatever waits.
    #[inline]
    pub fn has_room(&self, window: Window) -> bool {
        self.sent == self.inflight.len() && self.is_within(window)
    }

    /// Whether one more delivery may be given an id, to be sent when a store has it.
    pub fn has_room_later(&self, window: Window) -> bool {
        self.sent + self.fresh == self.inflight.len() && self.is_within(window)
    }

    #[inline]
    fn is_within(&self, window: Window) -> bool {
        self.inflight.len() < usize::from(window.count) && self.inflight_bytes < window.bytes.max(1)
    }

    /// Gives `delivery` (QoS 1 or 2) a packet id not in use (MQTT-2.2.1-4); it is sent now.
    pub fn begin(&mut self, delivery: Delivery) -> &Inflight {
        debug_assert_eq!(self.sent, self.inflight.len(), "new ones follow the resent");
        let id = self.take_id();
        let stage = match delivery.qos {
            QoS::ExactlyOnce => Stage::Rec,
            _ => Stage::Ack,
        };
        self.inflight_bytes += delivery.size();
        self.inflight.push_back(Inflight {
            id,
            stage,
            kept: delivery.kept,
            delivery: Some(delivery),
            gate: OPEN,
            was_sent: true,
        });
        self.sent += 1;
        self.inflight.back().expect("pushed just now")
    }

    /// Gives `delivery` (QoS 2) a packet id; it is sent, by [`Outbound::next_resend`], when the
    /// change that [`Outbound::shut`] is going to name was committed.
    pub fn begin_later(&mut self, delivery: Delivery) -> u16 {
        let id = self.take_id();
        self.inflight_bytes += delivery.size();
        self.inflight.push_back(Inflight {
            id,
            stage: Stage::Rec,
            kept: delivery.kept,
            delivery: Some(delivery),
            gate: SHUT,
            was_sent: false,
        });
        self.fresh += 1;
        id
    }

    /// The exchange with this id goes on when `change` was committed.
    pub fn shut(&mut self, id: u16, change: u64) {
        if let Some(inflight) = self.inflight.iter_mut().find(|i| i.id == id) {
            inflight.gate = change;
        }
    }

    /// Whether the exchange with this id waits for a change.
    pub fn is_shut(&self, id: u16) -> bool {
        self.inflight.iter().any(|i| i.id == id && i.gate != OPEN)
    }

    /// `change` was committed, for which the exchange with this id waits.
    pub fn open(&mut self, id: u16, change: u64) -> Opened {
        let at = |i: &Inflight| i.id == id && i.gate == change;
        let Some(at) = self.inflight.iter().position(at) else {
            return Opened::Nothing;
        };
        self.inflight[at].gate = OPEN;
        match self.inflight[at].stage {
            Stage::Comp if at < self.sent => Opened::Release,
            _ => Opened::Publish,
        }
    }

    /// As a store had it: waits, or was begun with an id before that.
    pub fn restore(&mut self, delivery: Delivery) {
        self.queue_bytes += delivery.size();
        self.queue.push_back(delivery);
    }

    /// As a store had it: the delivery that it keeps as `kept` was begun with this id.
    pub fn restore_begun(&mut self, kept: u64, id: u16) {
        let Some(at) = self.queue.iter().position(|d| d.kept == kept) else {
            return;
        };
        let delivery = self.queue.remove(at).expect("found just now");
        self.queue_bytes -= delivery.size();
        self.inflight_bytes += delivery.size();
        self.inflight.push_back(Inflight {
            id,
            stage: Stage::Rec,
            kept,
            delivery: Some(delivery),
            gate: OPEN,
            was_sent: true,
        });
        // What is known of free ids is known no more.
        self.free_ahead = 0;
    }

    /// As a store had it: PUBREC came for `kept`. Gives the message, which is not needed any more.
    pub fn restore_received(&mut self, kept: u64) -> Option<Delivery> {
        let inflight = self.inflight.iter_mut().find(|i| i.kept == kept)?;
        inflight.stage = Stage::Comp;
        let delivery = inflight.delivery.take();
        self.inflight_bytes -= delivery.as_ref().map_or(0, Delivery::size);
        delivery
    }

    /// As a store had it: `kept` is done. Gives what was left of it: nothing of an exchange that
    /// had come to PUBREC.
    pub fn restore_done(&mut self, kept: u64) -> Option<Option<Delivery>> {
        if let Some(at) = self.queue.iter().position(|d| d.kept == kept) {
            let delivery = self.queue.remove(at);
            self.queue_bytes -= delivery.as_ref().map_or(0, Delivery::size);
            return Some(delivery);
        }
        let at = self.inflight.iter().position(|i| i.kept == kept)?;
        Some(self.take(at).delivery)
    }

    /// Puts `delivery` at the end of the queue. What had to give way goes to `dropped`: first what
    /// has expired by `now_ms`, then what is of QoS 0, which gives way to what is acknowledged and
    /// never pushes it out. Nothing gives way to what could not be kept in an empty queue.
    pub fn enqueue(
        &mut self,
        delivery: Delivery,
        bounds: QueueBounds,
        now_ms: u64,
        dropped: &mut Vec<Delivery>,
    ) {
        let size = delivery.size();
        if size > bounds.bytes_max {
            return dropped.push(delivery);
        }
        if !self.takes(size, bounds) {
            self.drop_expired(now_ms, dropped);
            // It would not fit if all others of QoS 0 gave way to it.
            let stays = self.queue_bytes - self.queue_qos0_bytes;
            if delivery.qos == QoS::AtMostOnce && stays + size > bounds.bytes_max {
                return dropped.push(delivery);
            }
        }
        while !self.takes(size, bounds) {
            match self.victim(&delivery).filter(|_| bounds.drop_oldest) {
                Some(at) => dropped.extend(self.remove_queued(at)),
                None => return dropped.push(delivery),
            }
        }
        let expires_ms = delivery.message.expires_ms();
        self.queue_expires_ms = match self.queue.is_empty() {
            true => expires_ms,
            false => self.queue_expires_ms.min(expires_ms),
        };
        self.queue_bytes += size;
        if delivery.qos == QoS::AtMostOnce {
            self.queue_qos0 += 1;
            self.queue_qos0_bytes += size;
        }
        self.queue.push_back(delivery);
    }

    /// Whether the queue has room for a delivery of this size.
    pub fn takes(&self, size: usize, bounds: QueueBounds) -> bool {
        self.queue.len() < bounds.length_max && self.queue_bytes + size <= bounds.bytes_max
    }

    /// The delivery in the queue that gives way to `delivery`.
    fn victim(&self, delivery: &Delivery) -> Option<usize> {
        let is_qos0 = |d: &Delivery| d.qos == QoS::AtMostOnce;
        match self.queue_qos0 {
            0 => (!is_qos0(delivery) && !self.queue.is_empty()).then_some(0),
            _ => self.queue.iter().position(is_qos0),
        }
    }

    /// Takes out what has expired. Looks only if something may have.
    fn drop_expired(&mut self, now_ms: u64, dropped: &mut Vec<Delivery>) {
        if self.queue_expires_ms > now_ms {
            return;
        }
        self.queue_expires_ms = NEVER_MS;
        let marked = std::mem::take(&mut self.queue_marked);
        let doubted = std::mem::take(&mut self.queue_doubted);
        for (at, delivery) in std::mem::take(&mut self.queue).into_iter().enumerate() {
            let expires_ms = delivery.message.expires_ms();
            if expires_ms <= now_ms {
                self.count_out(&delivery);
                dropped.push(delivery);
            } else {
                self.queue_expires_ms = self.queue_expires_ms.min(expires_ms);
                self.queue_marked += usize::from(at < marked);
                self.queue_doubted += usize::from(at < doubted);
                self.queue.push_back(delivery);
            }
        }
    }

    fn count_out(&mut self, delivery: &Delivery) {
        self.queue_bytes -= delivery.size();
        if delivery.qos == QoS::AtMostOnce {
            self.queue_qos0 -= 1;
            self.queue_qos0_bytes -= delivery.size();
        }
    }

    fn remove_queued(&mut self, at: usize) -> Option<Delivery> {
        let delivery = self.queue.remove(at)?;
        self.count_out(&delivery);
        self.queue_marked -= usize::from(at < self.queue_marked);
        self.queue_doubted -= usize::from(at < self.queue_doubted);
        if self.queue.is_empty() {
            self.queue = VecDeque::new();
        }
        Some(delivery)
    }

    /// The next in the queue, without sending it.
    pub fn dequeue(&mut self) -> Option<Delivery> {
        self.remove_queued(0)
    }

    /// Whether the next in the queue, of QoS 1 or 2, may be begun.
    pub fn can_begin_queued(&self, window: Window) -> bool {
        let room = |first: &Delivery| match first.waits_for_store() {
            true => self.has_room_later(window),
            false => self.has_room(window),
        };
        let first = self.queue.front();
        first.is_some_and(|first| !first.is_on_offer() && room(first))
    }

    /// The next in the queue, to look at.
    pub fn queued(&self) -> Option<&Delivery> {
        self.queue.front()
    }

    /// Notes which deliveries wait in front of what has come now and is not in the queue.
    pub fn mark_queue(&mut self) {
        self.queue_marked = self.queue.len();
    }

    /// The rules have changed: what waits now is looked at before it is sent.
    pub fn doubt_queue(&mut self) {
        self.queue_doubted = self.queue.len();
    }

    /// Whether the next in the queue is from before the rules changed.
    pub fn is_queued_doubted(&self) -> bool {
        self.queue_doubted > 0
    }

    /// Whether what came at the mark, of this topic, may go before the queue: nothing of the topic
    /// waits in front of it. Says no where there is too much to look at.
    pub fn may_overtake(&self, topic: &str) -> bool {
        self.queue_marked <= OVERTAKEN_MAX
            && self
                .queue
                .iter()
                .take(self.queue_marked)
                .all(|delivery| delivery.message.topic() != topic)
    }

    /// Whether deliveries of QoS 0 wait: others of QoS 0 must not overtake them (MQTT-4.6.0-6).
    #[inline]
    pub fn has_queued_qos0(&self) -> bool {
        self.queue_qos0 > 0
    }

    /// After a reconnect the next delivery to be sent again, if the window lets it
    /// (MQTT-4.4.0-1); or one that waited for a store. Says whether it is sent again.
    pub fn next_resend(&mut self, window: Window) -> Option<(&Inflight, bool)> {
        let next = self.inflight.get_mut(self.sent)?;
        let on_offer = next.delivery.as_ref().is_some_and(Delivery::is_on_offer);
        if on_offer || next.gate != OPEN || self.sent >= usize::from(window.count) {
            return None;
        }
        let again = std::mem::replace(&mut next.was_sent, true);
        self.fresh -= usize::from(!again);
        self.sent += 1;
        Some((&self.inflight[self.sent - 1], again))
    }

    /// PUBACK: the delivery is done. `None`: there was no such id.
    pub fn handle_puback(&mut self, id: u16) -> Option<Delivery> {
        let at = self.position(id, Stage::Ack)?;
        self.take(at).delivery
    }

    /// PUBREC without an error (MQTT-4.3.3-4); `released` gets the message, which is never sent
    /// again (MQTT-4.3.3-6).
    pub fn handle_pubrec(&mut self, id: u16, released: &mut Option<Delivery>) -> Recorded {
        match self
            .inflight
            .iter_mut()
            .find(|i| i.id == id && i.stage != Stage::Ack)
        {
            Some(inflight) => {
                inflight.stage = Stage::Comp;
                *released = inflight.delivery.take();
                self.inflight_bytes -= released.as_ref().map_or(0, Delivery::size);
                Recorded::Release
            }
            None => Recorded::Unknown,
        }
    }

    /// PUBREC with an error code: the delivery is over (MQTT-4.4.0-2).
    pub fn handle_pubrec_error(&mut self, id: u16) -> Option<Delivery> {
        let at = self.position(id, Stage::Rec)?;
        self.take(at).delivery
    }

    /// PUBCOMP: the exchange is done, and how a store keeps it. `None`: there was none.
    pub fn handle_pubcomp(&mut self, id: u16) -> Option<u64> {
        let at = self.position(id, Stage::Comp)?;
        Some(self.take(at).kept)
    }

    /// The connection is gone: everything in flight has to be sent again on the next.
    pub fn handle_disconnect(&mut self) {
        self.sent = 0;
    }

    /// The client does not take packets of that size: the delivery just begun counts as sent and
    /// done (MQTT-3.1.2-25).
    pub fn abandon(&mut self, id: u16) -> Option<Delivery> {
        let at = self.inflight.iter().position(|i| i.id == id)?;
        self.take(at).delivery
    }

    /// The group answered for `ticket`: another member took it, and it is removed, or none did,
    /// and it is to be sent here.
    pub fn settle_offer(&mut self, ticket: u32, taken: bool) -> Option<Delivery> {
        let is_it = |d: &Delivery| d.deal.as_ref().is_some_and(|deal| deal.ticket == ticket);
        if !taken {
            let inflight = self.inflight.iter_mut().filter_map(|i| i.delivery.as_mut());
            let delivery = inflight.chain(&mut self.queue).find(|d| is_it(d))?;
            delivery.deal.as_mut()?.on_offer = false;
            return None;
        }
        if let Some(at) = self.queue.iter().position(is_it) {
            return self.remove_queued(at);
        }
        let at = self
            .inflight
            .iter()
            .position(|i| i.delivery.as_ref().is_some_and(is_it))?;
        self.take(at).delivery
    }

    /// Marks as on offer, and names, the deliveries that were dealt and may go to another member:
    /// QoS 1 unacknowledged, and everything that was not sent yet (section 4.8.2).
    pub fn put_on_offer(&mut self, mut named: impl FnMut(&Delivery)) {
        let unacknowledged = self.inflight.iter_mut().filter(|i| i.stage == Stage::Ack);
        let begun = unacknowledged.filter_map(|i| i.delivery.as_mut());
        for delivery in begun.chain(&mut self.queue) {
            if let Some(deal) = delivery.deal.as_mut().filter(|deal| !deal.on_offer) {
                deal.on_offer = true;
                named(delivery);
            }
        }
    }

    /// Everything in flight, oldest first.
    pub fn inflight(&self) -> impl Iterator<Item = &Inflight> {
        self.inflight.iter()
    }

    /// Deliveries in flight and waiting.
    pub fn len(&self) -> usize {
        self.inflight.len() + self.queue.len()
    }

    /// Whether nothing is in flight or waiting.
    pub fn is_empty(&self) -> bool {
        self.inflight.is_empty() && self.queue.is_empty()
    }

    /// Deliveries waiting.
    pub fn queue_len(&self) -> usize {
        self.queue.len()
    }

    /// Takes everything that is left, in the order in which it would have been sent. Of an
    /// exchange that has come to PUBREC only how a store keeps it is left.
    pub fn drain(&mut self) -> impl Iterator<Item = (Option<Stage>, Result<Delivery, u64>)> {
        self.sent = 0;
        self.fresh = 0;
        self.inflight_bytes = 0;
        self.queue_bytes = 0;
        self.queue_qos0 = 0;
        self.queue_qos0_bytes = 0;
        self.queue_marked = 0;
        self.queue_doubted = 0;
        let inflight = std::mem::take(&mut self.inflight);
        let queue = std::mem::take(&mut self.queue);
        let left = |i: Inflight| (Some(i.stage), i.delivery.ok_or(i.kept));
        let begun = inflight.into_iter().map(left);
        begun.chain(queue.into_iter().map(|d| (None, Ok(d))))
    }

    fn position(&self, id: u16, stage: Stage) -> Option<usize> {
        self.inflight
            .iter()
            .position(|i| i.id == id && i.stage == stage)
    }

    fn take(&mut self, at: usize) -> Inflight {
        self.sent -= usize::from(at < self.sent);
        self.fresh -= usize::from(!self.inflight[at].was_sent);
        let taken = match at {
            0 => self.inflight.pop_front(),
            at => self.inflight.remove(at),
        };
        let taken = taken.expect("the index was just found");
        self.inflight_bytes -= taken.delivery.as_ref().map_or(0, Delivery::size);
        taken
    }

    fn take_id(&mut self) -> u16 {
        if self.free_ahead == 0 {
            self.look_ahead();
        }
        self.free_ahead -= 1;
        self.last_id = following(self.last_id);
        self.last_id
    }

    /// Moves `last_id` to just before a run of free ids and measures the run. The window is
    /// smaller than the number of ids, so there is one. Called once a run, so rarely.
    fn look_ahead(&mut self) {
        let mut used = [0u64; 1024];
        for inflight in &self.inflight {
            used[usize::from(inflight.id) / 64] |= 1 << (inflight.id % 64);
        }
        let is_used = |id: u16| used[usize::from(id) / 64] >> (id % 64) & 1 == 1;
        while is_used(following(self.last_id)) {
            self.last_id = following(self.last_id);
        }
        let mut id = self.last_id;
        while self.free_ahead < u16::MAX && !is_used(following(id)) {
            self.free_ahead += 1;
            id = following(id);
        }
    }
}

/// The id after `id`, in the circle 1..=65535.
fn following(id: u16) -> u16 {
    if id == u16::MAX { 1 } else { id + 1 }
}

#[cfg(test)]
mod tests;
