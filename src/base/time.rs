//! The time as the core is told it: it never reads a clock.

/// One reading of both clocks, taken once a turn by whoever drives a shard.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Now {
    /// Milliseconds on a monotonic clock whose origin is the same for every shard of a process.
    pub ms: u64,
    /// Milliseconds since the Unix epoch, for what people read.
    pub unix_ms: u64,
}

impl Now {
    /// The monotonic second.
    pub fn s(self) -> u32 {
        (self.ms / 1000) as u32
    }
}
