//! A client without manners: nothing is promised to it, and nobody may suffer from it.

use super::env::Env;
use super::plan::TOPICS;
use super::wire::{Terms, Who};
use ringmq::codec::{
    Ack, AckKind, Connect, ConnectProperties, Disconnect, Forwarded, PING_REQ, Publish, QoS,
    ReasonCode, Subscribe, SubscribeOptions, SubscriptionIds, Unsubscribe, Version, Will,
};

/// Filters of rogues; the group is theirs alone.
const FILTERS: [&str; 8] = [
    "#",
    "a/#",
    "$share/rogue/#",
    "+/+/x",
    "a/#/b",
    "a+",
    "$share//x",
    "$SYS/#",
];

pub struct Rogue {
    index: usize,
    version: Version,
    link: Option<usize>,
    old: Vec<usize>,
}

impl Rogue {
    pub fn new(index: usize) -> Rogue {
        Rogue {
            index,
            version: Version::V5,
            link: None,
            old: Vec::new(),
        }
    }

    /// Something, mostly allowed.
    pub fn act(&mut self, env: &mut Env) {
        self.forget_closed(env);
        let Some(link) = self.link else {
            return self.connect(env);
        };
        if env.rng.percent(60) {
            let link = &mut env.links[link];
            let count = env.rng.fragment(link.to_client.len());
            link.to_client.drain(..count);
        }
        let mut out = Vec::new();
        match env.rng.below(40) {
            0..10 => self.publish(env, &mut out),
            10..14 => self.subscribe(env, &mut out),
            14..16 => {
                let filter = env.rng.pick(&FILTERS);
                Unsubscribe::new(1, &[filter]).encode(self.version, &mut out);
            }
            16..34 => {
                let kind = env.rng.pick(&[
                    AckKind::PubAck,
                    AckKind::PubRec,
                    AckKind::PubRel,
                    AckKind::PubComp,
                ]);
                let failed = matches!(kind, AckKind::PubAck | AckKind::PubRec);
                let reason = match failed && env.rng.one_in(4) {
                    true => ReasonCode::UnspecifiedError,
                    false => ReasonCode::Success,
                };
                let id = env.rng.range(1, 6) as u16;
                Ack::new(kind, id, reason).encode(self.version, &mut out);
            }
            34 => out.extend(PING_REQ),
            35 => Disconnect::new(ReasonCode::Success).encode(self.version, &mut out),
            36 => self.encode_connect(&Terms::default(), &mut out),
            37 => out.extend((0..env.rng.range(1, 9)).map(|_| env.rng.below(256) as u8)),
            38 => {
                let kept = env.rng.below(env.links[link].to_server.len() as u64 + 1) as usize;
                let reset = env.rng.one_in(2);
                env.links[link].cut(kept, reset);
            }
            _ => {}
        }
        env.links[link].send(&out);
    }

    /// Comes back once, to leave nothing behind.
    pub fn settle(&mut self, env: &mut Env) {
        self.forget_closed(env);
        if let Some(link) = self.link {
            env.links[link].cut(0, true);
        }
    }

    /// Whether it has gone, as far as the broker knows.
    pub fn is_gone(&self) -> bool {
        self.link.is_none() && self.old.is_empty()
    }

    /// Connects for a clean session without expiry, and cuts.
    pub fn clean_up(&mut self, env: &mut Env) {
        let terms = Terms {
            clean: true,
            ..Terms::default()
        };
        let link = env.open(Who::Rogue(self.index), terms);
        let mut out = Vec::new();
        self.version = Version::V5;
        self.encode_connect(&terms, &mut out);
        Disconnect::new(ReasonCode::Success).encode(self.version, &mut out);
        env.links[link].send(&out);
        env.links[link].client_ended = true;
        self.link = Some(link);
    }

    fn forget_closed(&mut self, env: &mut Env) {
        use super::wire::Place;
        if let Some(link) = self.link {
            let state = &mut env.links[link];
            if state.server_ended || state.client_ended {
                state.client_ended = true;
                self.old.push(link);
                self.link = None;
            }
        }
        self.old.retain(|&old| {
            env.links[old].to_client.clear();
            env.links[old].place != Place::Gone
        });
    }

    fn connect(&mut self, env: &mut Env) {
        if !env.rng.one_in(6) {
            return;
        }
        self.version = env.rng.pick(&[Version::V31, Version::V311, Version::V5]);
        let terms = Terms {
            clean: env.rng.one_in(2),
            expiry_s: env.rng.pick(&[0, 5, 1_000]),
            slow: env.rng.one_in(3),
            denied: env.rng.one_in(4),
            ..Terms::default()
        };
        let link = env.open(Who::Rogue(self.index), terms);
        let mut out = Vec::new();
        self.encode_connect(&terms, &mut out);
        env.links[link].send(&out);
        self.link = Some(link);
    }

    fn encode_connect(&self, terms: &Terms, out: &mut Vec<u8>) {
        let id = format!("rogue{}", self.index);
        let mut properties = ConnectProperties::default();
        if self.version == Version::V5 {
            properties.session_expiry_s = Some(terms.expiry_s);
            properties.receive_maximum = std::num::NonZeroU16::new(3);
        }
        let connect = Connect {
            version: self.version,
            clean_start: terms.clean || self.version == Version::V31,
            keep_alive_s: 10,
            client_id: &id,
            will: Some(Will {
                topic: "b",
                payload: b"x",
                qos: QoS::AtLeastOnce,
                retain: false,
                delay_s: 0,
                message_expiry_s: None,
                properties: Forwarded::default(),
            }),
            username: match (terms.slow, terms.denied) {
                (true, false) => Some("slow"),
                (false, true) => Some("denied"),
                (true, true) => Some("slow denied"),
                (false, false) => None,
            },
            password: None,
            properties,
        };
        connect.encode(out);
    }

    fn publish(&self, env: &mut Env, out: &mut Vec<u8>) {
        let qos = QoS::try_from(env.rng.below(3) as u8).expect("a QoS");
        let publish = Publish {
            dup: qos != QoS::AtMostOnce && env.rng.one_in(3),
            qos,
            retain: false,
            topic: env.rng.pick(&TOPICS),
            packet_id: if qos == QoS::AtMostOnce {
                0
            } else {
                env.rng.range(1, 6) as u16
            },
            topic_alias: None,
            message_expiry_s: None,
            properties: Forwarded::default(),
            subscription_ids: SubscriptionIds::default(),
            payload: b"x",
        };
        publish.encode(self.version, out);
    }

    fn subscribe(&self, env: &mut Env, out: &mut Vec<u8>) {
        let qos = QoS::try_from(env.rng.below(3) as u8).expect("a QoS");
        let filter = env.rng.pick(&FILTERS);
        Subscribe::new(1, &[(filter, SubscribeOptions::with_qos(qos))]).encode(self.version, out);
    }
}
