//! A client that keeps to the standard, over a network that does not care.

mod input;
mod output;

use super::env::Env;
use super::model::Message;
use super::plan::TOPICS;
use super::wire::{Place, Terms, Who};
use ringmq::codec::{
    AckKind, Connect, ConnectProperties, Disconnect, Forwarded, QoS, ReasonCode, Version, Will,
};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::num::{NonZeroU16, NonZeroU32};

/// How far an own message has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Puback,
    Pubrec,
    Pubcomp,
}

/// An own message that is not acknowledged for good.
#[derive(Clone, Copy, Debug)]
struct Outgoing {
    id: u16,
    number: u32,
    stage: Stage,
}

/// SUBSCRIBE or UNSUBSCRIBE without its answer.
enum Request {
    Subscribe {
        grants: Vec<((usize, usize), u8)>,
    },
    Unsubscribe {
        filters: Vec<&'static str>,
        sent: u64,
    },
}

/// What lives as long as a connection.
#[derive(Default)]
struct Connection {
    input: Vec<u8>,
    /// Acknowledgements due, in order.
    owed: VecDeque<(AckKind, u16)>,
    /// Packet ids that came with PUBLISH and are not done with.
    unacknowledged: BTreeSet<u16>,
    aliases_in: BTreeMap<u16, String>,
    aliases_out: BTreeMap<&'static str, u16>,
    alias_maximum: u16,
    requests: BTreeMap<u16, Request>,
    receive_maximum: usize,
    up: bool,
}

/// A client.
pub struct Client {
    pub index: usize,
    id: String,
    version: Version,
    persistent: bool,
    expiry_s: u32,
    keep_alive_s: u16,
    receive_maximum: u16,
    packet_bytes_max: usize,
    alias_maximum: u16,
    pub sharer: bool,
    watcher: bool,
    slow: bool,
    /// A clean session was asked for, and whether the broker heard of it is not known: to resume
    /// what may be there would be against MQTT-3.2.2-4.
    forgot: bool,
    pub link: Option<usize>,
    /// Links given up that the broker may still read.
    old: Vec<usize>,
    pub incarnation: Option<usize>,
    /// The session that the state below belongs to.
    known: Option<usize>,
    next_id: u16,
    outgoing: VecDeque<Outgoing>,
    /// QoS 2 from the broker: PUBREL has not come.
    inbound: BTreeMap<u16, Option<u32>>,
    on: Connection,
}

impl Client {
    /// A client drawn from the world's randomness.
    pub fn draw(index: usize, env: &mut Env) -> Client {
        let rng = &mut env.rng;
        let version = rng.pick(&[
            Version::V311,
            Version::V311,
            Version::V5,
            Version::V5,
            Version::V5,
            Version::V31,
        ]);
        let v5 = version == Version::V5;
        Client {
            index,
            id: format!("c{index}"),
            version,
            persistent: version != Version::V31 && rng.percent(75),
            expiry_s: rng.pick(&[1, 30, 1_000_000, u32::MAX]),
            keep_alive_s: rng.pick(&[0, 5, 60]),
            receive_maximum: if v5 {
                rng.pick(&[1, 2, 5, 65_535])
            } else {
                u16::MAX
            },
            packet_bytes_max: if v5 {
                rng.pick(&[200, 1 << 20, 1 << 20])
            } else {
                usize::MAX
            },
            alias_maximum: if v5 { rng.pick(&[0, 1, 10]) } else { 0 },
            sharer: rng.one_in(2),
            watcher: rng.one_in(4),
            slow: rng.one_in(6),
            forgot: false,
            link: None,
            old: Vec::new(),
            incarnation: None,
            known: None,
            next_id: 0,
            outgoing: VecDeque::new(),
            inbound: BTreeMap::new(),
            on: Connection::default(),
        }
    }

    /// Whether CONNACK came on the present connection.
    pub fn is_up(&self) -> bool {
        self.link.is_some() && self.on.up
    }

