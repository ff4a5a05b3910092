//! One executor's part of a flow, from the first connection to the last.

use super::clients::{Clients, Intent};
use super::cuts::Cuts;
use super::sending::Sending;
use super::{Flow, Gate, Outcome};
use crate::measure::busy::{self, Stopwatch};
use crate::measure::clock::{MS, now_ns};
use crate::net::Fleet;
use crate::net::client::Phase;
use crate::run::{ROLL_NS, Shared, Totals};
use ringmq::codec::Version;
use std::io;

/// The longest turn, so that a wish to stop is noticed.
const TURN_NS: u64 = 100 * MS;
/// The longest turn where it matters what other executors have done meanwhile.
const SHARED_TURN_NS: u64 = MS;
/// After the last delivery, for copies that follow it.
const LINGER_NS: u64 = 200 * MS;
/// Buffers up to this size are kept.
const BUFFER_KEEP_BYTES: usize = 256 * 1024;

/// # Errors
/// No file descriptors for the executor itself.
pub async fn drive(flow: &Flow, shard: usize, shared: &Shared) -> Result<Outcome, String> {
    let failed = |error: io::Error| format!("an executor's epoll set failed: {error}");
    let packet_bytes_max = flow.options.payload_bytes + 64 * 1024;
    let options = flow
        .common
        .fleet_options(shard, packet_bytes_max, BUFFER_KEEP_BYTES);
    let clients = Clients::new(flow, shard);
    let count = clients.members.len() + clients.publishers.len();
    let worker = Worker {
        flow,
        shared,
        shard,
        fleet: Fleet::new(options, count).map_err(failed)?,
        cuts: Cuts::new(flow, shard, clients.members.len()),
        clients,
        rolled_ns: now_ns(),
        p99_ns: 0,
        busy: Busy::default(),
    };
    worker.run().await.map_err(failed)
}

struct Worker<'a> {
    flow: &'a Flow,
    shared: &'a Shared,
    shard: usize,
    fleet: Fleet,
    clients: Clients<'a>,
    cuts: Cuts,
    rolled_ns: u64,
    p99_ns: u64,
    busy: Busy,
}

/// How busy the thread was while it was measured.
#[derive(Default)]
struct Busy {
    began: Option<Stopwatch>,
    share: Option<busy::Busy>,
}

impl<'a> Worker<'a> {
    async fn run(mut self) -> io::Result<Outcome> {
        self.connect().await?;
        self.shared.arrive(Gate::Connected as usize);
        while self.flow.start_ns(self.shared).is_none() && !self.shared.is_stopping() {
            self.turn(None, SHARED_TURN_NS).await?;
        }
        let mut sending = None;
        if let Some(start_ns) = self.flow.start_ns(self.shared)
            && self.shared.totals().faults == 0
        {
            sending = Some(self.send_and_receive(start_ns).await?);
        }
        let cut_short = self.cut_short();
        let stats = std::mem::take(&mut self.fleet.stats);
        self.fleet.stats.up = stats.up;
        self.leave().await?;
        self.fleet.stats = stats;
        let mut outcome = self.into_outcome(sending);
        outcome.cut_short = cut_short;
        Ok(outcome)
    }

    /// Messages that were due and not sent as their publishers had lost their connections.
    fn cut_short(&self) -> u64 {
        let publishers = (0..).zip(&self.clients.publishers);
        let gone = publishers.filter(|(number, _)| {
            let client = self.clients.client(*number);
            self.fleet.clients[client as usize].phase != Phase::Ready
        });
        let unsent = gone.filter(|(_, entry)| entry.due < u64::MAX);
        unsent.map(|(_, entry)| entry.due - entry.sent).sum()
    }

    /// Leaves no sessions behind: v5 ends them with DISCONNECT, 3.x by connecting once more.
    async fn leave(&mut self) -> io::Result<()> {
        let persists = self.flow.options.session_expiry_s.is_some();
        let leave_all = |fleet: &mut Fleet| {
            (0..fleet.clients.len() as u32).for_each(|client| fleet.leave(client, persists));
        };
        leave_all(&mut self.fleet);
        if persists && self.flow.common.version != Version::V5 {
            self.clients.intent = Intent::End;
            let members = 0..self.clients.members.len() as u32;
            self.fleet.ramp = self.flow.common.ramp(self.shard, members);
            while !self.fleet.ramp.is_over() {
                self.turn(None, TURN_NS).await?;
            }
            leave_all(&mut self.fleet);
        }
        Ok(())
    }

    async fn connect(&mut self) -> io::Result<()> {
        let count = self.fleet.clients.len() as u32;
        let ramp = self.flow.common.ramp(self.shard, 0..count);
        self.fleet.begin_wave(ramp);
        while !self.fleet.ramp.is_over() {
            if self.shared.is_stopping() {
                self.fleet.ramp.give_up();
            }
            self.turn(None, TURN_NS).await?;
        }
        self.fleet.end_wave();
        Ok(())
    }

