//! Every filter with a subscriber or a group, found by its text and by its number.

use super::exact::ExactTable;
use super::hash::Seed;
use super::levels::{TopicKeys, matches, wildcard_part};
use super::subscribers::Subscribers;
use super::text::Text;
use super::trie::{Change, Trie};
use crate::base::Paged;

/// Number of a filter, valid while it has a subscriber or a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FilterId(pub u32);

#[derive(Default)]
pub struct Filters {
    /// In large pages: every look-up goes through the list of them.
    filters: Paged<Filter, 8>,
    exact: ExactTable,
    trie: Trie,
    /// Bytes that texts have allocated.
    text_bytes: usize,
}

pub struct Filter {
    pub text: Text,
    pub subscribers: Subscribers,
}

/// A key under which other shards look for interest in a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Interest {
    /// A filter without wildcards.
    Exact(u32),
    /// A filter with wildcards after this literal prefix.
    Prefix(u32),
}

const _: () = assert!(size_of::<Option<Filter>>() == 64);

impl Filter {
    #[inline]
    fn matches(&self, topic: &str) -> bool {
        self.text == *topic || matches(self.text.as_bytes(), topic.as_bytes())
    }
}

impl Filters {
    pub fn find(&self, seed: &Seed, text: &str) -> Option<FilterId> {
        if wildcard_part(text).is_some() {
            return self.trie.find(seed, text, |id| self.text(id)).map(FilterId);
        }
        self.find_exact(seed.key(seed.text(text)), text)
    }

    /// Adds a filter that is not there. The interest is given when no filter had that key.
    pub fn insert(&mut self, seed: &Seed, text: &str) -> (FilterId, Option<Interest>) {
        let filter = Filter {
            text: Text::new(text),
            subscribers: Subscribers::None,
        };
        self.text_bytes += filter.text.heap_bytes();
        let id = self.filters.insert(filter);
        let interest = if wildcard_part(text).is_some() {
            let filters = &self.filters;
            interest_of(self.trie.insert(seed, id, |id| {
                filters.get(id).map_or("", |filter| filter.text.as_str())
            }))
        } else {
            let key = seed.key(seed.text(text));
            let is_new = !self.exact.has(key);
            self.exact.insert(key, id);
            is_new.then_some(Interest::Exact(key))
        };
        (FilterId(id), interest)
    }

    /// Takes a filter out. The interest is given when no filter is left with that key.
    pub fn remove(&mut self, seed: &Seed, id: FilterId) -> Option<Interest> {
        let filter = self.filters.remove(id.0)?;
        self.text_bytes -= filter.text.heap_bytes();
        let text = filter.text.as_str();
        if wildcard_part(text).is_some() {
            return interest_of(self.trie.remove(seed, id.0, text));
        }
        let key = seed.key(seed.text(text));
        self.exact.remove(key, id.0);
        (!self.exact.has(key)).then_some(Interest::Exact(key))
    }

    #[inline]
    pub fn get(&self, id: FilterId) -> Option<&Filter> {
        self.filters.get(id.0)
    }

    #[inline]
    pub fn get_mut(&mut self, id: FilterId) -> Option<&mut Filter> {
        self.filters.get_mut(id.0)
    }

    /// Gives every filter that matches the topic, once each; `keys` are the topic's.
    pub fn matching<'a>(
        &'a self,
        topic: &str,
        keys: &mut TopicKeys,
        mut give: impl FnMut(FilterId, &'a Filter),
    ) {
        let mut found = std::mem::take(&mut keys.found);
        found.clear();
        // What is found is read from memory too: it is asked for at once, and looked at last.
        let mut candidate = |id| {
            self.filters.prefetch(id);
            found.push(id);
        };
        self.exact.candidates(keys.exact, &mut candidate);
        self.trie.candidates(keys, &mut candidate);
        found.sort_unstable();
        found.dedup();
        for &id in &found {
            if let Some(filter) = self.filters.get(id)
                && filter.matches(topic)
            {
                give(FilterId(id), filter);
            }
        }
        keys.found = found;
    }

    /// The keys of a topic. With a million filters each place that they lead to is a read from
    /// memory, which is asked for as soon as the key is known.
    #[inline]
    pub fn set_keys(&self, seed: &Seed, topic: &str, hash: u64, keys: &mut TopicKeys) {
        self.exact.prefetch(seed.key(hash));
        keys.set(seed, topic, hash, |prefix| self.trie.prefetch(prefix));
    }

    pub fn len(&self) -> usize {
        self.filters.len()
    }

    /// Bytes held, those of the subscribers left out.
    pub fn bytes(&self) -> usize {
        self.filters.bytes() + self.exact.bytes() + self.trie.bytes() + self.text_bytes
    }

    fn text(&self, id: u32) -> &str {
        self.filters
            .get(id)
            .map_or("", |filter| filter.text.as_str())
    }

    fn find_exact(&self, key: u32, text: &str) -> Option<FilterId> {
        self.exact
            .find(key, |id| self.text(id) == text)
            .map(FilterId)
    }
}

fn interest_of(change: Change) -> Option<Interest> {
    match change {
        Change::Within => None,
        Change::Prefix(key) => Some(Interest::Prefix(key)),
    }
}
