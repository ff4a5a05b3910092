//! What the publishers and subscribers of one executor say and hear.

use super::Flow;
use super::member::{Member, group_filter};
use super::reply;
use crate::measure::latency::Windowed;
use crate::measure::sequence::{Arrival, Sequence, Tally};
use crate::measure::stamp::Stamp;
use crate::net::Fault;
use crate::net::fleet::{Arrived, Handler};
use crate::scenario::common::Introduction;
use crate::scenario::inflight::{InFlight, Settled};
use crate::scenario::talk::{self, Heard, Unreleased};
use ringmq::codec::frame::Frame;
use ringmq::codec::{Ack, ConnAck, Publish, QoS, Subscribe, SubscribeOptions};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::collections::VecDeque;

/// Filters of one SUBSCRIBE.
const FILTERS_PER_PACKET: usize = 100;

/// The clients of one executor: first its subscribers, then its publishers.
pub struct Clients<'a> {
    pub flow: &'a Flow,
    /// What came, for each receiver of this executor.
    pub receivers: Vec<Box<[Sequence]>>,
    pub members: Vec<Member>,
    pub publishers: Vec<Publisher>,
    /// Publishers that have something to send and may.
    pub ring: VecDeque<u32>,
    /// Messages that wait for an acknowledgement.
    pub unsettled: u64,
    pub tally: Tally,
    pub replies: Tally,
    pub latency: Windowed,
    /// From a request's intended time to its reply.
    pub round_trip: Windowed,
    /// Messages intended before this time are not part of the latency.
    pub measure_from_ns: u64,
    pub counts: Counts,
    pub intent: Intent,
}

/// What subscribers connect for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Intent {
    Begin,
    /// Again, to a session that is still there.
    Resume,
    /// Only to end a session.
    End,
}

/// A publisher. Which message goes to which of its streams follows from its number.
#[derive(Debug)]
pub struct Publisher {
    /// Its number over all executors.
    pub number: u32,
    /// Messages that were to be sent by now.
    pub due: u64,
    pub sent: u64,
    pub in_flight: InFlight,
    unreleased: Unreleased,
    pub is_in_ring: bool,
    /// Replies that came, for each of its streams in turn; empty if there are none to come.
    pub replies: Box<[Sequence]>,
}

/// Rare things.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// The broker did not want them (v5).
    pub rejected: u64,
    /// Deliveries to one who had not subscribed, or that were changed on the way.
    pub astray: u64,
    /// Messages of others.
    pub foreign: u64,
    /// Deliveries and replies later than what was said to be late.
    pub late: u64,
    pub replies_late: u64,
    /// QoS 2: sent again because the broker did not see the answer, and known as such.
    pub repeated: u64,
    pub sessions_resumed: u64,
    pub sessions_missing: u64,
}

impl Counts {
    pub fn merge(&mut self, other: &Counts) {
        self.rejected += other.rejected;
        self.astray += other.astray;
        self.foreign += other.foreign;
        self.late += other.late;
        self.replies_late += other.replies_late;
        self.repeated += other.repeated;
        self.sessions_resumed += other.sessions_resumed;
        self.sessions_missing += other.sessions_missing;
    }
}