    /// Whether nothing is owed by or to this client any more.
    pub fn is_idle(&self, env: &Env) -> bool {
        self.is_up()
            && self.outgoing.is_empty()
            && self.inbound.is_empty()
            && self.on.owed.is_empty()
            && self.on.input.is_empty()
            && self.on.requests.is_empty()
            && self
                .link
                .is_some_and(|link| env.links[link].to_client.is_empty())
            && self.old.is_empty()
    }

    /// Whether the client is not connected, and nothing of it is under way.
    pub fn is_away(&self) -> bool {
        self.link.is_none() && self.old.is_empty()
    }

    /// Tells what keeps the client from being idle.
    pub fn told(&self) -> String {
        format!(
            "client {} up {} outgoing {:?} inbound {:?} owed {:?} requests {} input {} old {:?}",
            self.index,
            self.is_up(),
            self.outgoing,
            self.inbound,
            self.on.owed,
            self.on.requests.len(),
            self.on.input.len(),
            self.old,
        )
    }

    /// Looks after links that were given up: reads them until the broker closes.
    pub fn tend_old(&mut self, env: &mut Env) {
        // The connection that was to take over did not get that far: nobody else ends the old one.
        let is_alone = self.link.is_none();
        self.old.retain(|&old| {
            let link = &mut env.links[old];
            link.to_client.clear();
            let over = link.place == Place::Gone;
            if (link.server_ended || is_alone) && !over {
                link.client_ended = true;
            }
            !over
        });
    }

    /// Whether CONNECT may be sent.
    pub fn may_connect(&self, env: &Env) -> bool {
        self.old.iter().all(|&old| env.is_settled(old))
    }

    /// Connects, over the present connection's head if there is one.
    pub fn connect(&mut self, env: &mut Env, clean: Option<bool>) {
        if let Some(link) = self.link.take() {
            self.old.push(link);
        }
        self.lose_connection();
        let v5 = self.version == Version::V5;
        let plain = clean.is_some();
        let drawn = match self.version {
            Version::V5 => env.rng.one_in(8) || (!self.persistent && env.rng.one_in(2)),
            _ => !self.persistent || env.rng.one_in(8),
        };
        let clean = clean.unwrap_or(drawn) || self.version == Version::V31 || self.forgot;
        self.forgot = clean;
        let expiry_s = match (v5, clean) {
            (true, _) if self.persistent && !(plain && clean) => self.expiry_s,
            (true, _) | (false, true) => 0,
            (false, false) => env.plan.options.mqtt.session_expiry_v3_s,
        };
        let will = (!plain && env.rng.one_in(3)).then(|| self.draw_will(env));
        let keep_alive_s = if plain { 0 } else { self.keep_alive_s };
        let slow = self.slow && !plain;
        let terms = Terms {
            clean,
            expiry_s,
            will,
            keep_alive_s,
            slow,
            denied: false,
            expiry_at_end_s: None,
        };
        let link = env.open(Who::Client(self.index), terms);
        env.links[link].packet_bytes_max = self.packet_bytes_max;
        env.say(|| format!("client {} connects by link {link}: {terms:?}", self.index));
        self.link = Some(link);
        self.incarnation = None;
        if clean {
            self.forget_session();
            let incarnation = env.model.incarnate(self.index, self.packet_bytes_max);
            env.links[link].incarnation = Some(incarnation);
            self.incarnation = Some(incarnation);
            self.known = self.incarnation;
        }
        self.on.receive_maximum = env.plan.options.mqtt.receive_maximum as usize;
        self.send_connect(env, link, &terms);
    }

