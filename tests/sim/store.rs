//! A store that is slow, and answers out of step: it makes the changes of a session durable in
//! their order, those of different sessions in any, and tells of it whenever it likes.

use super::model::number_of;
use super::rng::Rng;
use ringmq::shard::{Change, Numbered};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// The store of one shard.
#[derive(Default)]
pub struct Store {
    /// Not durable yet, by session; what belongs to no session is in lane 0.
    lanes: BTreeMap<u64, VecDeque<Numbered>>,
    /// Durable, and the shard has not heard of it.
    untold: Vec<u64>,
    /// The lanes of deliveries.
    owners: BTreeMap<u64, u64>,
    /// What would survive a crash now, but for what is void.
    sessions: BTreeSet<u64>,
    deliveries: BTreeSet<u64>,
}

/// What became of the copies of messages, in all stores.
#[derive(Default)]
pub struct Kept {
    /// Message numbers by change.
    messages: BTreeMap<u64, u32>,
    /// Whether each copy of a message is durable.
    copies: BTreeMap<u32, Vec<(u64, bool)>>,
    acknowledged: BTreeSet<u32>,
    /// Copies that were waited for: a world without any shows nothing.
    pub checked: u64,
}

impl Store {
    /// Takes what a step has changed.
    pub fn take(&mut self, changes: &mut Vec<Numbered>, kept: &mut Kept) {
        for numbered in changes.drain(..) {
            kept.note(&numbered);
            let lane = self.lane(&numbered);
            self.lanes.entry(lane).or_default().push_back(numbered);
        }
    }

    /// Makes some of it durable. Gives what the shard is told of.
    pub fn work(&mut self, (rng, calm): (&mut Rng, bool), kept: &mut Kept) -> Vec<u64> {
        let lanes: Vec<u64> = self.lanes.keys().copied().collect();
        for lane in lanes {
            let queue = self.lanes.get_mut(&lane).expect("listed just now");
            let most = queue.len() as u64;
            let count = match calm {
                true => most,
                false => rng.below(3).min(most),
            };
            let done: Vec<Numbered> = queue.drain(..count as usize).collect();
            if queue.is_empty() {
                self.lanes.remove(&lane);
            }
            for numbered in done {
                kept.commit(numbered.number);
                self.untold.push(numbered.number);
                self.apply(&numbered);
            }
        }
        let mut told = Vec::new();
        while !self.untold.is_empty() && (calm || !rng.one_in(3)) {
            let at = rng.below(self.untold.len() as u64) as usize;
            told.push(self.untold.swap_remove(at));
        }
        told
    }

    /// Whether nothing is under way.
    pub fn is_idle(&self) -> bool {
        self.lanes.is_empty() && self.untold.is_empty()
    }

    /// Nobody has a session any more: then nothing of any is kept.
    pub fn check_empty(&self) {
        let (sessions, deliveries) = (&self.sessions, &self.deliveries);
        assert!(sessions.is_empty(), "sessions are kept: {sessions:?}");
        assert!(deliveries.is_empty(), "deliveries are kept: {deliveries:?}");
    }

    fn lane(&mut self, numbered: &Numbered) -> u64 {
        match &numbered.change {
            Change::Session(record) => record.session,
            Change::Left { session, .. }
            | Change::End { session }
            | Change::Subscribe { session, .. }
            | Change::Unsubscribe { session, .. }
            | Change::Open { session, .. }
            | Change::Close { session, .. } => *session,
            Change::Append { session, .. } => {
                self.owners.insert(numbered.number, *session);
                *session
            }
            Change::Begin { delivery, .. }
            | Change::Received { delivery }
            | Change::Trim { delivery } => self.owners[delivery],
            Change::Retain { .. } => 0,
        }
    }

    fn apply(&mut self, numbered: &Numbered) {
        match &numbered.change {
            Change::Session(record) => {
                self.sessions.insert(record.session);
            }
            Change::End { session } => {
                assert!(self.sessions.remove(session), "the end of no session");
            }
            Change::Append { .. } => {
                self.deliveries.insert(numbered.number);
            }
            Change::Trim { delivery } => {
                assert!(self.deliveries.remove(delivery), "trimmed twice");
            }
            Change::Begin { delivery, .. } | Change::Received { delivery } => {
                assert!(self.deliveries.contains(delivery), "progress of nothing");
            }
            _ => {}
        }
    }
}

impl Kept {
    fn note(&mut self, numbered: &Numbered) {
        let message = match &numbered.change {
            // A copy for a group may be made again, when the member that had it is gone.
            Change::Append { delivery, .. } if delivery.deal.is_none() => &delivery.message,
            Change::Retain {
                message: Some(message),
                ..
            } => message,
            _ => return,
        };
        let Some(number) = number_of(message.content().payload) else {
            return;
        };
        assert!(
            !self.acknowledged.contains(&number),
            "message {number} was acknowledged before a copy was even made"
        );
        self.messages.insert(numbered.number, number);
        let copies = self.copies.entry(number).or_default();
        copies.push((numbered.number, false));
    }

    fn commit(&mut self, change: u64) {
        let Some(number) = self.messages.get(&change) else {
            return;
        };
        for (copy, durable) in self.copies.get_mut(number).into_iter().flatten() {
            *durable |= *copy == change;
        }
    }

    /// A publisher saw PUBACK or PUBREC of a message; `is_only`: it was sent once.
    pub fn acknowledge(&mut self, number: u32, is_only: bool) {
        if let Some(copies) = self.copies.get(&number) {
            self.checked += copies.len() as u64;
            assert!(
                copies.iter().all(|(_, durable)| *durable) || !is_only,
                "message {number} was acknowledged before it was kept: {copies:?}"
            );
        }
        if is_only {
            self.acknowledged.insert(number);
        }
    }
}
