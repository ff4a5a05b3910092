//! What the broker sent: every packet is checked for what this client may be sent.

use super::super::env::Env;
use super::super::model::Delivered;
use super::{Client, Request, Stage};
use ringmq::codec::packet::{Packet, Role};
use ringmq::codec::{AckKind, ConnAck, Publish, QoS, ReasonCode, SubAck, Version, frame};

impl Client {
    /// Takes some bytes from the network, and handles the packets that are whole.
    pub fn read(&mut self, env: &mut Env) {
        let Some(link) = self.link else { return };
        let waiting = env.links[link].to_client.len();
        if waiting == 0 {
            if env.links[link].server_ended {
                env.say(|| format!("client {} sees the end of link {link}", self.index));
                env.links[link].client_ended = true;
                self.link = None;
                self.old.push(link);
                self.lose_connection();
            }
            return;
        }
        let count = if env.calm {
            waiting
        } else {
            env.rng.fragment(waiting)
        };
        let bytes: Vec<u8> = env.links[link].to_client.drain(..count).collect();
        env.fold(&bytes);
        let mut input = std::mem::take(&mut self.on.input);
        input.extend(bytes);
        let mut used = 0;
        while self.link == Some(link) {
            let next = frame::next(&input[used..], 1 << 28).expect("the broker sends packets");
            let Some(frame) = next else { break };
            assert!(
                frame.len <= self.packet_bytes_max,
                "a packet larger than agreed"
            );
            used += frame.len;
            let packet = ringmq::codec::decode(frame, self.version, Role::Client);
            let packet = packet.expect("the broker's packets are well-formed");
            env.say(|| format!("client {} <- {}", self.index, brief(&packet)));
            self.handle(packet, env);
        }
        if self.link == Some(link) {
            input.drain(..used);
            self.on.input = input;
        }
    }

    fn handle(&mut self, packet: Packet<'_>, env: &mut Env) {
        if !self.on.up {
            assert!(
                matches!(packet, Packet::ConnAck(_)),
                "{packet:?} before CONNACK"
            );
        }
        match packet {
            Packet::ConnAck(connack) => self.handle_connack(&connack, env),
            Packet::Publish(publish) => self.handle_publish(&publish, env),
            Packet::Ack(ack) => {
                let found = !ack.reason.is_error();
                match ack.kind {
                    AckKind::PubAck => self.handle_puback(ack.packet_id, ack.reason, env),
                    AckKind::PubRec => self.handle_pubrec(ack.packet_id, ack.reason, env),
                    AckKind::PubRel => self.handle_pubrel(ack.packet_id, found),
                    AckKind::PubComp => self.handle_pubcomp(ack.packet_id),
                }
            }
            Packet::SubAck(suback) => self.handle_suback(&suback, env),
            Packet::UnsubAck(unsuback) => {
                let request = self.on.requests.remove(&unsuback.packet_id);
                let Some(Request::Unsubscribe { filters, sent }) = request else {
                    panic!("UNSUBACK for no UNSUBSCRIBE: {unsuback:?}");
                };
                let incarnation = self.incarnation.expect("up");
                for filter in filters {
                    env.model
                        .confirm_unsubscribe(incarnation, filter, sent, env.step);
                }
            }
            Packet::PingResp => {}
            Packet::Disconnect(disconnect) => {
                let expected = [
                    ReasonCode::KeepAliveTimeout,
                    ReasonCode::AdministrativeAction,
                    ReasonCode::SessionTakenOver,
                    ReasonCode::ServerShuttingDown,
                ];
                assert!(
                    expected.contains(&disconnect.reason),
                    "client {}: {disconnect:?}",
                    self.index
                );
            }
            other => panic!("client {} got {other:?}", self.index),
        }
    }

    fn handle_connack(&mut self, connack: &ConnAck<'_>, env: &mut Env) {
        assert!(!self.on.up, "a second CONNACK");
        assert_eq!(
            connack.reason,
            ReasonCode::Success,
            "client {} was refused",
            self.index
        );
        let link = &env.links[self.link.expect("it came on a link")];
        assert!(link.established, "CONNACK without the session's beginning");
        if self.version != Version::V31 {
            assert_eq!(connack.session_present, link.session_present);
        }
        self.on.up = true;
        self.forgot = false;
        self.on.alias_maximum = connack.properties.topic_alias_maximum;
        self.incarnation = link.incarnation;
        let present = link.session_present;
        // A session may have ended and another begun without CONNACK getting here: what is left of
        // the first has no meaning in the second, though Session Present cannot tell.
        if std::mem::replace(&mut self.known, self.incarnation) != self.incarnation {
            self.forget_session();
        }
        if present {
            self.resume(env);
        }
    }

