//! Hashes of topics, levels and prefixes.
//!
//! Topics and filters come from the network, so every table is keyed with a seed that the outside
//! does not know. Shards that share a [`Directory`](super::Directory) share its seed, because the
//! directory is keyed by these hashes. Group ownership uses [`fixed_hash`], which has no seed:
//! every shard computes the same owner from the names alone.
//!
//! Keys are 32 bits wide. Two texts that share a key cost an extra comparison, never a wrong
//! route: what a key finds is always checked against the text of the filter.

use std::hash::Hasher;

use foldhash::SharedSeed;
use foldhash::fast::FoldHasher;

/// Keyed hasher of one router, or of all routers that share a directory.
#[derive(Clone)]
pub struct Seed {
    start: u64,
    shared: SharedSeed,
    /// Ones for the bits of a key in use; tests narrow it so that keys collide.
    mask: u32,
}

impl Seed {
    pub fn new(seed: u64) -> Self {
        Self {
            start: seed ^ 0x9e37_79b9_7f4a_7c15,
            shared: SharedSeed::from_u64(seed),
            mask: !0,
        }
    }

    #[cfg(test)]
    pub fn narrowed(seed: u64, mask: u32) -> Self {
        Self {
            mask,
            ..Self::new(seed)
        }
    }

    /// Hash of a whole topic, filter or level.
    #[inline]
    pub fn text(&self, text: &str) -> u64 {
        let mut hasher = FoldHasher::with_seed(self.start, &self.shared);
        hasher.write(text.as_bytes());
        hasher.finish()
    }

    /// Hash of the prefix that has no levels.
    #[inline]
    pub fn root(&self) -> u64 {
        self.start
    }

    /// Hash of the prefix one level longer than `prefix`; `level` is the level's hash.
    #[inline]
    pub fn extend(&self, prefix: u64, level: u64) -> u64 {
        let mut hasher = FoldHasher::with_seed(prefix, &self.shared);
        hasher.write_u64(level);
        hasher.finish()
    }

    /// The 32 bits of a hash that tables and the directory keep.
    #[inline]
    pub fn key(&self, hash: u64) -> u32 {
        hash as u32 & self.mask
    }
}

/// Mixes two numbers into a table hash.
#[inline]
pub fn mix(high: u32, low: u32) -> u64 {
    let product = u128::from(u64::from(high) << 32 | u64::from(low) ^ 0x2d35_8dcc_aa6c_78a5)
        * 0x9e37_79b9_7f4a_7c15_u128;
    product as u64 ^ (product >> 64) as u64
}

/// FNV-1a, 64 bits: the same on every shard, machine and version. Decides which shard owns a
/// client id, a group or a retained topic; no table is keyed with it.
pub fn fixed_hash(bytes: &[u8]) -> u64 {
    let start = 0xcbf2_9ce4_8422_2325_u64;
    let hash = bytes.iter().fold(start, |hash, &byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    // FNV's low bits depend on few of the input's: fold the high ones in before a remainder.
    hash ^ hash >> 32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fixed_hash_is_fixed() {
        let fnv = 0xaf63_dc4c_8601_ec8c_u64;
        assert_eq!(fixed_hash(b"a"), fnv ^ fnv >> 32);
    }

    #[test]
    fn seeds_differ() {
        let (one, two) = (Seed::new(1), Seed::new(2));
        assert_ne!(one.text("a/b"), two.text("a/b"));
        assert_eq!(one.text("a/b"), Seed::new(1).text("a/b"));
        assert_ne!(one.extend(one.root(), 7), two.extend(two.root(), 7));
    }
}
