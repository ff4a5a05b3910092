//! The devices of one executor on their connections.

use super::{DeviceOptions, Devices};
use crate::measure::busy::{Busy, Stopwatch};
use crate::measure::clock::{MS, SECOND, now_ns};
use crate::net::client::Phase;
use crate::net::{Fleet, FleetStats, Ramp};
use crate::run::{ROLL_NS, Shared, Totals};
use crate::scenario::Common;
use std::io;

/// The longest turn, so that a wish to stop is noticed.
const TURN_NS: u64 = 50 * MS;
/// The longest turn while others are waited for.
const SHARED_TURN_NS: u64 = MS;
/// Idle connections keep no buffer.
const BUFFER_KEEP_BYTES: usize = 0;
const PACKET_BYTES_MAX: usize = 64 * 1024;
/// For what is on its way when the run is to end early.
const STOPPING_DRAIN_NS: u64 = 2 * SECOND;
/// Connections closed between two turns.
const BREATH: u32 = 1000;
/// After the last delivery, for copies that follow it.
const LINGER_NS: u64 = 200 * MS;

/// Devices, their connections, and what others see of them.
pub struct Crowd<'a> {
    pub devices: Devices<'a>,
    pub fleet: Fleet,
    /// Failures of earlier waves, which `fleet.stats` has no more.
    faults_before: u64,
    shared: &'a Shared,
    shard: usize,
    rolled_ns: u64,
    p99_ns: u64,
    began: Stopwatch,
}

impl<'a> Crowd<'a> {
    /// The share of one executor of `total` devices.
    ///
    /// # Errors
    /// No file descriptors for the executor itself.
    pub fn new(
        common: &'a Common,
        options: DeviceOptions,
        total: u32,
        (shard, shared): (usize, &'a Shared),
    ) -> io::Result<Crowd<'a>> {
        let fleet_options = common.fleet_options(shard, PACKET_BYTES_MAX, BUFFER_KEEP_BYTES);
        let devices = Devices::new(common, options, shard, common.share(total, shard));
        Ok(Crowd {
            fleet: Fleet::new(fleet_options, devices.count() as usize + 1)?,
            devices,
            faults_before: 0,
            shared,
            shard,
            rolled_ns: now_ns(),
            p99_ns: 0,
            began: Stopwatch::start(),
        })
    }

    /// Connects in a wave; devices are connected after the client that publishes.
    ///
    /// # Errors
    /// The epoll set does not work.
    pub async fn connect(&mut self, ramp: Ramp) -> io::Result<()> {
        self.fleet.begin_wave(ramp);
        while !self.fleet.ramp.is_over() {
            if self.shared.is_stopping() {
                self.fleet.ramp.give_up();
            }
            self.turn(TURN_NS).await?;
        }
        self.fleet.end_wave();
        Ok(())
    }

    /// Says that this executor has come so far and waits for the others, and then for another
    /// `more_ns`. Connections are kept alive meanwhile.
    ///
    /// # Errors
    /// As [`Crowd::connect`].
    pub async fn meet(&mut self, gate: usize, more_ns: u64) -> io::Result<()> {
        self.shared.arrive(gate);
        while !self.shared.is_stopping() {
            let now_ns = self.fleet.now_ns;
            match self.shared.opened_ns(gate) {
                None => self.turn(SHARED_TURN_NS).await?,
                // If everybody is lost there is nothing to wait for.
                Some(_) if more_ns > 0 && self.shared.totals().up == 0 => return Ok(()),
                Some(opened_ns) if now_ns < opened_ns + more_ns => {
                    self.turn(TURN_NS.min(opened_ns + more_ns - now_ns)).await?;
                }
                Some(_) => return Ok(()),
            }
        }
        Ok(())
    }

    /// A message is due, now, to each of these.
    pub fn enqueue(&mut self, devices: impl Iterator<Item = u32>) {
        let due_ns = now_ns();
        devices.for_each(|device| self.devices.enqueue(device, due_ns));
    }