    fn handle_publish(&mut self, publish: &Publish<'_>, env: &mut Env) {
        let topic = self.resolve(publish);
        let id = publish.packet_id;
        let incarnation = self.incarnation.expect("up");
        let delivered = Delivered {
            topic: &topic,
            payload: publish.payload,
            qos: publish.qos as u8,
            retain: publish.retain,
            dup: publish.dup,
            identifiers: publish.subscription_ids.iter().collect(),
        };
        if publish.qos != QoS::AtMostOnce {
            assert!(
                self.on.unacknowledged.insert(id),
                "client {}: packet id {id} is in flight, and came again with {delivered:?}",
                self.index,
            );
            assert!(
                self.on.unacknowledged.len() <= self.receive_maximum as usize,
                "client {}: more in flight than its Receive Maximum",
                self.index,
            );
        }
        match publish.qos {
            QoS::AtMostOnce => drop(env.model.deliver(incarnation, &delivered, env.step)),
            QoS::AtLeastOnce => {
                assert!(
                    !self.inbound.contains_key(&id),
                    "packet id {id} is in use at QoS 2"
                );
                env.model.deliver(incarnation, &delivered, env.step);
                self.on.owed.push_back((AckKind::PubAck, id));
            }
            QoS::ExactlyOnce => {
                self.on.owed.push_back((AckKind::PubRec, id));
                if let Some(known) = self.inbound.get(&id) {
                    let same = known.is_none_or(|n| {
                        publish.payload.starts_with(format!("m{n:08x}").as_bytes())
                    });
                    assert!(
                        same && publish.dup,
                        "packet id {id} of {known:?}: {delivered:?}"
                    );
                    return;
                }
                let number = env.model.deliver(incarnation, &delivered, env.step);
                self.inbound.insert(id, number);
            }
        }
    }

    fn resolve(&mut self, publish: &Publish<'_>) -> String {
        let Some(alias) = publish.topic_alias else {
            return publish.topic.to_owned();
        };
        assert!(
            alias <= self.alias_maximum,
            "alias {alias} beyond the maximum"
        );
        if publish.topic.is_empty() {
            return self
                .on
                .aliases_in
                .get(&alias)
                .expect("an alias that was defined")
                .clone();
        }
        self.on.aliases_in.insert(alias, publish.topic.to_owned());
        publish.topic.to_owned()
    }

    /// The broker acknowledges in the order in which it was sent to (MQTT-4.6.0-2, -3).
    fn handle_puback(&mut self, id: u16, reason: ReasonCode, env: &mut Env) {
        let first = self.outgoing.iter().position(|o| o.stage == Stage::Puback);
        let Some(at) = first.filter(|&at| self.outgoing[at].id == id) else {
            panic!(
                "client {}: PUBACK {id} is not the next of {:?}",
                self.index, self.outgoing
            );
        };
        let done = self.outgoing.remove(at).expect("found just now");
        self.accepted(done.number, reason, env);
    }

    fn handle_pubrec(&mut self, id: u16, reason: ReasonCode, env: &mut Env) {
        let first = self.outgoing.iter().position(|o| o.stage == Stage::Pubrec);
        let Some(at) = first.filter(|&at| self.outgoing[at].id == id) else {
            panic!(
                "client {}: PUBREC {id} is not the next of {:?}",
                self.index, self.outgoing
            );
        };
        self.outgoing[at].stage = Stage::Pubcomp;
        let number = self.outgoing[at].number;
        self.accepted(number, reason, env);
        self.on.owed.push_back((AckKind::PubRel, id));
    }

    fn accepted(&mut self, number: u32, reason: ReasonCode, env: &mut Env) {
        assert!(
            !reason.is_error(),
            "client {}: message {number} refused: {reason:?}",
            self.index
        );
        let message = &env.model.messages[number as usize];
        let is_only = message.qos == 2 || message.transmissions == 1;
        env.kept.acknowledge(number, is_only);
        env.model.accept(number, env.step);
        if reason == ReasonCode::NoMatchingSubscribers {
            env.model.check_unmatched(number);
        }
    }

    fn handle_pubrel(&mut self, id: u16, found: bool) {
        // Also when PUBCOMP was lost and this is a repetition.
        if found {
            self.inbound.remove(&id);
        }
        self.on.owed.push_back((AckKind::PubComp, id));
    }

    fn handle_pubcomp(&mut self, id: u16) {
        let is_it = |o: &super::Outgoing| o.id == id && o.stage == Stage::Pubcomp;
        let Some(at) = self.outgoing.iter().position(is_it) else {
            panic!(
                "client {}: PUBCOMP {id} for none of {:?}",
                self.index, self.outgoing
            );
        };
        self.outgoing.remove(at);
    }

    fn handle_suback(&mut self, suback: &SubAck<'_>, env: &mut Env) {
        let request = self.on.requests.remove(&suback.packet_id);
        let Some(Request::Subscribe { grants }) = request else {
            panic!("SUBACK for no SUBSCRIBE: {suback:?}");
        };
        assert_eq!(grants.len(), suback.reasons.len(), "one reason a filter");
        let incarnation = self.incarnation.expect("up");
        for ((grant, qos), &reason) in grants.into_iter().zip(suback.reasons) {
            assert_eq!(reason as u8, qos, "granted something else");
            env.model.confirm(incarnation, grant, env.step);
        }
    }
}

fn brief(packet: &Packet<'_>) -> String {
    match packet {
        Packet::Publish(p) => format!(
            "PUBLISH {} id {} qos {:?} dup {} retain {} {}",
            p.topic,
            p.packet_id,
            p.qos,
            p.dup,
            p.retain,
            String::from_utf8_lossy(p.payload).trim_end_matches('.'),
        ),
        Packet::Ack(ack) => format!("{:?} {} {:?}", ack.kind, ack.packet_id, ack.reason),
        Packet::ConnAck(c) => format!("CONNACK present {} {:?}", c.session_present, c.reason),
        Packet::SubAck(s) => format!("SUBACK {} {:?}", s.packet_id, s.reasons),
        other => format!("{other:?}"),
    }
}
