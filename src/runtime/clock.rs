//! The clocks, read once a turn.

use crate::base::Now;
use std::sync::OnceLock;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// How often the wall clock is looked at: it may be set meanwhile, and is only for people.
const WALL_EVERY_MS: u64 = 100;

/// One shard's reading of the clocks. The monotonic origin is the same for all of the process.
pub struct Clock {
    origin: Instant,
    /// Wall clock less monotonic clock, in milliseconds.
    offset_ms: u64,
    wall_read_ms: Option<u64>,
    /// What was read last, from the origin on.
    read: Duration,
}

impl Default for Clock {
    fn default() -> Self {
        static ORIGIN: OnceLock<Instant> = OnceLock::new();
        Clock {
            origin: *ORIGIN.get_or_init(Instant::now),
            offset_ms: 0,
            wall_read_ms: None,
            read: Duration::ZERO,
        }
    }
}

impl Clock {
    /// The time now.
    #[inline]
    pub fn read(&mut self) -> Now {
        self.read = self.origin.elapsed();
        let ms = self.read.as_millis() as u64;
        if self
            .wall_read_ms
            .is_none_or(|read| ms - read >= WALL_EVERY_MS)
        {
            self.wall_read_ms = Some(ms);
            self.offset_ms = unix_ms().saturating_sub(ms);
        }
        Now {
            ms,
            unix_ms: ms + self.offset_ms,
        }
    }

    /// How long ago that was.
    #[inline]
    pub fn since_read(&self) -> Duration {
        self.origin.elapsed().saturating_sub(self.read)
    }
}

/// Milliseconds since the Unix epoch; 0 on a clock set before it.
fn unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_millis() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_share_an_origin_and_the_wall_clock_agrees() {
        let first = Clock::default().read();
        let second = Clock::default().read();
        assert!(second.ms >= first.ms && second.ms - first.ms < 1000);
        assert!(second.unix_ms.abs_diff(unix_ms()) < 1000);
    }
}
