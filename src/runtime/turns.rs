//! How long turns take. While a shard is in one, everybody else of it waits: a long one is the
//! first thing to know about a slow broker.

use std::time::Duration;

/// Turns are told apart by powers of two of a microsecond, the last one for all longer ones.
const LENGTHS: usize = 24;
/// How long turns are remembered at least; at most twice as long. In milliseconds.
const REMEMBERED_MS: u64 = 60_000;

/// The lengths of a shard's turns in the last minute or two.
#[derive(Clone, Copy, Default)]
pub struct Turns {
    now: Lengths,
    before: Lengths,
    since_ms: u64,
}

#[derive(Clone, Copy, Default)]
struct Lengths {
    count: [u64; LENGTHS],
    longest_us: u64,
}

impl Turns {
    /// A turn that ended at `now_ms` by the monotonic clock.
    #[inline]
    pub fn add(&mut self, now_ms: u64, took: Duration) {
        if now_ms >= self.since_ms + REMEMBERED_MS {
            self.before = std::mem::take(&mut self.now);
            self.since_ms = now_ms;
        }
        let us = took.as_micros() as u64;
        let length = (u64::BITS - us.leading_zeros()) as usize;
        self.now.count[length.min(LENGTHS - 1)] += 1;
        self.now.longest_us = self.now.longest_us.max(us);
    }

    /// The longest turn, in microseconds.
    pub fn longest_us(&self) -> u64 {
        self.now.longest_us.max(self.before.longest_us)
    }

    /// A power of two in microseconds, or the longest turn if that is less, which so many per cent
    /// of the turns did not reach or just did.
    pub fn within_us(&self, per_cent: u64) -> u64 {
        let counts = self.now.count.iter().zip(&self.before.count);
        let counts = counts.map(|(now, before)| now + before);
        let all: u64 = counts.clone().sum();
        let mut shorter = 0;
        let reaches = |count: u64| {
            shorter += count;
            shorter * 100 >= all * per_cent
        };
        let length = counts.map(reaches).position(|is_it| is_it).unwrap_or(0);
        (1 << length).min(self.longest_us())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn us(us: u64) -> Duration {
        Duration::from_micros(us)
    }

    #[test]
    fn most_turns_and_the_longest_one_are_told_apart() {
        let mut turns = Turns::default();
        assert_eq!((turns.within_us(99), turns.longest_us()), (0, 0));
        (0..990).for_each(|_| turns.add(0, us(50)));
        assert_eq!((turns.within_us(99), turns.longest_us()), (50, 50));
        (0..10).for_each(|_| turns.add(0, us(5_000)));
        assert_eq!((turns.within_us(99), turns.longest_us()), (64, 5_000));
        assert_eq!(turns.within_us(100), 5_000);
        turns.add(0, Duration::from_secs(3600));
        assert_eq!(turns.longest_us(), 3_600_000_000);
    }

    #[test]
    fn what_is_long_ago_is_forgotten() {
        let mut turns = Turns::default();
        turns.add(0, us(9_000));
        turns.add(REMEMBERED_MS, us(10));
        assert_eq!(turns.longest_us(), 9_000);
        turns.add(2 * REMEMBERED_MS, us(20));
        assert_eq!(turns.longest_us(), 20);
    }
}
