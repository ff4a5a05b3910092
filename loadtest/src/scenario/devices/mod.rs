//! Many devices, each subscribed to a topic of its own, and one client an executor that publishes
//! to them.

mod crowd;

pub use crowd::Crowd;

use super::Common;
use super::common::Introduction;
use super::inflight::{InFlight, Settled};
use super::talk::{self, Heard, Outgoing, Unreleased};
use crate::measure::latency::Windowed;
use crate::measure::sequence::{Sequence, Tally};
use crate::measure::stamp::Stamp;
use crate::net::fleet::{Arrived, Handler};
use crate::net::{Fault, Fleet};
use ringmq::codec::frame::Frame;
use ringmq::codec::{Ack, ConnAck, Publish, QoS};
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use std::fmt::Write;

/// Messages of the publishing client that wait for an acknowledgement at most.
const IN_FLIGHT: u16 = 100;
/// It waits when it has more bytes than this to write.
const OUTBOX_BYTES_MAX: usize = 64 * 1024;

/// How the devices of a run are.
#[derive(Clone, Copy, Debug)]
pub struct DeviceOptions {
    /// Of their subscription and of what is published to them.
    pub qos: QoS,
    /// Their sessions outlive their connections, in v5 for so many seconds.
    pub session_expiry_s: Option<u32>,
}

/// The devices of one executor, and after them the client that publishes to them.
pub struct Devices<'a> {
    pub common: &'a Common,
    options: DeviceOptions,
    shard: usize,
    devices: Vec<Device>,
    in_flight: InFlight,
    /// Devices that a message is still to be published to, and when it was to be.
    queue: VecDeque<(u64, u32)>,
    /// Messages that wait for an acknowledgement.
    unsettled: u64,
    /// For the name of a topic or client.
    name: String,
    /// What the next connections are for.
    pub intent: Intent,
    pub tally: Tally,
    pub latency: Windowed,
    pub counts: Counts,
}

/// What devices connect for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Intent {
    /// For the first time: there is no session yet.
    Begin,
    /// Again: a persistent session is still there.
    Resume,
    /// Only to end a persistent session.
    End,
}

#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Counts {
    pub published: u64,
    pub rejected: u64,
    /// Changed on the way, or to the wrong device.
    pub astray: u64,
    pub foreign: u64,
    /// Later than what was said to be late.
    pub late: u64,
    /// QoS 2: sent again because the broker did not see the answer, and known as such.
    pub repeated: u64,
    pub sessions_resumed: u64,
    /// A session ought to have been there and was not.
    pub sessions_missing: u64,
    /// A session was there and ought not to have been.
    pub sessions_unexpected: u64,
}

#[derive(Debug, Default)]
struct Device {
    arrivals: Sequence,
    sent: u32,
    unreleased: Unreleased,
}

impl Counts {
    pub fn merge(&mut self, other: &Counts) {
        self.published += other.published;
        self.rejected += other.rejected;
        self.astray += other.astray;
        self.foreign += other.foreign;
        self.late += other.late;
        self.repeated += other.repeated;
        self.sessions_resumed += other.sessions_resumed;
        self.sessions_missing += other.sessions_missing;
        self.sessions_unexpected += other.sessions_unexpected;
    }
}

