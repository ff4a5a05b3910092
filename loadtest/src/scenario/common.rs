//! What all kinds of load have in common: where the broker is and how clients introduce
//! themselves.

use super::Users;
use super::generator::Allowed;
use crate::measure::clock::now_ns;
use crate::net::{Dialer, FleetOptions, Ramp, Transport};
use ringmq::codec::{Connect, ConnectProperties, Version};
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU16;
use std::sync::Arc;

/// Options that every kind of load has, resolved.
#[derive(Clone, Debug)]
pub struct Common {
    pub broker: SocketAddr,
    pub version: Version,
    pub transport: Transport,
    pub users: Users,
    /// Executors of all processes.
    pub shards: usize,
    pub sources: Arc<[IpAddr]>,
    /// Connections begun a second, over all executors; 0: no limit.
    pub connect_rate_per_s: u64,
    /// Connections under way at a time, over all executors.
    pub parallel: usize,
    pub connect_timeout_ns: u64,
    pub keep_alive_s: u16,
    /// Receive Maximum of subscribers (v5).
    pub receive_maximum: NonZeroU16,
    /// What takes longer is counted.
    pub late_ns: u64,
    /// Tells this run's topics, clients and messages from those of others.
    pub run: u32,
}

/// What differs between the clients of a run.
#[derive(Clone, Copy, Debug)]
pub struct Introduction<'a> {
    pub client_id: &'a str,
    /// Over all executors and clients of one kind.
    pub number: u32,
    pub clean_start: bool,
    /// For v5; in 3.x a session that is not clean has no end.
    pub session_expiry_s: Option<u32>,
}

impl Common {
    /// The options of one executor's fleet. `packet_bytes_max` is that of the largest packet that
    /// will come, and buffers larger than `buffer_keep_bytes` are not kept.
    pub fn fleet_options(
        &self,
        shard: usize,
        packet_bytes_max: usize,
        buffer_keep_bytes: usize,
    ) -> FleetOptions {
        FleetOptions {
            dialer: Dialer {
                broker: self.broker,
                sources: self.sources.clone(),
            },
            transport: self.transport.clone(),
            version: self.version,
            keep_alive_s: self.keep_alive_s,
            connect_timeout_ns: self.connect_timeout_ns,
            buffer_keep_bytes,
            packet_bytes_max,
            numbers: (shard, self.shards),
        }
    }

    /// A wave of one executor's connections, with its share of what is allowed.
    pub fn ramp(&self, shard: usize, clients: impl Iterator<Item = u32>) -> Ramp {
        let parallel = self.parallel.div_ceil(self.shards);
        Ramp::new(clients, parallel, self.connect_rate_per_s).in_turn(shard, self.shards)
    }

    /// What a wave of connections may, over all executors.
    pub fn allowed(&self) -> Allowed {
        Allowed {
            parallel: self.parallel,
            rate_per_s: self.connect_rate_per_s,
        }
    }

    /// Of `count` things that are dealt out to the executors one by one, those of one executor.
    pub fn share(&self, count: u32, shard: usize) -> u32 {
        (count.saturating_sub(shard as u32)).div_ceil(self.shards as u32)
    }

    /// Appends a CONNECT.
    pub fn connect(&self, introduction: Introduction<'_>, out: &mut Vec<u8>) {
        let is_v5 = self.version == Version::V5;
        let properties = ConnectProperties {
            session_expiry_s: introduction.session_expiry_s.filter(|_| is_v5),
            receive_maximum: is_v5.then_some(self.receive_maximum),
            ..ConnectProperties::default()
        };
        let user = self.users.of(introduction.number, introduction.client_id);
        let connect = Connect {
            version: self.version,
            clean_start: introduction.clean_start,
            keep_alive_s: self.keep_alive_s,
            client_id: introduction.client_id,
            will: None,
            username: user.name.as_deref(),
            password: user.password.as_deref().map(str::as_bytes),
            properties,
        };
        connect.encode(out);
    }

    /// `MQTT 3.1.1` or `MQTT 5.0 over wss`.
    pub fn protocol(&self) -> String {
        match self.transport.is_plain() {
            true => self.version_name().into(),
            false => format!("{} over {}", self.version_name(), self.transport.name()),
        }
    }

    /// `MQTT 3.1.1` and the like.
    pub fn version_name(&self) -> &'static str {
        match self.version {
            Version::V31 => "MQTT 3.1",
            Version::V311 => "MQTT 3.1.1",
            Version::V5 => "MQTT 5.0",
        }
    }
}

/// How much of a span of time is over, from 0 to 1.
pub fn elapsed(from_ns: u64, to_ns: u64) -> f64 {
    let span_ns = to_ns.saturating_sub(from_ns).max(1) as f64;
    (now_ns().saturating_sub(from_ns) as f64 / span_ns).min(1.0)
}
