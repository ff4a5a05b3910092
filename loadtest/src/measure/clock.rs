//! The clock of all measurements.

use rustix::time::{ClockId, clock_gettime};

/// Nanoseconds of the system's monotonic clock: the same for every process of this host, so that
/// what one process sends can be timed by another.
#[inline]
pub fn now_ns() -> u64 {
    nanos(ClockId::Monotonic)
}

/// Processor time that the calling thread has taken, in nanoseconds.
pub fn thread_cpu_ns() -> u64 {
    nanos(ClockId::ThreadCPUTime)
}

/// Processor time that this process has taken, in nanoseconds.
pub fn process_cpu_ns() -> u64 {
    nanos(ClockId::ProcessCPUTime)
}

pub const MS: u64 = 1_000_000;
pub const SECOND: u64 = 1_000_000_000;

#[inline]
fn nanos(clock: ClockId) -> u64 {
    let time = clock_gettime(clock);
    time.tv_sec as u64 * SECOND + time.tv_nsec as u64
}
