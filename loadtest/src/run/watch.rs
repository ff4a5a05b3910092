//! The main thread of a run: it shows how things are, and looks at the broker's process when the
//! scenario says.

use super::executors::{Scenario, spawn};
use super::shared::{Shared, Totals};
use crate::host::memory::used_bytes;
use crate::host::process::{Usage, usage};
use crate::measure::clock::{MS, SECOND, now_ns, process_cpu_ns};
use crate::report::{Progress, Report};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

/// How often the watcher looks whether all have ended.
const LOOK_NS: u64 = 20 * MS;

/// One look at everything.
#[derive(Clone, Copy, Debug)]
pub struct Sample {
    pub at_ns: u64,
    /// Of the broker; nothing if its process is not known or not there.
    pub broker: Option<Usage>,
    /// Processor time of the load tester.
    pub own_cpu_ns: u64,
    pub own_resident_bytes: Option<u64>,
    /// Of all this host's memory, what is not available.
    pub host_used_bytes: Option<u64>,
    pub totals: Totals,
}

/// The samples at the scenario's marks, as far as they came.
#[derive(Debug, Default)]
pub struct Samples {
    /// Before anything was connected.
    pub before: Option<Sample>,
    pub marks: Vec<Sample>,
    /// After everything was closed.
    pub after: Option<Sample>,
    pub was_interrupted: bool,
}

/// Runs a scenario to its end.
///
/// # Errors
/// A sentence: something in this host does not work.
pub fn run<S: Scenario>(
    scenario: S,
    shards: usize,
    pids: &[u32],
    interrupt: &Arc<AtomicBool>,
) -> Result<Report, String> {
    let shared = Arc::new(Shared::new(shards, interrupt.clone()));
    let scenario = Arc::new(scenario);
    let mut samples = Samples {
        before: Some(sample(pids, &shared)),
        ..Samples::default()
    };
    let threads: Result<Vec<_>, String> = (0..shards)
        .map(|shard| spawn(scenario.clone(), shared.clone(), shard))
        .collect();
    // If some could not be started the others' threads end with the process.
    let threads = threads?;
    watch(&*scenario, &shared, pids, &mut samples);
    let outcomes: Result<Vec<_>, String> = threads
        .into_iter()
        .map(|thread| thread.join().map_err(|_| "an executor failed".to_owned())?)
        .collect();
    let outcomes = outcomes?;
    samples.was_interrupted = shared.is_stopping();
    if !pids.is_empty() && !samples.was_interrupted {
        // The broker needs a moment to let go of what it had.
        std::thread::sleep(Duration::from_secs(1));
    }
    samples.after = Some(sample(pids, &shared));
    Ok(scenario.report(outcomes, &samples))
}

fn watch<S: Scenario>(scenario: &S, shared: &Shared, pids: &[u32], samples: &mut Samples) {
    let mut progress = Progress::new();
    let mut before = Totals::default();
    let mut shown_ns = now_ns();
    while !shared.is_ended() {
        let now = now_ns();
        let marks = scenario.marks(shared);
        let next = marks.get(samples.marks.len()).copied();
        if next.is_some_and(|at_ns| at_ns <= now) {
            samples.marks.push(sample(pids, shared));
            continue;
        }
        if now >= shown_ns + SECOND {
            shown_ns = now;
            let totals = shared.totals();
            progress.show(&scenario.progress(shared, &totals, &before));
            before = totals;
        }
        let wake_ns = next.unwrap_or(u64::MAX).min(now + LOOK_NS);
        std::thread::sleep(Duration::from_nanos(wake_ns - now));
    }
    progress.clear();
}

fn sample(pids: &[u32], shared: &Shared) -> Sample {
    Sample {
        broker: usage(pids),
        own_cpu_ns: process_cpu_ns(),
        own_resident_bytes: usage(&[std::process::id()]).map(|own| own.resident_bytes),
        host_used_bytes: used_bytes(),
        totals: shared.totals(),
        at_ns: now_ns(),
    }
}
