//! Many connections that do nothing: each with a subscription to a topic of its own, held, and in
//! the end a message to some of them.

mod memory;

use super::devices::{Counts, Crowd, DeviceOptions};
use super::{Common, summary};
use crate::measure::busy::Busy;
use crate::measure::clock::{MS, SECOND};
use crate::measure::latency::Latency;
use crate::measure::sequence::Tally;
use crate::net::FleetStats;
use crate::net::ramp::Retry;
use crate::report::{Report, Value, text};
use crate::run::{Samples, Scenario, Shared, Totals};
use ringmq::codec::QoS;
use serde::{Deserialize, Serialize};
use std::io;

/// How long before the end of the hold the broker's memory is looked at.
const LOOK_BEFORE_NS: u64 = 5 * MS;

#[derive(Clone, Copy, Debug)]
pub struct IdleOptions {
    pub connections: u32,
    pub qos: QoS,
    pub hold_ns: u64,
    /// A message goes to every device whose number is a multiple; 0: to none.
    pub every: u32,
    /// For the arrivals.
    pub drain_ns: u64,
    /// In the end all are cut off and come back.
    pub reconnects: bool,
    /// All ought to be back by then.
    pub deadline_ns: u64,
}

#[derive(Debug)]
pub struct Idle {
    common: Common,
    options: IdleOptions,
}

/// Points at which executors meet.
#[derive(Clone, Copy, Debug)]
enum Gate {
    Connected,
    Received,
    Dropped,
    Back,
}

/// What one executor found out.
#[derive(Debug, Serialize, Deserialize)]
pub struct Outcome {
    stats: FleetStats,
    /// Connected when the hold was over.
    held: u64,
    tally: Tally,
    counts: Counts,
    latency: Latency,
    busy: Busy,
    again: Option<Again>,
}

/// What came of those that were cut off.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Again {
    pub(super) stats: FleetStats,
    pub(super) began_ns: u64,
    pub(super) back: u64,
}

impl Idle {
    pub fn new(common: Common, options: IdleOptions) -> Idle {
        Idle { common, options }
    }

    async fn drive_crowd(&self, shard: usize, shared: &Shared) -> io::Result<Outcome> {
        let options = DeviceOptions {
            qos: self.options.qos,
            session_expiry_s: None,
        };
        let total = self.options.connections;
        let mut crowd = Crowd::new(&self.common, options, total, (shard, shared))?;
        let ramp = self.common.ramp(shard, crowd.clients());
        crowd.connect(ramp).await?;
        crowd
            .meet(Gate::Connected as usize, self.options.hold_ns)
            .await?;
        let held = crowd.up().count() as u64;
        let chosen = |number: u32| number.checked_rem(self.options.every) == Some(0);
        let targets: Vec<u32> = crowd
            .up()
            .filter(|d| chosen(crowd.devices.number(*d)))
            .collect();
        if !shared.is_stopping() {
            crowd.enqueue(targets.iter().copied());
        }
        crowd.publish(self.options.drain_ns).await?;
        crowd.receive(self.options.drain_ns).await?;
        crowd.meet(Gate::Received as usize, 0).await?;
        crowd.devices.tally.lost = crowd.devices.missing(targets.into_iter());
        let busy = crowd.busy();
        let stats = crowd.take_stats();
        let again = match self.options.reconnects && !shared.is_stopping() {
            true => Some(self.reconnect(shard, &mut crowd).await?),
            false => None,
        };
        crowd.leave_all(false).await?;
        Ok(Outcome {
            held,
            stats,
            again,
            tally: crowd.devices.tally,
            counts: crowd.devices.counts,
            latency: crowd.devices.latency.into_all(),
            busy,
        })
    }

