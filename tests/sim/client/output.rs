//! What a client does of its own accord.

use super::super::env::Env;
use super::super::model::{Grant, Message, payload_of};
use super::super::plan::{BROAD, FILTERS, GROUPS, PRESENCE, TOPICS};
use super::{Client, Outgoing, Request, Stage};
use ringmq::codec::{
    Ack, AckKind, Forwarded, PING_REQ, Publish, QoS, ReasonCode, RetainHandling, Subscribe,
    SubscribeOptions, SubscriptionIds, Unsubscribe, Version,
};

/// Own messages under way at most, whatever the broker takes.
const OUTGOING_MAX: usize = 8;

impl Client {
    /// One thing at random.
    pub fn act(&mut self, env: &mut Env) {
        self.tend_old(env);
        let Some(link) = self.link else {
            if self.may_connect(env) && env.rng.one_in(4) {
                self.connect(env, None);
            }
            return;
        };
        // Before CONNACK only a clean session is known.
        let may_talk = self.on.up || env.links[link].terms.clean;
        match env.rng.below(100) {
            0..30 => self.read(env),
            30..50 => self.acknowledge(env),
            50..72 if may_talk => self.publish(env),
            72..82 if may_talk => self.subscribe(env),
            82..86 if may_talk => self.unsubscribe(env),
            86..90 if self.on.up => self.send(&PING_REQ, env),
            90 if self.on.up => self.leave(env),
            91..93 if env.rng.below(10) < env.plan.faults => self.fail(env),
            93 if env.rng.below(10) < env.plan.faults && self.on.up => self.connect(env, None),
            _ => {}
        }
    }

    /// Nothing new: reads and acknowledges everything, and connects if it is not.
    pub fn settle(&mut self, env: &mut Env) {
        self.tend_old(env);
        if self.link.is_none() && self.may_connect(env) {
            self.connect(env, Some(false));
        }
        self.read(env);
        while !self.on.owed.is_empty() {
            self.acknowledge(env);
        }
    }

    pub(super) fn send(&mut self, bytes: &[u8], env: &mut Env) {
        if let Some(link) = self.link {
            env.links[link].send(bytes);
        }
    }

    fn leave(&mut self, env: &mut Env) {
        if !env.rng.one_in(2) {
            return;
        }
        let with_will = env.rng.one_in(3);
        let reason = if with_will {
            ReasonCode::DisconnectWithWill
        } else {
            ReasonCode::Success
        };
        let expiry_s = env.rng.one_in(3).then(|| env.rng.pick(&[0, 1, 100]));
        self.disconnect(env, reason, expiry_s);
    }

    /// Sends some of the acknowledgements that are due.
    fn acknowledge(&mut self, env: &mut Env) {
        let count = env.rng.range(1, 4);
        let mut out = Vec::new();
        for _ in 0..count {
            let Some((kind, id)) = self.on.owed.pop_front() else {
                break;
            };
            Ack::new(kind, id, ReasonCode::Success).encode(self.version, &mut out);
            if matches!(kind, AckKind::PubAck | AckKind::PubComp) {
                self.on.unacknowledged.remove(&id);
            }
            env.say(|| format!("client {} -> {kind:?} {id}", self.index));
        }
        self.send(&out, env);
    }

    fn publish(&mut self, env: &mut Env) {
        let rng = &mut env.rng;
        let qos = rng.below(3) as u8;
        let quota = self.on.receive_maximum.min(OUTGOING_MAX);
        if qos > 0 && self.outgoing.len() >= quota {
            return;
        }
        let retain = rng.one_in(5);
        let bytes = match rng.below(20) {
            0 => rng.range(200, 3_000),
            _ => rng.range(9, 60),
        };
        let number = env.model.messages.len() as u32;
        let message = Message {
            publisher: self.index,
            topic: env.rng.pick(&TOPICS),
            qos,
            retain,
            empty: retain && env.rng.one_in(5),
            bytes: bytes as usize,
            expires: self.version == Version::V5 && env.rng.one_in(12),
            sent: env.step,
            accepted: None,
            finished: None,
            transmissions: 0,
            will: None,
            begun_by: Vec::new(),
            dealt_to: Vec::new(),
        };
        env.model.messages.push(message);
        if retain {
            env.model.write(number);
        }
        let id = if qos > 0 { self.take_id() } else { 0 };
        if qos > 0 {
            let stage = if qos == 1 {
                Stage::Puback
            } else {
                Stage::Pubrec
            };
            self.outgoing.push_back(Outgoing { id, number, stage });
        }
        self.send_publish(env, (id, number), false);
    }

