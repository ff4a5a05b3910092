//! Deadlines in buckets: the one timer structure of a shard.
//!
//! Entries are never cancelled: whoever is woken looks at its own state, and either acts or asks
//! again. An idle connection so costs one key, and traffic costs nothing.

use std::collections::BTreeMap;

/// Width of a bucket in milliseconds: what fires may be late by this much, never early.
pub const BUCKET_MS: u64 = 128;

/// Keys by deadline, in buckets of [`BUCKET_MS`].
pub struct Calendar<K> {
    buckets: BTreeMap<u64, Vec<K>>,
    len: usize,
}

impl<K> Default for Calendar<K> {
    fn default() -> Self {
        Calendar {
            buckets: BTreeMap::new(),
            len: 0,
        }
    }
}

impl<K> Calendar<K> {
    /// Wakes `key` at `deadline_ms` or up to a bucket later.
    pub fn arm(&mut self, deadline_ms: u64, key: K) {
        let bucket = deadline_ms.div_ceil(BUCKET_MS);
        self.buckets.entry(bucket).or_default().push(key);
        self.len += 1;
    }

    /// Takes the keys of one bucket that is due, or nothing when none is.
    pub fn pop_due(&mut self, now_ms: u64) -> Option<Vec<K>> {
        let first = self.buckets.first_entry()?;
        if first.key() * BUCKET_MS > now_ms {
            return None;
        }
        let keys = first.remove();
        self.len -= keys.len();
        Some(keys)
    }

    /// When [`Calendar::pop_due`] next has something, in milliseconds.
    pub fn next_deadline_ms(&self) -> Option<u64> {
        self.buckets.keys().next().map(|b| b * BUCKET_MS)
    }

    /// How many keys wait.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether none waits.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn never_early_and_at_most_a_bucket_late() {
        let mut calendar = Calendar::default();
        for deadline in 1..2000u64 {
            calendar.arm(deadline, deadline);
        }
        let mut now = 0;
        while let Some(next) = calendar.next_deadline_ms() {
            assert!(next >= now, "deadlines come in order");
            now = next;
            for deadline in calendar.pop_due(now).expect("due by its own word") {
                assert!(deadline <= now && now < deadline + BUCKET_MS);
            }
        }
        assert!(calendar.is_empty());
    }

    #[test]
    fn nothing_is_due_before_its_bucket() {
        let mut calendar = Calendar::default();
        calendar.arm(1000, ());
        assert!(calendar.pop_due(999).is_none());
        assert_eq!(calendar.len(), 1);
        assert!(calendar.pop_due(1024).is_some());
    }
}
