//! From the first byte to CONNACK.

use super::close::Ending;
use super::conn::{Asked, Conn, Pause, PendingConnect, Phase};
use super::{Effects, Event, Move, Refusal, Shard, owner_of};
use crate::auth::{AuthRequest, AuthStep, Grant, Verdict};
use crate::base::{ConnId, Now, Peer, ShardId};
use crate::codec::{
    ConnAck, ConnAckProperties, Connect, DecodeError, QoS, ReasonCode, Version, connect_version,
};
use crate::limits::TOPIC_BYTES_MAX;
use crate::message::{Content, Message, NEVER_MS};
use crate::session::{EXPIRY_NEVER_S, Session, will::Will};

/// First byte of CONNECT.
pub(super) const CONNECT: u8 = 0x10;

/// Why a connection was not let in, and how it is told.
pub(super) struct Refused {
    pub reason: ReasonCode,
    pub why: Refusal,
    pub text: &'static str,
}

impl Shard {
    pub(super) fn handle_opened(&mut self, now: Now, id: ConnId, peer: Peer) {
        self.conns.insert_at(id.0, Conn::new(peer, now));
        let deadline = now.ms + self.options.mqtt.connect_timeout_ms;
        self.arm_connection(deadline, id);
    }

    /// The first packet. `rest` is everything read, from this packet on: it moves with the
    /// connection when the client belongs to another shard.
    pub(super) fn handle_connect(
        &mut self,
        now: Now,
        id: ConnId,
        (body, rest): (&[u8], &[u8]),
        fx: &mut Effects,
    ) {
        let mut connect = match Connect::decode(CONNECT, body) {
            Ok(connect) => connect,
            Err(error) => return self.refuse_undecoded(id, body, error, fx),
        };
        let is_nameless = connect.client_id.is_empty();
        let certified = self.certified_client_id(id);
        connect.client_id = certified.as_deref().unwrap_or(connect.client_id);
        let owner = owner_of(connect.client_id, self.options.shards);
        if owner != self.options.shard && !connect.client_id.is_empty() {
            return self.hand_off(id, owner, rest, fx);
        }
        let conn = self
            .conns
            .get_mut(id.0)
            .expect("bytes come from an open connection");
        let properties = &connect.properties;
        conn.version = connect.version;
        conn.asked = Asked::of(properties);
        conn.packet_bytes_max = properties
            .packet_bytes_max
            .map_or(u32::MAX, |max| max.get());
        let mountpoint = self
            .conns
            .get(id.0)
            .and_then(|conn| self.mountpoint(&conn.peer));
        if let Err(refused) = self.check_connect(&connect, mountpoint.as_deref()) {
            return self.refuse(id, refused, fx);
        }
        let attempt = self.ticket();
        let mut pending = self.pending(now, &connect, mountpoint.as_deref());
        pending.assigned = is_nameless;
        let conn = self.conns.get_mut(id.0).expect("looked up just now");
        conn.phase = Phase::Authenticating;
        let ours = self.options.mqtt.topic_alias_maximum;
        conn.alias_maximum = properties.topic_alias_maximum.min(ours);
        conn.attempt = attempt;
        let request = AuthRequest {
            conn: id,
            attempt: conn.attempt,
            peer: conn.peer.clone(),
            client_id: pending.client_id.clone(),
            username: connect.username.map(Into::into),
            password: connect.password.map(Into::into),
            method: properties.authentication_method.map(Into::into),
            data: properties.authentication_data.map(Into::into),
            voucher: Default::default(),
            state: None,
            step: AuthStep::Connect,
        };
        let rare = conn.rare_mut();
        rare.mountpoint = mountpoint;
        rare.method = request.method.clone();
        rare.connect = Some(pending);
        self.ask(now, request, fx);
    }

