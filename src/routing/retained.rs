//! Retained messages by topic (MQTT 5 section 3.3.1.3).
//!
//! Storing and exact look-up are one table access. A wildcard walks an ordered tree of topics, in
//! proportion to what its literal levels leave, and in pieces: a subscriber to `#` must not hold
//! up a shard that has a million topics.

use super::exact::ExactTable;
use super::hash::Seed;
use super::levels::{matches, wildcard_part};
use super::text::Text;
use super::topic_tree::{Level, Step, TopicTree, Walk};
use crate::base::Paged;

/// Where a walk goes on: a topic, stored or not. Nothing is to be read from it but by a walk with
/// the same filter.
pub type Cursor = Box<str>;

pub struct Retained<M> {
    seed: Seed,
    size_of_message: fn(&M) -> usize,
    entries: Paged<Entry<M>>,
    exact: ExactTable,
    tree: TopicTree,
    /// Bytes of messages and of what topics have allocated.
    content_bytes: usize,
}

struct Entry<M> {
    topic: Text,
    message: M,
}

/// Topics looked at for each one that a walk may give, before it stops all the same.
const LOOKS_PER_TOPIC: usize = 16;

/// What walks may still do: one after the other may use up the same.
pub struct Allowance {
    topics: usize,
    looks: usize,
}

impl Allowance {
    /// Gives up to about `topics_max` topics, and looks at a bounded number of them.
    pub fn new(topics_max: usize) -> Allowance {
        let topics = topics_max.max(1);
        Allowance {
            topics,
            looks: topics * LOOKS_PER_TOPIC,
        }
    }

    pub fn is_used_up(&self) -> bool {
        self.topics == 0 || self.looks == 0
    }

    fn look(&mut self) {
        self.looks = self.looks.saturating_sub(1);
    }

    fn give(&mut self) {
        self.topics = self.topics.saturating_sub(1);
    }
}

impl<M> Retained<M> {
    /// `seed` keys the tables and is not to be guessed from outside; `size_of_message` gives the
    /// bytes that a message holds.
    pub fn new(seed: u64, size_of_message: fn(&M) -> usize) -> Self {
        Self::with_seed(Seed::new(seed), size_of_message)
    }

    pub(super) fn with_seed(seed: Seed, size_of_message: fn(&M) -> usize) -> Self {
        Self {
            seed,
            size_of_message,
            entries: Paged::default(),
            exact: ExactTable::default(),
            tree: TopicTree::default(),
            content_bytes: 0,
        }
    }

    /// Keeps the message for the topic; gives the one that it replaces [MQTT-3.3.1-5].
    pub fn insert(&mut self, topic: &str, message: M) -> Option<M> {
        self.content_bytes += (self.size_of_message)(&message);
        let key = self.key(topic);
        if let Some(entry) = self
            .find(key, topic)
            .and_then(|id| self.entries.get_mut(id))
        {
            let old = std::mem::replace(&mut entry.message, message);
            self.content_bytes -= (self.size_of_message)(&old);
            return Some(old);
        }
        let text = Text::new(topic);
        self.content_bytes += text.heap_bytes();
        let id = self.entries.insert(Entry {
            topic: text,
            message,
        });
        self.exact.insert(key, id);
        let entries = &self.entries;
        self.tree.insert(&self.seed, id, |id| {
            entries.get(id).map_or("", |entry| entry.topic.as_str())
        });
        None
    }

    /// Forgets the topic; gives its message [MQTT-3.3.1-6].
    pub fn remove(&mut self, topic: &str) -> Option<M> {
        let key = self.key(topic);
        let id = self.find(key, topic)?;
        self.exact.remove(key, id);
        self.tree.remove(&self.seed, id, topic);
        let entry = self.entries.remove(id)?;
        self.content_bytes -= entry.topic.heap_bytes() + (self.size_of_message)(&entry.message);
        Some(entry.message)
    }

    pub fn get(&self, topic: &str) -> Option<&M> {
        let id = self.find(self.key(topic), topic)?;
        self.entries.get(id).map(|entry| &entry.message)
    }

