//! The interest directory: which shards may have receivers for a topic.
//!
//! One for the process. A shard enters the key of a filter when its first filter with that key
//! comes and takes it out when the last one goes, so the memory is that of the distinct filters,
//! not of filters times shards. Reading takes no lock. An answer may name a shard too many, which
//! costs that shard one lookup; it never leaves one out.

use std::hash::{BuildHasher, Hasher};
use std::sync::atomic::{AtomicU64, Ordering};

use papaya::{Compute, HashMap, Operation, ResizeMode};

use super::filter::Interest;
use super::hash::{Seed, mix};
use super::levels::TopicKeys;
use super::shard_set::ShardSet;

pub struct Directory {
    seed: Seed,
    /// In parts, by the low bits of the key.
    interest: Box<[Part]>,
    /// Changes of keys of prefixes: any topic may be concerned.
    prefix_changes: AtomicU64,
    /// Changes of keys of whole topics, by the low bits of the key: devices come and go all the
    /// time, and only few other topics are to be looked up again.
    exact_changes: Box<[AtomicU64]>,
}

type Part = HashMap<u64, ShardSet, KeyHash>;

const EXACT_CHANGES: usize = 1_024;
/// A table that has filled up with keys, or with what is left of keys that went, is copied in one
/// go: the other way, bit by bit, made a change of a key a hundred times as dear where keys come
/// and go in floods. In parts no copy is long: 15,000 keys, a part of a million, took 0.6 ms.
const PARTS: usize = 64;

impl Directory {
    /// `seed` keys the hashes of all routers that share the directory; keep it from the outside.
    pub fn new(seed: u64) -> Self {
        Self::with_seed(Seed::new(seed))
    }

    pub(super) fn with_seed(seed: Seed) -> Self {
        Self {
            seed,
            interest: (0..PARTS).map(|_| part()).collect(),
            prefix_changes: AtomicU64::new(0),
            exact_changes: (0..EXACT_CHANGES).map(|_| AtomicU64::new(0)).collect(),
        }
    }

    /// Says that `shard` now has filters with this key.
    pub fn add(&self, interest: Interest, shard: u16) {
        let only = ShardSet::from_iter([shard]);
        let part = self.part(interest);
        let with = |known: &ShardSet| known.union(only);
        part.update_or_insert(interest.number(), with, only, &part.guard());
        self.count_change(interest);
    }

    /// Says that `shard` has no more filters with this key.
    pub fn remove(&self, interest: Interest, shard: u16) {
        let part = self.part(interest);
        let without = |entry: Option<(&u64, &ShardSet)>| {
            let Some((_, &known)) = entry else {
                return Operation::Abort(());
            };
            let mut left = known;
            left.remove(shard);
            if left.is_empty() {
                Operation::Remove
            } else {
                Operation::Insert(left)
            }
        };
        let guard = part.guard();
        let outcome = part.compute(interest.number(), without, &guard);
        if !matches!(outcome, Compute::Aborted(())) {
            self.count_change(interest);
        }
    }

    /// The shards that may have receivers for the topic.
    pub fn shards(&self, topic: &str) -> ShardSet {
        let get = |interest| self.get(interest);
        let mut shards = get(Interest::Exact(self.seed.key(self.seed.text(topic))));
        let mut prefix = self.seed.root();
        if !topic.starts_with('$') {
            shards = shards.union(get(Interest::Prefix(self.seed.key(prefix))));
        }
        for level in topic.split('/') {
            prefix = self.seed.extend(prefix, self.seed.text(level));
            shards = shards.union(get(Interest::Prefix(self.seed.key(prefix))));
        }
        shards
    }

    /// Keys with interest.
    pub fn len(&self) -> usize {
        self.interest.iter().map(HashMap::len).sum()
    }

    pub fn is_empty(&self) -> bool {
        self.interest.iter().all(HashMap::is_empty)
    }

    /// As [`shards`](Self::shards), from keys that the router has already.
    pub(super) fn shards_for(&self, keys: &TopicKeys) -> ShardSet {
        let exact = self.get(Interest::Exact(keys.exact));
        let prefixes = keys.prefixes.iter().skip(keys.prefix_min);
        prefixes.fold(exact, |shards, &key| {
            shards.union(self.get(Interest::Prefix(key)))
        })
    }

    /// Changes when the answer for the topic with this key may have changed. What is derived from
    /// an answer holds while the stamp stands that was read before.
    #[inline]
    pub(super) fn stamp(&self, exact: u32) -> u64 {
        // Both only grow, so an equal sum means that neither has changed.
        let exact_changes = &self.exact_changes[exact as usize % EXACT_CHANGES];
        let prefix_changes = self.prefix_changes.load(Ordering::Acquire);
        prefix_changes + exact_changes.load(Ordering::Acquire)
    }

    pub(super) fn seed(&self) -> &Seed {
        &self.seed
    }

    /// After the change itself: who reads the new count finds the change.
    fn count_change(&self, interest: Interest) {
        let changes = match interest {
            Interest::Exact(key) => &self.exact_changes[key as usize % EXACT_CHANGES],
            Interest::Prefix(_) => &self.prefix_changes,
        };
        changes.fetch_add(1, Ordering::AcqRel);
    }

    fn get(&self, interest: Interest) -> ShardSet {
        let part = self.part(interest);
        let found = part.pin().get(&interest.number()).copied();
        found.unwrap_or_default()
    }

    fn part(&self, interest: Interest) -> &Part {
        &self.interest[interest.number() as usize % PARTS]
    }
}

fn part() -> Part {
    HashMap::builder()
        .hasher(KeyHash)
        .resize_mode(ResizeMode::Blocking)
        .build()
}

impl Interest {
    fn number(self) -> u64 {
        match self {
            Self::Exact(key) => u64::from(key),
            Self::Prefix(key) => 1 << 32 | u64::from(key),
        }
    }
}

/// The keys are keyed hashes already; this spreads them.
#[derive(Clone, Copy)]
struct KeyHash;

struct KeyHasher(u64);

impl BuildHasher for KeyHash {
    type Hasher = KeyHasher;

    fn build_hasher(&self) -> KeyHasher {
        KeyHasher(0)
    }
}

impl Hasher for KeyHasher {
    fn write(&mut self, bytes: &[u8]) {
        bytes
            .iter()
            .for_each(|&byte| self.0 = self.0 << 8 | u64::from(byte));
    }

    fn write_u64(&mut self, number: u64) {
        self.0 = mix((number >> 32) as u32, number as u32);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_come_and_go() {
        let directory = Directory::new(9);
        let seed = Seed::new(9);
        let exact = Interest::Exact(seed.key(seed.text("a/b")));
        let key = seed.key(seed.text("a/b"));
        let before = directory.stamp(key);
        directory.add(exact, 3);
        directory.add(exact, 5);
        assert!(directory.stamp(key) > before);
        assert_eq!(directory.stamp(key + 1), before);
        assert_eq!(directory.shards("a/b").iter().collect::<Vec<_>>(), [3, 5]);
        assert!(directory.shards("a/c").is_empty());
        directory.remove(exact, 3);
        directory.remove(exact, 3);
        assert_eq!(directory.shards("a/b").iter().collect::<Vec<_>>(), [5]);
        directory.remove(exact, 5);
        assert!(directory.is_empty());
    }
}