    /// Gives the connection to the shard that owns its client id, with what was read of it.
    fn hand_off(&mut self, id: ConnId, owner: ShardId, rest: &[u8], fx: &mut Effects) {
        let conn = self.take_conn(id);
        self.counters.moved += 1;
        // The owner counts them.
        self.counters.packets_in[1] -= 1;
        self.counters.bytes_in -= rest.len() as u64;
        fx.moves.push(Move {
            conn: id,
            to: owner,
            peer: conn.expect("bytes come from an open connection").peer,
            bytes: rest.to_vec(),
        });
    }

    /// Puts a question to the authenticator and carries out the answer.
    pub(super) fn ask(&mut self, now: Now, request: AuthRequest, fx: &mut Effects) {
        let (conn, attempt) = (request.conn, request.attempt);
        match self.authenticator.ask(&request) {
            Verdict::Pending => {
                // Who is in goes on while it is looked at again.
                if let Some(conn) = self.conns.get_mut(conn.0) {
                    conn.last_packet_ms = now.ms;
                    if request.step != AuthStep::Recheck {
                        conn.pause = Some(Pause::Undecided);
                        let deadline = now.ms + self.options.mqtt.verdict_timeout_ms;
                        self.arm_connection(deadline, request.conn);
                    }
                }
                fx.auth.push(request);
            }
            verdict => self.carry_out(now, (conn, attempt), verdict, fx),
        }
    }

    /// A verdict that was not given at once: afterwards, what was read meanwhile goes on.
    pub(super) fn handle_verdict(
        &mut self,
        now: Now,
        attempt: (ConnId, u32),
        verdict: Verdict,
        fx: &mut Effects,
    ) {
        self.carry_out(now, attempt, verdict, fx);
        self.resume_input(now, attempt.0, fx);
    }

    fn carry_out(
        &mut self,
        now: Now,
        (id, attempt): (ConnId, u32),
        verdict: Verdict,
        fx: &mut Effects,
    ) {
        let Some(conn) = self.conns.get_mut(id.0).filter(|c| c.attempt == attempt) else {
            return;
        };
        conn.pause.take_if(|pause| *pause == Pause::Undecided);
        let is_up = conn.phase == Phase::Up;
        let is_recheck = is_up && conn.rare.as_ref().is_none_or(|rare| !rare.reauthenticating);
        let verdict = match verdict {
            // Who is not in cannot stay.
            Verdict::Stay if !is_recheck => Verdict::Refuse(ReasonCode::NotAuthorized),
            verdict => verdict,
        };
        match verdict {
            Verdict::Pending if is_recheck => {}
            Verdict::Pending => conn.pause = Some(Pause::Undecided),
            Verdict::Challenge { .. } if is_recheck => {}
            Verdict::Stay => {}
            Verdict::Challenge { data, state } => {
                conn.rare_mut().auth_state = state;
                let auth = (ReasonCode::ContinueAuthentication, Some(&*data));
                if !self.send_auth(id, auth, fx) {
                    self.end(now, id, Ending::AnswerTooLarge { told: true }, fx);
                }
            }
            Verdict::Allow(grant) if is_recheck => {
                self.carry_out_recheck(now, id, Ok(grant), fx);
            }
            Verdict::Refuse(reason) if is_recheck => {
                self.carry_out_recheck(now, id, Err(reason), fx);
            }
            Verdict::Allow(mut grant) if is_up => {
                conn.rare_mut().reauthenticating = false;
                let data = grant.data.take();
                if !self.send_auth(id, (ReasonCode::Success, data.as_deref()), fx) {
                    return self.end(now, id, Ending::AnswerTooLarge { told: true }, fx);
                }
                self.bind(now, id, grant);
                self.enforce(id, fx);
            }
            Verdict::Allow(grant) => self.admit(now, id, grant, fx),
            Verdict::Refuse(reason) => {
                let why = why_refused(reason);
                if is_up {
                    self.counters.refuse(why);
                    return self.end(now, id, Ending::Refused(reason), fx);
                }
                let text = "authentication";
                self.turn_down(now, id, Refused { reason, why, text }, fx);
            }
        }
    }

