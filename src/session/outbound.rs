//! QoS 1 and 2 towards the client: packet ids, the in-flight window, the queue behind it.

use super::delivery::Delivery;
use crate::codec::QoS;
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
    queue: VecDeque<Delivery>,
    queue_bytes: usize,
    /// How many of `queue` are of QoS 0.
    queue_qos0: usize,
}

impl Outbound {
    /// Whether a new delivery may go out at once, with `window` unacknowledged at most.
    #[inline]
    pub fn can_begin(&self, window: u16) -> bool {
        self.queue.is_empty() && self.has_room(window)
    }

    /// Whether one more delivery may be in flight, whatever waits.
    #[inline]
    pub fn has_room(&self, window: u16) -> bool {
        self.sent == self.inflight.len() && self.inflight.len() < window as usize
    }

    /// Gives `delivery` (QoS 1 or 2) a packet id not in use (MQTT-2.2.1-4); it is sent now.
    pub fn begin(&mut self, delivery: Delivery) -> &Inflight {
        debug_assert_eq!(self.sent, self.inflight.len(), "new ones follow the resent");
        let id = self.take_id();
        let stage = match delivery.qos {
            QoS::ExactlyOnce => Stage::Rec,
            _ => Stage::Ack,
        };
        self.inflight.push_back(Inflight {
            id,
            stage,
            delivery: Some(delivery),
        });
        self.sent += 1;
        self.inflight.back().expect("pushed just now")
    }

    /// Puts `delivery` at the end of the queue. What had to give way goes to `dropped`.
    pub fn enqueue(
        &mut self,
        delivery: Delivery,
        bounds: QueueBounds,
        dropped: &mut Vec<Delivery>,
    ) {
        let size = delivery.size();
        let fits = |out: &Outbound| {
            out.queue.len() < bounds.length_max && out.queue_bytes + size <= bounds.bytes_max
        };
        while !fits(self) {
            match self.queue.front() {
                Some(_) if bounds.drop_oldest => dropped.extend(self.dequeue()),
                _ => return dropped.push(delivery),
            }
        }
        self.queue_bytes += size;
        self.queue_qos0 += usize::from(delivery.qos == QoS::AtMostOnce);
        self.queue.push_back(delivery);
    }

    /// The next in the queue, without sending it.
    pub fn dequeue(&mut self) -> Option<Delivery> {
        let delivery = self.queue.pop_front()?;
        self.queue_bytes -= delivery.size();
        self.queue_qos0 -= usize::from(delivery.qos == QoS::AtMostOnce);
        if self.queue.is_empty() {
            self.queue = VecDeque::new();
        }
        Some(delivery)
    }

    /// Whether the next in the queue, of QoS 1 or 2, may be begun.
    pub fn can_begin_queued(&self, window: u16) -> bool {
        self.has_room(window) && self.queue.front().is_some_and(|first| !first.is_on_offer())
    }

    /// The next in the queue, to look at.
    pub fn queued(&self) -> Option<&Delivery> {
        self.queue.front()
    }

    /// Whether deliveries of QoS 0 wait: others of QoS 0 must not overtake them (MQTT-4.6.0-6).
    #[inline]
    pub fn has_queued_qos0(&self) -> bool {
        self.queue_qos0 > 0
    }