    /// Cuts every device off without a word, and lets all come back.
    async fn reconnect(&self, shard: usize, crowd: &mut Crowd<'_>) -> io::Result<Again> {
        crowd.cut_off().await?;
        crowd.meet(Gate::Dropped as usize, 0).await?;
        let retry = Retry {
            after_ns: SECOND,
            until_ns: crowd.fleet.now_ns + self.options.deadline_ns,
        };
        let ramp = self.common.ramp(shard, 0..crowd.devices.count());
        let began_ns = crowd.fleet.now_ns;
        crowd.connect(ramp.with_retry(retry)).await?;
        crowd.meet(Gate::Back as usize, 0).await?;
        Ok(Again {
            back: crowd.up().count() as u64,
            stats: crowd.take_stats(),
            began_ns,
        })
    }
}

impl Scenario for Idle {
    type Outcome = Outcome;

    async fn drive(&self, shard: usize, shared: &Shared) -> Result<Outcome, String> {
        let outcome = self.drive_crowd(shard, shared).await;
        outcome.map_err(|error| format!("an executor's epoll set failed: {error}"))
    }

    /// All connected, the hold over, everything received, all back.
    fn marks(&self, shared: &Shared) -> Vec<u64> {
        let connected_ns = shared.opened_ns(Gate::Connected as usize);
        let held_ns =
            connected_ns.map(|at| at + self.options.hold_ns.saturating_sub(LOOK_BEFORE_NS));
        let received_ns = shared.opened_ns(Gate::Received as usize);
        let back_ns = shared.opened_ns(Gate::Back as usize);
        [connected_ns, held_ns, received_ns, back_ns]
            .into_iter()
            .map_while(|at| at)
            .collect()
    }

    fn progress(&self, shared: &Shared, now: &Totals, before: &Totals) -> String {
        let up = text::count(now.up.saturating_sub(self.common.shards as u64));
        let mut line = match shared.opened_ns(Gate::Connected as usize) {
            _ if shared.opened_ns(Gate::Back as usize).is_some() => "leaving".into(),
            _ if shared.opened_ns(Gate::Dropped as usize).is_some() => format!(
                "all cut off; back {up}, {}/s",
                text::count(now.up.saturating_sub(before.up))
            ),
            None => format!(
                "connected {up} of {}, {}/s",
                text::count(self.options.connections.into()),
                text::count(now.up.saturating_sub(before.up))
            ),
            Some(_) if now.sent == 0 => format!("holding {up} connections"),
            Some(_) => format!(
                "published {}, delivered {}",
                text::count(now.sent),
                text::count(now.delivered)
            ),
        };
        if now.faults > 0 {
            line += &format!("  failed or lost {}", text::count(now.faults));
        }
        line
    }

    fn done(&self, shared: &Shared, now: &Totals) -> Option<f64> {
        let up = now.up.saturating_sub(self.common.shards as u64) as f64;
        match shared.opened_ns(Gate::Connected as usize) {
            Some(at_ns) if shared.opened_ns(Gate::Received as usize).is_none() => {
                Some(super::common::elapsed(at_ns, at_ns + self.options.hold_ns))
            }
            _ => Some(up / f64::from(self.options.connections.max(1))),
        }
    }

    fn report(&self, outcomes: Vec<Outcome>, samples: &Samples) -> Report {
        let sum = outcomes
            .into_iter()
            .reduce(Outcome::merged)
            .expect("one executor at least");
        let mut report = Report::new("idle", self.title(sum.held));
        summary::options(&self.common, &mut report)
            .count("connections", "", self.options.connections.into())
            .count("qos", "", self.options.qos as u64);
        summary::connections(&sum.stats, &mut report);
        self.hold(&sum, samples, &mut report);
        self.messages(&sum, &mut report);
        if let Some(again) = &sum.again {
            let began_ns = samples.began_ns();
            summary::back(again, self.options.connections, began_ns, &mut report);
        }
        self.memory(&sum, samples, &mut report);
        summary::own(None, 0, sum.busy, &mut report);
        summary::judge_tally(&sum.tally, &mut report);
        summary::judge_connections(&sum.stats, samples.began_ns(), &mut report);
        report.problem(
            sum.counts.astray,
            "deliveries were changed or came to the wrong device",
        );
        report.problem(sum.counts.rejected, "messages were refused by the broker");
        let mut waves = vec![("while connecting, ", &sum.stats.pace)];
        waves.extend(
            sum.again
                .iter()
                .map(|again| ("while coming back, ", &again.stats.pace)),
        );
        summary::judge_waves(&self.common, &waves, sum.busy, &mut report);
        summary::ended_early(samples, &self.how_far(&sum, samples), &mut report);
        report
    }
}

