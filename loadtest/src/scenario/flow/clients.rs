//! What the publishers and subscribers of one executor say and hear.

use super::Flow;
use super::plan::Plan;
use crate::measure::latency::Windowed;
use crate::measure::sequence::{Sequence, Tally};
use crate::measure::stamp::Stamp;
use crate::net::Fault;
use crate::net::fleet::{Arrived, Handler};
use crate::scenario::common::Introduction;
use crate::scenario::inflight::{InFlight, Settled};
use ringmq::codec::frame::Frame;
use ringmq::codec::{
    Ack, AckKind, ConnAck, PacketType, Publish, QoS, ReasonCode, Role, Subscribe, SubscribeOptions,
};
use std::collections::VecDeque;

/// Filters of one SUBSCRIBE.
const FILTERS_PER_PACKET: usize = 100;

/// The clients of one executor: first its subscribers, then its publishers.
pub struct Clients<'a> {
    pub flow: &'a Flow,
    shard: u32,
    pub subscribers: Vec<Box<[Sequence]>>,
    pub publishers: Vec<Publisher>,
    /// Publishers that have something to send and may.
    pub ring: VecDeque<u32>,
    /// Messages that wait for an acknowledgement.
    pub unsettled: u64,
    pub tally: Tally,
    pub latency: Windowed,
    /// Messages intended before this time are not part of the latency.
    pub measure_from_ns: u64,
    pub counts: Counts,
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
    pub is_in_ring: bool,
}

/// Rare things.
#[derive(Debug, Default)]
pub struct Counts {
    pub rejected: u64,
    pub astray: u64,
    pub foreign: u64,
}

