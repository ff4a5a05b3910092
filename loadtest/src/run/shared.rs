//! What the executors of a run share: a wish to stop, points to meet at, counters for the one who
//! watches. Nothing here is touched per message, only per turn.

use crate::measure::clock::{MS, now_ns};
use crate::measure::latency::{Latency, Windowed};
use std::ops::AddAssign;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// How often an executor shows its latencies: more often than anybody looks, so that no second of
/// the timeline is left without.
pub const ROLL_NS: u64 = 250 * MS;
/// Points to meet at in one run, at most.
const GATES: usize = 8;

/// Shared by the executors of a run and the thread that watches them.
#[derive(Debug)]
pub struct Shared {
    stop: Arc<AtomicBool>,
    gates: [Gate; GATES],
    lives: Box<[Live]>,
    /// Each executor's latencies since the one who watches has taken them.
    windows: Box<[Mutex<Latency>]>,
    ended: AtomicUsize,
}

/// A point that all executors reach before any goes on.
#[derive(Debug, Default)]
pub struct Gate {
    arrived: AtomicUsize,
    /// 0 until the last one has arrived.
    opened_ns: AtomicU64,
}

/// One executor's counters as of its last turn.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct Live([AtomicU64; Totals::FIELDS]);

/// Counters, of one executor or added up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Clients connected now.
    pub up: u64,
    /// Connections begun.
    pub attempts: u64,
    /// Connections that failed, before or after they were up.
    pub faults: u64,
    /// Messages sent.
    pub sent: u64,
    /// Deliveries that they ought to give.
    pub expected: u64,
    /// Different messages that came.
    pub delivered: u64,
    pub duplicated: u64,
    pub reordered: u64,
    /// Messages that are due and not sent.
    pub backlog: u64,
    /// 99th percentile of the latency in the last second; of several executors the greatest.
    pub p99_ns: u64,
}

impl Shared {
    /// `stop` may be set from a signal handler.
    pub fn new(shards: usize, stop: Arc<AtomicBool>) -> Shared {
        Shared {
            stop,
            gates: Default::default(),
            lives: (0..shards).map(|_| Live::default()).collect(),
            windows: (0..shards).map(|_| Mutex::default()).collect(),
            ended: AtomicUsize::new(0),
        }
    }

    pub fn shards(&self) -> usize {
        self.lives.len()
    }

    /// Everybody is to finish now.
    pub fn is_stopping(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    pub fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }

    /// Each executor arrives once at each gate.
    pub fn arrive(&self, gate: usize) {
        let arrived = self.gates[gate].arrived.fetch_add(1, Ordering::AcqRel) + 1;
        if arrived == self.shards() {
            self.gates[gate]
                .opened_ns
                .store(now_ns(), Ordering::Release);
        }
    }

    /// When the last executor arrived at the gate.
    #[inline]
    pub fn opened_ns(&self, gate: usize) -> Option<u64> {
        match self.gates[gate].opened_ns.load(Ordering::Acquire) {
            0 => None,
            opened_ns => Some(opened_ns),
        }
    }

    #[inline]
    pub fn live(&self, shard: usize) -> &Live {
        &self.lives[shard]
    }

    /// Shows an executor's latest latencies to the one who watches, and begins anew; gives their
    /// 99th percentile in nanoseconds.
    pub fn roll(&self, shard: usize, latency: &mut Windowed) -> u64 {
        lock(&self.windows[shard]).merge(latency.now());
        latency.roll()
    }

    /// All executors' latencies since this was called last.
    pub(super) fn take_latency(&self) -> Latency {
        let mut all = Latency::default();
        for window in &self.windows {
            let mut window = lock(window);
            if window.count() > 0 {
                all.merge(&window);
                window.clear();
            }
        }
        all
    }

    /// All executors' counters together.
    pub fn totals(&self) -> Totals {
        let mut totals = Totals::default();
        for live in &self.lives {
            totals += live.get();
        }
        totals
    }

    /// An executor has nothing more to do.
    pub(super) fn end(&self) {
        self.ended.fetch_add(1, Ordering::Release);
    }

    pub(super) fn is_ended(&self) -> bool {
        self.ended.load(Ordering::Acquire) == self.shards()
    }
}

/// A distribution is whole between any two calls, so one that panicked has left no harm.
fn lock(window: &Mutex<Latency>) -> MutexGuard<'_, Latency> {
    window.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Live {
    #[inline]
    pub fn set(&self, totals: Totals) {
        for (counter, value) in self.0.iter().zip(totals.to_array()) {
            counter.store(value, Ordering::Relaxed);
        }
    }

    pub fn get(&self) -> Totals {
        Totals::from_array(std::array::from_fn(|i| self.0[i].load(Ordering::Relaxed)))
    }
}

impl Totals {
    const FIELDS: usize = 10;

    fn to_array(self) -> [u64; Totals::FIELDS] {
        [
            self.up,
            self.attempts,
            self.faults,
            self.sent,
            self.expected,
            self.delivered,
            self.duplicated,
            self.reordered,
            self.backlog,
            self.p99_ns,
        ]
    }

    fn from_array(array: [u64; Totals::FIELDS]) -> Totals {
        let [
            up,
            attempts,
            faults,
            sent,
            expected,
            delivered,
            duplicated,
            reordered,
            backlog,
            p99_ns,
        ] = array;
        Totals {
            up,
            attempts,
            faults,
            sent,
            expected,
            delivered,
            duplicated,
            reordered,
            backlog,
            p99_ns,
        }
    }
}

impl AddAssign for Totals {
    fn add_assign(&mut self, other: Totals) {
        let p99_ns = self.p99_ns.max(other.p99_ns);
        let (mine, theirs) = (self.to_array(), other.to_array());
        *self = Totals::from_array(std::array::from_fn(|i| mine[i] + theirs[i]));
        self.p99_ns = p99_ns;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gate_opens_with_the_last_one() {
        let shared = Shared::new(2, Arc::default());
        shared.arrive(1);
        assert_eq!(shared.opened_ns(1), None);
        shared.arrive(1);
        assert!(
            shared
                .opened_ns(1)
                .is_some_and(|opened_ns| opened_ns <= now_ns())
        );
        assert_eq!(shared.opened_ns(0), None);
    }

    #[test]
    fn totals_add_up_and_keep_the_worst_latency() {
        let shared = Shared::new(2, Arc::default());
        shared.live(0).set(Totals {
            sent: 3,
            p99_ns: 9,
            ..Totals::default()
        });
        shared.live(1).set(Totals {
            sent: 4,
            up: 1,
            p99_ns: 7,
            ..Totals::default()
        });
        let expected = Totals {
            sent: 7,
            up: 1,
            p99_ns: 9,
            ..Totals::default()
        };
        assert_eq!(shared.totals(), expected);
    }
}