    /// Publishes what is queued, until the broker has taken it over or the time is out.
    ///
    /// # Errors
    /// As [`Crowd::connect`].
    pub async fn publish(&mut self, within_ns: u64) -> io::Result<()> {
        let until_ns = self.fleet.now_ns + within_ns;
        loop {
            self.devices.pump(&mut self.fleet);
            let is_over = self.fleet.now_ns > until_ns || self.shared.is_stopping();
            let controller = &self.fleet.clients[self.devices.controller() as usize];
            if self.devices.is_published() || is_over || controller.phase != Phase::Ready {
                return Ok(());
            }
            self.turn(TURN_NS).await?;
        }
    }

    /// Waits until everything has come to the devices that are up, or the time is out, which is
    /// short if the run is to end.
    ///
    /// # Errors
    /// As [`Crowd::connect`].
    pub async fn receive(&mut self, within_ns: u64) -> io::Result<()> {
        let began_ns = self.fleet.now_ns;
        let goal = self.devices.tally.delivered + self.devices.missing(self.up());
        let mut last_ns = None;
        loop {
            let within_ns = match self.shared.is_stopping() {
                true => within_ns.min(STOPPING_DRAIN_NS),
                false => within_ns,
            };
            if self.fleet.now_ns >= began_ns + within_ns {
                return Ok(());
            }
            if self.devices.tally.delivered >= goal {
                let last_ns = *last_ns.get_or_insert(self.fleet.now_ns);
                if self.fleet.now_ns > last_ns + LINGER_NS {
                    return Ok(());
                }
            }
            self.turn(TURN_NS).await?;
        }
    }

    /// Closes every device's connection without a word, as a network that fails.
    ///
    /// # Errors
    /// As [`Crowd::connect`].
    pub async fn cut_off(&mut self) -> io::Result<()> {
        for device in 0..self.devices.count() {
            self.fleet.drop_connection(device);
            self.breathe(device).await?;
        }
        Ok(())
    }

    /// Everybody says DISCONNECT; with `ends_sessions` their sessions end with it (v5).
    ///
    /// # Errors
    /// As [`Crowd::connect`].
    pub async fn leave_all(&mut self, ends_sessions: bool) -> io::Result<()> {
        for client in self.clients() {
            self.fleet.leave(client, ends_sessions);
            self.breathe(client).await?;
        }
        Ok(())
    }

    /// What happened to the connections so far. Those that are up stay counted as such.
    pub fn take_stats(&mut self) -> FleetStats {
        let stats = std::mem::take(&mut self.fleet.stats);
        self.fleet.stats.up = stats.up;
        self.faults_before += stats.refused_count + stats.lost_count;
        stats
    }

    /// Closing very many takes long: what comes meanwhile is read, and progress is shown.
    async fn breathe(&mut self, client: u32) -> io::Result<()> {
        match client % BREATH {
            0 => self.turn(0).await,
            _ => Ok(()),
        }
    }

    /// Devices that are connected.
    pub fn up(&self) -> impl Iterator<Item = u32> + use<'_> {
        let is_up = |device: &u32| self.fleet.clients[*device as usize].phase == Phase::Ready;
        (0..self.devices.count()).filter(is_up)
    }

    /// All clients, the one that publishes first.
    pub fn clients(&self) -> impl Iterator<Item = u32> + use<> {
        let count = self.devices.count();
        std::iter::once(count).chain(0..count)
    }

    /// How busy this thread was since the beginning.
    pub fn busy(&self) -> Busy {
        self.began.read()
    }

    async fn turn(&mut self, longest_ns: u64) -> io::Result<()> {
        let until_ns = self.fleet.now_ns + longest_ns;
        self.fleet.turn(&mut self.devices, until_ns).await?;
        if self.fleet.now_ns > self.rolled_ns + ROLL_NS {
            self.rolled_ns = self.fleet.now_ns;
            self.p99_ns = self.shared.roll(self.shard, &mut self.devices.latency);
        }
        let stats = &self.fleet.stats;
        let tally = &self.devices.tally;
        self.shared.live(self.shard).set(Totals {
            up: stats.up,
            attempts: stats.attempts,
            faults: self.faults_before + stats.refused_count + stats.lost_count,
            sent: self.devices.counts.published,
            expected: self.devices.counts.published,
            delivered: tally.delivered,
            duplicated: tally.duplicated,
            reordered: tally.reordered,
            p99_ns: self.p99_ns,
            ..Totals::default()
        });
        Ok(())
    }
}