impl<'a> Devices<'a> {
    /// `count` devices of one executor.
    pub fn new(
        common: &'a Common,
        options: DeviceOptions,
        shard: usize,
        count: u32,
    ) -> Devices<'a> {
        let mut devices = Vec::new();
        devices.resize_with(count as usize, Device::default);
        Devices {
            common,
            options,
            shard,
            devices,
            in_flight: InFlight::default(),
            queue: VecDeque::new(),
            unsettled: 0,
            name: String::new(),
            intent: Intent::Begin,
            tally: Tally::default(),
            latency: Windowed::default(),
            counts: Counts::default(),
        }
    }

    /// Devices, without the client that publishes.
    pub fn count(&self) -> u32 {
        self.devices.len() as u32
    }

    /// The client that publishes.
    pub fn controller(&self) -> u32 {
        self.count()
    }

    /// A message is due to this device. It goes out as soon as the window lets, and its latency
    /// counts from `due_ns` whenever that is.
    pub fn enqueue(&mut self, device: u32, due_ns: u64) {
        self.queue.push_back((due_ns, device));
    }

    /// Whether all messages are published and the broker has taken them over.
    pub fn is_published(&self) -> bool {
        self.queue.is_empty() && self.unsettled == 0
    }

    /// Messages that have not come to these devices.
    pub fn missing(&self, devices: impl Iterator<Item = u32>) -> u64 {
        let missing = |device: u32| {
            let device = &self.devices[device as usize];
            device.arrivals.missing(device.sent.into())
        };
        devices.map(missing).sum()
    }

    /// The number over all executors of a device here.
    pub fn number(&self, device: u32) -> u32 {
        self.shard as u32 + device * self.common.shards as u32
    }

    /// Publishes what is queued, as far as may be.
    pub fn pump(&mut self, fleet: &mut Fleet) {
        let is_limited = self.options.qos != QoS::AtMostOnce;
        let Some(out) = fleet.out(self.controller()) else {
            return;
        };
        while out.len() < OUTBOX_BYTES_MAX && !(is_limited && self.in_flight.is_full()) {
            let Some((due_ns, device)) = self.queue.pop_front() else {
                return;
            };
            self.publish(device, due_ns, out);
        }
    }

    fn publish(&mut self, device: u32, due_ns: u64, out: &mut Vec<u8>) {
        let number = self.number(device);
        write_topic(self.common.run, number, &mut self.name);
        let entry = &mut self.devices[device as usize];
        let stamp = Stamp {
            run: self.common.run,
            stream: number,
            sequence: entry.sent.into(),
            intended_ns: due_ns,
        };
        entry.sent += 1;
        let message = Outgoing {
            topic: &self.name,
            qos: self.options.qos,
            packet_id: self.in_flight.begin(self.options.qos),
            payload: [&stamp.to_bytes(), &[]],
            ..Outgoing::default()
        };
        message.encode(self.common.version, out);
        self.counts.published += 1;
        self.unsettled += u64::from(self.options.qos != QoS::AtMostOnce);
    }

    fn count_arrival(&mut self, arrival: Arrived, publish: &Publish<'_>) {
        let stamp = match Stamp::of(publish.payload) {
            Some(stamp) if stamp.run == self.common.run => stamp,
            _ => {
                self.counts.foreign += 1;
                return;
            }
        };
        let number = self.number(arrival.client);
        write_topic(self.common.run, number, &mut self.name);
        if stamp.stream != number || self.name != publish.topic {
            self.counts.astray += 1;
            return;
        }
        let device = &mut self.devices[arrival.client as usize];
        let came = device.arrivals.arrive(stamp.sequence);
        self.tally.count_as(came, publish.dup);
        let took_ns = arrival.at_ns.saturating_sub(stamp.intended_ns);
        self.latency.record(took_ns);
        self.counts.late += u64::from(took_ns > self.common.late_ns);
    }

    fn acknowledge(
        &mut self,
        arrival: Arrived,
        ack: &Ack<'_>,
        out: &mut Vec<u8>,
    ) -> Result<(), Fault> {
        if arrival.client != self.controller() {
            return Err(Fault::Unexpected("acknowledgement"));
        }
        match self.in_flight.settle(ack, self.common.version, out)? {
            Settled::NotYet => return Ok(()),
            Settled::Accepted => {}
            Settled::Rejected => self.counts.rejected += 1,
        }
        self.unsettled -= 1;
        Ok(())
    }

    fn count_session(&mut self, device: u32, is_present: bool) {
        let is_expected = self.intent == Intent::Resume && self.options.session_expiry_s.is_some();
        match (is_expected, is_present) {
            (true, true) => self.counts.sessions_resumed += 1,
            (true, false) => self.counts.sessions_missing += 1,
            (false, true) => self.counts.sessions_unexpected += 1,
            (false, false) => {}
        }
        if !is_present {
            self.devices[device as usize].unreleased.clear();
        }
    }
}

impl Handler for Devices<'_> {
    fn connect(&mut self, client: u32, out: &mut Vec<u8>) {
        let is_device = client < self.count();
        self.name.clear();
        // Writing to a string does not fail.
        let _ = match is_device {
            true => write!(
                self.name,
                "load-{:08x}-d{}",
                self.common.run,
                self.number(client)
            ),
            false => write!(self.name, "load-{:08x}-c{}", self.common.run, self.shard),
        };
        let session_expiry_s = self
            .options
            .session_expiry_s
            .filter(|_| is_device && self.intent != Intent::End);
        let introduction = Introduction {
            client_id: &self.name,
            number: self.number(client),
            clean_start: session_expiry_s.is_none(),
            session_expiry_s,
        };
        self.common.connect(introduction, out);
    }

    fn greeted(&mut self, client: u32, ack: &ConnAck<'_>, out: &mut Vec<u8>) -> u16 {
        if client == self.controller() {
            let limit = ack.properties.receive_maximum.unwrap_or(u16::MAX);
            self.in_flight = InFlight::new(IN_FLIGHT.min(limit));
            return 0;
        }
        if self.intent == Intent::End {
            return 0;
        }
        self.count_session(client, ack.session_present);
        if ack.session_present {
            return 0;
        }
        write_topic(self.common.run, self.number(client), &mut self.name);
        talk::subscribe(&self.name, self.options.qos, self.common.version, out);
        1
    }

    fn packet(
        &mut self,
        arrival: Arrived,
        frame: Frame<'_>,
        out: &mut Vec<u8>,
    ) -> Result<(), Fault> {
        let version = self.common.version;
        let heard = match self.devices.get_mut(arrival.client as usize) {
            Some(device) => talk::hear(frame, version, &mut device.unreleased, out)?,
            None => talk::hear(frame, version, &mut Unreleased::default(), out)?,
        };
        match heard {
            Heard::Message(_) if arrival.client == self.controller() => {
                return Err(Fault::Unexpected("PUBLISH"));
            }
            Heard::Message(publish) => self.count_arrival(arrival, &publish),
            Heard::Repeated => self.counts.repeated += 1,
            Heard::Released => {}
            Heard::Ack(ack) => self.acknowledge(arrival, &ack, out)?,
        }
        Ok(())
    }
}

fn write_topic(run: u32, number: u32, name: &mut String) {
    name.clear();
    // Writing to a string does not fail.
    let _ = write!(name, "load/{run:08x}/d/{number}");
}
