//! Retained messages. Each topic's message lives on one shard, the topic's owner; subscribers ask
//! the owners, a chunk at a time, as fast as they take what they get.

use super::publish::is_own;
use super::slices::LOOKUP;
use super::{
    Awaited, Change, ClientRef, Effects, Envelope, Purpose, RetainedChunk, RetainedQuery, Shard,
    ShardId,
};
use crate::base::Now;
use crate::message::{Message, NEVER_MS};
use crate::session::{Delivery, Ids};

/// Messages in a chunk.
const CHUNK_MAX: usize = 64;
/// Topics that a sweep for expired messages looks at.
const SWEEP_MAX: usize = 512;

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

    /// Asks for the next chunk of the session's first pull. False: there is none, or an answer is
    /// under way.
    pub(super) fn ask_retained(&mut self, now: Now, slot: u32, fx: &mut Effects) -> bool {
        let asker = self.client_ref(slot);
        let session = self
            .sessions
            .get_mut(slot)
            .expect("looked up by the caller");
        let Some(flow) = session.flow.as_deref_mut() else {
            return false;
        };
        let Some(pull) = flow.pulls.front_mut() else {
            return false;
        };
        if pull.asked {
            return false;
        }
        let Some(&shard) = pull.shards.last() else {
            flow.pulls.pop_front();
            return true;
        };
        self.slices.spend(LOOKUP);
        pull.asked = true;
        let query = RetainedQuery {
            asker,
            ticket: pull.ticket,
            filter: pull.filter.clone(),
            after: pull.after.clone(),
        };
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
        self.slices.spend(LOOKUP);
        let to = query.asker.shard;
        let chunk = self.find_chunk(now, query);
        fx.mail.post(to, Envelope::RetainedChunk(Box::new(chunk)));
    }

    fn find_chunk(&mut self, now: Now, query: RetainedQuery) -> RetainedChunk {
        let RetainedQuery {
            asker,
            ticket,
            filter,
            after,
        } = query;
        let mut messages = Vec::new();
        let mut expired: Vec<Box<str>> = Vec::new();
        let next =
            self.retained.walk(
                &filter,
                after.as_deref(),
                CHUNK_MAX,
                |topic, message| match message.content().expired(now.ms) {
                    true => expired.push(topic.into()),
                    false => messages.push(message.clone()),
                },
            );
        for topic in expired {
            self.retained.remove(&topic);
            self.keep_retained(&topic, None);
        }
        RetainedChunk {
            asker,
            ticket,
            from: self.options.shard,
            messages,
            next,
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
        // Unsubscribed meanwhile: the answer is for nobody.
        let Some(pull) = flow
            .pulls
            .front_mut()
            .filter(|pull| pull.ticket == chunk.ticket)
        else {
            return;
        };
        pull.asked = false;
        if chunk.next.is_none() {
            pull.shards.pop();
        }
        let overtaken = std::mem::take(&mut pull.overtaken);
        pull.after = chunk.next;
        let subscription = pull.subscription;
        flow.out.mark_queue();
        for message in chunk.messages {
            let content = message.content();
            if content.expired(now.ms) || overtaken.iter().any(|topic| **topic == *content.topic) {
                continue;
            }
            let qos = subscription.qos.min(content.qos);
            let ids = match subscription.identifier {
                Some(id) => Ids::One([id.get()]),
                None => Ids::None,
            };
            let delivery = Delivery {
                message,
                qos,
                retain: true,
                ids,
                deal: None,
                kept: 0,
            };
            self.counters.ledger.copies += 1;
            self.counters.ledger.held += 1;
            self.counters.queued_bytes += delivery.size();
            flow.retained.push_back(delivery);
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
        if let Some(pull) = flow.pulls.front_mut().filter(|pull| pull.asked) {
            pull.overtaken.push(topic.into());
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

    /// Looks at some more topics and forgets what has expired.
    pub(super) fn sweep_retained(&mut self, now: Now) {
        let mut expired: Vec<Box<str>> = Vec::new();
        let after = self.retained_sweep.take();
        self.retained_sweep = self
            .retained
            .sweep(after.as_deref(), SWEEP_MAX, |topic, message| {
                if message.content().expired(now.ms) {
                    expired.push(topic.into());
                }
            });
        for topic in expired {
            self.retained.remove(&topic);
            self.keep_retained(&topic, None);
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
