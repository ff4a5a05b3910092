//! From what a store kept back to sessions, subscriptions, deliveries and retained messages.

use super::change::{Change, Numbered, SessionRecord};
use super::{Effects, Membership, Offered, Shard};
use crate::base::{Now, ShardId};
use crate::codec::topic::Filter;
use crate::routing::{ClientKey, Subscription, group_owner};
use crate::session::{Deal, Delivery, EXPIRY_NEVER_S, GroupKey};
use hashbrown::HashMap;
use std::collections::BTreeMap;
use std::sync::Arc;

/// What has to be known while changes come back.
#[derive(Default)]
pub(super) struct Restoring {
    /// Slots of sessions.
    sessions: HashMap<u64, u32>,
    /// Slots of the sessions to which deliveries are owed.
    owners: HashMap<u64, u32>,
    /// Deliveries whose session is over: their group gets them, if they came from one.
    ownerless: BTreeMap<u64, Delivery>,
}

impl Shard {
    /// A change comes back.
    pub(super) fn handle_restore(&mut self, now: Now, numbered: Numbered, fx: &mut Effects) {
        let Numbered { number, change } = numbered;
        let Some(durable) = self.durable.as_deref_mut() else {
            return;
        };
        durable.go_on_from(number);
        let Some(restoring) = durable.restoring.as_deref_mut() else {
            debug_assert!(false, "what is kept comes back before anything else");
            return;
        };
        let slot_of = |session: &u64| restoring.sessions.get(session).copied();
        match change {
            Change::Session(record) => self.restore_session(now, *record),
            Change::Left {
                session,
                unix_ms,
                expiry_s,
                has_will,
            } => {
                if let Some(slot) = slot_of(&session) {
                    self.restore_left(now, slot, (unix_ms, expiry_s, has_will));
                }
            }
            Change::End { session } => {
                if let Some(slot) = restoring.sessions.remove(&session) {
                    self.restore_end(slot, fx);
                }
            }
            Change::Subscribe {
                session,
                filter,
                subscription,
            } => {
                if let Some(slot) = slot_of(&session) {
                    self.restore_subscription(slot, &filter, subscription, fx);
                }
            }
            Change::Unsubscribe { session, filter } => {
                if let Some(slot) = slot_of(&session) {
                    self.unsubscribe(slot, &filter, fx);
                }
            }
            Change::Append { session, delivery } => {
                let slot = slot_of(&session);
                self.restore_delivery(slot, delivery);
            }
            Change::Begin { .. } | Change::Received { .. } | Change::Trim { .. } => {
                self.restore_progress(&change)
            }
            Change::Open { session, packet_id } => {
                if let Some(slot) = slot_of(&session) {
                    let flow = self.sessions.get_mut(slot).expect("restored before");
                    flow.flow_mut().inbound.handle_publish(packet_id, u16::MAX);
                }
            }
            Change::Close { session, packet_id } => {
                if let Some(slot) = slot_of(&session) {
                    let flow = self.sessions.get_mut(slot).expect("restored before");
                    flow.flow_mut().inbound.release(packet_id);
                }
            }
            Change::Retain { topic, message } => match message {
                Some(message) => self.store_retained(now, message),
                None => drop(self.retained.remove(&topic)),
            },
        }
    }

    /// All that was kept is back, here and in the other shards: deadlines run, and what groups may
    /// have instead of members that are away is offered to them.
    pub(super) fn handle_restored(&mut self, now: Now, fx: &mut Effects) {
        let durable = self.durable.as_deref_mut();
        let Some(restoring) = durable.and_then(|durable| durable.restoring.take()) else {
            return;
        };
        for &slot in restoring.sessions.values() {
            self.arm_session(slot);
            self.offer_dealt(now, slot, fx);
            let session = self.sessions.get_mut(slot).expect("restored before");
            session.drop_idle_flow();
        }
        let by = self.client_ref(u32::MAX);
        for (kept, delivery) in restoring.ownerless {
            let Some(deal) = delivery.deal else {
                self.trim(kept);
                continue;
            };
            let receipt = self.receipt_to_trim(kept);
            self.counters.ledger.restored += 1;
            self.counters.ledger.forwarded += 1;
            let offer = Offered {
                group: deal.group,
                message: delivery.message,
                by,
                ticket: None,
                receipt,
            };
            self.offer(now, offer, fx);
        }
    }

    fn restore_session(&mut self, now: Now, record: SessionRecord) {
        let SessionRecord {
            session: number,
            client_id,
            username,
            epoch,
            version,
            expiry_s,
            receive_maximum,
            will,
        } = record;
        let slot = match self.find_session(&client_id) {
            Some(slot) => slot,
            None => self.insert_session(client_id),
        };
        self.last_epoch = self.last_epoch.max(epoch);
        let session = self.sessions.get_mut(slot).expect("found or made just now");
        session.username = username;
        session.epoch = epoch;
        session.version = version;
        session.expiry_s = expiry_s;
        session.receive_maximum = receive_maximum;
        session.will = will;
        // Connected to the end, unless it is said otherwise: the end is now.
        session.disconnected_ms = now.ms;
        let durable = self.durable.as_deref_mut().expect("something comes back");
        if durable.sessions.get(slot).is_none() {
            durable.sessions.insert_at(slot, number);
        }
        let restoring = durable.restoring.as_deref_mut().expect("checked before");
        restoring.sessions.insert(number, slot);
    }

