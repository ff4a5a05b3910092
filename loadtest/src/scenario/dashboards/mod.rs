//! Retained messages, and many who subscribe to them by wildcards: each ought to get every one of
//! its area, once, and marked as retained.

mod drive;
mod people;

use super::{Common, summary};
use crate::measure::busy::Busy;
use crate::measure::clock::SECOND;
use crate::measure::latency::Latency;
use crate::net::FleetStats;
use crate::report::{Report, Value, text};
use crate::run::{Samples, Scenario, Shared, Totals};
use people::Counts;
use ringmq::codec::QoS;
use serde::{Deserialize, Serialize};

#[derive(Clone, Copy, Debug)]
pub struct DashboardOptions {
    pub dashboards: u32,
    /// Topics, each with a retained message. Topic `t` is in the area `t % areas`.
    pub topics: u32,
    /// Dashboard `d` subscribes to all topics of the area `d % areas`.
    pub areas: u32,
    pub qos: QoS,
    pub payload_bytes: usize,
    /// For the last arrivals.
    pub drain_ns: u64,
}

#[derive(Debug)]
pub struct Dashboards {
    common: Common,
    options: DashboardOptions,
    payload: Box<[u8]>,
}

/// Points at which executors meet.
#[derive(Clone, Copy, Debug)]
enum Gate {
    Stored,
    Filled,
    Left,
    Cleared,
}

/// What one executor found out.
#[derive(Debug, Serialize, Deserialize)]
pub struct Outcome {
    stats: FleetStats,
    counts: Counts,
    /// From SUBSCRIBE to each message, and to the last one of a dashboard.
    message: Latency,
    filled: Latency,
    busy: Busy,
}

impl Dashboards {
    pub fn new(common: Common, options: DashboardOptions) -> Dashboards {
        let stamp = crate::measure::stamp::STAMP_BYTES;
        let filler = (0..options.payload_bytes.saturating_sub(stamp)).map(|i| i as u8);
        Dashboards {
            payload: filler.collect(),
            common,
            options,
        }
    }

    /// Topics of one area.
    fn topics_of(&self, area: u32) -> u32 {
        self.options
            .topics
            .saturating_sub(area)
            .div_ceil(self.options.areas)
    }

    fn topic(&self, topic: u32) -> String {
        let area = topic % self.options.areas;
        format!("load/{:08x}/r/{area}/{topic}", self.common.run)
    }

    fn filter(&self, area: u32) -> String {
        format!("load/{:08x}/r/{area}/+", self.common.run)
    }
}

impl Scenario for Dashboards {
    type Outcome = Outcome;

    async fn drive(&self, shard: usize, shared: &Shared) -> Result<Outcome, String> {
        let outcome = drive::drive(self, shard, shared).await;
        outcome.map_err(|error| format!("an executor's epoll set failed: {error}"))
    }

    /// All stored; all dashboards filled.
    fn marks(&self, shared: &Shared) -> Vec<u64> {
        [Gate::Stored, Gate::Filled]
            .into_iter()
            .map_while(|gate| shared.opened_ns(gate as usize))
            .collect()
    }

    fn progress(&self, shared: &Shared, now: &Totals, before: &Totals) -> String {
        let mut line = match shared.opened_ns(Gate::Stored as usize) {
            None => format!(
                "retained {} of {}",
                text::count(now.sent),
                text::count(self.options.topics.into())
            ),
            Some(_) => format!(
                "dashboards {}  got {} of {}, {}/s",
                text::count(now.up.saturating_sub(self.common.shards as u64)),
                text::count(now.delivered),
                text::count(now.expected),
                text::count(now.delivered.saturating_sub(before.delivered)),
            ),
        };
        if now.faults > 0 {
            line += &format!("  failed or lost {}", text::count(now.faults));
        }
        line
    }

    fn done(&self, shared: &Shared, now: &Totals) -> Option<f64> {
        let all = match shared.opened_ns(Gate::Stored as usize) {
            None => return Some(now.sent as f64 / f64::from(self.options.topics.max(1))),
            Some(_) => (0..self.options.dashboards)
                .map(|dashboard| u64::from(self.topics_of(dashboard % self.options.areas)))
                .sum::<u64>(),
        };
        Some(now.delivered as f64 / all.max(1) as f64)
    }

