//! The main thread of a run: it shows how things are, and looks at the broker's process when the
//! scenario says.

use super::executors::{Scenario, spawn};
use super::shared::{Shared, Totals};
use crate::host::memory::used_bytes;
use crate::host::process::{Usage, Watched, usage};
use crate::measure::clock::{MS, SECOND, now_ns, process_cpu_ns};
use crate::measure::latency::Latency;
use crate::report::{Report, Row, Screen, Timeline};
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
    /// Processor time and memory of the load tester, workers included.
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
    /// When the run was told to end, or else when its executors had ended. There are no marks
    /// after it.
    pub last: Option<Sample>,
    /// After everything was closed.
    pub after: Option<Sample>,
    pub was_interrupted: bool,
}

impl Samples {
    /// The sample at a mark; of a run that ended before, the one when it did.
    pub fn mark(&self, index: usize) -> Option<&Sample> {
        self.marks.get(index).or(self.last.as_ref())
    }

    /// When the run began.
    pub fn began_ns(&self) -> u64 {
        self.before.map_or(0, |before| before.at_ns)
    }
}

/// What a run of any scenario needs.
#[derive(Clone, Debug)]
pub struct Setup {
    /// Executors of this process, or of each worker.
    pub shards: usize,
    pub broker: Watched,
    /// Set when the run is to end early.
    pub interrupt: Arc<AtomicBool>,
}

/// Runs a scenario to its end in this process.
///
/// # Errors
/// A sentence: something in this host does not work.
pub fn run<S: Scenario>(scenario: S, setup: &Setup) -> Result<Report, String> {
    let shared = Arc::new(Shared::new(setup.shards, setup.interrupt.clone()));
    let scenario = Arc::new(scenario);
    observe(&*scenario, &shared, &setup.broker, || {
        // If some cannot be started the others' threads end with the process.
        let threads: Result<Vec<_>, String> = (0..setup.shards)
            .map(|shard| spawn(scenario.clone(), shared.clone(), shard))
            .collect();
        let threads = threads?;
        Ok(|| {
            let threads = threads.into_iter();
            threads
                .map(|thread| thread.join().map_err(|_| "an executor failed".to_owned())?)
                .collect()
        })
    })
}

/// Has a scenario begun, looks on until it is over, and makes the report. What `begin` gives waits
/// for the outcomes of those who do it.
///
/// # Errors
/// Those of `begin` and of what it gives.
pub fn observe<S: Scenario, Join>(
    scenario: &S,
    shared: &Shared,
    broker: &Watched,
    begin: impl FnOnce() -> Result<Join, String>,
) -> Result<Report, String>
where
    Join: FnOnce() -> Result<Vec<S::Outcome>, String>,
{
    let mut samples = Samples {
        before: Some(sample(broker, shared)),
        ..Samples::default()
    };
    let join = begin()?;
    let timeline = watch(scenario, shared, broker, &mut samples);
    let outcomes = join()?;
    samples.was_interrupted = shared.is_stopping();
    if !broker.is_nobody() && !samples.was_interrupted {
        // The broker needs a moment to let go of what it had.
        std::thread::sleep(Duration::from_secs(1));
    }
    samples.after = Some(sample(broker, shared));
    let mut report = scenario.report(outcomes, &samples);
    report.timeline = timeline;
    Ok(report)
}

fn watch<S: Scenario>(
    scenario: &S,
    shared: &Shared,
    broker: &Watched,
    samples: &mut Samples,
) -> Timeline {
    let mut screen = Screen::new();
    let mut timeline = Timeline::default();
    let began = sample(broker, shared);
    let mut before = began;
    while !shared.is_ended() {
        let now = now_ns();
        if shared.is_stopping() && samples.last.is_none() {
            samples.last = Some(sample(broker, shared));
        }
        let next = match samples.last {
            None => scenario.marks(shared).get(samples.marks.len()).copied(),
            Some(_) => None,
        };
        if next.is_some_and(|at_ns| at_ns <= now) {
            samples.marks.push(sample(broker, shared));
            continue;
        }
        if now >= before.at_ns + SECOND {
            let latest = sample(broker, shared);
            let row = row(&began, &before, &latest, &shared.take_latency());
            let line = scenario.progress(shared, &latest.totals, &before.totals);
            screen.show(&line, scenario.done(shared, &latest.totals), &row);
            timeline.push(row);
            before = latest;
        }
        let wake_ns = next.unwrap_or(u64::MAX).min(now + LOOK_NS);
        let wake_ns = wake_ns.min(before.at_ns + SECOND).max(now);
        std::thread::sleep(Duration::from_nanos(wake_ns - now));
    }
    screen.clear();
    samples.last.get_or_insert_with(|| sample(broker, shared));
    timeline
}

/// What happened between two samples.
fn row(began: &Sample, from: &Sample, to: &Sample, latency: &Latency) -> Row {
    let seconds = (to.at_ns - from.at_ns).max(1) as f64 / SECOND as f64;
    let rate = |before: u64, now: u64| now.saturating_sub(before) as f64 / seconds;
    let share = |before: u64, now: u64| rate(before, now) / SECOND as f64;
    let broker = from.broker.zip(to.broker);
    Row {
        at_s: (to.at_ns - began.at_ns) as f64 / SECOND as f64,
        connections: to.totals.up as f64,
        connects_per_s: rate(from.totals.attempts, to.totals.attempts),
        faults: to.totals.faults as f64,
        sent_per_s: rate(from.totals.sent, to.totals.sent),
        delivered_per_s: rate(from.totals.delivered, to.totals.delivered),
        backlog: to.totals.backlog as f64,
        latency_us: [0.5, 0.9, 0.99, 0.999, 1.0]
            .map(|quantile| latency.quantile_ns(quantile) as f64 / 1e3),
        broker_cores: broker.map(|(from, to)| share(from.cpu_ns, to.cpu_ns)),
        broker_bytes: to.broker.map(|broker| broker.resident_bytes as f64),
        own_cores: share(from.own_cpu_ns, to.own_cpu_ns),
        own_bytes: to.own_resident_bytes.unwrap_or(0) as f64,
    }
}

fn sample(broker: &Watched, shared: &Shared) -> Sample {
    let totals = shared.totals();
    Sample {
        broker: broker.usage(),
        own_cpu_ns: process_cpu_ns() + totals.cpu_ns,
        own_resident_bytes: usage(&[std::process::id()])
            .map(|own| own.resident_bytes + totals.resident_bytes),
        host_used_bytes: used_bytes(),
        totals,
        at_ns: now_ns(),
    }
}
