//! What waits for a store, and for whom.
//!
//! While a message is published, everything that has to be kept for its acknowledgement to be true
//! is counted in one *wait*: copies appended for receivers here, what is retained, and receipts of
//! the shards that it went to, each of which counts in a wait of its own. Without a store there is
//! no [`Durable`], and nothing here is called but to find that out.

use super::change::{Change, Numbered, SessionRecord};
use super::conn::Pause;
use super::deliver::Parcel;
use super::packets::{Next, Up, conn_ack};
use super::{Awaited, ClientRef, Effects, Envelope, Purpose, Receipt, Shard};
use crate::base::{ConnId, Now, Paged};
use crate::codec::{AckKind, Publish, QoS, ReasonCode, Version};
use crate::session::{Delivery, Opened, Owed, Violation};
use hashbrown::HashMap;

/// Bits of a number that name the shard.
const SHARD_BITS: u32 = 7;
const _: () = assert!(crate::limits::SHARDS_MAX <= 1 << SHARD_BITS);

/// The part of a shard that exists with a store only.
#[derive(Default)]
pub(super) struct Durable {
    /// Counts changes and waits; the shard's own part of their numbers is put behind it.
    last: u64,
    /// Changes of the present step.
    pub changes: Vec<Numbered>,
    /// The number under which a session is kept, by slot; absent: it is not.
    pub sessions: Paged<u64>,
    /// The wait in which everything counts that is kept now, and how much there is so far.
    collecting: Option<(u64, u32)>,
    /// Who waits for a change.
    awaited: HashMap<u64, Awaiter>,
    waits: HashMap<u64, Wait>,
    /// Set from the start until [`Input::Restored`](super::Input::Restored).
    pub restoring: Option<Box<super::restore::Restoring>>,
}

#[derive(Clone, Copy)]
enum Awaiter {
    /// Somebody may ask later on whether it is kept.
    Nobody,
    Wait(u64),
    /// A QoS 2 exchange of this client.
    Gate(ClientRef, u16),
    /// SUBACK with this ticket.
    SubAck(ClientRef, u32),
    /// All that is put on the connection of this client, of this epoch.
    Outbox(ClientRef, u64),
}

struct Wait {
    left: u32,
    then: Then,
}

/// What is true when nothing is left to wait for.
#[derive(Clone, Copy)]
pub(super) enum Then {
    /// An acknowledgement owed to this client.
    Ack(ClientRef),
    Receipt(Receipt),
    /// The delivery that this client offered is safe with another member.
    Answer(ClientRef, u32),
    /// A delivery of an ended session is safe with another member.
    Trim(u64),
    /// Nobody asks.
    Nothing,
}

impl Durable {
    /// Everything is still to come back.
    pub fn restoring() -> Durable {
        Durable {
            restoring: Some(Box::default()),
            ..Durable::default()
        }
    }

    /// Numbers go on behind `number`.
    pub fn go_on_from(&mut self, number: u64) {
        self.last = self.last.max(number >> SHARD_BITS);
    }
}

impl Shard {
    /// A number that no change and no wait has.
    fn number(&mut self) -> u64 {
        let shard = u64::from(self.options.shard.0);
        match self.durable.as_deref_mut() {
            Some(durable) => {
                durable.last += 1;
                durable.last << SHARD_BITS | shard
            }
            None => 0,
        }
    }

    /// Hands a change to the store; its number, or 0 when there is none or the store said it.
    pub(super) fn keep(&mut self, change: Change) -> u64 {
        let is_new = |d: &Durable| d.restoring.is_none();
        if !self.durable.as_deref().is_some_and(is_new) {
            return 0;
        }
        let number = self.number();
        if let Some(durable) = self.durable.as_deref_mut() {
            durable.changes.push(Numbered { number, change });
        }
        number
    }

    /// As [`Shard::keep`], and the present wait counts it.
    pub(super) fn keep_and_await(&mut self, change: Change) {
        let number = self.keep(change);
        self.count(number);
    }

