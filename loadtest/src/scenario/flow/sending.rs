//! Which publisher sends what, and when.

use super::Flow;
use super::clients::Clients;
use super::reply;
use crate::measure::clock::SECOND;
use crate::measure::latency::Latency;
use crate::measure::schedule::Cursor;
use crate::measure::stamp::Stamp;
use crate::net::Fleet;
use crate::run::Totals;
use crate::scenario::talk::Outgoing;
use ringmq::codec::{QoS, Version};
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// A publisher with more bytes than this to write waits until they are written.
const OUTBOX_BYTES_MAX: usize = 64 * 1024;
/// Messages of one turn, so that deliveries are not left waiting.
const MESSAGES_PER_TURN: usize = 4096;

/// The sending side of one executor.
pub struct Sending<'a> {
    flow: &'a Flow,
    pace: Pace,
    pub sent: u64,
    /// Deliveries that what was sent ought to give.
    pub expected: u64,
    /// Messages that are due and not sent.
    pub backlog: u64,
    pub lag: Latency,
    pub stalls: u64,
    /// Properties of the message being sent.
    properties: Vec<u8>,
}

enum Pace {
    Rate(Due),
    Window(Window),
    Ended,
}

/// Messages that become due at their times.
struct Due {
    cursor: Cursor,
    /// Own streams in ascending order, and the publisher of each.
    streams: Vec<u32>,
    publishers: Vec<u32>,
    last_ns: u64,
    /// With jitter: messages of each stream that the cursor told of, and those that wait for
    /// their own time.
    told: Vec<u64>,
    scattered: BinaryHeap<Reverse<(u64, u32)>>,
}

/// Messages that are due whenever the window has room.
struct Window {
    /// Deliveries, over all executors.
    size: u64,
    shards: u64,
    /// Deliveries that are not waited for any more.
    written_off: u64,
    delivered: u64,
    delivered_ns: u64,
}

impl<'a> Sending<'a> {
    /// From `start_ns` on.
    pub fn new(flow: &'a Flow, clients: &mut Clients<'_>, start_ns: u64) -> Sending<'a> {
        let pace = match flow.options.rate_per_s {
            0 => Pace::Window(Window::new(flow, start_ns)),
            _ => Pace::Rate(Due::new(flow, clients, start_ns)),
        };
        if flow.options.rate_per_s == 0 {
            for publisher in 0..clients.publishers.len() as u32 {
                clients.publishers[publisher as usize].due = u64::MAX;
                clients.wake(publisher);
            }
        }
        Sending {
            flow,
            pace,
            sent: 0,
            expected: 0,
            backlog: 0,
            lag: Latency::default(),
            stalls: 0,
            properties: Vec::new(),
        }
    }

    /// Whether everything that is to be sent has become due.
    pub fn is_exhausted(&self) -> bool {
        match &self.pace {
            Pace::Rate(due) => {
                due.scattered.is_empty() && due.cursor.next_ns(&due.streams).is_none()
            }
            Pace::Window(_) | Pace::Ended => true,
        }
    }

    /// Sends what is due or has room.
    pub fn pump(&mut self, fleet: &mut Fleet, clients: &mut Clients<'_>, totals: &Totals) {
        let now_ns = fleet.now_ns;
        let mut room = match &mut self.pace {
            Pace::Rate(due) => {
                self.backlog += due.advance(clients, now_ns, &mut self.lag);
                u64::MAX
            }
            Pace::Window(window) => window.room(totals, now_ns, &mut self.stalls),
            Pace::Ended => return,
        };
        for _ in 0..MESSAGES_PER_TURN {
            if room == 0 {
                return;
            }
            let Some(publisher) = clients.ring.pop_front() else {
                return;
            };
            let fanout = self.send(publisher, fleet, clients);
            room = room.saturating_sub(u64::from(fanout).max(1));
        }
    }

    /// When [`Sending::pump`] has something to do of itself.
    pub fn next_due_ns(&self, clients: &Clients<'_>) -> Option<u64> {
        match &self.pace {
            Pace::Rate(_) if !clients.ring.is_empty() => Some(0),
            Pace::Rate(due) => {
                let scattered = due.scattered.peek().map(|Reverse((due_ns, _))| *due_ns);
                let told = due.cursor.next_ns(&due.streams);
                told.into_iter().chain(scattered).min()
            }
            Pace::Window(_) | Pace::Ended => None,
        }
    }

    /// The time is over: at a rate, what was due before is still sent.
    pub fn end(&mut self, clients: &mut Clients<'_>) {
        if let Pace::Window(_) = self.pace {
            self.abandon(clients);
        }
    }

    /// Nothing is sent any more.
    pub fn abandon(&mut self, clients: &mut Clients<'_>) {
        self.pace = Pace::Ended;
        clients.ring.clear();
        for publisher in &mut clients.publishers {
            publisher.due = publisher.sent;
            publisher.is_in_ring = false;
        }
    }

    /// Sends the publisher's next message; gives the number of its receivers.
    #[inline]
    fn send(&mut self, publisher: u32, fleet: &mut Fleet, clients: &mut Clients<'_>) -> u32 {
        let options = &self.flow.options;
        let client = clients.client(publisher);
        let entry = &mut clients.publishers[publisher as usize];
        entry.is_in_ring = false;
        let version = fleet.options.version;
        let now_ns = fleet.now_ns;
        let Some(out) = fleet.out(client) else {
            // Its connection is lost: what it had to send stays unsent.
            return 0;
        };
        if out.len() > OUTBOX_BYTES_MAX {
            // It comes back when that is written.
            return 0;
        }
        let stream = options.plan.stream_at(entry.number, entry.sent);
        let sequence = entry.sent / u64::from(options.plan.streams_of(entry.number));
        let intended_ns = match &self.pace {
            Pace::Rate(due) => due.cursor.intended_ns(stream, sequence),
            Pace::Window(_) | Pace::Ended => now_ns,
        };
        let topic = options.plan.topic_of(stream) as usize;
        let run = self.flow.common.run;
        let stamp = Stamp {
            run,
            stream,
            sequence,
            intended_ns,
        };
        let stamp = stamp.to_bytes();
        if options.has_replies && version == Version::V5 {
            reply::properties(run, entry.number, &stamp, &mut self.properties);
        }
        let message = Outgoing {
            topic: &self.flow.topics[topic],
            qos: options.qos,
            packet_id: entry.in_flight.begin(options.qos),
            retain: false,
            properties: &self.properties,
            payload: [&stamp, &self.flow.payload],
        };
        message.encode(version, out);
        entry.sent += 1;
        if let Pace::Rate(_) = self.pace {
            self.backlog -= 1;
        }
        clients.unsettled += u64::from(options.qos != QoS::AtMostOnce);
        clients.wake(publisher);
        self.sent += 1;
        // A reply is one more delivery to wait for.
        let fanout = self.flow.fanouts[topic] * (1 + u32::from(options.has_replies));
        self.expected += u64::from(fanout);
        fanout
    }
}

