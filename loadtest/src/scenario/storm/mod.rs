//! Everybody is cut off and everybody comes back.

mod drive;
mod report;

use super::Common;
use super::devices::Counts;
use crate::measure::busy::Busy;
use crate::measure::latency::Latency;
use crate::measure::sequence::Tally;
use crate::net::FleetStats;
use crate::report::{Report, text};
use crate::run::{Samples, Scenario, Shared, Totals};
use ringmq::codec::QoS;
use serde::{Deserialize, Serialize};

#[derive(Clone, Copy, Debug)]
pub struct StormOptions {
    pub clients: u32,
    pub qos: QoS,
    /// Sessions outlive the connections, in v5 for so many seconds.
    pub session_expiry_s: Option<u32>,
    /// Connected, before they are cut off.
    pub hold_ns: u64,
    /// Cut off, before they come back.
    pub away_ns: u64,
    /// Messages published to each client while it is away. Only for sessions that persist.
    pub missed: u32,
    /// One that is refused tries again after this time.
    pub retry_ns: u64,
    /// All ought to be back by then.
    pub deadline_ns: u64,
    /// For the arrivals.
    pub drain_ns: u64,
}

#[derive(Debug)]
pub struct Storm {
    common: Common,
    options: StormOptions,
}

/// Points at which executors meet.
#[derive(Clone, Copy, Debug)]
enum Gate {
    Connected,
    Dropped,
    /// What they miss is published.
    Missed,
    Back,
    Received,
}

/// What one executor found out.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Outcome {
    /// Of the first connections, and of those that came back.
    first: FleetStats,
    again: FleetStats,
    /// Clients that were there when all were to be.
    connected: u64,
    /// When those that came back began; 0 if it did not come to that.
    began_ns: u64,
    back: u64,
    tally: Tally,
    counts: Counts,
    latency: Latency,
    busy: Busy,
    /// Sessions that were not ended.
    sessions_left: u64,
}

impl Storm {
    pub fn new(common: Common, options: StormOptions) -> Storm {
        Storm { common, options }
    }

    /// Messages to each client while it is away.
    fn missed(&self) -> u32 {
        match self.options.session_expiry_s {
            Some(_) if self.options.qos != QoS::AtMostOnce => self.options.missed,
            _ => 0,
        }
    }

    fn opened_ns(&self, shared: &Shared, gate: Gate) -> Option<u64> {
        shared.opened_ns(gate as usize)
    }
}

impl Scenario for Storm {
    type Outcome = Outcome;

    async fn drive(&self, shard: usize, shared: &Shared) -> Result<Outcome, String> {
        let outcome = drive::drive(self, shard, shared).await;
        outcome.map_err(|error| format!("an executor's epoll set failed: {error}"))
    }

    /// All connected; what they miss is published; all back.
    fn marks(&self, shared: &Shared) -> Vec<u64> {
        [Gate::Connected, Gate::Missed, Gate::Back]
            .into_iter()
            .map_while(|gate| self.opened_ns(shared, gate))
            .collect()
    }

    fn progress(&self, shared: &Shared, now: &Totals, before: &Totals) -> String {
        let up = text::count(now.up.saturating_sub(self.common.shards as u64));
        let all = text::count(self.options.clients.into());
        let rate = text::count(now.up.saturating_sub(before.up));
        let reached = |gate| self.opened_ns(shared, gate).is_some();
        let mut line = if reached(Gate::Received) {
            "leaving".to_owned()
        } else if reached(Gate::Back) {
            format!(
                "back {up} of {all}  delivered {}",
                text::count(now.delivered)
            )
        } else if reached(Gate::Missed) {
            format!("back {up} of {all}, {rate}/s")
        } else if reached(Gate::Dropped) {
            format!("all cut off  published {}", text::count(now.sent))
        } else if reached(Gate::Connected) {
            format!("holding {up} connections")
        } else {
            format!("connected {up} of {all}, {rate}/s")
        };
        if now.faults > 0 {
            line += &format!("  refused or lost {}", text::count(now.faults));
        }
        line
    }

    fn done(&self, shared: &Shared, now: &Totals) -> Option<f64> {
        let up = now.up.saturating_sub(self.common.shards as u64) as f64;
        match self.opened_ns(shared, Gate::Received) {
            Some(_) => None,
            None => Some(up / f64::from(self.options.clients.max(1))),
        }
    }

    fn report(&self, outcomes: Vec<Outcome>, samples: &Samples) -> Report {
        report::report(self, outcomes, samples)
    }
}