    /// Lets a client in, unless its will is one that it may not publish.
    fn admit(&mut self, now: Now, id: ConnId, grant: Grant, fx: &mut Effects) {
        let conn = self.conns.get(id.0).expect("looked up by the caller");
        let pending = conn.rare.as_ref().and_then(|rare| rare.connect.as_ref());
        let will = pending.and_then(|pending| pending.will.as_ref());
        let topic = will.map(|will| conn.unmounted(will.message.content().topic));
        if topic.is_none_or(|topic| self.allows_will(id, &grant, topic)) {
            return self.establish(now, id, grant, fx);
        }
        let reason = ReasonCode::NotAuthorized;
        let (why, text) = (Refusal::PublishDenied, "will topic");
        self.turn_down(now, id, Refused { reason, why, text }, fx);
    }

    fn refuse_undecoded(&mut self, id: ConnId, body: &[u8], error: DecodeError, fx: &mut Effects) {
        let conn = self
            .conns
            .get_mut(id.0)
            .expect("bytes come from an open connection");
        let known = connect_version(body);
        conn.version = known.unwrap_or(Version::V311);
        let refused = match error {
            DecodeError::NotMqtt => return self.drop_silently(id, Refusal::NotMqtt, fx),
            DecodeError::UnsupportedVersion { level } => {
                conn.version = answered_as(level);
                Refused {
                    reason: ReasonCode::UnsupportedProtocolVersion,
                    why: Refusal::NotMqtt,
                    text: "protocol version",
                }
            }
            // Before 5.0 there is no code for it: closed without CONNACK (3.1.1 MQTT-3.1.4-1).
            _ if known != Some(Version::V5) => {
                return self.drop_silently(id, Refusal::ProtocolViolation, fx);
            }
            error => Refused {
                reason: error.reason(),
                why: Refusal::ProtocolViolation,
                text: error.sentence(),
            },
        };
        self.refuse_saying(id, (refused, &error.to_string()), fx);
    }

    fn check_connect(
        &self,
        connect: &Connect<'_>,
        mountpoint: Option<&str>,
    ) -> Result<(), Refused> {
        let mqtt = &self.options.mqtt;
        let id = connect.client_id;
        let refused = |reason, why, text| Err(Refused { reason, why, text });
        let nameless = match connect.version {
            Version::V31 => id.is_empty(),
            Version::V311 => id.is_empty() && !connect.clean_start,
            Version::V5 => false,
        };
        if nameless || id.len() > mqtt.client_id_bytes_max {
            let reason = ReasonCode::ClientIdentifierNotValid;
            return refused(reason, Refusal::ClientId, "client identifier");
        }
        let Some(will) = &connect.will else {
            return Ok(());
        };
        if will.qos > mqtt.maximum_qos {
            let reason = ReasonCode::QoSNotSupported;
            return refused(reason, Refusal::ProtocolViolation, "will QoS");
        }
        if will.retain && !mqtt.retain_available {
            let reason = ReasonCode::RetainNotSupported;
            return refused(reason, Refusal::ProtocolViolation, "will RETAIN");
        }
        let mounted_len = mountpoint.map_or(0, str::len) + will.topic.len();
        if !self.within_limits(will.topic) || mounted_len > TOPIC_BYTES_MAX {
            let reason = ReasonCode::TopicNameInvalid;
            return refused(reason, self.limit_refusal(will.topic), "will topic");
        }
        if !self.may_publish_to(will.topic) {
            let reason = ReasonCode::TopicNameInvalid;
            return refused(reason, Refusal::PublishDenied, "will topic");
        }
        Ok(())
    }

    /// The client id that the certificate of this connection gives.
    fn certified_client_id(&self, id: ConnId) -> Option<Box<str>> {
        let which = self.options.mqtt.certificate_client_id?;
        let certificate = self.conns.get(id.0)?.peer.certificate()?;
        certificate.name_of(which).map(Into::into)
    }

