//! Retained messages. Each topic's message lives on one shard, the topic's owner; subscribers ask
//! the owners, a chunk at a time, as fast as they take what they get.

use super::publish::is_own;
use super::slices::{LOOKUP, Unfinished};
use super::{
    Awaited, Change, ClientRef, Effects, Envelope, Purpose, RetainedChunk, RetainedFilter,
    RetainedMatches, RetainedQuery, Shard, ShardId,
};
use crate::base::Now;
use crate::message::{Message, NEVER_MS};
use crate::routing::{Allowance, Subscription};
use crate::session::{Delivery, Ids, Question, RetainedPull};

/// Messages in a chunk.
const CHUNK_MAX: usize = 64;
/// New subscriptions of a session among which those are that a question is for.
const ASKED_MAX: usize = 32;
/// Topics that a sweep for expired messages looks at.
const SWEEP_TOPICS: usize = 512;
/// Topics of which one is looked at in the time of a delivery.
const TOPICS_A_DELIVERY: usize = 4;

/// What of the retained messages is the broker's own.
#[derive(Default)]
pub(super) struct OwnRetained {
    count: usize,
    bytes: usize,
}

impl Shard {
    /// The shard that holds the retained message of `topic`.
    pub(super) fn retained_owner(&self, topic: &str) -> ShardId {
        super::owner_of(topic, self.options.shards)
    }

    /// Stores at the owner. Posted before any interest is looked up: see [`super::mail`].
    pub(super) fn retain(&mut self, now: Now, message: Message, fx: &mut Effects) {
        let owner = self.retained_owner(message.topic());
        if self.options.shards == 1 {
            self.store_retained(now, message);
        } else {
            let envelope = match self.receipt() {
                None => Envelope::Retain(message),
                Some(receipt) => Envelope::Awaited(Box::new(Awaited {
                    message,
                    purpose: Purpose::Retain,
                    receipt,
                })),
            };
            fx.mail.store(owner, envelope);
        }
    }

    /// Replaces the topic's message (MQTT-3.3.1-5), or removes it (MQTT-3.3.1-6, -7). One that is
    /// beyond the limits is not kept, and neither is the older one that it replaces: nobody is told
    /// of a state that is known to be over.
    pub(super) fn store_retained(&mut self, now: Now, message: Message) {
        let content = message.content();
        if content.payload.is_empty() || content.expired(now.ms) {
            self.retained.remove(content.topic);
            return self.keep_retained(content.topic, None);
        }
        if !self.retained_fits(&message) {
            self.counters.refuse(super::Refusal::RetainedQuota);
            if self.retained.remove(content.topic).is_some() {
                self.keep_retained(content.topic, None);
            }
            return;
        }
        if message.expires_ms() != NEVER_MS {
            self.arm_sweep(now);
        }
        self.keep_retained(message.topic(), Some(&message));
        let stored = message.clone();
        let old = self.retained.insert(message.topic(), stored);
        if is_own(message.topic()) {
            self.retained_own.count += usize::from(old.is_none());
            self.retained_own.bytes += message.size();
            self.retained_own.bytes -= old.map_or(0, |old| old.size());
        }
    }

    /// Whether the limits let the message be kept. Count and bytes are those of this shard: topics
    /// are spread evenly, so every shard's share fills at the same time. What the broker itself
    /// retains is little, and counts for nobody.
    fn retained_fits(&self, message: &Message) -> bool {
        if is_own(message.topic()) {
            return true;
        }
        let limits = &self.options.limits;
        let old = self.retained.get(message.topic()).map(Message::size);
        let count = self.retained.len() - self.retained_own.count;
        let bytes = self.retained.bytes() - self.retained_own.bytes;
        let has_place = match old {
            Some(_) => limits.retained_count_max > 0,
            None => count < limits.retained_count_max,
        };
        // Whoever has room goes on having it after limits were lowered.
        let is_no_larger = old.is_some_and(|old| message.size() <= old);
        let has_room =
            bytes + message.size() - old.unwrap_or_default() <= limits.retained_bytes_max;
        let payload = message.content().payload.len();
        payload <= limits.retained_payload_bytes_max && has_place && (is_no_larger || has_room)
    }

