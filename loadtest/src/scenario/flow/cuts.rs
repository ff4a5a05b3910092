//! Subscribers that are cut off without a word and come back to their sessions, one after the
//! other at a rate.

use super::Flow;
use crate::measure::clock::SECOND;
use crate::net::Fleet;
use crate::net::client::Phase;
use std::collections::VecDeque;

#[derive(Debug)]
pub struct Cuts {
    /// Between two cuts of this executor; 0: there are none.
    interval_ns: u64,
    away_ns: u64,
    members: u32,
    next: u32,
    next_ns: u64,
    /// Those that are away, and when they come back.
    returns: VecDeque<(u64, u32)>,
    pub count: u64,
    /// Those that were not back when the executor was done.
    left: u64,
}

impl Cuts {
    pub fn new(flow: &Flow, shard: usize, members: usize) -> Cuts {
        let shards = flow.common.shards as f64;
        let interval_ns = match flow.options.cuts_per_s {
            rate if rate > 0.0 && members > 0 => shards / rate * SECOND as f64,
            _ => 0.0,
        };
        Cuts {
            interval_ns: interval_ns as u64,
            away_ns: flow.options.away_ns,
            members: members as u32,
            next: 0,
            // Executors take turns.
            next_ns: (interval_ns * (shard as f64 + 1.0) / shards) as u64,
            returns: VecDeque::new(),
            count: 0,
            left: 0,
        }
    }

    pub fn start(&mut self, start_ns: u64) {
        self.next_ns += start_ns;
    }

    /// Cuts off whose time has come, if that is before `stop_ns`, and lets those back whose time
    /// has.
    pub fn turn(&mut self, fleet: &mut Fleet, stop_ns: u64) {
        let now_ns = fleet.now_ns;
        while self.interval_ns > 0 && self.next_ns <= now_ns && self.next_ns < stop_ns {
            self.next_ns += self.interval_ns;
            let client = self.next;
            self.next = (self.next + 1) % self.members;
            // One that is still away is left alone.
            if fleet.clients[client as usize].phase == Phase::Ready {
                fleet.drop_connection(client);
                self.count += 1;
                self.returns.push_back((now_ns + self.away_ns, client));
            }
        }
        if now_ns >= stop_ns {
            self.interval_ns = 0;
        }
        while let Some(&(due_ns, client)) = self.returns.front()
            && due_ns <= now_ns
        {
            self.returns.pop_front();
            fleet.ramp.add(client);
        }
        self.left = fleet.ramp.left() + self.returns.len() as u64;
    }

    pub fn next_due_ns(&self) -> u64 {
        let back_ns = self.returns.front().map_or(u64::MAX, |(due_ns, _)| *due_ns);
        match self.interval_ns {
            0 => back_ns,
            _ => back_ns.min(self.next_ns),
        }
    }

    /// Nobody is away.
    pub fn is_over(&self, fleet: &Fleet) -> bool {
        self.returns.is_empty() && fleet.ramp.is_over()
    }

    pub fn away(&self) -> u64 {
        self.left
    }
}