    /// After a reconnect: the next delivery to be sent again, if the window lets it
    /// (MQTT-4.4.0-1).
    pub fn next_resend(&mut self, window: u16) -> Option<&Inflight> {
        let next = self.inflight.get(self.sent)?;
        let waits = next.delivery.as_ref().is_some_and(Delivery::is_on_offer);
        if waits || self.sent >= window as usize {
            return None;
        }
        self.sent += 1;
        self.inflight.get(self.sent - 1)
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

    /// PUBCOMP: the exchange is done. False when there was none.
    pub fn handle_pubcomp(&mut self, id: u16) -> bool {
        match self.position(id, Stage::Comp) {
            Some(at) => {
                self.take(at);
                true
            }
            None => false,
        }
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
            let delivery = self.queue.remove(at)?;
            self.queue_bytes -= delivery.size();
            return Some(delivery);
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

    /// Takes everything that is left, in the order in which it would have been sent.
    pub fn drain(&mut self) -> impl Iterator<Item = (Option<Stage>, Option<Delivery>)> {
        self.sent = 0;
        self.queue_bytes = 0;
        self.queue_qos0 = 0;
        let inflight = std::mem::take(&mut self.inflight);
        let queue = std::mem::take(&mut self.queue);
        let begun = inflight.into_iter().map(|i| (Some(i.stage), i.delivery));
        begun.chain(queue.into_iter().map(|d| (None, Some(d))))
    }

    fn position(&self, id: u16, stage: Stage) -> Option<usize> {
        self.inflight
            .iter()
            .position(|i| i.id == id && i.stage == stage)
    }

    fn take(&mut self, at: usize) -> Inflight {
        self.sent -= usize::from(at < self.sent);
        let taken = match at {
            0 => self.inflight.pop_front(),
            at => self.inflight.remove(at),
        };
        taken.expect("the index was just found")
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
mod tests {
    use super::*;
    use crate::codec::Forwarded;
    use crate::message::{Content, Message, NEVER_MS};
    use crate::session::Ids;

    const BOUNDS: QueueBounds = QueueBounds {
        length_max: 2,
        bytes_max: 100_000,
        drop_oldest: true,
    };

    fn delivery(qos: QoS, payload: &[u8]) -> Delivery {
        let content = Content {
            topic: "t",
            payload,
            properties: Forwarded::from_stored(&[]),
            qos,
            retain: false,
            expires_ms: NEVER_MS,
        };
        let message = Message::copy_of(&content, &mut Vec::new());
        Delivery {
            message,
            qos,
            retain: false,
            ids: Ids::None,
            deal: None,
        }
    }

    fn qos1() -> Delivery {
        delivery(QoS::AtLeastOnce, b"")
    }

    #[test]
    fn ids_are_never_zero_and_never_in_use() {
        let mut out = Outbound::default();
        let kept = out.begin(qos1()).id;
        for _ in 0..200_000 {
            let id = out.begin(qos1()).id;
            assert!(id != 0 && id != kept);
            assert!(out.handle_puback(id).is_some());
        }
        assert_eq!(out.inflight().map(|i| i.id).collect::<Vec<_>>(), [kept]);
    }

    #[test]
    fn all_ids_can_be_in_flight() {
        let mut out = Outbound::default();
        let mut ids: Vec<u16> = (0..u16::MAX).map(|_| out.begin(qos1()).id).collect();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), u16::MAX as usize);
        out.handle_puback(4711);
        assert_eq!(out.begin(qos1()).id, 4711);
    }

    #[test]
    fn the_window_counts_what_was_sent_on_this_connection() {
        let mut out = Outbound::default();
        let (a, b) = (
            out.begin(qos1()).id,
            out.begin(delivery(QoS::ExactlyOnce, b"")).id,
        );
        assert!(!out.can_begin(2) && out.can_begin(3));
        let mut released = None;
        assert_eq!(out.handle_pubrec(b, &mut released), Recorded::Release);
        assert!(released.is_some());
        out.handle_disconnect();
        assert!(!out.can_begin(3), "the old ones go first");
        assert_eq!(
            out.next_resend(1).map(|i| (i.id, i.stage)),
            Some((a, Stage::Ack))
        );
        assert!(out.next_resend(1).is_none());
        out.handle_puback(a);
        assert_eq!(
            out.next_resend(1).map(|i| (i.id, i.stage)),
            Some((b, Stage::Comp))
        );
        assert!(out.handle_pubcomp(b) && !out.handle_pubcomp(b));
        assert!(out.is_empty() && out.can_begin(1));
    }

    #[test]
    fn acknowledgements_of_the_wrong_kind_change_nothing() {
        let mut out = Outbound::default();
        let (one, two) = (
            out.begin(qos1()).id,
            out.begin(delivery(QoS::ExactlyOnce, b"")).id,
        );
        assert!(out.handle_puback(two).is_none());
        assert!(!out.handle_pubcomp(two));
        assert_eq!(out.handle_pubrec(one, &mut None), Recorded::Unknown);
        assert!(out.handle_pubrec_error(one).is_none());
        assert_eq!(out.len(), 2);
    }

    #[test]
    fn a_full_queue_drops_the_oldest_or_the_newest() {
        let payloads = |out: &Outbound| {
            out.queue
                .iter()
                .map(|d| d.message.content().payload.to_vec())
                .collect::<Vec<_>>()
        };
        for (drop_oldest, left) in [(true, [b"b", b"c"]), (false, [b"a", b"b"])] {
            let (mut out, mut dropped) = (Outbound::default(), vec![]);
            for payload in [b"a", b"b", b"c"] {
                let bounds = QueueBounds {
                    drop_oldest,
                    ..BOUNDS
                };
                out.enqueue(delivery(QoS::AtLeastOnce, payload), bounds, &mut dropped);
            }
            assert_eq!(dropped.len(), 1);
            assert_eq!(payloads(&out), left);
        }
    }

    #[test]
    fn queue_bytes_bound_the_queue_too() {
        let (mut out, mut dropped) = (Outbound::default(), vec![]);
        let bounds = QueueBounds {
            length_max: 100,
            bytes_max: 300,
            drop_oldest: true,
        };
        for _ in 0..10 {
            out.enqueue(delivery(QoS::AtLeastOnce, &[0; 50]), bounds, &mut dropped);
        }
        assert!(out.queue_bytes <= 300 && out.queue_len() + dropped.len() == 10);
        out.enqueue(delivery(QoS::AtLeastOnce, &[0; 500]), bounds, &mut dropped);
        assert_eq!(
            (out.queue_len(), out.queue_bytes, dropped.len()),
            (0, 0, 11)
        );
    }
}
