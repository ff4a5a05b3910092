//! Every filter with a subscriber or a group, found by its text and by its number.

use hashbrown::HashTable;

use super::hash::{Seed, spread};
use super::levels::{TopicKeys, matches, wildcard_part};
use super::subscribers::Subscribers;
use super::trie::{Change, Trie};
use crate::base::Paged;

/// Number of a filter, valid while it has a subscriber or a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FilterId(pub u32);

#[derive(Default)]
pub struct Filters {
    filters: Paged<Filter>,
    exact: HashTable<Exact>,
    trie: Trie,
    text_bytes: usize,
}

pub struct Filter {
    pub text: Box<str>,
    pub subscribers: Subscribers,
}

/// A filter without wildcards.
#[derive(Clone, Copy)]
struct Exact {
    key: u32,
    id: u32,
}

/// A key under which other shards look for interest in a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Interest {
    /// A filter without wildcards.
    Exact(u32),
    /// A filter with wildcards after this literal prefix.
    Prefix(u32),
}

const _: () = assert!(size_of::<Option<Filter>>() == 32);

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
            text: text.into(),
            subscribers: Subscribers::None,
        };
        let id = self.filters.insert(filter);
        self.text_bytes += text.len();
        let interest = if wildcard_part(text).is_some() {
            let filters = &self.filters;
            interest_of(self.trie.insert(seed, id, |id| {
                filters.get(id).map_or("", |filter| &filter.text)
            }))
        } else {
            let key = seed.key(seed.text(text));
            let is_new = self
                .exact
                .find(spread(key), |known| known.key == key)
                .is_none();
            self.exact
                .insert_unique(spread(key), Exact { key, id }, |known| spread(known.key));
            is_new.then_some(Interest::Exact(key))
        };
        (FilterId(id), interest)
    }

    /// Takes a filter out. The interest is given when no filter is left with that key.
    pub fn remove(&mut self, seed: &Seed, id: FilterId) -> Option<Interest> {
        let filter = self.filters.remove(id.0)?;
        self.text_bytes -= filter.text.len();
        if wildcard_part(&filter.text).is_some() {
            return interest_of(self.trie.remove(seed, id.0, &filter.text));
        }
        let key = seed.key(seed.text(&filter.text));
        if let Ok(entry) = self.exact.find_entry(spread(key), |known| known.id == id.0) {
            entry.remove();
        }
        if self.exact.len() * 4 < self.exact.capacity() {
            self.exact
                .shrink_to(self.exact.len() * 2, |known| spread(known.key));
        }
        let is_last = self
            .exact
            .find(spread(key), |known| known.key == key)
            .is_none();
        is_last.then_some(Interest::Exact(key))
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
        keys: &TopicKeys,
        mut give: impl FnMut(FilterId, &'a Filter),
    ) {
        if let Some(id) = self.find_exact(keys.exact, topic) {
            self.filters
                .get(id.0)
                .into_iter()
                .for_each(|filter| give(id, filter));
        }
        self.trie.candidates(keys, |id| {
            let Some(filter) = self.filters.get(id) else {
                return;
            };
            if matches(&filter.text, topic) {
                give(FilterId(id), filter);
            }
        });
    }

    pub fn len(&self) -> usize {
        self.filters.len()
    }

    /// Bytes held, those of the subscribers left out.
    pub fn bytes(&self) -> usize {
        let tables = self.filters.len() * size_of::<Option<Filter>>()
            + self.exact.allocation_size()
            + self.trie.bytes();
        tables + self.text_bytes
    }

    fn text(&self, id: u32) -> &str {
        self.filters.get(id).map_or("", |filter| &filter.text)
    }

    fn find_exact(&self, key: u32, text: &str) -> Option<FilterId> {
        let same = |known: &Exact| known.key == key && self.text(known.id) == text;
        self.exact
            .find(spread(key), same)
            .map(|known| FilterId(known.id))
    }
}

fn interest_of(change: Change) -> Option<Interest> {
    match change {
        Change::Within => None,
        Change::Prefix(key) => Some(Interest::Prefix(key)),
    }
}
