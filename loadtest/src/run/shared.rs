//! What the executors of a run share: a wish to stop, points to meet at, counters for the one who
//! watches. Nothing here is touched per message, only per turn.

use crate::measure::clock::{MS, now_ns};
use crate::measure::latency::{Latency, Windowed};
use serde::{Deserialize, Serialize};
use std::ops::AddAssign;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// How often an executor shows its latencies: more often than anybody looks, so that no second of
/// the timeline is left without.
pub const ROLL_NS: u64 = 250 * MS;
/// Points to meet at in one run, at most.
pub const GATES: usize = 8;

/// Shared by the executors of a process and the thread that watches them. In the leader of several
/// processes each of these stands in the place of an executor.
#[derive(Debug)]
pub struct Shared {
    stop: Arc<AtomicBool>,
    gates: [Gate; GATES],
    /// Executors that open a gate when they have come to it. In a worker only the leader does.
    openers: Option<usize>,
    /// The number of the first executor here.
    first: usize,
    lives: Box<[Live]>,
    /// Each executor's latencies since the one who watches has taken them.
    windows: Box<[Mutex<Latency>]>,
    /// In a worker: the counters of all other processes.
    others: Live,
    /// This process's memory when it was looked at last.
    resident_bytes: AtomicU64,
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
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
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
    /// Processor time and resident memory of workers; those of this process are not among it.
    pub cpu_ns: u64,
    pub resident_bytes: u64,
}

impl Shared {
    /// For a process that is alone. `stop` may be set from a signal handler.
    pub fn new(shards: usize, stop: Arc<AtomicBool>) -> Shared {
        Shared::of(shards, stop, 0, Some(shards))
    }

    /// For one of several processes, whose first executor has this number.
    pub fn of_worker(first: usize, shards: usize, stop: Arc<AtomicBool>) -> Shared {
        Shared::of(shards, stop, first, None)
    }

    /// For the one that leads so many processes, which have so many executors together.
    pub fn of_leader(workers: usize, shards: usize, stop: Arc<AtomicBool>) -> Shared {
        Shared::of(workers, stop, 0, Some(shards))
    }

    fn of(parts: usize, stop: Arc<AtomicBool>, first: usize, openers: Option<usize>) -> Shared {
        Shared {
            stop,
            gates: Default::default(),
            openers,
            first,
            lives: (0..parts).map(|_| Live::default()).collect(),
            windows: (0..parts).map(|_| Mutex::default()).collect(),
            others: Live::default(),
            resident_bytes: AtomicU64::new(0),
            ended: AtomicUsize::new(0),
        }
    }

    /// Whether no other executor is looked at.
    pub fn is_single(&self) -> bool {
        self.openers == Some(1)
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
        self.arrive_all(gate, 1);
    }

    /// So many have arrived at a gate.
    pub fn arrive_all(&self, gate: usize, count: usize) {
        let gate = &self.gates[gate];
        let arrived = gate.arrived.fetch_add(count, Ordering::AcqRel) + count;
        if count > 0 && Some(arrived) == self.openers {
            gate.opened_ns.store(now_ns(), Ordering::Release);
        }
    }

    /// How many have arrived at each gate.
    pub fn arrived(&self) -> [usize; GATES] {
        self.gates
            .each_ref()
            .map(|gate| gate.arrived.load(Ordering::Acquire))
    }

    /// When each gate was opened, 0 for not yet.
    pub fn all_opened_ns(&self) -> [u64; GATES] {
        self.gates
            .each_ref()
            .map(|gate| gate.opened_ns.load(Ordering::Acquire))
    }

    /// In a worker: what the leader says.
    pub fn hear(&self, others: &Totals, opened_ns: &[u64; GATES]) {
        self.others.set(*others);
        for (gate, opened_ns) in std::iter::zip(&self.gates, opened_ns) {
            gate.opened_ns.store(*opened_ns, Ordering::Release);
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
        &self.lives[shard - self.first]
    }

    /// Shows an executor's latest latencies to the one who watches, and begins anew; gives their
    /// 99th percentile in nanoseconds.
    pub fn roll(&self, shard: usize, latency: &mut Windowed) -> u64 {
        self.show(shard, latency.now());
        latency.roll()
    }

    /// Latencies of an executor that are not shown yet.
    pub fn show(&self, shard: usize, latency: &Latency) {
        lock(&self.windows[shard - self.first]).merge(latency);
    }

    /// All executors' latencies since this was called last.
    pub fn take_latency(&self) -> Latency {
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

    /// All executors' counters together, those of other processes among them.
    pub fn totals(&self) -> Totals {
        let mut totals = self.own_totals();
        totals += self.others.get();
        totals
    }

    /// Those of this process.
    pub fn own_totals(&self) -> Totals {
        let mut totals = Totals::default();
        for live in &self.lives {
            totals += live.get();
        }
        totals
    }

    /// In the leader: those of all workers but one.
    pub fn totals_without(&self, worker: usize) -> Totals {
        let mut totals = Totals::default();
        for (number, live) in self.lives.iter().enumerate() {
            if number != worker {
                totals += live.get();
            }
        }
        totals
    }

    pub fn resident_bytes(&self) -> u64 {
        self.resident_bytes.load(Ordering::Relaxed)
    }

    pub fn set_resident_bytes(&self, bytes: u64) {
        self.resident_bytes.store(bytes, Ordering::Relaxed);
    }

    /// An executor has nothing more to do.
    fn end(&self) {
        self.ended.fetch_add(1, Ordering::Release);
    }

    pub fn is_ended(&self) -> bool {
        self.ended.load(Ordering::Acquire) == self.lives.len()
    }
}

/// Says that an executor, or what stands for it, has ended, also if it panics.
pub struct Ended<'a>(pub &'a Shared);

impl Drop for Ended<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.stop();
        }
        self.0.end();
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
    const FIELDS: usize = 12;

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
            self.cpu_ns,
            self.resident_bytes,
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
            cpu_ns,
            resident_bytes,
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
            cpu_ns,
            resident_bytes,
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
    fn several_processes_meet_and_see_each_other() {
        let leader = Shared::of_leader(2, 6, Arc::default());
        let worker = Shared::of_worker(3, 3, Arc::default());
        for _ in 0..3 {
            worker.arrive(2);
        }
        assert_eq!(worker.opened_ns(2), None);
        leader.arrive_all(2, 3);
        leader.arrive_all(2, 0);
        assert_eq!(leader.opened_ns(2), None);
        leader.arrive_all(2, worker.arrived()[2]);
        worker.live(5).set(Totals {
            sent: 7,
            ..Totals::default()
        });
        leader.live(1).set(worker.own_totals());
        leader.live(0).set(Totals {
            sent: 5,
            ..Totals::default()
        });
        worker.hear(&leader.totals_without(1), &leader.all_opened_ns());
        assert_eq!(worker.opened_ns(2), leader.opened_ns(2));
        assert!(worker.opened_ns(2).is_some());
        assert_eq!((worker.totals().sent, leader.totals().sent), (12, 12));
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
