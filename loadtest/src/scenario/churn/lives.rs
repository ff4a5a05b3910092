//! The lives of one executor's clients.

use super::ChurnOptions;
use crate::measure::clock::MS;
use crate::measure::latency::Windowed;
use crate::measure::stamp::Stamp;
use crate::net::client::Phase;
use crate::net::fleet::{Arrived, Handler};
use crate::net::{Fault, Fleet, FleetStats};
use crate::run::Totals;
use crate::scenario::Common;
use crate::scenario::common::Introduction;
use crate::scenario::inflight::{InFlight, Settled};
use crate::scenario::talk::{self, Heard, Outgoing, Unreleased};
use ringmq::codec::frame::Frame;
use ringmq::codec::{Ack, ConnAck, Publish, QoS};
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;

/// Without a rate: from a life that failed to the next.
const PAUSE_NS: u64 = 100 * MS;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Lives begun, as far as a message was sent.
    pub published: u64,
    /// Lives whose message came.
    pub lived: u64,
    /// Messages that did not come.
    pub lost: u64,
    pub duplicated: u64,
    pub astray: u64,
    pub rejected: u64,
    /// Later than what was said to be late.
    pub late: u64,
    /// At a rate: lives that were due and had no client free.
    pub not_begun: u64,
}

pub struct Lives<'a> {
    common: &'a Common,
    options: ChurnOptions,
    shard: usize,
    lives: Vec<Life>,
    /// Lives begun by this executor.
    begun: u64,
    /// Clients that leave, and when.
    ending: VecDeque<(u64, u32)>,
    /// Clients that failed, and when another life takes their place.
    pausing: VecDeque<(u64, u32)>,
    now_ns: u64,
    pub life: Windowed,
    pub counts: Counts,
}

#[derive(Debug, Default)]
struct Life {
    /// Which of this executor's lives it is.
    number: u64,
    began_ns: u64,
    has_published: bool,
    has_received: bool,
    /// The broker has acknowledged its message, and released the one that it got: at QoS 0 there
    /// is nothing of it, at QoS 1 the first only.
    is_settled: bool,
    is_released: bool,
    is_leaving: bool,
    in_flight: InFlight,
    unreleased: Unreleased,
}

impl Counts {
    pub fn merge(&mut self, other: &Counts) {
        self.published += other.published;
        self.lived += other.lived;
        self.lost += other.lost;
        self.duplicated += other.duplicated;
        self.astray += other.astray;
        self.rejected += other.rejected;
        self.late += other.late;
        self.not_begun += other.not_begun;
    }
}