    fn restore_left(
        &mut self,
        now: Now,
        slot: u32,
        (unix_ms, expiry_s, has_will): (u64, u32, bool),
    ) {
        let away_ms = now.unix_ms.saturating_sub(unix_ms);
        // The monotonic clock may not reach back to when it left: what is left of each interval
        // is counted from now.
        let left_s = |interval_s: u32| {
            let left_ms = (u64::from(interval_s) * 1000).saturating_sub(away_ms);
            left_ms.div_ceil(1000) as u32
        };
        let session = self.sessions.get_mut(slot).expect("restored before");
        session.disconnected_ms = now.ms;
        session.expiry_s = match expiry_s {
            EXPIRY_NEVER_S => EXPIRY_NEVER_S,
            s => left_s(s),
        };
        match &mut session.will {
            Some(will) if has_will => will.delay_s = left_s(will.delay_s),
            will => *will = None,
        }
    }

    fn restore_end(&mut self, slot: u32, fx: &mut Effects) {
        self.leave_all(slot, fx);
        self.forget_client_id(slot);
        let mut session = self.sessions.remove(slot).expect("restored before");
        for id in session.subscriptions {
            self.router.remove(ClientKey(slot), id);
        }
        let left = session.flow.as_mut().map(|flow| flow.out.drain());
        for (_, left) in left.into_iter().flatten() {
            self.counters.ledger.restored -= 1;
            self.counters.ledger.held -= 1;
            if let Ok(delivery) = left {
                self.counters.queued_bytes -= delivery.size();
                self.restoring().ownerless.insert(delivery.kept, delivery);
            }
        }
        let durable = self.durable.as_deref_mut().expect("something comes back");
        durable.sessions.remove(slot);
    }

    fn restore_subscription(
        &mut self,
        slot: u32,
        text: &str,
        subscription: Subscription,
        fx: &mut Effects,
    ) {
        let Ok(filter) = Filter::parse(text) else {
            return;
        };
        if let Some(share) = filter.share {
            self.join(slot, (share, filter.levels), (subscription, 0), fx);
            let shared = self.sessions.get(slot).and_then(|s| s.shared.as_deref());
            let is_it = |key: &GroupKey| *key.share == *share && *key.filter == *filter.levels;
            let mut keys = shared.into_iter().flatten().map(|known| known.key.clone());
            if let Some(key) = keys.find(|key| is_it(key)) {
                self.tell_owner(slot, key, Membership::Connected(false), fx);
            }
            return;
        }
        let client = ClientKey(slot);
        let subscribed = self.router.subscribe(client, filter.levels, subscription);
        if subscribed.is_new {
            let session = self.sessions.get_mut(slot).expect("restored before");
            session.subscriptions.push(subscribed.id);
        }
    }

    fn restore_delivery(&mut self, slot: Option<u32>, mut delivery: Delivery) {
        if let Some(deal) = &mut delivery.deal {
            // The number of shards may be another, and so the group's owner.
            let GroupKey { share, filter, .. } = &*deal.group;
            let owner = ShardId(group_owner(share, filter, self.options.shards));
            let group = Arc::new(GroupKey {
                owner,
                share: share.clone(),
                filter: filter.clone(),
            });
            let ticket = self.ticket();
            **deal = Deal {
                group,
                ticket,
                on_offer: false,
            };
        }
        let kept = delivery.kept;
        let Some(slot) = slot else {
            self.restoring().ownerless.insert(kept, delivery);
            return;
        };
        self.counters.ledger.restored += 1;
        self.counters.ledger.held += 1;
        self.counters.queued_bytes += delivery.size();
        self.restoring().owners.insert(kept, slot);
        let session = self.sessions.get_mut(slot).expect("restored before");
        session.flow_mut().out.restore(delivery);
    }

    /// What became of a delivery.
    fn restore_progress(&mut self, change: &Change) {
        let (Change::Begin { delivery, .. }
        | Change::Received { delivery }
        | Change::Trim { delivery }) = change
        else {
            return;
        };
        if let Change::Trim { .. } = change {
            self.restoring().ownerless.remove(delivery);
        }
        let Some(&slot) = self.restoring().owners.get(delivery) else {
            return;
        };
        let Some(session) = self.sessions.get_mut(slot) else {
            return;
        };
        let out = &mut session.flow_mut().out;
        let done = match *change {
            Change::Begin {
                delivery,
                packet_id,
            } => {
                out.restore_begun(delivery, packet_id);
                None
            }
            Change::Trim { delivery } => {
                let done = out.restore_done(delivery);
                self.counters.ledger.restored -= u64::from(done.is_some());
                self.counters.ledger.held -= u64::from(done.is_some());
                done.flatten()
            }
            _ => out.restore_received(*delivery),
        };
        self.counters.queued_bytes -= done.map_or(0, |delivery| delivery.size());
    }

    fn restoring(&mut self) -> &mut Restoring {
        let durable = self.durable.as_deref_mut().expect("something comes back");
        durable.restoring.as_deref_mut().expect("checked before")
    }
}