    fn report(&self, outcomes: Vec<Outcome>, samples: &Samples) -> Report {
        let sum = outcomes
            .into_iter()
            .reduce(Outcome::merged)
            .expect("one executor at least");
        let mut report = Report::new("dashboards", self.title());
        summary::options(&self.common, &mut report)
            .count("dashboards", "", self.options.dashboards.into())
            .count("topics", "", self.options.topics.into())
            .count("areas", "", self.options.areas.into())
            .count("qos", "", self.options.qos as u64);
        self.messages(&sum, samples, &mut report);
        summary::connections(&sum.stats, &mut report);
        let window = samples.marks.first().zip(samples.mark(1));
        summary::broker(window, sum.counts.delivered, &mut report);
        summary::own(window, sum.counts.delivered, sum.busy, &mut report);
        self.judge(&sum, samples, &mut report);
        report
    }
}

impl Dashboards {
    fn title(&self) -> String {
        format!(
            "{} over {} in {}, QoS {}, {} bytes, {}",
            text::counted(self.options.dashboards.into(), "dashboard"),
            text::counted(self.options.topics.into(), "retained message"),
            text::counted(self.options.areas.into(), "area"),
            self.options.qos as u8,
            self.options.payload_bytes,
            self.common.protocol(),
        )
    }

    fn messages(&self, sum: &Outcome, samples: &Samples, report: &mut Report) {
        let section = report.section("retained messages");
        section
            .count("published", "stored", sum.counts.published)
            .count("delivered", "delivered", sum.counts.delivered)
            .count("lost", "lost", sum.counts.lost)
            .count("duplicated", "duplicated", sum.counts.duplicated)
            .count("filled", "dashboards filled", sum.filled.count());
        summary::late(&self.common, "late", sum.counts.late, section);
        if let Some((from, to)) = samples.marks.first().zip(samples.mark(1)) {
            let seconds = (to.at_ns - from.at_ns).max(1) as f64 / SECOND as f64;
            let rate = sum.counts.delivered as f64 / seconds;
            section.add("delivered_per_s", "delivered", Value::PerSecond(rate));
        }
        report.section("from SUBSCRIBE to each message").latency(
            ["p50_us", "p90_us", "p99_us", "p999_us", "max_us"],
            &sum.message,
        );
        let keys = [
            "filled_p50_us",
            "filled_p90_us",
            "filled_p99_us",
            "filled_p999_us",
            "filled_max_us",
        ];
        report
            .section("from SUBSCRIBE to the last message")
            .latency(keys, &sum.filled);
    }

    fn judge(&self, sum: &Outcome, samples: &Samples, report: &mut Report) {
        report.problem(sum.counts.lost, "messages were lost");
        report.problem(sum.counts.duplicated, "messages were duplicated");
        report.problem(sum.counts.unmarked, "retained messages came without RETAIN");
        let astray = "deliveries were changed or came to the wrong dashboard";
        report.problem(sum.counts.astray, astray);
        report.problem(sum.counts.rejected, "messages were refused by the broker");
        let unstored = u64::from(self.options.topics).saturating_sub(sum.counts.stored);
        if !samples.was_interrupted {
            report.problem(unstored, "messages were not taken over by the broker");
        }
        summary::judge_connections(&sum.stats, samples.began_ns(), report);
        let waves = [("while subscribing, ", &sum.stats.pace)];
        summary::judge_waves(&self.common, &waves, sum.busy, report);
        let how_far = match samples.marks.len() {
            0 => format!(
                "while storing: {} of {} were stored",
                text::count(sum.counts.stored),
                text::counted(self.options.topics.into(), "message")
            ),
            _ => format!(
                "while filling: {} of {} were filled",
                text::count(sum.filled.count()),
                text::counted(self.options.dashboards.into(), "dashboard")
            ),
        };
        summary::ended_early(samples, &how_far, report);
    }
}

impl Outcome {
    fn merged(mut self, other: Outcome) -> Outcome {
        self.stats.merge(other.stats);
        self.counts.merge(&other.counts);
        self.message.merge(&other.message);
        self.filled.merge(&other.filled);
        self.busy = self.busy.max(other.busy);
        self
    }
}