    /// Gives topics that match the filter to `give`, from the cursor on, while there is an
    /// allowance, and a cursor when there may be more. A topic that is there all the while is given
    /// once; one that comes or goes between two calls may be given or not. A call looks at a
    /// bounded number of topics, so it may give few, or none, and still a cursor.
    pub fn walk(
        &self,
        filter: &str,
        cursor: Option<&str>,
        allowance: &mut Allowance,
        mut give: impl FnMut(&str, &M),
    ) -> Option<Cursor> {
        if wildcard_part(filter).is_none() {
            allowance.look();
            if let Some(message) = self.get(filter) {
                allowance.give();
                give(filter, message);
            }
            return None;
        }
        let levels: Vec<Level> = filter.split('/').map(|level| self.level(level)).collect();
        self.walk_levels(&levels, cursor, allowance, |topic, message| {
            let is_match = matches(filter.as_bytes(), topic.as_bytes());
            if is_match {
                give(topic.as_str(), message);
            }
            is_match
        })
    }

    /// As [`walk`](Self::walk), over up to about `topics_max` of all topics, those that begin with
    /// `$` too.
    pub fn sweep(
        &self,
        cursor: Option<&str>,
        topics_max: usize,
        mut give: impl FnMut(&str, &M),
    ) -> Option<Cursor> {
        let mut allowance = Allowance::new(topics_max);
        self.walk_levels(&[Level::Multi], cursor, &mut allowance, |topic, message| {
            give(topic.as_str(), message);
            true
        })
    }

    pub fn len(&self) -> usize {
        self.entries.len()
    }

    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Bytes of topics, messages and tables, the allocator's own share left out.
    pub fn bytes(&self) -> usize {
        self.content_bytes
            + self.entries.len() * size_of::<Option<Entry<M>>>()
            + self.exact.bytes()
            + self.tree.bytes()
    }

    /// `give` says whether the topic counts.
    fn walk_levels(
        &self,
        levels: &[Level],
        cursor: Option<&str>,
        allowance: &mut Allowance,
        mut give: impl FnMut(&Text, &M) -> bool,
    ) -> Option<Cursor> {
        let path: Vec<u32> = cursor
            .into_iter()
            .flat_map(|topic| topic.split('/'))
            .map(|l| self.key(l))
            .collect();
        let mut walk = self.tree.walk(levels, &path);
        while !allowance.is_used_up() {
            let first = match walk.step()? {
                // The way down to the cursor is not counted: every call has to get somewhere.
                Step::Passed { on_path: true } => continue,
                Step::Passed { on_path: false } => {
                    allowance.look();
                    continue;
                }
                Step::Leaf { id, compare_from } => {
                    allowance.look();
                    if compare_from.is_some_and(|depth| self.is_behind(id, &path, depth)) {
                        continue;
                    }
                    id
                }
                Step::Topics(first) => {
                    allowance.look();
                    first
                }
            };
            for entry in self.tree.chain(first).filter_map(|id| self.entries.get(id)) {
                if give(&entry.topic, &entry.message) {
                    allowance.give();
                }
            }
        }
        self.cursor(&mut walk)
    }

    fn cursor(&self, walk: &mut Walk<'_>) -> Option<Cursor> {
        self.entries
            .get(walk.upcoming()?)
            .map(|entry| entry.topic.as_str().into())
    }

    /// True when the topic, which agrees with the path in `depth` levels, comes before it.
    fn is_behind(&self, id: u32, path: &[u32], depth: usize) -> bool {
        let Some(entry) = self.entries.get(id) else {
            return true;
        };
        let keys = entry
            .topic
            .as_str()
            .split('/')
            .skip(depth)
            .map(|level| self.key(level));
        keys.lt(path[depth..].iter().copied())
    }

    fn level(&self, level: &str) -> Level {
        match level {
            "+" => Level::Plus,
            "#" => Level::Multi,
            literal => Level::Literal(self.key(literal)),
        }
    }

    fn find(&self, key: u32, topic: &str) -> Option<u32> {
        self.exact.find(key, |id| {
            self.entries
                .get(id)
                .is_some_and(|entry| entry.topic == *topic)
        })
    }

    fn key(&self, text: &str) -> u32 {
        self.seed.key(self.seed.text(text))
    }
}