    fn count(&mut self, number: u64) {
        if let Some(durable) = self.durable.as_deref_mut()
            && let Some((wait, left)) = &mut durable.collecting
            && number != 0
        {
            *left += 1;
            durable.awaited.insert(number, Awaiter::Wait(*wait));
        }
    }

    fn await_change(&mut self, number: u64, awaiter: Awaiter) {
        if let Some(durable) = self.durable.as_deref_mut() {
            durable.awaited.insert(number, awaiter);
        }
    }

    /// From now on it is known of this change whether the store has it.
    pub(super) fn expect_change(&mut self, number: u64) {
        self.await_change(number, Awaiter::Nobody);
    }

    /// Whether the store still has to answer.
    pub(super) fn is_expected(&self, number: u64) -> bool {
        let durable = self.durable.as_deref();
        durable.is_some_and(|durable| durable.awaited.contains_key(&number))
    }

    /// The number under which the session in `slot` is kept.
    #[inline]
    pub(super) fn kept_as(&self, slot: u32) -> Option<u64> {
        self.durable.as_deref()?.sessions.get(slot).copied()
    }

    /// A connection has the session in `slot` now. Gives the change that CONNACK has to wait for.
    pub(super) fn keep_session(&mut self, slot: u32) -> u64 {
        if self.durable.is_none() {
            return 0;
        }
        let known = self.kept_as(slot);
        let session = self.sessions.get(slot).expect("looked up by the caller");
        if !session.persists() {
            return self.keep_end(slot);
        }
        let record = SessionRecord {
            session: known.unwrap_or(0),
            client_id: session.client_id.clone(),
            username: session.username.clone(),
            epoch: session.epoch,
            version: session.version,
            expiry_s: session.expiry_s,
            receive_maximum: session.receive_maximum,
            will: session.will.clone(),
        };
        let number = self.number();
        let session = known.unwrap_or(number);
        let record = SessionRecord { session, ..record };
        let change = Change::Session(Box::new(record));
        if let Some(durable) = self.durable.as_deref_mut() {
            durable.changes.push(Numbered { number, change });
            if known.is_none() {
                durable.sessions.insert_at(slot, number);
            }
        }
        number
    }

    /// The session in `slot` has no connection any more, or no will.
    pub(super) fn keep_left(&mut self, now: Now, slot: u32) {
        let Some(session) = self.kept_as(slot) else {
            return;
        };
        let left = self.sessions.get(slot).expect("looked up by the caller");
        self.keep(Change::Left {
            session,
            unix_ms: now.unix_ms - (now.ms - left.disconnected_ms).min(now.unix_ms),
            expiry_s: left.expiry_s,
            has_will: left.will.is_some(),
        });
    }

    /// The session in `slot` is not kept any more: it is over, or will be with its connection.
    pub(super) fn keep_end(&mut self, slot: u32) -> u64 {
        let durable = self.durable.as_deref_mut();
        match durable.and_then(|durable| durable.sessions.remove(slot)) {
            Some(session) => self.keep(Change::End { session }),
            None => 0,
        }
    }

    /// A delivery is owed to the session in `slot` from now on.
    #[inline]
    pub(super) fn append(&mut self, slot: u32, delivery: &mut Delivery) {
        if self.durable.is_none() || delivery.qos == QoS::AtMostOnce {
            return;
        }
        let Some(session) = self.kept_as(slot) else {
            return;
        };
        let number = self.number();
        delivery.kept = number;
        let change = Change::Append {
            session,
            delivery: delivery.clone(),
        };
        if let Some(durable) = self.durable.as_deref_mut() {
            durable.changes.push(Numbered { number, change });
        }
        self.count(number);
    }

    /// A kept delivery is done or given up.
    pub(super) fn trim(&mut self, delivery: u64) {
        if delivery != 0 {
            self.keep(Change::Trim { delivery });
        }
    }

    /// Gives a kept QoS 2 delivery its packet id. It is sent when the store knows the id: after a
    /// crash it must not come again under another.
    pub(super) fn begin_kept(&mut self, slot: u32, delivery: Delivery) {
        let kept = delivery.kept;
        let session = self
            .sessions
            .get_mut(slot)
            .expect("looked up by the caller");
        let packet_id = session.flow_mut().out.begin_later(delivery);
        let change = self.keep(Change::Begin {
            delivery: kept,
            packet_id,
        });
        self.shut(slot, packet_id, change);
    }

