//! What a shard is told of the configuration: plain values, resolved by whoever starts it.

use super::api::ShardId;
use crate::auth::Rules;
use crate::auth::acl::Answer;
use crate::base::CertificateName;
use crate::codec::QoS;
use crate::message::NEVER_MS;
use std::sync::Arc;

/// Some milliseconds of work. Less would make writes to many receivers smaller than pays.
pub const SLICE: usize = 8192;

/// Identity and limits of one shard.
#[derive(Clone, Debug)]
pub struct Options {
    /// Which of the `shards` this is.
    pub shard: ShardId,
    /// Shards of the process, 1 to [`crate::limits::SHARDS_MAX`].
    pub shards: u16,
    /// Node name in `$SYS` topics.
    pub node: Box<str>,
    /// Whether connects and disconnects are published under `$SYS`.
    pub presence: bool,
    /// Epochs of this run are above it. Only looked at by a new shard.
    pub epoch_floor: u64,
    /// Whether there is a store that takes [`Effects::changes`](super::Effects::changes). Fixed
    /// from the start on.
    pub durable: bool,
    /// What a step does for one client before others have their turn, in deliveries: see
    /// [`Shard::spent`](super::Shard::spent).
    pub slice: usize,
    /// Of each listener, what goes before its clients' topics.
    pub mountpoints: Vec<Option<Arc<str>>>,
    pub mqtt: MqttOptions,
    pub limits: Limits,
    pub access: Access,
}

/// Access rules for everybody.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Access {
    /// Asked after a client's own; `None`: a client without rules of its own may do anything.
    pub common: Option<Arc<Rules>>,
    /// What holds where there are rules and none decides.
    pub nomatch: Answer,
    /// Whether a client that publishes what it may not is cut, rather than answered.
    pub cuts_denied: bool,
}

/// What is announced in CONNACK or decided by the protocol's own rules.
#[derive(Clone, Debug)]
pub struct MqttOptions {
    /// Largest packet accepted, in bytes (Maximum Packet Size).
    pub packet_bytes_max: u32,
    pub client_id_bytes_max: usize,
    /// The name of a client's certificate that is its client id, whatever it says itself.
    pub certificate_client_id: Option<CertificateName>,
    pub topic_levels_max: usize,
    pub topic_bytes_max: usize,
    /// Clients that ask for a longer keep alive, or for none, are held to this and v5 clients are
    /// told (Server Keep Alive); `None`: the client's own value stands.
    pub keep_alive_max_s: Option<u16>,
    /// Silence is cut after this many tenths of the keep alive: 15 (MQTT-3.1.2-22).
    pub keep_alive_tenths: u32,
    /// Upper bound on the Session Expiry Interval that clients ask for.
    pub session_expiry_max_s: u32,
    /// How long a 3.x session with clean session 0 is kept.
    pub session_expiry_v3_s: u32,
    /// QoS 2 PUBLISH that a client may have open here (Receive Maximum).
    pub receive_maximum: u16,
    /// Unacknowledged PUBLISH sent to a client at most, whatever its Receive Maximum.
    pub inflight_max: u16,
    /// Topic aliases accepted from a client, and used towards it if it takes as many.
    pub topic_alias_maximum: u16,
    pub maximum_qos: QoS,
    pub retain_available: bool,
    pub wildcard_available: bool,
    pub shared_available: bool,
    /// Time for the whole of CONNECT to arrive, in milliseconds.
    pub connect_timeout_ms: u64,
    /// Time for a verdict to come, in milliseconds.
    pub verdict_timeout_ms: u64,
}

/// Bounds on what clients can make the shard hold.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Sessions of this shard, connected or kept; a client that would need one more is refused.
    pub sessions_max: usize,
    pub subscriptions_max: usize,
    /// Deliveries that wait for one client.
    pub queue_length_max: usize,
    pub queue_bytes_max: usize,
    pub queue_drop: DropPolicy,
    /// Whether QoS 0 waits for a client that is away.
    pub queue_qos0: bool,
    /// Unsent bytes of one connection beyond which QoS 0 is dropped and its own input not read.
    pub outbox_bytes_max: usize,
    /// This shard's part of the memory that all queues together may hold.
    pub memory_budget_bytes: usize,
    pub retained_count_max: usize,
    pub retained_bytes_max: usize,
    pub retained_payload_bytes_max: usize,
}

/// Which delivery gives way when a queue is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DropPolicy {
    Oldest,
    Newest,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            shard: ShardId(0),
            shards: 1,
            node: "ringmq@127.0.0.1".into(),
            presence: true,
            epoch_floor: 0,
            durable: false,
            slice: SLICE,
            mountpoints: Vec::new(),
            mqtt: MqttOptions::default(),
            limits: Limits::default(),
            access: Access::default(),
        }
    }
}

impl Default for MqttOptions {
    fn default() -> Self {
        MqttOptions {
            packet_bytes_max: 1024 * 1024,
            client_id_bytes_max: 1024,
            certificate_client_id: None,
            topic_levels_max: 128,
            topic_bytes_max: 65_535,
            keep_alive_max_s: None,
            keep_alive_tenths: 15,
            session_expiry_max_s: u32::MAX,
            session_expiry_v3_s: 2 * 3600,
            receive_maximum: 100,
            inflight_max: 100,
            topic_alias_maximum: 32,
            maximum_qos: QoS::ExactlyOnce,
            retain_available: true,
            wildcard_available: true,
            shared_available: true,
            connect_timeout_ms: 30_000,
            verdict_timeout_ms: 30_000,
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            sessions_max: usize::MAX,
            subscriptions_max: 1_000_000,
            queue_length_max: 1_000,
            queue_bytes_max: 4 * 1024 * 1024,
            queue_drop: DropPolicy::Oldest,
            queue_qos0: true,
            outbox_bytes_max: 1024 * 1024,
            memory_budget_bytes: 1024 * 1024 * 1024,
            retained_count_max: 1_000_000,
            retained_bytes_max: 1024 * 1024 * 1024,
            retained_payload_bytes_max: 1024 * 1024,
        }
    }
}

/// What CONNACK promises: it holds as long as the connection, whatever is set meanwhile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Announced {
    pub packet_bytes_max: u32,
    pub receive_maximum: u16,
    pub topic_alias_maximum: u16,
    pub maximum_qos: QoS,
    pub retain_available: bool,
    pub wildcard_available: bool,
    pub shared_available: bool,
    /// A client that asked for more was told what it gets, and may ask again in DISCONNECT.
    pub session_expiry_max_s: u32,
}

impl MqttOptions {
    /// The part of it that is announced.
    pub(super) fn announced(&self) -> Announced {
        Announced {
            packet_bytes_max: self.packet_bytes_max,
            receive_maximum: self.receive_maximum,
            topic_alias_maximum: self.topic_alias_maximum,
            maximum_qos: self.maximum_qos,
            retain_available: self.retain_available,
            wildcard_available: self.wildcard_available,
            shared_available: self.shared_available,
            session_expiry_max_s: self.session_expiry_max_s,
        }
    }

    /// The Server Keep Alive for a client that asks for `asked_s`, if its own does not stand.
    pub fn held_to_s(&self, asked_s: u16) -> Option<u16> {
        self.keep_alive_max_s
            .filter(|&max| asked_s == 0 || asked_s > max)
    }

    /// When a message that arrives now expires.
    pub fn expires_ms(now_ms: u64, expiry_s: Option<u32>) -> u64 {
        expiry_s.map_or(NEVER_MS, |s| now_ms + u64::from(s) * 1000)
    }
}
