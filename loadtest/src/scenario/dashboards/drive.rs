//! One executor's part: store, show, clear.

use super::people::People;
use super::{Dashboards, Gate, Outcome};
use crate::measure::busy::Stopwatch;
use crate::measure::clock::{MS, SECOND, now_ns};
use crate::net::Fleet;
use crate::run::{ROLL_NS, Shared, Totals};
use std::io;

/// The longest turn, so that a wish to stop is noticed.
const TURN_NS: u64 = 20 * MS;
/// After the last delivery, for copies that follow it.
const LINGER_NS: u64 = 200 * MS;
const BUFFER_KEEP_BYTES: usize = 64 * 1024;

/// # Errors
/// The epoll set does not work.
pub async fn drive(all: &Dashboards, shard: usize, shared: &Shared) -> io::Result<Outcome> {
    let packet_bytes_max = all.options.payload_bytes + 64 * 1024;
    let options = all
        .common
        .fleet_options(shard, packet_bytes_max, BUFFER_KEEP_BYTES);
    let people = People::new(all, shard);
    let mut worker = Worker {
        fleet: Fleet::new(options, people.count() as usize + 1)?,
        people,
        shared,
        shard,
        rolled_ns: now_ns(),
        p99_ns: 0,
    };
    let began = Stopwatch::start();
    worker.store(all).await?;
    worker.meet(Gate::Stored).await?;
    let ramp = all.common.ramp(shard, 0..worker.people.count());
    worker.fleet.begin_wave(ramp);
    worker.fill(all.options.drain_ns).await?;
    worker.people.counts.lost = worker.people.missing();
    worker.meet(Gate::Filled).await?;
    let busy = began.read();
    worker.leave();
    // Whoever is still there would get what is cleared, too.
    worker.meet(Gate::Left).await?;
    worker.clear(all.options.drain_ns).await?;
    worker.meet(Gate::Cleared).await?;
    let people = worker.people;
    Ok(Outcome {
        stats: worker.fleet.stats,
        counts: people.counts,
        message: people.message.into_all(),
        filled: people.filled.into_all(),
        busy,
    })
}

struct Worker<'a> {
    people: People<'a>,
    fleet: Fleet,
    shared: &'a Shared,
    shard: usize,
    rolled_ns: u64,
    p99_ns: u64,
}

impl Worker<'_> {
    async fn store(&mut self, all: &Dashboards) -> io::Result<()> {
        let storing = self.people.count();
        self.fleet.ramp = all.common.ramp(self.shard, storing..storing + 1);
        self.publish(false, u64::MAX).await
    }

    fn leave(&mut self) {
        for client in 0..self.people.count() {
            self.fleet.leave(client, false);
        }
    }

    /// Takes everything back that was stored.
    async fn clear(&mut self, within_ns: u64) -> io::Result<()> {
        self.people.has_ended = true;
        self.people.rewind();
        self.publish(true, self.fleet.now_ns + within_ns).await?;
        self.fleet.leave(self.people.count(), false);
        Ok(())
    }

    /// Until the broker has taken over everything, the storing client is lost, or the time is out.
    async fn publish(&mut self, is_clearing: bool, until_ns: u64) -> io::Result<()> {
        loop {
            self.people.pump(&mut self.fleet, is_clearing);
            let is_stopping = self.shared.is_stopping() && !is_clearing;
            let is_gone = self.fleet.ramp.is_over() && self.fleet.stats.up == 0;
            let is_late = self.fleet.now_ns > until_ns;
            if self.people.is_published() || is_gone || is_stopping || is_late {
                return Ok(());
            }
            self.turn(TURN_NS).await?;
        }
    }

    /// Until everybody is connected and has everything, or the time is out.
    async fn fill(&mut self, within_ns: u64) -> io::Result<()> {
        let mut last = (0, self.fleet.now_ns);
        loop {
            if self.shared.is_stopping() {
                self.fleet.ramp.give_up();
            }
            if self.fleet.ramp.is_over() {
                self.fleet.end_wave();
            }
            let now_ns = self.fleet.now_ns;
            let delivered = self.people.counts.delivered;
            if delivered > last.0 || !self.fleet.ramp.is_over() {
                last = (delivered, now_ns);
            }
            let wait_ns = match self.people.missing() {
                0 => LINGER_NS,
                _ if self.shared.is_stopping() => 2 * SECOND.min(within_ns),
                _ => within_ns,
            };
            if self.fleet.ramp.is_over() && now_ns > last.1 + wait_ns {
                return Ok(());
            }
            self.turn(TURN_NS).await?;
        }
    }

    async fn meet(&mut self, gate: Gate) -> io::Result<()> {
        self.shared.arrive(gate as usize);
        while self.shared.opened_ns(gate as usize).is_none() && !self.shared.is_stopping() {
            self.turn(MS).await?;
        }
        Ok(())
    }

    async fn turn(&mut self, longest_ns: u64) -> io::Result<()> {
        let until_ns = self.fleet.now_ns + longest_ns;
        self.fleet.turn(&mut self.people, until_ns).await?;
        if self.fleet.now_ns > self.rolled_ns + ROLL_NS {
            self.rolled_ns = self.fleet.now_ns;
            self.p99_ns = self.shared.roll(self.shard, &mut self.people.message);
            self.people.filled.roll();
        }
        let stats = &self.fleet.stats;
        let counts = &self.people.counts;
        self.shared.live(self.shard).set(Totals {
            up: stats.up,
            attempts: stats.attempts,
            faults: stats.refused_count + stats.lost_count,
            sent: counts.published,
            expected: self.people.expected,
            delivered: counts.delivered,
            duplicated: counts.duplicated,
            p99_ns: self.p99_ns,
            ..Totals::default()
        });
        Ok(())
    }
}