impl<'a> Clients<'a> {
    pub fn new(flow: &'a Flow, shard: usize) -> Clients<'a> {
        let plan = &flow.options.plan;
        let (first, step) = (shard as u32, flow.common.shards);
        let own = |count: u32| (first..count).step_by(step);
        let arrivals = |receiver| {
            let positions = plan.positions(receiver);
            (0..positions).map(|_| Sequence::default()).collect()
        };
        let members = own(plan.receivers())
            .zip(0..)
            .flat_map(|(receiver, own)| plan.members_of(receiver).map(move |number| (number, own)));
        let members = members.map(|(number, own)| Member::new(flow, number, own));
        Clients {
            receivers: own(plan.receivers()).map(arrivals).collect(),
            members: members.collect(),
            publishers: own(plan.publishers)
                .map(|number| Publisher::new(flow, number))
                .collect(),
            ring: VecDeque::new(),
            unsettled: 0,
            tally: Tally::default(),
            replies: Tally::default(),
            latency: Windowed::default(),
            round_trip: Windowed::default(),
            measure_from_ns: u64::MAX,
            counts: Counts::default(),
            intent: Intent::Begin,
            flow,
        }
    }

    /// The client of a publisher.
    pub fn client(&self, publisher: u32) -> u32 {
        self.members.len() as u32 + publisher
    }

    /// Puts a publisher on the list of those that send, if it has something and may.
    #[inline]
    pub fn wake(&mut self, publisher: u32) {
        let entry = &mut self.publishers[publisher as usize];
        if !entry.is_in_ring && entry.due > entry.sent && entry.may_send(self.flow.options.qos) {
            entry.is_in_ring = true;
            self.ring.push_back(publisher);
        }
    }

    /// The publisher of a client, or its subscriber.
    #[inline]
    fn role(&self, client: u32) -> Result<u32, u32> {
        client.checked_sub(self.members.len() as u32).ok_or(client)
    }

    #[inline]
    fn count(&mut self, arrival: Arrived, publish: &Publish<'_>, stamp: Stamp, out: &mut Vec<u8>) {
        let flow = self.flow;
        let plan = &flow.options.plan;
        let member = &mut self.members[arrival.client as usize];
        let place = plan.position(member.receiver(plan), stamp.stream);
        let place = place.filter(|_| {
            let topic = &flow.topics[plan.topic_of(stamp.stream) as usize];
            **topic == *publish.topic && publish.payload.len() == flow.options.payload_bytes
        });
        let Some(place) = place else {
            self.counts.astray += 1;
            return;
        };
        let receiver = &mut self.receivers[member.own_receiver as usize];
        let came = receiver[place].arrive(stamp.sequence);
        let came = member.in_its_order(place, stamp.sequence, came);
        self.tally.count_as(came, publish.dup);
        if stamp.intended_ns >= self.measure_from_ns {
            let took_ns = arrival.at_ns.saturating_sub(stamp.intended_ns);
            self.latency.record(took_ns);
            self.counts.late += u64::from(took_ns > flow.common.late_ns);
        }
        if flow.options.has_replies && came != Arrival::Duplicate {
            let member = &mut self.members[arrival.client as usize];
            if !reply::answer(flow, member, publish, out) {
                self.counts.astray += 1;
            }
        }
    }

    fn count_reply(
        &mut self,
        publisher: u32,
        arrival: Arrived,
        publish: &Publish<'_>,
        stamp: Stamp,
    ) {
        let entry = &mut self.publishers[publisher as usize];
        let plan = &self.flow.options.plan;
        let is_own = stamp.stream < plan.streams()
            && plan.publisher_of(stamp.stream) == entry.number
            && reply::is_genuine(self.flow, publish);
        let turn = (stamp.stream / plan.publishers) as usize;
        let Some(replies) = entry.replies.get_mut(turn).filter(|_| is_own) else {
            self.counts.astray += 1;
            return;
        };
        self.replies.count(replies.arrive(stamp.sequence));
        if stamp.intended_ns >= self.measure_from_ns {
            let took_ns = arrival.at_ns.saturating_sub(stamp.intended_ns);
            self.round_trip.record(took_ns);
            self.counts.replies_late += u64::from(took_ns > self.flow.common.late_ns);
        }
    }

    fn settle(&mut self, arrival: Arrived, ack: &Ack<'_>, out: &mut Vec<u8>) -> Result<(), Fault> {
        let version = self.flow.common.version;
        let publisher = match self.role(arrival.client) {
            Ok(publisher) => publisher,
            Err(member) => {
                let member = &mut self.members[member as usize];
                if reply::settle(self.flow, member, ack, out)? == Settled::Rejected {
                    self.counts.rejected += 1;
                }
                return Ok(());
            }
        };
        let in_flight = &mut self.publishers[publisher as usize].in_flight;
        match in_flight.settle(ack, version, out)? {
            Settled::NotYet => return Ok(()),
            Settled::Accepted => {}
            Settled::Rejected => self.counts.rejected += 1,
        }
        self.unsettled -= 1;
        self.wake(publisher);
        Ok(())
    }

    /// The filters of a subscriber.
    fn filters(&self, member: u32) -> Vec<Cow<'a, str>> {
        let plan = &self.flow.options.plan;
        let receiver = self.members[member as usize].receiver(plan);
        let topics: Vec<Cow<'a, str>> = match plan.is_wildcard {
            true => vec![Cow::Borrowed(&self.flow.wildcard)],
            false => plan
                .topics_of(receiver)
                .map(|topic| Cow::Borrowed(&*self.flow.topics[topic as usize]))
                .collect(),
        };
        match plan.groups {
            0 => topics,
            _ => topics
                .iter()
                .map(|topic| Cow::Owned(group_filter(receiver, topic)))
                .collect(),
        }
    }

    fn subscribe(&self, filters: &[Cow<'_, str>], out: &mut Vec<u8>) -> u16 {
        let options = SubscribeOptions::with_qos(self.flow.options.qos);
        let filters: Vec<_> = filters.iter().map(|filter| (&**filter, options)).collect();
        let packets = filters.chunks(FILTERS_PER_PACKET);
        for (chunk, packet_id) in packets.clone().zip(1..) {
            Subscribe::new(packet_id, chunk).encode(self.flow.common.version, out);
        }
        packets.len() as u16
    }
}

