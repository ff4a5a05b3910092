//! All randomness of a world: a seed, or the bytes of a fuzzer.

/// SplitMix64, or a fuzzer's bytes for as long as they last.
pub struct Rng {
    state: u64,
    tape: Option<Vec<u8>>,
    at: usize,
}

impl Rng {
    /// Everything from one number.
    pub fn seeded(seed: u64) -> Rng {
        Rng {
            state: seed,
            tape: None,
            at: 0,
        }
    }

    /// Choices from `tape`, and from a fixed seed when it is used up.
    pub fn taped(tape: &[u8]) -> Rng {
        Rng {
            state: 1,
            tape: Some(tape.to_vec()),
            at: 0,
        }
    }

    /// Whether there was a tape and it is used up.
    pub fn is_used_up(&self) -> bool {
        self.tape.as_ref().is_some_and(|tape| self.at >= tape.len())
    }

    /// Any number.
    pub fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `n`, which is not 0.
    pub fn below(&mut self, n: u64) -> u64 {
        let Some(low) = self.byte() else {
            return self.next() % n;
        };
        let high = if n > 256 { self.byte() } else { None };
        (low + 256 * high.unwrap_or(0)) % n
    }

    /// A number from `low` to `high`, both included.
    pub fn range(&mut self, low: u64, high: u64) -> u64 {
        low + self.below(high - low + 1)
    }

    /// True once in `n` times.
    pub fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == n - 1
    }

    /// True `n` times of a hundred.
    pub fn percent(&mut self, n: u64) -> bool {
        self.below(100) < n
    }

    /// One of `items`, which are not none.
    pub fn pick<T: Copy>(&mut self, items: &[T]) -> T {
        items[self.below(items.len() as u64) as usize]
    }

    /// How much of `available` is taken at once: often all, often a few bytes.
    pub fn fragment(&mut self, available: usize) -> usize {
        let most = match self.below(4) {
            0 => 8,
            1 => 64,
            _ => 65_536,
        };
        (1 + self.below(most) as usize).min(available)
    }

    fn byte(&mut self) -> Option<u64> {
        let byte = *self.tape.as_ref()?.get(self.at)?;
        self.at += 1;
        Some(u64::from(byte))
    }
}
