//! Clients that come and go: each connects, subscribes, sends itself a message, and leaves when
//! that has come. A new client takes its place.

mod lives;
mod report;

use super::Common;
use crate::measure::busy::Busy;
use crate::measure::clock::{MS, SECOND, now_ns};
use crate::measure::latency::Latency;
use crate::net::{Fleet, FleetStats, Ramp};
use crate::report::{Report, text};
use crate::run::{ROLL_NS, Samples, Scenario, Shared, Totals};
use lives::{Counts, Lives};
use ringmq::codec::QoS;
use serde::{Deserialize, Serialize};
use std::io;

/// The longest turn, so that a wish to stop is noticed.
const TURN_NS: u64 = 50 * MS;
const PACKET_BYTES_MAX: usize = 64 * 1024;

#[derive(Clone, Copy, Debug)]
pub struct ChurnOptions {
    /// Clients at a time, at most.
    pub clients: u32,
    /// Lives begun a second, over all executors; 0: whenever there is room.
    pub rate_per_s: u64,
    pub qos: QoS,
    /// Lives begin for so long.
    pub duration_ns: u64,
    /// After its message has come, a client stays so long: for copies.
    pub stay_ns: u64,
    /// For the last ones.
    pub drain_ns: u64,
}

#[derive(Debug)]
pub struct Churn {
    common: Common,
    options: ChurnOptions,
}

/// Points at which executors meet.
#[derive(Clone, Copy, Debug)]
enum Gate {
    Ready,
    Done,
}

/// What one executor found out.
#[derive(Debug, Serialize, Deserialize)]
pub struct Outcome {
    stats: FleetStats,
    counts: Counts,
    /// From the time at which a life was to begin until its message had come.
    life: Latency,
    busy: Busy,
}

impl Churn {
    pub fn new(common: Common, options: ChurnOptions) -> Churn {
        Churn { common, options }
    }

    async fn drive_lives(&self, shard: usize, shared: &Shared) -> io::Result<Outcome> {
        let common = &self.common;
        let mut lives = Lives::new(common, self.options, shard);
        let count = lives.count();
        let mut fleet = Fleet::new(common.fleet_options(shard, PACKET_BYTES_MAX, 0), count)?;
        shared.arrive(Gate::Ready as usize);
        let start_ns = self.wait_for_start(&mut fleet, &mut lives, shared).await?;
        let mut stop_ns = start_ns + self.options.duration_ns;
        fleet.begin_wave(self.ramp(shard, count));
        let mut is_over = false;
        let mut rolled_ns = start_ns;
        let mut p99_ns = 0;
        loop {
            let now_ns = fleet.now_ns;
            if shared.is_stopping() {
                stop_ns = stop_ns.min(now_ns);
            }
            // At a rate, lives that were due before the end are still begun.
            let may_wait = self.options.rate_per_s > 0 && now_ns <= stop_ns + self.options.drain_ns;
            let is_last = now_ns >= stop_ns && (fleet.ramp.is_used_up() || !may_wait);
            if (is_last || shared.is_stopping()) && !is_over {
                is_over = true;
                lives.counts.not_begun = fleet.ramp.behind(now_ns);
                fleet.ramp.give_up();
            }
            lives.end_due(&mut fleet, is_over);
            if now_ns > rolled_ns + ROLL_NS {
                rolled_ns = now_ns;
                p99_ns = shared.roll(shard, &mut lives.life);
            }
            shared.live(shard).set(lives.totals(&fleet.stats, p99_ns));
            if is_over && (lives.is_over(&fleet) || now_ns > stop_ns + self.options.drain_ns) {
                break;
            }
            let until_ns = lives.next_due_ns().min(now_ns + TURN_NS);
            fleet.turn(&mut lives, until_ns).await?;
        }
        lives.give_up(&mut fleet);
        shared.arrive(Gate::Done as usize);
        fleet.end_wave();
        Ok(Outcome {
            busy: fleet.stats.pace.busy,
            stats: fleet.stats,
            counts: lives.counts,
            life: lives.life.into_all(),
        })
    }

    /// At a rate there are as many lives as are due within the duration.
    fn ramp(&self, shard: usize, count: usize) -> Ramp {
        let rate = self.options.rate_per_s;
        let ramp = Ramp::new(0..count as u32, count, rate).in_turn(shard, self.common.shards);
        match rate {
            0 => ramp,
            _ => ramp.for_ns(self.options.duration_ns),
        }
    }

    async fn wait_for_start(
        &self,
        fleet: &mut Fleet,
        lives: &mut Lives<'_>,
        shared: &Shared,
    ) -> io::Result<u64> {
        loop {
            match shared.opened_ns(Gate::Ready as usize) {
                Some(opened_ns) => return Ok(opened_ns),
                None if shared.is_stopping() => return Ok(now_ns()),
                None => fleet.turn(lives, fleet.now_ns + MS).await?,
            }
        }
    }
}

impl Scenario for Churn {
    type Outcome = Outcome;

    async fn drive(&self, shard: usize, shared: &Shared) -> Result<Outcome, String> {
        let outcome = self.drive_lives(shard, shared).await;
        outcome.map_err(|error| format!("an executor's epoll set failed: {error}"))
    }

    /// When lives begin, and when no more do.
    fn marks(&self, shared: &Shared) -> Vec<u64> {
        match shared.opened_ns(Gate::Ready as usize) {
            Some(start_ns) => vec![start_ns, start_ns + self.options.duration_ns],
            None => Vec::new(),
        }
    }

    fn progress(&self, shared: &Shared, now: &Totals, before: &Totals) -> String {
        let opened_ns = shared.opened_ns(Gate::Ready as usize).unwrap_or(0);
        let mut line = format!(
            "{:>4} s  lived {}, {}/s  connected {}  99 % {}",
            now_ns().saturating_sub(opened_ns) / SECOND,
            text::count(now.delivered),
            text::count(now.delivered.saturating_sub(before.delivered)),
            text::count(now.up),
            text::time(now.p99_ns),
        );
        if now.faults > 0 {
            line += &format!("  failed or lost {}", text::count(now.faults));
        }
        line
    }

    fn done(&self, shared: &Shared, _now: &Totals) -> Option<f64> {
        let start_ns = shared.opened_ns(Gate::Ready as usize)?;
        Some(super::common::elapsed(
            start_ns,
            start_ns + self.options.duration_ns,
        ))
    }

    fn report(&self, outcomes: Vec<Outcome>, samples: &Samples) -> Report {
        report::report(self, outcomes, samples)
    }
}