    fn send_publish(&mut self, env: &mut Env, (id, number): (u16, u32), dup: bool) {
        let message = &mut env.model.messages[number as usize];
        message.transmissions += 1;
        let topic = message.topic;
        let room = self.on.aliases_out.len() < self.on.alias_maximum as usize;
        let (name, alias) = match self.on.aliases_out.get(topic) {
            Some(&alias) if env.rng.one_in(2) => ("", Some(alias)),
            Some(&alias) => (topic, Some(alias)),
            None if room && env.rng.one_in(2) => {
                let alias = self.on.aliases_out.len() as u16 + 1;
                self.on.aliases_out.insert(topic, alias);
                (topic, Some(alias))
            }
            None => (topic, None),
        };
        let payload = match message.empty {
            true => Vec::new(),
            false => payload_of(number, message.bytes),
        };
        let publish = Publish {
            dup,
            qos: QoS::try_from(message.qos).expect("a QoS"),
            retain: message.retain,
            topic: name,
            packet_id: id,
            topic_alias: alias,
            message_expiry_s: message.expires.then_some(1 + number % 50),
            properties: Forwarded::default(),
            subscription_ids: SubscriptionIds::default(),
            payload: &payload,
        };
        let told = message.told();
        let mut out = Vec::new();
        publish.encode(self.version, &mut out);
        env.say(|| {
            format!(
                "client {} -> PUBLISH id {id} dup {dup} m{number:08x} {told}",
                self.index
            )
        });
        self.send(&out, env);
    }

    /// The session goes on: what is unacknowledged is sent again, in order (MQTT-4.4.0-1).
    pub(super) fn resume(&mut self, env: &mut Env) {
        for at in 0..self.outgoing.len() {
            let Outgoing { id, number, stage } = self.outgoing[at];
            match stage {
                Stage::Pubcomp => {
                    let mut out = Vec::new();
                    let ack = Ack::new(AckKind::PubRel, id, ReasonCode::Success);
                    ack.encode(self.version, &mut out);
                    self.send(&out, env);
                }
                _ => self.send_publish(env, (id, number), true),
            }
        }
    }

    fn draw_filter(&self, env: &mut Env) -> &'static str {
        if self.watcher && env.rng.one_in(6) {
            return PRESENCE;
        }
        match env.rng.below(3) {
            0 if self.sharer => env.rng.pick(&GROUPS),
            0 => env.rng.pick(&BROAD),
            _ => env.rng.pick(&FILTERS),
        }
    }

    fn subscribe(&mut self, env: &mut Env) {
        let Some(incarnation) = self.incarnation else {
            return;
        };
        let v5 = self.version == Version::V5;
        let identifier = (v5 && env.rng.one_in(2)).then(|| env.rng.range(1, 200) as u32);
        let mut filters: Vec<(&'static str, SubscribeOptions)> = Vec::new();
        for _ in 0..env.rng.range(1, 3) {
            let filter = self.draw_filter(env);
            if filters.iter().all(|(known, _)| *known != filter) {
                let options = self.draw_options(filter, env);
                filters.push((filter, options));
            }
        }
        let mut grants = Vec::new();
        for &(filter, options) in &filters {
            let known = &env.model.incarnations[incarnation].subscriptions;
            let first = known.iter().all(|s| s.filter != filter);
            let shared = GROUPS.contains(&filter);
            let handling = options.retain_handling;
            let grant = Grant {
                confirmed: None,
                qos: options.qos as u8,
                no_local: options.no_local,
                retain_as_published: options.retain_as_published,
                wants_retained: !shared && handling != RetainHandling::Never,
                surely_retained: !shared
                    && (handling == RetainHandling::OnSubscribe
                        || (handling == RetainHandling::OnNewSubscription && first)),
                identifier,
            };
            let at = env.model.subscribe(incarnation, filter, grant);
            grants.push((at, options.qos as u8));
        }
        let id = self.take_id();
        env.say(|| {
            format!(
                "client {} -> SUBSCRIBE {id} {identifier:?} {filters:?}",
                self.index
            )
        });
        let mut packet = Subscribe::new(id, &filters);
        packet.subscription_id = identifier;
        let mut out = Vec::new();
        packet.encode(self.version, &mut out);
        self.on.requests.insert(id, Request::Subscribe { grants });
        self.send(&out, env);
    }

    fn draw_options(&self, filter: &str, env: &mut Env) -> SubscribeOptions {
        let group = GROUPS.iter().position(|&group| group == filter);
        let qos = match group {
            Some(group) => env.plan.group_qos[group],
            None => env.rng.pick(&[0, 1, 1, 2, 2]),
        };
        let qos = QoS::try_from(qos).expect("a QoS");
        if self.version != Version::V5 {
            return SubscribeOptions::with_qos(qos);
        }
        SubscribeOptions {
            qos,
            no_local: group.is_none() && env.rng.one_in(5),
            retain_as_published: env.rng.one_in(5),
            retain_handling: env.rng.pick(&[
                RetainHandling::OnSubscribe,
                RetainHandling::OnSubscribe,
                RetainHandling::OnNewSubscription,
                RetainHandling::Never,
            ]),
        }
    }

    fn unsubscribe(&mut self, env: &mut Env) {
        let Some(incarnation) = self.incarnation else {
            return;
        };
        let known = &env.model.incarnations[incarnation].subscriptions;
        let filters: Vec<&'static str> = match known.len() as u64 {
            0 => return,
            n => vec![known[env.rng.below(n) as usize].filter],
        };
        let id = self.take_id();
        env.say(|| format!("client {} -> UNSUBSCRIBE {id} {filters:?}", self.index));
        for filter in &filters {
            env.model.unsubscribe(incarnation, filter, env.step);
        }
        let mut out = Vec::new();
        Unsubscribe::new(id, &filters).encode(self.version, &mut out);
        let sent = env.step;
        self.on
            .requests
            .insert(id, Request::Unsubscribe { filters, sent });
        self.send(&out, env);
    }
}
