//! The dashboards of one executor, and the client that stores what they show.

use super::Dashboards;
use crate::measure::clock::now_ns;
use crate::measure::latency::Windowed;
use crate::measure::stamp::Stamp;
use crate::net::fleet::{Arrived, Handler};
use crate::net::{Fault, Fleet};
use crate::scenario::common::Introduction;
use crate::scenario::inflight::{InFlight, Settled};
use crate::scenario::talk::{self, Heard, Outgoing, Unreleased};
use ringmq::codec::frame::Frame;
use ringmq::codec::{ConnAck, Publish, QoS};
use serde::{Deserialize, Serialize};

/// Messages of the storing client that wait for an acknowledgement at most.
const IN_FLIGHT: u16 = 100;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    pub published: u64,
    /// Taken over by the broker.
    pub stored: u64,
    pub rejected: u64,
    pub delivered: u64,
    pub duplicated: u64,
    pub lost: u64,
    /// Later than what was said to be late.
    pub late: u64,
    pub astray: u64,
    /// Without the RETAIN flag (MQTT-3.3.1-8).
    pub unmarked: u64,
}

/// Dashboards first, then the client that stores.
pub struct People<'a> {
    all: &'a Dashboards,
    shard: usize,
    dashboards: Vec<Dashboard>,
    in_flight: InFlight,
    unsettled: u64,
    /// The next topic of this executor to be stored, or cleared.
    next_topic: u32,
    pub message: Windowed,
    pub filled: Windowed,
    pub counts: Counts,
    /// Deliveries that subscriptions ought to give.
    pub expected: u64,
    pub has_ended: bool,
}

#[derive(Debug, Default)]
struct Dashboard {
    subscribed_ns: u64,
    /// One bit a topic of its area: whether its message has come.
    came: Box<[u64]>,
    missing: u32,
    unreleased: Unreleased,
}

impl Counts {
    pub fn merge(&mut self, other: &Counts) {
        self.published += other.published;
        self.stored += other.stored;
        self.rejected += other.rejected;
        self.delivered += other.delivered;
        self.duplicated += other.duplicated;
        self.lost += other.lost;
        self.late += other.late;
        self.astray += other.astray;
        self.unmarked += other.unmarked;
    }
}