impl<'a> Clients<'a> {
    pub fn new(flow: &'a Flow, shard: usize) -> Clients<'a> {
        let Plan {
            publishers,
            subscribers,
            ..
        } = flow.options.plan;
        let (first, step) = (shard as u32, flow.common.shards);
        let own = |count: u32| (first..count).step_by(step);
        let arrivals = |subscriber| {
            let positions = flow.options.plan.positions(subscriber);
            (0..positions).map(|_| Sequence::default()).collect()
        };
        Clients {
            subscribers: own(subscribers).map(arrivals).collect(),
            publishers: own(publishers).map(Publisher::new).collect(),
            ring: VecDeque::new(),
            unsettled: 0,
            tally: Tally::default(),
            latency: Windowed::default(),
            measure_from_ns: u64::MAX,
            counts: Counts::default(),
            shard: first,
            flow,
        }
    }

    /// The client of a publisher.
    pub fn client(&self, publisher: u32) -> u32 {
        self.subscribers.len() as u32 + publisher
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
        client
            .checked_sub(self.subscribers.len() as u32)
            .ok_or(client)
    }

    /// The number over all executors of this executor's publisher or subscriber `index`.
    #[inline]
    fn number(&self, index: u32) -> u32 {
        self.shard + index * self.flow.common.shards as u32
    }

    fn deliver(
        &mut self,
        arrival: Arrived,
        frame: Frame<'_>,
        out: &mut Vec<u8>,
    ) -> Result<(), Fault> {
        let version = self.flow.common.version;
        let publish = Publish::decode_as(frame.header, frame.body, version, Role::Client)?;
        let kind = match publish.qos {
            QoS::AtMostOnce => None,
            QoS::AtLeastOnce => Some(AckKind::PubAck),
            QoS::ExactlyOnce => Some(AckKind::PubRec),
        };
        if let Some(kind) = kind {
            Ack::new(kind, publish.packet_id, ReasonCode::Success).encode(version, out);
        }
        match Stamp::of(publish.payload) {
            Some(stamp) if stamp.run == self.flow.common.run => {
                self.count(arrival, &publish, stamp);
            }
            _ => self.counts.foreign += 1,
        }
        Ok(())
    }

    #[inline]
    fn count(&mut self, arrival: Arrived, publish: &Publish<'_>, stamp: Stamp) {
        let plan = &self.flow.options.plan;
        let number = self.number(arrival.client);
        let place = plan.position(number, stamp.stream).filter(|_| {
            let topic = &self.flow.topics[plan.topic_of(stamp.stream) as usize];
            **topic == *publish.topic && publish.payload.len() == self.flow.options.payload_bytes
        });
        let (Some(place), Some(subscriber)) =
            (place, self.subscribers.get_mut(arrival.client as usize))
        else {
            self.counts.astray += 1;
            return;
        };
        self.tally.count(subscriber[place].arrive(stamp.sequence));
        if stamp.intended_ns >= self.measure_from_ns {
            self.latency
                .record(arrival.at_ns.saturating_sub(stamp.intended_ns));
        }
    }

    fn settle(
        &mut self,
        arrival: Arrived,
        frame: Frame<'_>,
        out: &mut Vec<u8>,
    ) -> Result<(), Fault> {
        let version = self.flow.common.version;
        let ack = Ack::decode(frame.header, frame.body, version)?;
        if ack.kind == AckKind::PubRel {
            Ack::new(AckKind::PubComp, ack.packet_id, ReasonCode::Success).encode(version, out);
            return Ok(());
        }
        let Ok(publisher) = self.role(arrival.client) else {
            return Err(Fault::Unexpected("acknowledgement"));
        };
        let in_flight = &mut self.publishers[publisher as usize].in_flight;
        match in_flight.settle(&ack, version, out)? {
            Settled::NotYet => return Ok(()),
            Settled::Accepted => {}
            Settled::Rejected => self.counts.rejected += 1,
        }
        self.unsettled -= 1;
        self.wake(publisher);
        Ok(())
    }
}

impl Publisher {
    fn new(number: u32) -> Publisher {
        Publisher {
            number,
            due: 0,
            sent: 0,
            in_flight: InFlight::default(),
            is_in_ring: false,
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
        let client_id = match self.role(client) {
            Ok(publisher) => format!("load-{run:08x}-p{}", self.number(publisher)),
            Err(subscriber) => format!("load-{run:08x}-s{}", self.number(subscriber)),
        };
        let introduction = Introduction {
            client_id: &client_id,
            clean_start: true,
            session_expiry_s: None,
        };
        self.flow.common.connect(introduction, out);
    }

    fn greeted(&mut self, client: u32, ack: &ConnAck<'_>, out: &mut Vec<u8>) -> u16 {
        let subscriber = match self.role(client) {
            Ok(publisher) => {
                let limit = ack.properties.receive_maximum.unwrap_or(u16::MAX);
                let window = self.flow.options.in_flight.min(limit);
                self.publishers[publisher as usize].in_flight = InFlight::new(window);
                return 0;
            }
            Err(subscriber) => self.number(subscriber),
        };
        let options = SubscribeOptions::with_qos(self.flow.options.qos);
        let topics = self.flow.options.plan.topics_of(subscriber);
        let filters: Vec<_> = topics
            .map(|topic| (&*self.flow.topics[topic as usize], options))
            .collect();
        let packets = filters.chunks(FILTERS_PER_PACKET);
        for (chunk, packet_id) in packets.clone().zip(1..) {
            Subscribe::new(packet_id, chunk).encode(self.flow.common.version, out);
        }
        packets.len() as u16
    }

    #[inline]
    fn packet(
        &mut self,
        arrival: Arrived,
        frame: Frame<'_>,
        out: &mut Vec<u8>,
    ) -> Result<(), Fault> {
        match frame.packet_type() {
            PacketType::Publish => self.deliver(arrival, frame, out),
            _ => self.settle(arrival, frame, out),
        }
    }

    fn drained(&mut self, client: u32) {
        if let Ok(publisher) = self.role(client) {
            self.wake(publisher);
        }
    }
}