    /// PUBREC came for a QoS 2 exchange; `kept` if this was the first. True: PUBREL has to wait
    /// until the store knows, or the message could be sent again after the client forgot its id.
    pub(super) fn holds_release(&mut self, slot: u32, packet_id: u16, kept: u64) -> bool {
        if self.durable.is_none() {
            return false;
        }
        if kept != 0 {
            let change = self.keep(Change::Received { delivery: kept });
            self.shut(slot, packet_id, change);
        }
        let session = self.sessions.get(slot).expect("looked up by the caller");
        session
            .flow
            .as_ref()
            .is_some_and(|flow| flow.out.is_shut(packet_id))
    }

    fn shut(&mut self, slot: u32, packet_id: u16, change: u64) {
        let session = self
            .sessions
            .get_mut(slot)
            .expect("looked up by the caller");
        session.flow_mut().out.shut(packet_id, change);
        let client = self.client_ref(slot);
        self.await_change(change, Awaiter::Gate(client, packet_id));
    }

    /// SUBACK has to wait for this change too. False: there is nothing to wait for.
    pub(super) fn keep_for_suback(&mut self, slot: u32, change: Change, ticket: u32) -> bool {
        let number = self.keep(change);
        let client = self.client_ref(slot);
        if number != 0 {
            self.await_change(number, Awaiter::SubAck(client, ticket));
        }
        number != 0
    }