    fn send_connect(&self, env: &mut Env, link: usize, terms: &Terms) {
        let mut payload = Vec::new();
        let will = terms.will.map(|(number, delay_s)| {
            let message = &env.model.messages[number as usize];
            payload = super::model::payload_of(number, message.bytes);
            (message.topic, message.qos, message.retain, delay_s)
        });
        let v5 = self.version == Version::V5;
        let mut out = Vec::new();
        let connect = Connect {
            version: self.version,
            clean_start: terms.clean,
            keep_alive_s: terms.keep_alive_s,
            client_id: &self.id,
            will: will.map(|(topic, qos, retain, delay_s)| Will {
                topic,
                payload: &payload,
                qos: QoS::try_from(qos).expect("a QoS"),
                retain,
                delay_s,
                message_expiry_s: None,
                properties: Forwarded::default(),
            }),
            username: terms.slow.then_some("slow"),
            password: None,
            properties: match v5 {
                false => ConnectProperties::default(),
                true => ConnectProperties {
                    session_expiry_s: (terms.expiry_s > 0).then_some(terms.expiry_s),
                    receive_maximum: NonZeroU16::new(self.receive_maximum),
                    packet_bytes_max: NonZeroU32::new(self.packet_bytes_max as u32),
                    topic_alias_maximum: self.alias_maximum,
                    ..ConnectProperties::default()
                },
            },
        };
        connect.encode(&mut out);
        env.links[link].send(&out);
    }

    fn draw_will(&self, env: &mut Env) -> (u32, u32) {
        let v5 = self.version == Version::V5;
        let delay_s = if v5 { env.rng.pick(&[0, 0, 2, 20]) } else { 0 };
        let number = env.model.messages.len() as u32;
        let retain = env.rng.one_in(5);
        env.model.messages.push(Message {
            publisher: self.index,
            topic: env.rng.pick(&TOPICS),
            qos: env.rng.below(3) as u8,
            retain,
            empty: false,
            bytes: env.rng.range(9, 40) as usize,
            expires: false,
            sent: u64::MAX,
            accepted: None,
            finished: None,
            transmissions: 1,
            will: Some(super::model::Will::new(delay_s)),
            begun_by: Vec::new(),
            dealt_to: Vec::new(),
        });
        if retain {
            env.model.write(number);
        }
        (number, delay_s)
    }

    /// Says goodbye and closes; the session ends with it, if it can be told so.
    pub fn disconnect(&mut self, env: &mut Env, reason: ReasonCode, expiry_s: Option<u32>) {
        let Some(link) = self.link.take() else { return };
        let v5 = self.version == Version::V5;
        let mut out = Vec::new();
        let expiry_s = expiry_s.filter(|_| v5 && env.links[link].terms.expiry_s > 0);
        let reason = if v5 { reason } else { ReasonCode::Success };
        let packet = Disconnect {
            session_expiry_s: expiry_s,
            ..Disconnect::new(reason)
        };
        packet.encode(self.version, &mut out);
        env.say(|| {
            format!(
                "client {} disconnects link {link}: {reason:?} {expiry_s:?}",
                self.index
            )
        });
        let at = &mut env.links[link];
        at.terms.expiry_at_end_s = expiry_s;
        at.send(&out);
        at.client_ended = true;
        self.old.push(link);
        self.lose_connection();
    }

    /// The network fails: the connection breaks, or hangs for ever.
    pub fn fail(&mut self, env: &mut Env) {
        let Some(link) = self.link.take() else { return };
        // Only what the broker has read already may become a client.
        let hang = env.links[link].established && env.rng.one_in(4);
        let kept = env.rng.below(env.links[link].to_server.len() as u64 + 1) as usize;
        let reset = env.rng.one_in(3);
        env.say(|| {
            format!(
                "client {} loses link {link}: kept {kept} hang {hang}",
                self.index
            )
        });
        if hang {
            env.links[link].vanished = true;
        } else {
            env.links[link].cut(kept, reset);
        }
        self.old.push(link);
        self.lose_connection();
    }

    /// The connection is gone, the session is not.
    fn lose_connection(&mut self) {
        self.on = Connection::default();
    }

    /// The session is gone.
    fn forget_session(&mut self) {
        self.outgoing.clear();
        self.inbound.clear();
    }

    fn take_id(&mut self) -> u16 {
        loop {
            self.next_id = self.next_id % 40 + 1;
            let id = self.next_id;
            let free =
                self.outgoing.iter().all(|o| o.id != id) && !self.on.requests.contains_key(&id);
            if free {
                return id;
            }
        }
    }
}
