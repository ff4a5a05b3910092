//! Publishers to subscribers over topics, at a rate or as fast as a window lets.

mod clients;
mod cuts;
mod drive;
mod member;
mod plan;
mod reply;
mod report;
mod sending;

pub use plan::Plan;

use super::Common;
use crate::measure::busy::Busy;
use crate::measure::clock::{MS, SECOND};
use crate::measure::latency::Latency;
use crate::measure::schedule::Schedule;
use crate::measure::sequence::{Sequence, Tally};
use crate::measure::stamp::STAMP_BYTES;
use crate::net::FleetStats;
use crate::report::{Report, text};
use crate::run::{Samples, Scenario, Shared, Totals};
use clients::Counts;
use ringmq::codec::QoS;
use serde::{Deserialize, Serialize};

/// After the last executor has its clients up, so that all are there when it begins.
const START_AFTER_NS: u64 = 10 * MS;

/// What is to flow.
#[derive(Clone, Debug)]
pub struct FlowOptions {
    pub plan: Plan,
    pub qos: QoS,
    /// Bytes of a payload; not fewer than a stamp has.
    pub payload_bytes: usize,
    /// Messages a second over all publishers; 0: as fast as the window lets.
    pub rate_per_s: u64,
    /// At a rate, messages are sent in portions of this time.
    pub tick_ns: u64,
    /// Of the time between two messages of a stream, by which they are scattered: 0 to 1.
    pub jitter: f64,
    pub warm_up_ns: u64,
    /// After the warm-up.
    pub duration_ns: u64,
    /// Deliveries outstanding at most, over all executors. Only without a rate.
    pub window: u64,
    /// Messages at most that wait for the broker's acknowledgement, a publisher.
    pub in_flight: u16,
    /// How long to wait for the last deliveries.
    pub drain_ns: u64,
    /// Subscribers answer, and publishers await it.
    pub has_replies: bool,
    /// Sessions of subscribers outlive their connections, in v5 for so many seconds.
    pub session_expiry_s: Option<u32>,
    /// Subscribers cut off a second over all executors; they come back after `away_ns`.
    pub cuts_per_s: f64,
    pub away_ns: u64,
}

/// A flow and all that is known before it begins.
#[derive(Debug)]
pub struct Flow {
    common: Common,
    options: FlowOptions,
    topics: Box<[Box<str>]>,
    /// The filter of all topics.
    wildcard: Box<str>,
    /// Subscribers of each topic.
    fanouts: Box<[u32]>,
    payload: Box<[u8]>,
}

/// Points at which executors meet.
#[derive(Clone, Copy, Debug)]
enum Gate {
    Connected,
    /// Nothing is left to be sent.
    Sent,
}

/// What one executor found out.
#[derive(Debug, Serialize, Deserialize)]
pub struct Outcome {
    shard: usize,
    stats: FleetStats,
    tally: Tally,
    /// Messages sent, for each of its publishers.
    sent: Vec<u64>,
    /// Arrivals, for each of its receivers.
    arrivals: Vec<Box<[Sequence]>>,
    latency: Latency,
    counts: Counts,
    /// Of replies, with those lost among them.
    replies: Tally,
    round_trip: Latency,
    /// Subscribers cut off, and those of them that did not come back.
    cuts: u64,
    away: u64,
    /// How late the sender itself was, at a rate.
    lag: Latency,
    /// Processor time over time, while it was measured.
    busy: Busy,
    /// Due and never sent.
    unsent: u64,
    /// Of them, those whose publisher had lost its connection.
    cut_short: u64,
    /// How often the window was stuck for a second.
    stalls: u64,
}

impl Flow {
    pub fn new(common: Common, options: FlowOptions) -> Flow {
        let topic = |topic| format!("load/{:08x}/t/{topic}", common.run).into_boxed_str();
        let letters = (0..options.payload_bytes.saturating_sub(STAMP_BYTES)).map(|i| i as u8);
        Flow {
            topics: (0..options.plan.topics).map(topic).collect(),
            fanouts: (0..options.plan.topics)
                .map(|t| options.plan.fanout(t))
                .collect(),
            payload: letters.collect(),
            wildcard: format!("load/{:08x}/t/+", common.run).into_boxed_str(),
            common,
            options,
        }
    }

    /// Connections of the flow.
    pub fn connections(&self) -> usize {
        self.options.plan.publishers as usize + self.options.plan.subscribers as usize
    }

    fn start_ns(&self, shared: &Shared) -> Option<u64> {
        Some(shared.opened_ns(Gate::Connected as usize)? + START_AFTER_NS)
    }

    fn schedule(&self, start_ns: u64) -> Schedule {
        Schedule {
            start_ns,
            rate_per_s: self.options.rate_per_s.max(1),
            tick_ns: self.options.tick_ns.max(1),
            jitter_ns: self.jitter_ns(),
        }
    }

    /// A share of the time between two messages of one stream.
    fn jitter_ns(&self) -> u64 {
        let streams = f64::from(self.options.plan.streams());
        let interval_s = streams / self.options.rate_per_s.max(1) as f64;
        match self.options.rate_per_s {
            0 => 0,
            _ => (self.options.jitter * interval_s * SECOND as f64) as u64,
        }
    }

    fn span_ns(&self) -> u64 {
        self.options.warm_up_ns + self.options.duration_ns
    }

    fn measure_from_ns(&self, start_ns: u64) -> u64 {
        start_ns + self.options.warm_up_ns
    }

    fn stop_ns(&self, start_ns: u64) -> u64 {
        self.measure_from_ns(start_ns) + self.options.duration_ns
    }
}

impl Scenario for Flow {
    type Outcome = Outcome;

    async fn drive(&self, shard: usize, shared: &Shared) -> Result<Outcome, String> {
        drive::drive(self, shard, shared).await
    }

    /// When the measurement begins and ends.
    fn marks(&self, shared: &Shared) -> Vec<u64> {
        let Some(start_ns) = self.start_ns(shared) else {
            return Vec::new();
        };
        vec![self.measure_from_ns(start_ns), self.stop_ns(start_ns)]
    }

    fn progress(&self, shared: &Shared, now: &Totals, before: &Totals) -> String {
        let Some(opened_ns) = shared.opened_ns(Gate::Connected as usize) else {
            let all = text::count(self.connections() as u64);
            return format!("connected {} of {all}", text::count(now.up));
        };
        let elapsed_s = crate::measure::clock::now_ns().saturating_sub(opened_ns) / SECOND;
        let mut line = format!(
            "{elapsed_s:>4} s  sent {}/s  delivered {}/s  99 % {}  outstanding {}",
            text::count(now.sent.saturating_sub(before.sent)),
            text::count(now.delivered.saturating_sub(before.delivered)),
            text::time(now.p99_ns),
            text::count(now.expected.saturating_sub(now.delivered)),
        );
        for (number, what) in [
            (now.backlog, "behind"),
            (now.duplicated, "doubled"),
            (now.reordered, "reordered"),
            (now.faults, "connections lost"),
        ] {
            if number > 0 {
                line += &format!("  {what} {}", text::count(number));
            }
        }
        line
    }

    fn done(&self, shared: &Shared, now: &Totals) -> Option<f64> {
        match self.start_ns(shared) {
            None => Some(now.up as f64 / self.connections().max(1) as f64),
            Some(start_ns) => Some(super::common::elapsed(start_ns, self.stop_ns(start_ns))),
        }
    }

    fn report(&self, outcomes: Vec<Outcome>, samples: &Samples) -> Report {
        report::report(self, outcomes, samples)
    }
}
