//! PUBLISH from a client, from the broker itself and from other shards; and where it goes.

use super::close::Ending;
use super::deliver::{Parcel, Terms};
use super::mail::delivery;
use super::packets::{Next, Up, conn_ack};
use super::{Effects, MqttOptions, Refusal, Shard, ShardId};
use crate::base::{ConnId, Now};
use crate::codec::{AckKind, Frame, Publish, QoS, ReasonCode, Version};
use crate::message::{Content, Message, Pack};
use crate::routing::{ClientKey, Route, ShardSet};
use crate::session::{Arrival, Violation};
use std::sync::Arc;

/// Who published: a session of this shard, whose no-local subscriptions are left out, or nobody
/// here.
type Publisher = Option<ClientKey>;

impl Shard {
    #[inline]
    pub(super) fn handle_publish(
        &mut self,
        now: Now,
        (id, up): (ConnId, Up),
        frame: &Frame<'_>,
        fx: &mut Effects,
    ) -> Result<Next, Violation> {
        let publish = Publish::decode(frame.header, frame.body, up.version)?;
        if let Some(alias) = publish.topic_alias {
            return self.handle_aliased(now, (id, up), (alias, publish), fx);
        }
        self.handle_resolved(now, (id, up), &publish, fx)
    }

    /// A PUBLISH with a topic alias: defines it or is named by it.
    fn handle_aliased(
        &mut self,
        now: Now,
        (id, up): (ConnId, Up),
        (alias, mut publish): (u16, Publish<'_>),
        fx: &mut Effects,
    ) -> Result<Next, Violation> {
        if alias > self.promises.of(up.announced).topic_alias_maximum {
            return Err(Violation::TopicAliasInvalid);
        }
        let aliases = &mut self
            .conns
            .get_mut(id.0)
            .expect("looked up by the caller")
            .rare_mut()
            .aliases;
        if !publish.topic.is_empty() {
            aliases.define(alias, publish.topic);
            return self.handle_resolved(now, (id, up), &publish, fx);
        }
        let topic = aliases
            .resolve(alias)
            .ok_or(Violation::TopicAliasInvalid)?
            .to_owned();
        publish.topic = &topic;
        self.handle_resolved(now, (id, up), &publish, fx)
    }

    fn handle_resolved(
        &mut self,
        now: Now,
        (id, up): (ConnId, Up),
        publish: &Publish<'_>,
        fx: &mut Effects,
    ) -> Result<Next, Violation> {
        let announced = self.promises.of(up.announced);
        if publish.qos > announced.maximum_qos {
            return Err(Violation::QoSNotSupported);
        }
        if publish.retain && !announced.retain_available {
            return Err(Violation::RetainNotSupported);
        }
        let is_too_long = up.is_mounted && !self.can_mount(id, publish.topic);
        if is_too_long || !self.within_limits(publish.topic) {
            return Err(self.limit_passed(publish.topic));
        }
        let slot = up.session;
        if publish.qos == QoS::ExactlyOnce {
            // 3.x has no Receive Maximum: there the number of ids is the bound.
            let receive_maximum = match up.version {
                Version::V5 => announced.receive_maximum,
                _ => u16::MAX,
            };
            let session = self.sessions.get_mut(slot);
            let session = session.expect("who is up has a session");
            let inbound = &mut session.flow_mut().inbound;
            match inbound.handle_publish(publish.packet_id, receive_maximum) {
                Arrival::New => {}
                Arrival::Again => {
                    let is_owed = session.flow_mut().acks.ask_again(publish.packet_id);
                    if !is_owed {
                        let ack = (AckKind::PubRec, publish.packet_id, ReasonCode::Success);
                        conn_ack(self, id, ack, fx);
                    }
                    return Ok(Next::Go);
                }
                Arrival::Excess => {
                    self.counters.qos2_excess += 1;
                    return Err(Violation::ReceiveMaximumExceeded);
                }
            }
        }
        self.counters.publish_in[publish.qos as usize] += 1;
        let is_denied = up.is_restricted && !self.allows_publish(id, publish.topic, fx);
        if is_denied && self.options.access.cuts_denied {
            // Nothing was accepted under this id: what comes with it again is judged again.
            self.release_inbound(slot, publish);
            self.end(now, id, Ending::Refused(ReasonCode::NotAuthorized), fx);
            return Ok(Next::Stop);
        }
        let (mounted, renamed);
        let mut publish = publish;
        if up.is_mounted {
            mounted = self.mounted(id, publish.topic);
            let topic = mounted.as_deref().unwrap_or(publish.topic);
            renamed = Publish { topic, ..*publish };
            publish = &renamed;
        }
        if self.durable.is_some() && publish.qos != QoS::AtMostOnce {
            return self.publish_kept(now, (id, up), (publish, is_denied), fx);
        }
        let reason = match is_denied {
            true => ReasonCode::NotAuthorized,
            false => self.accept(now, slot, publish, fx),
        };
        self.acknowledge((id, up), (publish, reason), fx);
        Ok(Next::Go)
    }

    /// Routes a client's message; what to acknowledge it with.
    pub(super) fn accept(
        &mut self,
        now: Now,
        slot: u32,
        publish: &Publish<'_>,
        fx: &mut Effects,
    ) -> ReasonCode {
        if !self.may_publish_to(publish.topic) {
            self.counters.refuse(Refusal::PublishDenied);
            return ReasonCode::NotAuthorized;
        }
        let content = Content {
            topic: publish.topic,
            payload: publish.payload,
            properties: publish.properties,
            qos: publish.qos,
            retain: publish.retain,
            expires_ms: MqttOptions::expires_ms(now.ms, publish.message_expiry_s),
        };
        self.counters.ledger.received += 1;
        match self.publish(now, Parcel::borrowed(content), Some(ClientKey(slot)), fx) {
            0 => ReasonCode::NoMatchingSubscribers,
            _ => ReasonCode::Success,
        }
    }

    /// PUBACK or PUBREC (MQTT-3.3.4-1). 3.x cannot be told of a refusal: it is acknowledged, and
    /// the refusal is in the counters.
    #[inline]
    fn acknowledge(
        &mut self,
        (id, up): (ConnId, Up),
        (publish, reason): (&Publish<'_>, ReasonCode),
        fx: &mut Effects,
    ) {
        let kind = match publish.qos {
            QoS::AtMostOnce => return,
            QoS::AtLeastOnce => AckKind::PubAck,
            QoS::ExactlyOnce => AckKind::PubRec,
        };
        if kind == AckKind::PubRec && reason.is_error() && up.version == Version::V5 {
            self.release_inbound(up.session, publish);
        }
        conn_ack(self, id, (kind, publish.packet_id, reason), fx);
    }

    /// The id of a PUBLISH that was refused is free (MQTT-4.3.3-9).
    pub(super) fn release_inbound(&mut self, slot: u32, publish: &Publish<'_>) {
        if publish.qos == QoS::ExactlyOnce {
            let session = self
                .sessions
                .get_mut(slot)
                .expect("looked up by the caller");
            session.flow_mut().inbound.release(publish.packet_id);
        }
    }

    /// A message of the broker itself, or a will.
    pub(super) fn handle_internal(&mut self, now: Now, message: &Message, fx: &mut Effects) {
        self.counters.ledger.internal += 1;
        self.publish(now, Parcel::kept(message), None, fx);
    }

    /// A message that another shard received.
    pub(super) fn handle_arrived(&mut self, now: Now, mut parcel: Parcel<'_>, fx: &mut Effects) {
        self.counters.ledger.arrived += 1;
        let (n, _) = self.publish_here(now, (&mut parcel, None), fx);
        self.counters.ledger.fan_out(n);
    }

    /// Messages that another shard received. Those of one topic in a row ask for their way once.
    pub(super) fn handle_pack(&mut self, now: Now, pack: &Pack, fx: &mut Effects) {
        let mut known: Option<(u64, Arc<Route>)> = None;
        for (content, is_same) in pack.iter() {
            let version = self.router.version();
            let same = known.take_if(|known| is_same && known.0 == version);
            let (_, route) = same.unwrap_or_else(|| {
                drop(known.take());
                (version, self.router.route(content.topic))
            });
            self.counters.ledger.arrived += 1;
            let mut parcel = Parcel::borrowed(content);
            let n = self.spread(now, (&mut parcel, None), &route, fx);
            self.counters.ledger.fan_out(n);
            known = Some((version, route));
        }
    }

    /// Retains and routes a message that came in here. Returns the receivers, other shards
    /// counted once each.
    fn publish(
        &mut self,
        now: Now,
        mut parcel: Parcel<'_>,
        publisher: Publisher,
        fx: &mut Effects,
    ) -> usize {
        if parcel.content.retain {
            let message = parcel.message(&mut self.scratch);
            self.retain(now, message, fx);
        }
        let (mut n, remote) = self.publish_here(now, (&mut parcel, publisher), fx);
        if self.options.shards > 1 {
            n += self.forward((&mut parcel, n > 0), remote, fx);
        }
        self.counters.ledger.fan_out(n);
        n
    }

    /// Delivers to the receivers of this shard and through the groups it owns. Returns how many
    /// there were, and the other shards that may have some.
    #[inline]
    fn publish_here(
        &mut self,
        now: Now,
        (parcel, publisher): (&mut Parcel<'_>, Publisher),
        fx: &mut Effects,
    ) -> (usize, ShardSet) {
        let route = self.router.route(parcel.content.topic);
        let n = self.spread(now, (parcel, publisher), &route, fx);
        (n, route.remote)
    }

    /// Delivers along a route, as far as it lies on this shard.
    #[inline]
    fn spread(
        &mut self,
        now: Now,
        (parcel, publisher): (&mut Parcel<'_>, Publisher),
        route: &Route,
        fx: &mut Effects,
    ) -> usize {
        parcel.has_many = route.targets.len() > 1;
        let mut n = 0;
        for target in route.targets_for(publisher) {
            n += 1;
            let terms = Terms {
                qos: target.qos,
                retain: target.retain_as_published && parcel.content.retain,
                ids: route.identifiers(target),
                deal: None,
            };
            self.deliver(now, target.client.0, terms, parcel, fx);
        }
        for &group in &route.groups {
            n += self.deal(now, (group, false), parcel, fx);
        }
        self.slices.spend(1 + n);
        n
    }

    /// Posts the message to the other shards that may have receivers.
    fn forward(
        &mut self,
        (parcel, has_local): (&mut Parcel<'_>, bool),
        remote: ShardSet,
        fx: &mut Effects,
    ) -> usize {
        if parcel.content.retain {
            let message = parcel.message(&mut self.scratch);
            self.counters.ledger.forwarded += 1;
            let receipt = self.receipt();
            fx.mail.post_to_interested(message, has_local, receipt);
            return 1;
        }
        let mut n = 0;
        let here = self.options.shard.0;
        for shard in remote.iter().filter(|&shard| shard != here) {
            n += 1;
            let receipt = self.receipt();
            if receipt.is_none() && Pack::takes(&parcel.content) {
                fx.mail.publish(ShardId(shard), &parcel.content);
            } else {
                let message = parcel.message(&mut self.scratch);
                fx.mail.post(ShardId(shard), delivery(message, receipt));
            }
        }
        self.counters.ledger.forwarded += n as u64;
        n
    }

    /// Brings the books in line with what was found while mail was posted.
    /// Call it after every [`Mail::drain`](super::Mail::drain), and drain again what comes of it.
    pub fn account_posted(&mut self, now: Now, posted: super::mail::Posted, fx: &mut Effects) {
        let ledger = &mut self.counters.ledger;
        ledger.forwarded += posted.extra;
        ledger.copies += posted.extra;
        ledger.forwarded -= posted.none + posted.none_but_local;
        ledger.copies -= posted.none_but_local;
        ledger.dropped[super::Drop::NoSubscriber as usize] += posted.none;
        for receipts in posted.receipts {
            self.count_receipts(now, receipts, fx);
        }
        self.hand_changes(fx);
    }

    /// The broker's own limits on topics.
    pub(super) fn within_limits(&self, topic: &str) -> bool {
        let mqtt = &self.options.mqtt;
        topic.len() <= mqtt.topic_bytes_max
            && (topic.len() < mqtt.topic_levels_max
                || topic.bytes().filter(|&b| b == b'/').count() < mqtt.topic_levels_max)
    }

    /// Which of the limits a topic that is not within them is beyond.
    fn limit_passed(&self, topic: &str) -> Violation {
        match self.limit_refusal(topic) {
            Refusal::TopicLevels => Violation::TopicLevels,
            _ => Violation::TopicLength,
        }
    }

    /// The same for the books. What is within these limits is too long with its mountpoint.
    pub(super) fn limit_refusal(&self, topic: &str) -> Refusal {
        let mqtt = &self.options.mqtt;
        let is_short = topic.len() <= mqtt.topic_bytes_max;
        match is_short && !self.within_limits(topic) {
            true => Refusal::TopicLevels,
            false => Refusal::TopicLength,
        }
    }

    /// `$SYS` is the broker's own.
    pub(super) fn may_publish_to(&self, topic: &str) -> bool {
        !is_own(topic)
    }
}

/// Whether the broker alone publishes to `topic`.
pub(super) fn is_own(topic: &str) -> bool {
    topic.starts_with("$SYS") && matches!(topic.as_bytes().get(4), None | Some(b'/'))
}