    /// A client's message of QoS 1 or 2, to be acknowledged when it is kept.
    pub(super) fn publish_kept(
        &mut self,
        now: Now,
        (id, up): (ConnId, Up),
        (publish, is_denied): (&Publish<'_>, bool),
        fx: &mut Effects,
    ) -> Result<Next, Violation> {
        let slot = up.session;
        let is_v5 = up.version == Version::V5;
        if is_v5 && self.owes_all(slot) {
            self.release_inbound(slot, publish);
            return Err(Violation::ReceiveMaximumExceeded);
        }
        self.begin_wait();
        let reason = match is_denied {
            true => ReasonCode::NotAuthorized,
            false => self.accept(now, slot, publish, fx),
        };
        if reason.is_error() && is_v5 {
            self.release_inbound(slot, publish);
        } else if publish.qos == QoS::ExactlyOnce
            && let Some(session) = self.kept_as(slot)
        {
            let packet_id = publish.packet_id;
            self.keep_and_await(Change::Open { session, packet_id });
        }
        let wait = self.end_wait(Then::Ack(self.client_ref(slot)));
        let kind = match publish.qos {
            QoS::ExactlyOnce => AckKind::PubRec,
            _ => AckKind::PubAck,
        };
        self.owe((id, slot), (kind, publish.packet_id, reason), wait, fx);
        if !is_v5 && self.owes_all(slot) {
            // Nobody has told these clients how much they may have under way.
            let conn = self.conns.get_mut(id.0).expect("looked up by the caller");
            conn.pause = Some(Pause::OwedAll);
        }
        Ok(self.next(id))
    }

    /// Whether as many acknowledgements are owed to the session as it may wait for.
    fn owes_all(&self, slot: u32) -> bool {
        let session = self.sessions.get(slot).expect("looked up by the caller");
        let owed = session.flow.as_ref().map_or(0, |flow| flow.acks.len());
        owed >= usize::from(self.options.mqtt.receive_maximum)
    }

    /// PUBREL came; PUBCOMP follows when the store knows that the id is free. Otherwise the
    /// client's next message with this id would be taken for the old one after a crash.
    pub(super) fn release_kept(
        &mut self,
        (id, slot): (ConnId, u32),
        (packet_id, reason): (u16, ReasonCode),
        fx: &mut Effects,
    ) {
        self.begin_wait();
        if let Some(session) = self.kept_as(slot) {
            self.keep_and_await(Change::Close { session, packet_id });
        }
        let wait = self.end_wait(Then::Ack(self.client_ref(slot)));
        self.owe((id, slot), (AckKind::PubComp, packet_id, reason), wait, fx);
    }

    /// An acknowledgement goes out after `wait`, and after those owed before.
    fn owe(
        &mut self,
        (id, slot): (ConnId, u32),
        (kind, packet_id, reason): (AckKind, u16, ReasonCode),
        wait: Option<u64>,
        fx: &mut Effects,
    ) {
        let session = self.sessions.get(slot).expect("looked up by the caller");
        let owes = session.flow.as_ref().is_some_and(|f| !f.acks.is_empty());
        if wait.is_none() && !owes {
            return conn_ack(self, id, (kind, packet_id, reason), fx);
        }
        let owed = Owed {
            wait: wait.unwrap_or_else(|| self.number()),
            kind,
            packet_id,
            reason,
            is_true: wait.is_none(),
            is_asked: true,
        };
        let session = self.sessions.get_mut(slot).expect("looked up just now");
        session.flow_mut().acks.push(owed);
    }

    /// What is kept from now on counts in one wait.
    pub(super) fn begin_wait(&mut self) {
        let wait = self.number();
        if let Some(durable) = self.durable.as_deref_mut() {
            debug_assert!(durable.collecting.is_none(), "one message at a time");
            durable.collecting = Some((wait, 0));
        }
    }

    /// Nothing more counts. `None`: there is nothing to wait for, and `then` is true already.
    pub(super) fn end_wait(&mut self, then: Then) -> Option<u64> {
        let durable = self.durable.as_deref_mut()?;
        let (wait, left) = durable.collecting.take()?;
        if left == 0 {
            return None;
        }
        durable.waits.insert(wait, Wait { left, then });
        Some(wait)
    }

    /// What another shard has to send back when it has kept its part of the present message.
    pub(super) fn receipt(&mut self) -> Option<Receipt> {
        let shard = self.options.shard;
        let (wait, left) = self.durable.as_deref_mut()?.collecting.as_mut()?;
        *left += 1;
        let wait = *wait;
        Some(Receipt { shard, wait })
    }

    /// A receipt for a delivery of a session that has ended: it is trimmed when another has it.
    pub(super) fn receipt_to_trim(&mut self, delivery: u64) -> Option<Receipt> {
        if delivery == 0 {
            return None;
        }
        self.begin_wait();
        let receipt = self.receipt();
        self.end_wait(Then::Trim(delivery));
        receipt
    }

    /// Sends a receipt back.
    pub(super) fn give_receipt(&mut self, now: Now, receipt: Option<Receipt>, fx: &mut Effects) {
        let Some(receipt) = receipt else { return };
        if receipt.shard == self.options.shard {
            return self.come_true(now, receipt.wait, fx);
        }
        let wait = receipt.wait;
        fx.mail.post(receipt.shard, Envelope::Stored { wait });
    }

    /// Mail whose sender waits for a receipt.
    pub(super) fn handle_awaited(&mut self, now: Now, awaited: Awaited, fx: &mut Effects) {
        self.begin_wait();
        match awaited.purpose {
            Purpose::Deliver => self.handle_arrived(now, Parcel::kept(&awaited.message), fx),
            Purpose::Retain => self.store_retained(now, awaited.message),
        }
        if self.end_wait(Then::Receipt(awaited.receipt)).is_none() {
            self.give_receipt(now, Some(awaited.receipt), fx);
        }
    }

    /// One of the things that this wait was for has come.
    pub(super) fn come_true(&mut self, now: Now, wait: u64, fx: &mut Effects) {
        let Some(durable) = self.durable.as_deref_mut() else {
            return;
        };
        let Some(known) = durable.waits.get_mut(&wait) else {
            return;
        };
        known.left -= 1;
        if known.left > 0 {
            return;
        }
        let then = known.then;
        durable.waits.remove(&wait);
        match then {
            Then::Ack(client) => self.settle_owed(now, (client, wait), fx),
            Then::Receipt(receipt) => self.give_receipt(now, Some(receipt), fx),
            Then::Trim(delivery) => self.trim(delivery),
            Then::Answer(client, ticket) => self.answer(now, (client, ticket, true), fx),
            Then::Nothing => {}
        }
    }

    /// More shards than one, or none, got what one receipt was counted for.
    pub(super) fn count_receipts(&mut self, now: Now, (wait, n): (u64, u32), fx: &mut Effects) {
        let waits = self
            .durable
            .as_deref_mut()
            .map(|durable| &mut durable.waits);
        if let Some(known) = waits.and_then(|waits| waits.get_mut(&wait)) {
            known.left += n;
        }
        self.come_true(now, wait, fx);
    }

    /// The store has these.
    pub(super) fn handle_committed(&mut self, now: Now, numbers: &[u64], fx: &mut Effects) {
        for &number in numbers {
            let durable = self.durable.as_deref_mut();
            match durable.and_then(|durable| durable.awaited.remove(&number)) {
                None | Some(Awaiter::Nobody) => {}
                Some(Awaiter::Wait(wait)) => self.come_true(now, wait, fx),
                Some(Awaiter::SubAck(client, ticket)) => {
                    self.handle_joined(now, client, ticket, fx)
                }
                Some(Awaiter::Outbox(client, epoch)) => self.let_go(client, epoch, fx),
                Some(Awaiter::Gate(client, packet_id)) => {
                    self.open_gate(now, client, (packet_id, number), fx)
                }
            }
        }
    }

    /// What is in the outbox of the session in `slot`, and comes behind it, says that these changes
    /// were made.
    pub(super) fn hold_outbox(&mut self, slot: u32, changes: &[u64], fx: &mut Effects) {
        let client = self.client_ref(slot);
        let session = self.sessions.get(slot);
        let Some((id, epoch)) = session.and_then(|s| Some((s.conn?, s.epoch))) else {
            return;
        };
        for &change in changes.iter().filter(|&&change| change != 0) {
            fx.out.hold(id);
            self.await_change(change, Awaiter::Outbox(client, epoch));
        }
    }

    fn let_go(&mut self, client: ClientRef, epoch: u64, fx: &mut Effects) {
        let session = self.named(client).and_then(|slot| self.sessions.get(slot));
        if let Some(id) = session.filter(|s| s.epoch == epoch).and_then(|s| s.conn) {
            fx.out.let_go(id);
        }
    }

    fn open_gate(
        &mut self,
        now: Now,
        client: ClientRef,
        (packet_id, number): (u16, u64),
        fx: &mut Effects,
    ) {
        let Some(slot) = self.named(client) else {
            return;
        };
        let session = self.sessions.get_mut(slot).expect("named just now");
        let conn = session.conn;
        match session.flow_mut().out.open(packet_id, number) {
            Opened::Nothing => {}
            Opened::Publish => self.pump(now, slot, fx),
            Opened::Release => {
                if let Some(id) = conn {
                    let ack = (AckKind::PubRel, packet_id, ReasonCode::Success);
                    conn_ack(self, id, ack, fx);
                }
            }
        }
    }

    /// An acknowledgement is true: it goes out, unless an earlier one is owed still.
    fn settle_owed(&mut self, now: Now, (client, wait): (ClientRef, u64), fx: &mut Effects) {
        let Some(slot) = self.named(client) else {
            return;
        };
        let session = self.sessions.get_mut(slot).expect("named just now");
        let conn = session.conn;
        let Some(flow) = session.flow.as_deref_mut() else {
            return;
        };
        flow.acks.settle(wait);
        let due: Vec<Owed> = std::iter::from_fn(|| flow.acks.pop()).collect();
        let Some(id) = conn else { return };
        for owed in due {
            conn_ack(self, id, (owed.kind, owed.packet_id, owed.reason), fx);
        }
        if self.owes_all(slot) {
            return;
        }
        let conn = self
            .conns
            .get_mut(id.0)
            .expect("a session's connection is open");
        if conn
            .pause
            .take_if(|pause| *pause == Pause::OwedAll)
            .is_some()
        {
            fx.resumed.push(id);
            self.resume_input(now, id, fx);
        }
    }
}