    fn pending(
        &mut self,
        now: Now,
        connect: &Connect<'_>,
        mountpoint: Option<&str>,
    ) -> PendingConnect {
        let mqtt = &self.options.mqtt;
        let asked_s = match (connect.version, connect.clean_start) {
            (Version::V5, _) => connect.properties.session_expiry_s.unwrap_or(0),
            (_, true) => 0,
            (_, false) => mqtt.session_expiry_v3_s,
        };
        let expiry_s = asked_s.min(mqtt.session_expiry_max_s);
        let assigned = connect.client_id.is_empty();
        let will = connect.will.as_ref().map(|will| {
            let mounted = mountpoint.map(|prefix| [prefix, will.topic].concat());
            let content = Content {
                topic: mounted.as_deref().unwrap_or(will.topic),
                payload: will.payload,
                properties: will.properties,
                qos: will.qos,
                retain: will.retain,
                expires_ms: NEVER_MS,
            };
            Box::new(Will {
                message: Message::copy_of(&content, &mut self.scratch),
                delay_s: will.delay_s,
                message_expiry_s: will.message_expiry_s,
            })
        });
        PendingConnect {
            client_id: match assigned {
                true => self.assign_client_id(now),
                false => connect.client_id.into(),
            },
            assigned,
            username: connect.username.map(Into::into),
            clean_start: connect.clean_start,
            keep_alive_s: connect.keep_alive_s,
            expiry_s,
            expiry_changed: expiry_s != asked_s,
            receive_maximum: connect
                .properties
                .receive_maximum
                .map_or(u16::MAX, |max| max.get()),
            will,
        }
    }

    /// A client id that nobody has and that belongs here (MQTT-3.2.2-16).
    fn assign_client_id(&mut self, now: Now) -> Box<str> {
        loop {
            let id = format!("ringmq-{:x}-{:016x}", now.unix_ms, self.random.next());
            let ours = owner_of(&id, self.options.shards) == self.options.shard;
            if ours && self.find_session(&id).is_none() {
                return id.into();
            }
        }
    }

    /// Makes the connection a client: take-over, clean start, CONNACK, what was left undelivered.
    fn establish(&mut self, now: Now, id: ConnId, mut grant: Grant, fx: &mut Effects) {
        let conn = self.conns.get_mut(id.0).expect("looked up by the caller");
        let pending = conn.rare.as_mut().and_then(|rare| rare.connect.take());
        let mut pending = pending.expect("CONNECT waits for its verdict");
        let found = self.find_session(&pending.client_id);
        if let Some(old) = found.and_then(|slot| self.sessions.get(slot)?.conn) {
            self.end(now, old, Ending::TakenOver, fx);
        }
        // The old session may have ended with its connection.
        let mut found = self.find_session(&pending.client_id);
        let mut ended = 0;
        if let Some(slot) = found.take_if(|slot| pending.clean_start || self.is_late(now, *slot)) {
            ended = self.end_session(now, slot, fx);
        }
        if found.is_none() && self.sessions_len() >= self.options.limits.sessions_max {
            let reason = ReasonCode::QuotaExceeded;
            let (why, text) = (Refusal::SessionQuota, "too many sessions");
            self.announce_refused(now, id, (&pending, reason), fx);
            return self.refuse(id, Refused { reason, why, text }, fx);
        }
        let present = found.is_some();
        let slot = match found {
            Some(slot) => slot,
            None => self.insert_session(std::mem::take(&mut pending.client_id)),
        };
        self.last_epoch = (self.last_epoch + 1).max(now.unix_ms * 1000);
        let epoch = self.last_epoch;
        let conn = self.conns.get_mut(id.0).expect("looked up before");
        let held_to_s = self.options.mqtt.held_to_s(pending.keep_alive_s);
        let keep_alive_s = held_to_s.unwrap_or(pending.keep_alive_s);
        conn.phase = Phase::Up;
        conn.announced = self.promises.present();
        conn.session = slot;
        conn.silence_ms_max = u32::from(keep_alive_s) * 100 * self.options.mqtt.keep_alive_tenths;
        conn.last_packet_ms = now.ms;
        let keep_rare = conn.rare.as_ref().is_some_and(|rare| rare.stays());
        let version = conn.version;
        let session = self.sessions.get_mut(slot).expect("found or made just now");
        session.conn = Some(id);
        session.epoch = epoch;
        session.version = version;
        session.username = pending.username.take();
        session.receive_maximum = pending.receive_maximum;
        session.expiry_s = pending.expiry_s;
        session.disconnected_ms = 0;
        session.will = pending.will.take();
        let claimed = self.keep_session(slot);
        self.counters.connects += 1;
        let data = grant.data.take();
        self.bind(now, id, grant);
        if !self.send_connack(id, (present, data.as_deref()), &pending, fx) {
            return self.end(now, id, Ending::AnswerTooLarge { told: false }, fx);
        }
        // What CONNACK says of the session has to be so after a crash too.
        self.hold_outbox(slot, &[ended, claimed], fx);
        if !keep_rare {
            self.conns.get_mut(id.0).expect("looked up before").rare = None;
        }
        if keep_alive_s > 0 {
            let deadline = now.ms + u64::from(keep_alive_s) * 1000;
            self.arm_connection(deadline, id);
        }
        if present {
            self.enforce(id, fx);
        }
        self.announce_connected(now, slot, (present, pending.clean_start), fx);
        self.set_member_connected(slot, true, fx);
        self.pump(now, slot, fx);
    }