    fn keep_retained(&mut self, topic: &str, message: Option<&Message>) {
        if self.durable.is_some() {
            let topic = topic.into();
            let message = message.cloned();
            self.keep_and_await(Change::Retain { topic, message });
        }
    }

    /// Asks for the next chunk for the session's new subscriptions. False: there are none, or an
    /// answer is under way.
    pub(super) fn ask_retained(&mut self, now: Now, slot: u32, fx: &mut Effects) -> bool {
        let ticket = self.ticket();
        let asker = self.client_ref(slot);
        let session = self
            .sessions
            .get_mut(slot)
            .expect("looked up by the caller");
        let Some(flow) = session.flow.as_deref_mut() else {
            return false;
        };
        if flow.question.is_some() {
            return false;
        }
        let Some(&shard) = flow.pulls.front().and_then(|pull| pull.shards.last()) else {
            return false;
        };
        let filters = flow.pulls.iter().take(ASKED_MAX);
        let filters = filters.filter(|pull| pull.shards.last() == Some(&shard));
        let filters = filters.map(|pull| RetainedFilter {
            ticket: pull.ticket,
            filter: pull.filter.clone(),
            after: pull.after.clone(),
        });
        let query = RetainedQuery {
            asker,
            ticket,
            filters: filters.collect(),
        };
        flow.question = Some(Box::new(Question {
            ticket,
            overtaken: Vec::new(),
        }));
        self.slices.spend(LOOKUP);
        if self.options.shards == 1 {
            let chunk = self.find_chunk(now, query);
            self.take_chunk(now, chunk);
            return true;
        }
        // To this shard too it goes by mail: a store may be on its way in front of it.
        fx.mail
            .post(shard, Envelope::RetainedQuery(Box::new(query)));
        false
    }

    /// A subscriber on some shard asks.
    pub(super) fn answer_query(&mut self, now: Now, query: RetainedQuery, fx: &mut Effects) {
        let to = query.asker.shard;
        let chunk = self.find_chunk(now, query);
        fx.mail.post(to, Envelope::RetainedChunk(Box::new(chunk)));
    }

    fn find_chunk(&mut self, now: Now, query: RetainedQuery) -> RetainedChunk {
        let mut allowance = Allowance::new(CHUNK_MAX);
        let mut expired: Vec<Box<str>> = Vec::new();
        let mut found = Vec::new();
        for wanted in &query.filters {
            let mut messages = Vec::new();
            let give = |topic: &str, message: &Message| match message.content().expired(now.ms) {
                true => expired.push(topic.into()),
                false => messages.push(message.clone()),
            };
            let after = wanted.after.as_deref();
            let next = self
                .retained
                .walk(&wanted.filter, after, &mut allowance, give);
            found.push(RetainedMatches {
                ticket: wanted.ticket,
                messages,
                next,
            });
            self.slices.spend(LOOKUP);
            if allowance.is_used_up() {
                break;
            }
        }
        for topic in expired {
            self.retained.remove(&topic);
            self.keep_retained(&topic, None);
        }
        RetainedChunk {
            asker: query.asker,
            ticket: query.ticket,
            found,
        }
    }

    /// An answer came.
    pub(super) fn handle_chunk(&mut self, now: Now, chunk: RetainedChunk, fx: &mut Effects) {
        let slot = chunk.asker.slot;
        self.take_chunk(now, chunk);
        self.pump(now, slot, fx);
    }