impl Due {
    fn new(flow: &Flow, clients: &Clients<'_>, start_ns: u64) -> Due {
        let plan = flow.options.plan;
        let shards = flow.common.shards as u32;
        let own = |publisher: u32| clients.publishers.get((publisher / shards) as usize);
        let is_own = |stream: &u32| {
            let publisher = plan.publisher_of(*stream);
            own(publisher).is_some_and(|entry| entry.number == publisher)
        };
        let streams: Vec<u32> = (0..plan.streams()).filter(is_own).collect();
        let publishers = streams
            .iter()
            .map(|s| plan.publisher_of(*s) / shards)
            .collect();
        let schedule = flow.schedule(start_ns);
        let total = schedule.count_before(flow.stop_ns(start_ns));
        let cursor = Cursor::new(schedule, plan.streams().into(), total);
        Due {
            cursor,
            told: vec![0; streams.len()],
            scattered: BinaryHeap::new(),
            streams,
            publishers,
            last_ns: 0,
        }
    }

    /// Notes what has become due by now and gives its number.
    fn advance(&mut self, clients: &mut Clients<'_>, now_ns: u64, lag: &mut Latency) -> u64 {
        let mut count = 0;
        while let Some((intended_ns, position)) = self.next(now_ns) {
            if intended_ns != self.last_ns {
                self.last_ns = intended_ns;
                lag.record(now_ns - intended_ns);
            }
            let publisher = self.publishers[position];
            clients.publishers[publisher as usize].due += 1;
            clients.wake(publisher);
            count += 1;
        }
        count
    }

    /// The next message that is due by now: when it was to be sent, and of which stream it is.
    #[inline]
    fn next(&mut self, now_ns: u64) -> Option<(u64, usize)> {
        if !self.cursor.has_jitter() {
            let intended_ns = self.cursor.next_ns(&self.streams)?;
            return (intended_ns <= now_ns).then(|| (intended_ns, self.cursor.take(&self.streams)));
        }
        while let Some(earliest_ns) = self.cursor.next_ns(&self.streams)
            && earliest_ns <= now_ns
        {
            let position = self.cursor.take(&self.streams);
            let told = &mut self.told[position];
            let intended_ns = self.cursor.intended_ns(self.streams[position], *told);
            *told += 1;
            self.scattered.push(Reverse((intended_ns, position as u32)));
        }
        let &Reverse((intended_ns, position)) = self.scattered.peek()?;
        if intended_ns > now_ns {
            return None;
        }
        self.scattered.pop();
        Some((intended_ns, position as usize))
    }
}

impl Window {
    fn new(flow: &Flow, start_ns: u64) -> Window {
        let fanout = flow.fanouts.iter().max().copied().unwrap_or(0);
        Window {
            // One message at least.
            size: flow.options.window.max(fanout.into()),
            shards: flow.common.shards as u64,
            written_off: 0,
            delivered: 0,
            delivered_ns: start_ns,
        }
    }

    /// Deliveries that may be added to those outstanding, by this executor. If nothing has come
    /// for a second, those outstanding are not waited for any more, as they are lost or late.
    fn room(&mut self, totals: &Totals, now_ns: u64, stalls: &mut u64) -> u64 {
        if totals.delivered != self.delivered {
            self.delivered = totals.delivered;
            self.delivered_ns = now_ns;
        }
        let outstanding = totals
            .expected
            .saturating_sub(totals.delivered + self.written_off);
        if outstanding >= self.size && now_ns > self.delivered_ns + SECOND {
            self.written_off += outstanding;
            self.delivered_ns = now_ns;
            *stalls += 1;
            return self.size / self.shards;
        }
        self.size.saturating_sub(outstanding) / self.shards
    }
}