    /// Whether the session's time is over, though its alarm has not had its turn.
    fn is_late(&self, now: Now, slot: u32) -> bool {
        let session = self.sessions.get(slot).expect("found by the caller");
        session.conn.is_none() && session.ends_ms() <= now.ms
    }

    /// False: the client takes no packets of that size, so that it cannot even be let in.
    fn send_connack(
        &mut self,
        id: ConnId,
        (session_present, data): (bool, Option<&[u8]>),
        pending: &PendingConnect,
        fx: &mut Effects,
    ) -> bool {
        let mqtt = &self.options.mqtt;
        let conn = self.conns.get(id.0).expect("looked up by the caller");
        let session = self
            .sessions
            .get(conn.session)
            .expect("established by the caller");
        let absent = |available: bool| (!available).then_some(false);
        let properties = ConnAckProperties {
            session_expiry_s: pending.expiry_changed.then_some(pending.expiry_s),
            receive_maximum: Some(mqtt.receive_maximum),
            maximum_qos: (mqtt.maximum_qos != QoS::ExactlyOnce).then_some(mqtt.maximum_qos),
            retain_available: absent(mqtt.retain_available),
            packet_bytes_max: Some(mqtt.packet_bytes_max),
            assigned_client_id: pending.assigned.then_some(&*session.client_id),
            topic_alias_maximum: mqtt.topic_alias_maximum,
            wildcard_subscription_available: absent(mqtt.wildcard_available),
            shared_subscription_available: absent(mqtt.shared_available),
            server_keep_alive_s: mqtt.held_to_s(pending.keep_alive_s),
            authentication_method: conn.rare.as_ref().and_then(|rare| rare.method.as_deref()),
            authentication_data: data,
            ..ConnAckProperties::default()
        };
        let reason = ReasonCode::Success;
        let connack = ConnAck {
            session_present,
            reason,
            properties,
        };
        let out = fx.out.of(id);
        let start = out.len();
        connack.encode(conn.version, out);
        let fits = out.len() - start <= conn.packet_bytes_max as usize;
        if fits {
            self.counters.packets_out[2] += 1;
        } else {
            out.truncate(start);
        }
        fits
    }

    /// Refuses a client of whom it is known who it wants to be.
    fn turn_down(&mut self, now: Now, id: ConnId, refused: Refused, fx: &mut Effects) {
        let conn = self.conns.get_mut(id.0).expect("looked up by the caller");
        let pending = conn.rare.as_mut().and_then(|rare| rare.connect.take());
        if let Some(pending) = pending {
            self.announce_refused(now, id, (&pending, refused.reason), fx);
        }
        self.refuse(id, refused, fx);
    }