    fn take_chunk(&mut self, now: Now, chunk: RetainedChunk) {
        let Some(session) = self.sessions.get_mut(chunk.asker.slot) else {
            return;
        };
        if session.generation != chunk.asker.generation {
            return;
        }
        let Some(flow) = session.flow.as_deref_mut() else {
            return;
        };
        // What was asked before the session had nothing under way for a while is for nobody.
        let answered = |question: &mut Box<Question>| question.ticket == chunk.ticket;
        let Some(question) = flow.question.take_if(answered) else {
            return;
        };
        flow.out.mark_queue();
        for matches in chunk.found {
            let asked = flow.pulls.iter_mut().take(ASKED_MAX);
            // Not there: unsubscribed meanwhile.
            let Some(pull) = asked.into_iter().find(|pull| pull.ticket == matches.ticket) else {
                continue;
            };
            if matches.next.is_none() {
                pull.shards.pop();
            }
            pull.after = matches.next;
            for message in matches.messages {
                let topic = message.topic();
                if message.content().expired(now.ms)
                    || question
                        .overtaken
                        .iter()
                        .any(|overtaken| **overtaken == *topic)
                {
                    continue;
                }
                let delivery = retained_delivery(message, pull.subscription);
                self.counters.ledger.copies += 1;
                self.counters.ledger.held += 1;
                self.counters.queued_bytes += delivery.size();
                flow.retained.push_back(delivery);
            }
        }
        let first = ASKED_MAX.min(flow.pulls.len());
        let unfinished: Vec<RetainedPull> = flow
            .pulls
            .drain(..first)
            .filter(|pull| !pull.shards.is_empty())
            .collect();
        for pull in unfinished.into_iter().rev() {
            flow.pulls.push_front(pull);
        }
    }

    /// A message that replaces what is retained under `topic` is delivered to the session in
    /// `slot`: what waits there from before must not come after it, or the subscriber is left with
    /// an old state.
    pub(super) fn supersede(&mut self, slot: u32, topic: &str) {
        let session = self.sessions.get_mut(slot);
        let Some(flow) = session.and_then(|session| session.flow.as_deref_mut()) else {
            return;
        };
        if let Some(question) = &mut flow.question {
            question.overtaken.push(topic.into());
        }
        let mut old = Vec::new();
        flow.retained.retain(|delivery| {
            let stays = delivery.message.topic() != topic;
            if !stays {
                old.push(delivery.clone());
            }
            stays
        });
        for delivery in old {
            self.forget(&delivery, Some(super::Drop::Superseded));
        }
    }

    /// Looks at `left` topics more, some at a time, and forgets what has expired. Where many have,
    /// it goes on.
    pub(super) fn sweep_retained(&mut self, now: Now, left: usize) {
        let mut expired: Vec<Box<str>> = Vec::new();
        let after = self.retained_sweep.take();
        self.retained_sweep =
            self.retained
                .sweep(after.as_deref(), SWEEP_TOPICS, |topic, message| {
                    if message.content().expired(now.ms) {
                        expired.push(topic.into());
                    }
                });
        for topic in &expired {
            self.retained.remove(topic);
            self.keep_retained(topic, None);
        }
        self.slices
            .spend(SWEEP_TOPICS / TOPICS_A_DELIVERY + expired.len());
        let is_worth_it = expired.len() > SWEEP_TOPICS / 4;
        let left = left
            .saturating_sub(SWEEP_TOPICS)
            .max(usize::from(is_worth_it));
        if left > 0 && !self.retained.is_empty() {
            return self.slices.put_off(Unfinished::Sweep { left });
        }
        self.sweep_armed = false;
        if !self.retained.is_empty() {
            self.arm_sweep(now);
        }
    }

    /// How other shards name the session in `slot`.
    pub(super) fn client_ref(&self, slot: u32) -> ClientRef {
        let generation = self
            .sessions
            .get(slot)
            .map_or(0, |session| session.generation);
        ClientRef {
            shard: self.options.shard,
            slot,
            generation,
        }
    }

    /// The session that a name means, if it is still there.
    pub(super) fn named(&self, client: ClientRef) -> Option<u32> {
        let session = self.sessions.get(client.slot)?;
        (session.generation == client.generation).then_some(client.slot)
    }
}

/// What a new subscription gets of what is retained (MQTT-3.3.1-9, MQTT-3.8.4-8).
fn retained_delivery(message: Message, subscription: Subscription) -> Delivery {
    Delivery {
        qos: subscription.qos.min(message.content().qos),
        message,
        retain: true,
        ids: match subscription.identifier {
            Some(id) => Ids::One([id.get()]),
            None => Ids::None,
        },
        deal: None,
        kept: 0,
    }
}