impl<'a> People<'a> {
    pub fn new(all: &'a Dashboards, shard: usize) -> People<'a> {
        let count = all.common.share(all.options.dashboards, shard);
        let mut dashboards = Vec::new();
        dashboards.resize_with(count as usize, Dashboard::default);
        People {
            all,
            shard,
            dashboards,
            in_flight: InFlight::default(),
            unsettled: 0,
            next_topic: shard as u32,
            message: Windowed::default(),
            filled: Windowed::default(),
            counts: Counts::default(),
            expected: 0,
            has_ended: false,
        }
    }

    /// Dashboards, without the client that stores.
    pub fn count(&self) -> u32 {
        self.dashboards.len() as u32
    }

    /// Stores what is not stored yet, as far as may be; clears it if `is_clearing`.
    pub fn pump(&mut self, fleet: &mut Fleet, is_clearing: bool) {
        let Some(out) = fleet.out(self.count()) else {
            return;
        };
        while self.next_topic < self.all.options.topics && !self.in_flight.is_full() {
            let topic = self.next_topic;
            self.next_topic += self.all.common.shards as u32;
            self.publish(topic, is_clearing, out);
        }
    }

    /// Whether everything is stored, or cleared.
    pub fn is_published(&self) -> bool {
        self.next_topic >= self.all.options.topics && self.unsettled == 0
    }

    /// Begins with the first topic again.
    pub fn rewind(&mut self) {
        self.next_topic = self.shard as u32;
    }

    pub fn missing(&self) -> u64 {
        self.dashboards.iter().map(|d| u64::from(d.missing)).sum()
    }

    fn publish(&mut self, topic: u32, is_clearing: bool, out: &mut Vec<u8>) {
        let stamp = Stamp {
            run: self.all.common.run,
            stream: topic,
            sequence: 0,
            intended_ns: now_ns(),
        };
        let stamp = stamp.to_bytes();
        let message = Outgoing {
            topic: &self.all.topic(topic),
            // At QoS 1 it is known when all are stored.
            qos: QoS::AtLeastOnce,
            packet_id: self.in_flight.begin(QoS::AtLeastOnce),
            retain: true,
            payload: match is_clearing {
                true => [&[], &[]],
                false => [&stamp, &self.all.payload],
            },
            ..Outgoing::default()
        };
        message.encode(self.all.common.version, out);
        self.unsettled += 1;
        self.counts.published += u64::from(!is_clearing);
    }

    fn area(&self, dashboard: u32) -> u32 {
        let number = self.shard as u32 + dashboard * self.all.common.shards as u32;
        number % self.all.options.areas
    }

    fn count_arrival(&mut self, arrival: Arrived, publish: &Publish<'_>) {
        let all = self.all;
        let area = self.area(arrival.client);
        let topic = Stamp::of(publish.payload)
            .filter(|stamp| stamp.run == all.common.run && stamp.stream < all.options.topics)
            .map(|stamp| stamp.stream)
            .filter(|topic| {
                topic % all.options.areas == area
                    && all.topic(*topic) == publish.topic
                    && publish.payload.len() == all.options.payload_bytes
            });
        let (Some(topic), Some(dashboard)) =
            (topic, self.dashboards.get_mut(arrival.client as usize))
        else {
            self.counts.astray += 1;
            return;
        };
        self.counts.unmarked += u64::from(!publish.retain);
        let place = topic / all.options.areas;
        let (word, bit) = ((place / 64) as usize, 1 << (place % 64));
        if dashboard.came[word] & bit != 0 {
            self.counts.duplicated += 1;
            return;
        }
        dashboard.came[word] |= bit;
        dashboard.missing -= 1;
        self.counts.delivered += 1;
        let took_ns = arrival.at_ns.saturating_sub(dashboard.subscribed_ns);
        self.message.record(took_ns);
        self.counts.late += u64::from(took_ns > all.common.late_ns);
        if dashboard.missing == 0 {
            self.filled.record(took_ns);
        }
    }
}

impl Handler for People<'_> {
    fn connect(&mut self, client: u32, out: &mut Vec<u8>) {
        let number = self.shard as u32 + client * self.all.common.shards as u32;
        let run = self.all.common.run;
        let client_id = match client == self.count() {
            true => format!("load-{run:08x}-c{}", self.shard),
            false => format!("load-{run:08x}-b{number}"),
        };
        let introduction = Introduction {
            client_id: &client_id,
            number,
            clean_start: true,
            session_expiry_s: None,
        };
        self.all.common.connect(introduction, out);
    }

    fn greeted(&mut self, client: u32, ack: &ConnAck<'_>, out: &mut Vec<u8>) -> u16 {
        if client == self.count() {
            let limit = ack.properties.receive_maximum.unwrap_or(u16::MAX);
            self.in_flight = InFlight::new(IN_FLIGHT.min(limit));
            return 0;
        }
        let area = self.area(client);
        let topics = self.all.topics_of(area);
        self.expected += u64::from(topics);
        self.dashboards[client as usize] = Dashboard {
            subscribed_ns: now_ns(),
            came: vec![0; topics.div_ceil(64) as usize].into_boxed_slice(),
            missing: topics,
            unreleased: Unreleased::default(),
        };
        let filter = self.all.filter(area);
        let version = self.all.common.version;
        talk::subscribe(&filter, self.all.options.qos, version, out);
        1
    }

    fn packet(
        &mut self,
        arrival: Arrived,
        frame: Frame<'_>,
        out: &mut Vec<u8>,
    ) -> Result<(), Fault> {
        let version = self.all.common.version;
        let unreleased = match self.dashboards.get_mut(arrival.client as usize) {
            Some(dashboard) => &mut dashboard.unreleased,
            None => &mut Unreleased::default(),
        };
        let ack = match talk::hear(frame, version, unreleased, out)? {
            Heard::Message(publish) => {
                self.count_arrival(arrival, &publish);
                return Ok(());
            }
            Heard::Repeated => {
                self.counts.duplicated += 1;
                return Ok(());
            }
            Heard::Released => return Ok(()),
            Heard::Ack(ack) => ack,
        };
        match self.in_flight.settle(&ack, version, out)? {
            Settled::NotYet => return Ok(()),
            Settled::Accepted if self.has_ended => {}
            Settled::Accepted => self.counts.stored += 1,
            Settled::Rejected => self.counts.rejected += 1,
        }
        self.unsettled -= 1;
        Ok(())
    }
}
