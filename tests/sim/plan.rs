//! What a world is made of: drawn once from its seed.

use super::rng::Rng;
use ringmq::base::ShardId;
use ringmq::shard::{DropPolicy, Options};

/// Topics that clients publish to.
pub const TOPICS: [&str; 9] = [
    "a/0/x", "a/0/y", "a/1/x", "a/1/y", "a/2", "b", "s/0/x", "s/1/x", "s/2/y",
];
/// Filters without a group, for everybody.
pub const FILTERS: [&str; 9] = [
    "a/0/x", "a/1/y", "b", "a/2", "a/+/x", "a/#", "+/0/y", "a/+/y", "a/0/#",
];
/// Filters that match what groups share too: never of those who are in groups.
pub const BROAD: [&str; 4] = ["#", "s/1/x", "s/#", "+/+/x"];
/// Shared subscriptions. No topic matches two.
pub const GROUPS: [&str; 3] = ["$share/g/s/0/+", "$share/h/s/1/x", "$queue/s/2/#"];
/// Presence events.
pub const PRESENCE: &str = "$SYS/brokers/+/clients/#";

/// The dimensions of one world.
#[derive(Clone, Debug)]
pub struct Plan {
    pub steps: u64,
    pub shards: u16,
    pub clients: usize,
    pub rogues: usize,
    pub mailbox_slots: usize,
    /// Bytes that lie between the broker and a client at most.
    pub socket_bytes: usize,
    /// Cuts, vanishings, take-overs: a weight.
    pub faults: u64,
    /// Time jumps so often, in thousandths of the steps.
    pub jumps: u64,
    /// Queues are so short that they drop.
    pub lossy: bool,
    /// QoS of the members of each group.
    pub group_qos: [u8; 3],
    pub options: Options,
}

impl Plan {
    /// A world's dimensions; `steps` is how long it is disturbed.
    pub fn draw(rng: &mut Rng, steps: u64) -> Plan {
        let shards = rng.pick(&[1, 2, 2, 3, 4]);
        let mut options = Options {
            shards,
            ..Options::default()
        };
        let lossy = rng.one_in(6);
        options.durable = rng.one_in(2);
        options.slice = rng.pick(&[1, 130, 8192]);
        options.mqtt.receive_maximum = rng.pick(&[3, 10, 100]);
        options.mqtt.inflight_max = rng.pick(&[2, 5, 100]);
        options.mqtt.topic_alias_maximum = rng.pick(&[0, 2, 32]);
        // Time may jump by minutes; who asks is answered all the same.
        options.mqtt.verdict_timeout_ms = 1 << 40;
        options.mqtt.session_expiry_v3_s = rng.pick(&[20, 7200]) as u32;
        options.limits.outbox_bytes_max = rng.pick(&[300, 2_000, 100_000]);
        options.limits.queue_qos0 = rng.one_in(2);
        if lossy {
            options.limits.queue_length_max = rng.range(1, 6) as usize;
            options.limits.queue_bytes_max = rng.pick(&[700, 2_000, 1 << 30]);
            options.limits.queue_drop = rng.pick(&[DropPolicy::Oldest, DropPolicy::Newest]);
            options.limits.memory_budget_bytes = rng.pick(&[4_000, 1 << 30]);
        } else {
            options.limits.queue_length_max = 1_000_000;
            options.limits.queue_bytes_max = 1 << 30;
        }
        Plan {
            steps,
            shards,
            clients: rng.range(3, 10) as usize,
            rogues: rng.below(3) as usize,
            mailbox_slots: rng.range(1, 4) as usize,
            socket_bytes: rng.pick(&[200, 2_000, 50_000]),
            faults: rng.pick(&[0, 1, 3, 10]),
            jumps: rng.pick(&[0, 1, 5]),
            lossy,
            group_qos: [
                rng.range(1, 2) as u8,
                rng.range(1, 2) as u8,
                rng.range(1, 2) as u8,
            ],
            options,
        }
    }

    /// What one shard is told.
    pub fn options_of(&self, shard: u16) -> Options {
        Options {
            shard: ShardId(shard),
            ..self.options.clone()
        }
    }
}