impl Publisher {
    fn new(flow: &Flow, number: u32) -> Publisher {
        let streams = match flow.options.has_replies {
            true => flow.options.plan.streams_of(number),
            false => 0,
        };
        Publisher {
            number,
            due: 0,
            sent: 0,
            in_flight: InFlight::default(),
            unreleased: Unreleased::default(),
            is_in_ring: false,
            replies: (0..streams).map(|_| Sequence::default()).collect(),
        }
    }

    #[inline]
    pub fn may_send(&self, qos: QoS) -> bool {
        qos == QoS::AtMostOnce || !self.in_flight.is_full()
    }
}

impl Handler for Clients<'_> {
    fn connect(&mut self, client: u32, out: &mut Vec<u8>) {
        let run = self.flow.common.run;
        let (client_id, number, is_member) = match self.role(client) {
            Ok(publisher) => {
                let number = self.publishers[publisher as usize].number;
                (format!("load-{run:08x}-p{number}"), number, false)
            }
            Err(member) => {
                let number = self.members[member as usize].number;
                (format!("load-{run:08x}-s{number}"), number, true)
            }
        };
        let session_expiry_s = self.flow.options.session_expiry_s;
        let session_expiry_s = session_expiry_s.filter(|_| is_member && self.intent != Intent::End);
        let introduction = Introduction {
            client_id: &client_id,
            number,
            clean_start: session_expiry_s.is_none(),
            session_expiry_s,
        };
        self.flow.common.connect(introduction, out);
    }

    fn greeted(&mut self, client: u32, ack: &ConnAck<'_>, out: &mut Vec<u8>) -> u16 {
        let limit = ack.properties.receive_maximum.unwrap_or(u16::MAX);
        let window = self.flow.options.in_flight.min(limit);
        let member = match self.role(client) {
            Ok(publisher) => {
                let entry = &mut self.publishers[publisher as usize];
                entry.in_flight = InFlight::new(window);
                if entry.replies.is_empty() {
                    return 0;
                }
                let topic = Cow::Owned(reply::topic(self.flow.common.run, entry.number));
                return self.subscribe(&[topic], out);
            }
            Err(member) => member,
        };
        if self.intent == Intent::End {
            return 0;
        }
        self.members[member as usize].begin(self.flow, window, ack.session_present);
        if ack.session_present {
            self.counts.sessions_resumed += 1;
            return 0;
        }
        self.counts.sessions_missing += u64::from(self.intent == Intent::Resume);
        self.subscribe(&self.filters(member), out)
    }

    #[inline]
    fn packet(
        &mut self,
        arrival: Arrived,
        frame: Frame<'_>,
        out: &mut Vec<u8>,
    ) -> Result<(), Fault> {
        let version = self.flow.common.version;
        let role = self.role(arrival.client);
        let unreleased = match role {
            Err(member) => &mut self.members[member as usize].unreleased,
            Ok(publisher) => &mut self.publishers[publisher as usize].unreleased,
        };
        let publish = match talk::hear(frame, version, unreleased, out)? {
            Heard::Message(publish) => publish,
            Heard::Repeated => {
                self.counts.repeated += 1;
                return Ok(());
            }
            Heard::Released => return Ok(()),
            Heard::Ack(ack) => return self.settle(arrival, &ack, out),
        };
        match Stamp::of(publish.payload) {
            Some(stamp) if stamp.run == self.flow.common.run => match role {
                Err(_) => self.count(arrival, &publish, stamp, out),
                Ok(publisher) => self.count_reply(publisher, arrival, &publish, stamp),
            },
            _ => self.counts.foreign += 1,
        }
        Ok(())
    }

    fn drained(&mut self, client: u32) {
        if let Ok(publisher) = self.role(client) {
            self.wake(publisher);
        }
    }
}