impl Idle {
    /// `made`: how many there were.
    fn title(&self, made: u64) -> String {
        format!(
            "{} with a QoS {} subscription each, held, {}",
            text::counted(made, "connection"),
            self.options.qos as u8,
            self.common.protocol(),
        )
    }

    fn hold(&self, sum: &Outcome, samples: &Samples, report: &mut Report) {
        let section = report.section("hold");
        if let (Some(before), Some(up)) = (&samples.before, samples.mark(0)) {
            let span_ns = up.at_ns - before.at_ns;
            let connected = up.totals.up as f64;
            let rate = connected / (span_ns.max(1) as f64 / SECOND as f64);
            let label = match samples.marks.is_empty() {
                true => "connecting for",
                false => "all connected after",
            };
            section.add("ramp_s", label, Value::Duration(span_ns)).add(
                "connected_per_s",
                "connected",
                Value::PerSecond(rate),
            );
        }
        section
            .add("held_s", "held for", Value::Duration(self.held_ns(samples)))
            .count("held", "still there at its end", sum.held)
            .count("pings", "PINGREQ sent", sum.stats.pings);
    }

    /// From when all were connected to the end of the hold, or of the run.
    fn held_ns(&self, samples: &Samples) -> u64 {
        match (samples.marks.first(), samples.marks.get(1), samples.last) {
            (Some(_), Some(_), _) => self.options.hold_ns,
            (Some(up), None, Some(last)) => (last.at_ns - up.at_ns).min(self.options.hold_ns),
            _ => 0,
        }
    }

    /// How far a run came that ended before its time.
    fn how_far(&self, sum: &Outcome, samples: &Samples) -> String {
        match samples.marks.len() {
            0 => format!(
                "while connecting: {} of {} were made",
                text::count(sum.held),
                text::counted(self.options.connections.into(), "connection")
            ),
            1 => {
                let hold_ns = self.options.hold_ns;
                format!(
                    "held for {} of {}",
                    text::time(self.held_ns(samples)),
                    text::time(hold_ns)
                )
            }
            _ => "after the hold".into(),
        }
    }

    fn messages(&self, sum: &Outcome, report: &mut Report) {
        let section = report.section("messages to devices");
        section
            .count("published", "published", sum.counts.published)
            .count("delivered", "delivered", sum.tally.delivered)
            .count("lost", "lost", sum.tally.lost)
            .count("duplicated", "duplicated", sum.tally.duplicated);
        summary::late(&self.common, "late", sum.counts.late, section);
        section.latency(
            ["p50_us", "p90_us", "p99_us", "p999_us", "max_us"],
            &sum.latency,
        );
    }

    /// Memory before, with all connections, and after.
    fn memory(&self, sum: &Outcome, samples: &Samples, report: &mut Report) {
        // Before all were there it is not known how many a sample is of.
        let held = samples.marks.first().and(samples.mark(1));
        let (Some(before), Some(held)) = (&samples.before, held) else {
            return;
        };
        memory::own(before, held, sum.held, report);
        memory::broker(samples, sum.held, report);
    }
}

impl Outcome {
    fn merged(mut self, other: Outcome) -> Outcome {
        self.stats.merge(other.stats);
        self.held += other.held;
        self.tally += other.tally;
        self.counts.merge(&other.counts);
        self.latency.merge(&other.latency);
        self.busy = self.busy.max(other.busy);
        self.again = match (self.again, other.again) {
            (Some(mine), Some(theirs)) => Some(mine.merged(theirs)),
            (mine, theirs) => mine.or(theirs),
        };
        self
    }
}

impl Again {
    fn merged(mut self, other: Again) -> Again {
        self.stats.merge(other.stats);
        self.began_ns = self.began_ns.min(other.began_ns);
        self.back += other.back;
        self
    }
}