    /// CONNACK with an error, and the end of the connection (MQTT-3.2.2-7).
    pub(super) fn refuse(&mut self, id: ConnId, refused: Refused, fx: &mut Effects) {
        let text = refused.text;
        self.refuse_saying(id, (refused, text), fx);
    }

    /// The same, with what the client is told besides the code.
    fn refuse_saying(&mut self, id: ConnId, (refused, text): (Refused, &str), fx: &mut Effects) {
        self.counters.refuse(refused.why);
        let Some(conn) = self.take_conn(id) else {
            return;
        };
        let properties = ConnAckProperties {
            reason_string: conn.reason_string(text),
            ..ConnAckProperties::default()
        };
        let connack = ConnAck {
            session_present: false,
            reason: refused.reason,
            properties,
        };
        let out = fx.out.of(id);
        let start = out.len();
        connack.encode(conn.version, out);
        if out.len() - start > conn.packet_bytes_max as usize {
            out.truncate(start);
        } else {
            self.counters.packets_out[2] += 1;
        }
        fx.events.push(Event::Refused {
            peer: conn.peer,
            reason: refused.text,
        });
        fx.closes.push(id);
    }

    /// The end of a connection to which nothing can be said.
    pub(super) fn drop_silently(&mut self, id: ConnId, why: Refusal, fx: &mut Effects) {
        self.counters.refuse(why);
        let Some(conn) = self.take_conn(id) else {
            return;
        };
        fx.events.push(Event::Refused {
            peer: conn.peer,
            reason: why.name(),
        });
        fx.closes.push(id);
    }

    /// The slot of the session with this client id.
    pub(super) fn find_session(&self, client_id: &str) -> Option<u32> {
        use std::hash::BuildHasher;
        let hash = self.hasher.hash_one(client_id);
        let is_it = |slot: &u32| {
            self.sessions
                .get(*slot)
                .is_some_and(|s| *s.client_id == *client_id)
        };
        self.by_client_id.find(hash, is_it).copied()
    }

    pub(super) fn insert_session(&mut self, client_id: Box<str>) -> u32 {
        use std::hash::BuildHasher;
        self.next_generation = self.next_generation.wrapping_add(1);
        let hash = self.hasher.hash_one(&*client_id);
        let slot = self.sessions.insert(Session {
            client_id,
            username: None,
            is_named: false,
            voucher: Default::default(),
            access: None,
            conn: None,
            generation: self.next_generation,
            epoch: 0,
            version: Version::V5,
            receive_maximum: u16::MAX,
            expiry_s: EXPIRY_NEVER_S,
            disconnected_ms: 0,
            alarm_ms: u64::MAX,
            subscriptions: Default::default(),
            shared: None,
            will: None,
            flow: None,
        });
        let (sessions, hasher) = (&self.sessions, &self.hasher);
        self.by_client_id.insert_unique(hash, slot, |slot| {
            hasher.hash_one(
                &*sessions
                    .get(*slot)
                    .expect("in the table while it lives")
                    .client_id,
            )
        });
        slot
    }
}

/// The version in which a level that is not spoken is refused: 5.0 for what comes after it, the old
/// CONNACK for the others. Bit 0x80 is no later version: bridges of mosquitto set it on 3 and 4 to
/// say that they are bridges, and connect without it once CONNACK says 0x01, in two bytes. To take
/// them at that level would be to promise that what a bridge publishes does not come back to it.
fn answered_as(level: u8) -> Version {
    match level {
        6..0x80 => Version::V5,
        _ => Version::V311,
    }
}

/// How a refusal is counted.
fn why_refused(reason: ReasonCode) -> Refusal {
    match reason {
        ReasonCode::ServerUnavailable | ReasonCode::ServerBusy => Refusal::ServerUnavailable,
        ReasonCode::Banned => Refusal::Banned,
        ReasonCode::ConnectionRateExceeded => Refusal::HeldOff,
        _ => Refusal::Authentication,
    }
}

/// SplitMix64: spreads a seed into ids. Not for secrets.
pub(super) struct SplitMix(pub u64);

impl SplitMix {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}
