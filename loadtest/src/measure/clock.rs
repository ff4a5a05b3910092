//! The clock of all measurements.

use rustix::time::{ClockId, clock_gettime};
use std::sync::atomic::{AtomicI64, Ordering};

/// What this host's clock lacks to that of the host that leads.
static OFFSET_NS: AtomicI64 = AtomicI64::new(0);

/// Nanoseconds of the system's monotonic clock: the same for every process of this host, so that
/// what one process sends can be timed by another. Of several hosts it is that of the leader, as
/// far as it is known.
#[inline]
pub fn now_ns() -> u64 {
    own_now_ns().wrapping_add_signed(offset_ns())
}

/// This host's own clock.
#[inline]
pub fn own_now_ns() -> u64 {
    nanos(ClockId::Monotonic)
}

/// What [`now_ns`] is ahead of [`own_now_ns`].
#[inline]
pub fn offset_ns() -> i64 {
    OFFSET_NS.load(Ordering::Relaxed)
}

pub fn set_offset_ns(offset_ns: i64) {
    OFFSET_NS.store(offset_ns, Ordering::Relaxed);
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