    async fn send_and_receive(&mut self, start_ns: u64) -> io::Result<Sending<'a>> {
        let mut stop_ns = self.flow.stop_ns(start_ns);
        let measure_ns = self.flow.measure_from_ns(start_ns);
        self.clients.measure_from_ns = measure_ns;
        let mut sending = Sending::new(self.flow, &mut self.clients, start_ns);
        let mut last_ns = None;
        self.clients.intent = Intent::Resume;
        self.cuts.start(start_ns);
        loop {
            let now_ns = self.fleet.now_ns;
            self.busy.look(now_ns, measure_ns, stop_ns);
            if self.shared.is_stopping() && now_ns < stop_ns {
                stop_ns = now_ns;
                sending.abandon(&mut self.clients);
                self.busy.look(now_ns, measure_ns, stop_ns);
            }
            if self.is_deserted() {
                self.busy.look(now_ns, measure_ns, now_ns);
                return Ok(sending);
            }
            if now_ns >= start_ns {
                let is_over = now_ns >= stop_ns;
                if is_over {
                    sending.end(&mut self.clients);
                }
                sending.pump(&mut self.fleet, &mut self.clients, &self.shared.totals());
                self.cuts.turn(&mut self.fleet, stop_ns);
                if is_over && self.is_done(&sending, &mut last_ns, stop_ns) {
                    return Ok(sending);
                }
            }
            let due_ns = sending.next_due_ns(&self.clients).unwrap_or(u64::MAX);
            let due_ns = due_ns.min(self.cuts.next_due_ns());
            let longest_ns = match now_ns < stop_ns && self.shared.is_single() {
                true => TURN_NS.min(stop_ns - now_ns),
                false => SHARED_TURN_NS,
            };
            self.turn(
                Some(&sending),
                longest_ns.min(due_ns.saturating_sub(now_ns)),
            )
            .await?;
        }
    }

    /// Whether nobody is connected any more, anywhere, and nobody will come back.
    fn is_deserted(&self) -> bool {
        self.fleet.stats.up == 0 && self.cuts.is_over(&self.fleet) && self.shared.totals().up == 0
    }

    /// Whether everything has come that is still to be expected, or the time for it is over.
    /// `last_ns`: since when.
    fn is_done(&self, sending: &Sending<'_>, last_ns: &mut Option<u64>, stop_ns: u64) -> bool {
        let gate = Gate::Sent as usize;
        let now_ns = self.fleet.now_ns;
        if now_ns > stop_ns + self.flow.jitter_ns() + self.flow.options.drain_ns {
            return true;
        }
        let is_sent = sending.is_exhausted() && sending.backlog == 0;
        if last_ns.is_none() && is_sent && self.clients.unsettled == 0 {
            *last_ns = Some(now_ns);
            self.shared.arrive(gate);
        }
        let totals = self.shared.totals();
        let is_open = self.shared.opened_ns(gate).is_some() && self.cuts.is_over(&self.fleet);
        if !is_open || totals.delivered < totals.expected {
            return false;
        }
        let last_ns = last_ns.get_or_insert(now_ns);
        now_ns > *last_ns + LINGER_NS
    }

    /// One turn of the fleet; then the counters are shown to others.
    async fn turn(&mut self, sending: Option<&Sending<'_>>, longest_ns: u64) -> io::Result<()> {
        let until_ns = self.fleet.now_ns.saturating_add(longest_ns);
        self.fleet.turn(&mut self.clients, until_ns).await?;
        if self.fleet.now_ns > self.rolled_ns + ROLL_NS {
            self.rolled_ns = self.fleet.now_ns;
            // Of requests and their replies what is shown is the whole way.
            let (shown, other) = match self.flow.options.has_replies {
                true => (&mut self.clients.round_trip, &mut self.clients.latency),
                false => (&mut self.clients.latency, &mut self.clients.round_trip),
            };
            self.p99_ns = self.shared.roll(self.shard, shown);
            other.roll();
        }
        let stats = &self.fleet.stats;
        let (tally, replies) = (&self.clients.tally, &self.clients.replies);
        self.shared.live(self.shard).set(Totals {
            up: stats.up,
            attempts: stats.attempts,
            faults: stats.refused_count + stats.lost_count,
            sent: sending.map_or(0, |sending| sending.sent),
            expected: sending.map_or(0, |sending| sending.expected),
            delivered: tally.delivered + replies.delivered,
            duplicated: tally.duplicated + replies.duplicated,
            reordered: tally.reordered + replies.reordered,
            backlog: sending.map_or(0, |sending| sending.backlog),
            p99_ns: self.p99_ns,
            ..Totals::default()
        });
        Ok(())
    }

    fn into_outcome(self, sending: Option<Sending<'_>>) -> Outcome {
        let clients = self.clients;
        let (unsent, stalls) = sending.as_ref().map_or((0, 0), |s| (s.backlog, s.stalls));
        let mut replies = clients.replies;
        for publisher in &clients.publishers {
            for (turn, arrived) in publisher.replies.iter().enumerate() {
                let stream = publisher.number + turn as u32 * self.flow.options.plan.publishers;
                let sent = self.flow.options.plan.sent_of(stream, publisher.sent);
                replies.lost += arrived.missing(sent);
            }
        }
        Outcome {
            shard: self.shard,
            stats: self.fleet.stats,
            tally: clients.tally,
            sent: clients.publishers.iter().map(|entry| entry.sent).collect(),
            counts: clients.counts,
            arrivals: clients.receivers,
            latency: clients.latency.into_all(),
            replies,
            round_trip: clients.round_trip.into_all(),
            cuts: self.cuts.count,
            away: self.cuts.away(),
            lag: sending.map(|sending| sending.lag).unwrap_or_default(),
            busy: self.busy.share.unwrap_or_default(),
            unsent,
            cut_short: 0,
            stalls,
        }
    }
}

impl Busy {
    fn look(&mut self, now_ns: u64, measure_ns: u64, stop_ns: u64) {
        match self.began {
            None if now_ns >= measure_ns => self.began = Some(Stopwatch::start()),
            Some(began) if now_ns >= stop_ns && self.share.is_none() => {
                self.share = Some(began.read());
            }
            _ => {}
        }
    }
}
