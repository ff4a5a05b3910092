//! Routes by topic, bounded in number and bytes.
//!
//! A topic is let in when it is asked for a second time: a publisher that never repeats a topic
//! leaves no more than a fingerprint, and pushes nobody out. Room is made by the clock: an entry
//! used since the hand last passed gets another round.

use std::sync::Arc;

use hashbrown::HashTable;

use super::route::Route;

/// How much a router remembers.
#[derive(Clone, Copy, Debug)]
pub struct CacheLimits {
    pub entries_max: usize,
    pub bytes_max: usize,
}

impl Default for CacheLimits {
    fn default() -> Self {
        Self {
            entries_max: 16_384,
            bytes_max: 16 << 20,
        }
    }
}

/// What had changed when a route was resolved, here and in the directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    pub local: u64,
    pub directory: u64,
}

pub struct Cache {
    limits: CacheLimits,
    entries: Vec<Entry>,
    /// Positions in `entries`, by the hash of the topic.
    positions: HashTable<u32>,
    /// Fingerprints of topics asked for once.
    seen: Vec<u32>,
    hand: usize,
    bytes: usize,
}

struct Entry {
    hash: u64,
    stamp: Stamp,
    topic: Box<str>,
    route: Arc<Route>,
    bytes: u32,
    used: bool,
}

/// Entries the hand passes before it takes one that was used all the same.
const HAND_STEPS_MAX: usize = 16;

impl Cache {
    pub fn new(limits: CacheLimits) -> Self {
        Self {
            limits,
            entries: Vec::new(),
            positions: HashTable::new(),
            seen: Vec::new(),
            hand: 0,
            bytes: 0,
        }
    }

    /// The route of the topic if it is known and was resolved at this stamp.
    #[inline]
    pub fn get(&mut self, hash: u64, topic: &str, stamp: Stamp) -> Option<&Arc<Route>> {
        let at = self.position(hash, topic)?;
        let entry = &mut self.entries[at];
        if entry.stamp != stamp {
            return None;
        }
        entry.used = true;
        Some(&entry.route)
    }

    /// True when the topic was asked for lately, so that its route is worth keeping.
    pub fn admits(&mut self, hash: u64, topic: &str) -> bool {
        if self.position(hash, topic).is_some() {
            return true;
        }
        if self.seen.is_empty() {
            self.seen = vec![0; self.limits.entries_max.next_power_of_two()];
        }
        let slot = hash as usize & (self.seen.len() - 1);
        let fingerprint = (hash >> 32) as u32;
        std::mem::replace(&mut self.seen[slot], fingerprint) == fingerprint
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        *self = Cache::new(self.limits);
    }

    /// Keeps a route, unless it alone would take more than a quarter of the room.
    pub fn put(&mut self, hash: u64, topic: &str, stamp: Stamp, route: &Arc<Route>) {
        self.forget(hash, topic);
        let bytes = size_of::<Entry>() + topic.len() + route.bytes();
        if bytes > self.limits.bytes_max / 4 || self.limits.entries_max == 0 {
            return;
        }
        while self.entries.len() >= self.limits.entries_max
            || self.bytes + bytes > self.limits.bytes_max
        {
            self.evict();
        }
        let at = self.entries.len() as u32;
        self.bytes += bytes;
        let (topic, route) = (topic.into(), Arc::clone(route));
        self.entries.push(Entry {
            hash,
            stamp,
            topic,
            route,
            bytes: bytes as u32,
            used: false,
        });
        let entries = &self.entries;
        self.positions
            .insert_unique(hash, at, |&at| entries[at as usize].hash);
    }

    pub fn forget(&mut self, hash: u64, topic: &str) {
        if let Some(at) = self.position(hash, topic) {
            self.remove(at);
        }
    }

    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Bytes held.
    pub fn bytes(&self) -> usize {
        let spare = self.entries.capacity() - self.entries.len();
        self.bytes
            + spare * size_of::<Entry>()
            + self.positions.allocation_size()
            + self.seen.capacity() * size_of::<u32>()
    }

    #[inline]
    fn position(&self, hash: u64, topic: &str) -> Option<usize> {
        let same = |&at: &u32| {
            let entry = &self.entries[at as usize];
            entry.hash == hash && *entry.topic == *topic
        };
        self.positions.find(hash, same).map(|&at| at as usize)
    }

    fn evict(&mut self) {
        for _ in 0..HAND_STEPS_MAX {
            if self.hand >= self.entries.len() {
                self.hand = 0;
            }
            if !std::mem::take(&mut self.entries[self.hand].used) {
                break;
            }
            self.hand += 1;
        }
        if self.hand >= self.entries.len() {
            self.hand = 0;
        }
        self.remove(self.hand);
    }

    fn remove(&mut self, at: usize) {
        let last = self.entries.len() - 1;
        let hash = self.entries[at].hash;
        if let Ok(entry) = self
            .positions
            .find_entry(hash, |&known| known as usize == at)
        {
            entry.remove();
        }
        if at != last {
            let moved = self.entries[last].hash;
            let known = self
                .positions
                .find_mut(moved, |&known| known as usize == last);
            *known.expect("every entry has a position") = at as u32; // kept by put
        }
        self.bytes -= self.entries.swap_remove(at).bytes as usize;
    }
}