impl<'a> Lives<'a> {
    pub fn new(common: &'a Common, options: ChurnOptions, shard: usize) -> Lives<'a> {
        let mut lives = Vec::new();
        lives.resize_with(common.share(options.clients, shard) as usize, Life::default);
        Lives {
            common,
            options,
            shard,
            lives,
            begun: 0,
            ending: VecDeque::new(),
            pausing: VecDeque::new(),
            now_ns: 0,
            life: Windowed::default(),
            counts: Counts::default(),
        }
    }

    pub fn count(&self) -> usize {
        self.lives.len()
    }

    /// Ends the lives whose time has come, and begins others in their place unless it `is_over`.
    pub fn end_due(&mut self, fleet: &mut Fleet, is_over: bool) {
        self.now_ns = fleet.now_ns;
        while let Some(&(due_ns, client)) = self.pausing.front()
            && (due_ns <= fleet.now_ns || is_over)
        {
            self.pausing.pop_front();
            if !is_over {
                fleet.ramp.add(client);
            }
        }
        while let Some(&(due_ns, client)) = self.ending.front()
            && due_ns <= fleet.now_ns
        {
            self.ending.pop_front();
            fleet.leave(client, false);
            if !is_over {
                fleet.ramp.add(client);
            }
        }
    }

    pub fn next_due_ns(&self) -> u64 {
        let next = self.ending.front().into_iter().chain(self.pausing.front());
        next.map(|(due_ns, _)| *due_ns).min().unwrap_or(u64::MAX)
    }

    /// Everybody has left.
    pub fn is_over(&self, fleet: &Fleet) -> bool {
        self.ending.is_empty()
            && self.pausing.is_empty()
            && fleet.ramp.is_over()
            && fleet.stats.up == 0
    }

    /// Counts those whose message has not come as lost.
    pub fn give_up(&mut self, fleet: &mut Fleet) {
        for client in 0..self.lives.len() as u32 {
            if fleet.clients[client as usize].phase == Phase::Ready {
                self.forget(client);
                fleet.leave(client, false);
            }
        }
    }

    pub fn totals(&self, stats: &FleetStats, p99_ns: u64) -> Totals {
        Totals {
            up: stats.up,
            attempts: stats.attempts,
            faults: stats.refused_count + stats.lost_count,
            sent: self.counts.published,
            expected: self.counts.published,
            delivered: self.counts.lived,
            duplicated: self.counts.duplicated,
            p99_ns,
            ..Totals::default()
        }
    }

    /// A life is over; its message may not have come.
    fn forget(&mut self, client: u32) {
        let life = &mut self.lives[client as usize];
        if life.has_published && !life.has_received {
            self.counts.lost += 1;
        }
        *life = Life::default();
    }

    fn number(&self, client: u32) -> u32 {
        self.shard as u32 + client * self.common.shards as u32
    }

    fn topic(&self, client: u32) -> String {
        format!("load/{:08x}/l/{}", self.common.run, self.number(client))
    }

    fn count_arrival(&mut self, arrival: Arrived, publish: &Publish<'_>) {
        let number = self.number(arrival.client);
        let life = &mut self.lives[arrival.client as usize];
        let is_own = Stamp::of(publish.payload).is_some_and(|stamp| {
            stamp.run == self.common.run && stamp.stream == number && stamp.sequence == life.number
        });
        if !is_own {
            self.counts.astray += 1;
        } else if life.has_received {
            self.counts.duplicated += 1;
        } else {
            life.has_received = true;
            self.counts.lived += 1;
            let took_ns = arrival.at_ns.saturating_sub(life.began_ns);
            self.life.record(took_ns);
            self.counts.late += u64::from(took_ns > self.common.late_ns);
        }
    }

    fn leave_if_done(&mut self, arrival: Arrived) {
        let life = &mut self.lives[arrival.client as usize];
        if life.has_received && life.is_settled && life.is_released && !life.is_leaving {
            life.is_leaving = true;
            let due_ns = arrival.at_ns + self.options.stay_ns;
            self.ending.push_back((due_ns, arrival.client));
        }
    }

    fn acknowledge(
        &mut self,
        arrival: Arrived,
        ack: &Ack<'_>,
        out: &mut Vec<u8>,
    ) -> Result<(), Fault> {
        let life = &mut self.lives[arrival.client as usize];
        match life.in_flight.settle(ack, self.common.version, out)? {
            Settled::NotYet => return Ok(()),
            Settled::Accepted => {}
            Settled::Rejected => self.counts.rejected += 1,
        }
        life.is_settled = true;
        Ok(())
    }
}

impl Handler for Lives<'_> {
    fn connect(&mut self, client: u32, out: &mut Vec<u8>) {
        self.forget(client);
        self.begun += 1;
        let qos = self.options.qos;
        self.lives[client as usize] = Life {
            number: self.begun,
            is_settled: qos == QoS::AtMostOnce,
            is_released: qos != QoS::ExactlyOnce,
            in_flight: InFlight::new(1),
            ..Life::default()
        };
        let number = self.number(client);
        let run = self.common.run;
        let introduction = Introduction {
            client_id: &format!("load-{run:08x}-l{number}-{}", self.begun),
            number,
            clean_start: true,
            session_expiry_s: None,
        };
        self.common.connect(introduction, out);
    }

    fn greeted(&mut self, client: u32, _ack: &ConnAck<'_>, out: &mut Vec<u8>) -> u16 {
        let topic = self.topic(client);
        talk::subscribe(&topic, self.options.qos, self.common.version, out);
        1
    }

    fn ready(&mut self, client: u32, began_ns: u64, out: &mut Vec<u8>) {
        let (topic, number) = (self.topic(client), self.number(client));
        let life = &mut self.lives[client as usize];
        life.began_ns = began_ns;
        life.has_published = true;
        self.counts.published += 1;
        let stamp = Stamp {
            run: self.common.run,
            stream: number,
            sequence: life.number,
            intended_ns: began_ns,
        };
        let message = Outgoing {
            topic: &topic,
            qos: self.options.qos,
            packet_id: life.in_flight.begin(self.options.qos),
            payload: [&stamp.to_bytes(), &[]],
            ..Outgoing::default()
        };
        message.encode(self.common.version, out);
    }

    fn packet(
        &mut self,
        arrival: Arrived,
        frame: Frame<'_>,
        out: &mut Vec<u8>,
    ) -> Result<(), Fault> {
        let life = &mut self.lives[arrival.client as usize];
        match talk::hear(frame, self.common.version, &mut life.unreleased, out)? {
            Heard::Message(publish) => self.count_arrival(arrival, &publish),
            Heard::Repeated => self.counts.duplicated += 1,
            Heard::Released => life.is_released = true,
            Heard::Ack(ack) => self.acknowledge(arrival, &ack, out)?,
        }
        self.leave_if_done(arrival);
        Ok(())
    }

    /// Another life takes its place: at a rate when one is due, and else after a moment, as where
    /// nobody answers the next attempt would fail at once, too.
    fn failed(&mut self, client: u32) {
        self.forget(client);
        let pause_ns = match self.options.rate_per_s {
            0 => PAUSE_NS,
            _ => 0,
        };
        self.pausing.push_back((self.now_ns + pause_ns, client));
    }

    fn lost(&mut self, client: u32) {
        if !self.lives[client as usize].is_leaving {
            self.failed(client);
        }
    }
}
