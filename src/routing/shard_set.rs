//! A set of shards, small enough to copy.

/// Most shards that one process can have.
pub const SHARDS_MAX: u16 = 128;

/// Set of shard numbers below [`SHARDS_MAX`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct ShardSet(u128);

impl ShardSet {
    pub const EMPTY: Self = Self(0);

    #[inline]
    pub fn insert(&mut self, shard: u16) {
        debug_assert!(shard < SHARDS_MAX);
        self.0 |= 1 << shard;
    }

    #[inline]
    pub fn remove(&mut self, shard: u16) {
        debug_assert!(shard < SHARDS_MAX);
        self.0 &= !(1 << shard);
    }

    #[inline]
    pub fn contains(self, shard: u16) -> bool {
        debug_assert!(shard < SHARDS_MAX);
        self.0 & 1 << shard != 0
    }

    #[inline]
    pub fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    #[inline]
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    #[inline]
    pub fn len(self) -> usize {
        self.0.count_ones() as usize
    }

    /// The shards, lowest first.
    #[inline]
    pub fn iter(self) -> impl Iterator<Item = u16> {
        let mut rest = self.0;
        std::iter::from_fn(move || {
            let lowest = rest.trailing_zeros() as u16;
            let bit = rest & rest.wrapping_neg();
            rest ^= bit;
            (bit != 0).then_some(lowest)
        })
    }
}

impl FromIterator<u16> for ShardSet {
    fn from_iter<I: IntoIterator<Item = u16>>(shards: I) -> Self {
        let mut set = Self::EMPTY;
        shards.into_iter().for_each(|shard| set.insert(shard));
        set
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holds_both_ends() {
        let mut set: ShardSet = [127, 0, 64].into_iter().collect();
        assert_eq!(set.iter().collect::<Vec<_>>(), [0, 64, 127]);
        assert_eq!(set.len(), 3);
        set.remove(64);
        assert!(set.contains(127) && set.contains(0) && !set.contains(64));
        set.remove(0);
        set.remove(127);
        assert!(set.is_empty());
    }
}
