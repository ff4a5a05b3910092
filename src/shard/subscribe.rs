//! SUBSCRIBE and UNSUBSCRIBE.

use super::close::Ending;
use super::packets::Next;
use super::slices::FILTER;
use super::{Change, Effects, Refusal, Shard};
use crate::base::{ConnId, Now, ShardId};
use crate::codec::{
    Filter, Frame, QoS, ReasonCode, RetainHandling, SubAck, Subscribe, SubscribeFilters,
    SubscribeOptions, UnsubAck, Unsubscribe, UnsubscribeFilters, Version,
};
use crate::routing::{ClientKey, FilterId, Subscription};
use crate::session::{PendingSuback, Request, RequestKind, RetainedPull, Violation};
use std::num::NonZeroU32;

/// Filters that wait for retained messages of which one is looked for in the time of a delivery.
const PULLS_A_DELIVERY: usize = 64;

/// What one SUBSCRIBE has led to so far.
struct Progress {
    slot: u32,
    identifier: Option<NonZeroU32>,
    suback: PendingSuback,
}

/// What one UNSUBSCRIBE has led to so far.
struct Farewell {
    packet_id: u16,
    reasons: Vec<ReasonCode>,
    /// The changes that UNSUBACK has to wait for.
    changes: Vec<u64>,
}

impl Shard {
    pub(super) fn handle_subscribe(
        &mut self,
        now: Now,
        id: ConnId,
        frame: &Frame<'_>,
        fx: &mut Effects,
    ) -> Result<Next, Violation> {
        let conn = self.conns.get(id.0).expect("looked up by the caller");
        let (slot, version) = (conn.session, conn.version);
        let subscribe = Subscribe::decode(frame.header, frame.body, version)?;
        let progress = Progress {
            slot,
            identifier: subscribe.subscription_id.and_then(NonZeroU32::new),
            suback: PendingSuback {
                ticket: self.ticket(),
                packet_id: subscribe.packet_id,
                reasons: Vec::new(),
                waiting: 0,
                pulls: Vec::new(),
                new: Vec::new(),
            },
        };
        self.subscribe_to(now, id, (subscribe.filters(), progress), fx)
    }

    /// A slice of the filters of a SUBSCRIBE, and after the last one SUBACK.
    fn subscribe_to(
        &mut self,
        now: Now,
        id: ConnId,
        (mut filters, mut progress): (SubscribeFilters<'_>, Progress),
        fx: &mut Effects,
    ) -> Result<Next, Violation> {
        let version = self
            .conns
            .get(id.0)
            .expect("looked up by the caller")
            .version;
        while let Some((filter, options)) = filters.next() {
            let reason = self.subscribe(id, (filter, options), &mut progress, fx)?;
            if version == Version::V31 && reason.is_error() {
                // Its SUBACK cannot say so, and what the client was not told of it does not have.
                for filter in progress.suback.new {
                    self.slices.spend(FILTER);
                    self.unsubscribe(progress.slot, &filter, fx);
                }
                return Err(Violation::Denied);
            }
            progress.suback.reasons.push(reason);
            self.slices.spend(FILTER);
            if self.slices.is_spent() && !filters.rest().is_empty() {
                return Ok(self.subscribe_later(id, filters.rest(), progress));
            }
        }
        let Progress { slot, suback, .. } = progress;
        if suback.waiting > 0 {
            let session = self
                .sessions
                .get_mut(slot)
                .expect("who is up has a session");
            session.flow_mut().subacks.push(suback);
        } else {
            self.send_suback(now, id, suback, fx);
        }
        Ok(self.next(id))
    }

    fn subscribe_later(&mut self, id: ConnId, rest: &[u8], progress: Progress) -> Next {
        let Progress {
            slot,
            identifier,
            mut suback,
        } = progress;
        let ticket = suback.ticket;
        // It waits for its own filters too, whatever the owners of groups and the store answer.
        suback.waiting += 1;
        let session = self
            .sessions
            .get_mut(slot)
            .expect("who is up has a session");
        session.flow_mut().subacks.push(suback);
        let kind = RequestKind::Subscribe { ticket, identifier };
        self.keep_request(id, rest, kind)
    }

    fn keep_request(&mut self, id: ConnId, rest: &[u8], kind: RequestKind) -> Next {
        let conn = self.conns.get(id.0).expect("looked up by the caller");
        let session = self
            .sessions
            .get_mut(conn.session)
            .expect("who is up has a session");
        let request = Request {
            filters: rest.to_vec(),
            kind,
        };
        self.tail_bytes += request.filters.len();
        session.flow_mut().request = Some(Box::new(request));
        self.put_off_input(id)
    }

    /// A slice of the packet that was too long for one.
    pub(super) fn go_on_with_request(
        &mut self,
        now: Now,
        id: ConnId,
        fx: &mut Effects,
    ) -> Result<Next, Violation> {
        let conn = self.conns.get(id.0).expect("looked up by the caller");
        let slot = conn.session;
        let flow = self.sessions.get_mut(slot).and_then(|s| s.flow.as_mut());
        let Some((flow, request)) = flow.and_then(|flow| {
            let request = flow.request.take()?;
            Some((flow, request))
        }) else {
            return Ok(Next::Go);
        };
        let Request { filters, kind } = *request;
        self.tail_bytes -= filters.len();
        match kind {
            RequestKind::Subscribe { ticket, identifier } => {
                let at = flow.subacks.iter().position(|p| p.ticket == ticket);
                let mut suback = flow.subacks.remove(at.expect("it waits for this"));
                suback.waiting -= 1;
                let progress = Progress {
                    slot,
                    identifier,
                    suback,
                };
                self.subscribe_to(now, id, (SubscribeFilters::read(&filters), progress), fx)
            }
            RequestKind::Unsubscribe {
                packet_id,
                reasons,
                changes,
            } => {
                let farewell = Farewell {
                    packet_id,
                    reasons,
                    changes,
                };
                let filters = UnsubscribeFilters::read(&filters);
                self.unsubscribe_from_all(now, id, (filters, farewell), fx)
            }
        }
    }

    /// One filter. An error only for what is wrong with the whole packet (MQTT-3.8.3-4).
    fn subscribe(
        &mut self,
        id: ConnId,
        (text, options): (&str, SubscribeOptions),
        progress: &mut Progress,
        fx: &mut Effects,
    ) -> Result<ReasonCode, Violation> {
        let filter = match self.check_filter(id, text) {
            Ok(filter) => filter,
            Err((reason, why)) => {
                self.counters.refuse(why);
                return Ok(reason);
            }
        };
        if filter.share.is_some() && options.no_local {
            return Err(Violation::UnexpectedPacket);
        }
        if !self.allows_subscribe(id, filter.levels, fx) {
            return Ok(ReasonCode::NotAuthorized);
        }
        let mounted = self.mounted(id, filter.levels);
        let filter = Filter {
            levels: mounted.as_deref().unwrap_or(filter.levels),
            ..filter
        };
        let conn = self.conns.get(id.0).expect("looked up by the caller");
        let announced = self.promises.of(conn.announced);
        let granted = options.qos.min(announced.maximum_qos);
        let subscription = Subscription {
            qos: granted,
            no_local: options.no_local,
            retain_as_published: options.retain_as_published,
            identifier: progress.identifier,
        };
        if !self.has_room_for(progress.slot, &filter) {
            self.counters.refuse(Refusal::SubscriptionQuota);
            return Ok(ReasonCode::QuotaExceeded);
        }
        self.note_new(id, progress, &filter);
        self.keep_subscription(progress, &filter, subscription);
        if let Some(share) = filter.share {
            let waits = self.join_group(progress, (share, filter.levels), subscription, fx);
            progress.suback.waiting += u32::from(waits);
            return Ok(granted_reason(granted));
        }
        let client = ClientKey(progress.slot);
        let subscribed = self.router.subscribe(client, filter.levels, subscription);
        if subscribed.is_new {
            let session = self
                .sessions
                .get_mut(progress.slot)
                .expect("who is up has a session");
            session.subscriptions.push(subscribed.id);
        }
        let wants_retained = match options.retain_handling {
            RetainHandling::OnSubscribe => true,
            RetainHandling::OnNewSubscription => subscribed.is_new,
            RetainHandling::Never => false,
        };
        if wants_retained {
            if !subscribed.is_new {
                self.forget_pull(progress, subscribed.id);
            }
            let pull = self.retained_pull(subscribed.id, filter.levels, subscription);
            progress.suback.pulls.push(pull);
        }
        Ok(granted_reason(granted))
    }

    /// Takes note of what would have to be taken back.
    fn note_new(&self, id: ConnId, progress: &mut Progress, filter: &Filter<'_>) {
        let conn = self.conns.get(id.0).expect("looked up by the caller");
        if conn.version == Version::V31 && !self.has_subscription(progress.slot, filter) {
            progress.suback.new.push(written(filter));
        }
    }

    /// SUBACK waits until the store has it.
    fn keep_subscription(
        &mut self,
        progress: &mut Progress,
        filter: &Filter<'_>,
        subscription: Subscription,
    ) {
        if let Some(session) = self.kept_as(progress.slot) {
            let filter = written(filter);
            let change = Change::Subscribe {
                session,
                filter,
                subscription,
            };
            let waits = self.keep_for_suback(progress.slot, change, progress.suback.ticket);
            progress.suback.waiting += u32::from(waits);
        }
    }

    /// What is wrong with a filter, for the client and for the books.
    fn check_filter<'a>(
        &self,
        id: ConnId,
        text: &'a str,
    ) -> Result<Filter<'a>, (ReasonCode, Refusal)> {
        let invalid = ReasonCode::TopicFilterInvalid;
        let filter = Filter::parse(text).map_err(|_| (invalid, Refusal::FilterInvalid))?;
        if !self.within_limits(filter.levels) {
            return Err((invalid, self.limit_refusal(filter.levels)));
        }
        let share = filter.share.unwrap_or_default();
        let is_too_long = share.len() > self.options.mqtt.topic_bytes_max;
        if is_too_long || !self.can_mount(id, text) {
            return Err((invalid, Refusal::TopicLength));
        }
        let conn = self.conns.get(id.0).expect("looked up by the caller");
        let announced = self.promises.of(conn.announced);
        if filter.has_wildcard && !announced.wildcard_available {
            let reason = ReasonCode::WildcardSubscriptionsNotSupported;
            return Err((reason, Refusal::NotAvailable));
        }
        if filter.share.is_some() && !announced.shared_available {
            let reason = ReasonCode::SharedSubscriptionsNotSupported;
            return Err((reason, Refusal::NotAvailable));
        }
        Ok(filter)
    }

    /// Whether the client may have this subscription besides those that it has.
    fn has_room_for(&self, slot: u32, filter: &Filter<'_>) -> bool {
        let session = self.sessions.get(slot).expect("who is up has a session");
        let shared_len = session.shared.as_ref().map_or(0, |shared| shared.len());
        session.subscriptions.len() + shared_len < self.options.limits.subscriptions_max
            || self.has_subscription(slot, filter)
    }

    fn has_subscription(&self, slot: u32, filter: &Filter<'_>) -> bool {
        let session = self.sessions.get(slot).expect("who is up has a session");
        match filter.share {
            Some(share) => session
                .shared
                .iter()
                .flat_map(|shared| shared.iter())
                .any(|known| *known.key.share == *share && *known.key.filter == *filter.levels),
            None => self.router.has(ClientKey(slot), filter.levels),
        }
    }

    fn join_group(
        &mut self,
        progress: &mut Progress,
        (share, filter): (&str, &str),
        subscription: Subscription,
        fx: &mut Effects,
    ) -> bool {
        self.join(
            progress.slot,
            (share, filter),
            (subscription, progress.suback.ticket),
            fx,
        )
    }

    /// Who subscribes again is given the retained messages from the start (MQTT-3.8.4-3): without
    /// this one that takes none of them could have any number of ways to them under way.
    fn forget_pull(&mut self, progress: &mut Progress, id: FilterId) {
        progress.suback.pulls.retain(|pull| pull.id != id);
        let session = self.sessions.get_mut(progress.slot);
        if let Some(flow) = session.and_then(|session| session.flow.as_mut()) {
            self.slices.spend(flow.pulls.len() / PULLS_A_DELIVERY);
            flow.forget_pull(id);
        }
    }

    /// The way to the retained messages that a filter is for, over the shards that may have some.
    fn retained_pull(
        &mut self,
        id: FilterId,
        filter: &str,
        subscription: Subscription,
    ) -> RetainedPull {
        let shards = match filter.contains(['+', '#']) {
            true => (0..self.options.shards).rev().map(ShardId).collect(),
            false => vec![self.retained_owner(filter)],
        };
        RetainedPull {
            ticket: self.ticket(),
            id,
            filter: filter.into(),
            subscription,
            shards,
            after: None,
        }
    }

    /// SUBACK, and then the retained messages.
    pub(super) fn send_suback(
        &mut self,
        now: Now,
        id: ConnId,
        pending: PendingSuback,
        fx: &mut Effects,
    ) {
        let conn = self.conns.get(id.0).expect("looked up by the caller");
        let slot = conn.session;
        let suback = SubAck::new(pending.packet_id, &pending.reasons);
        let out = fx.out.of(id);
        let start = out.len();
        suback.encode(conn.version, out);
        if out.len() - start > conn.packet_bytes_max as usize {
            out.truncate(start);
            return self.end(now, id, Ending::AnswerTooLarge { told: true }, fx);
        }
        self.counters.packets_out[9] += 1;
        if pending.pulls.is_empty() {
            return;
        }
        let session = self
            .sessions
            .get_mut(slot)
            .expect("who is up has a session");
        session.flow_mut().pulls.extend(pending.pulls);
        self.pump(now, slot, fx);
    }

    pub(super) fn handle_unsubscribe(
        &mut self,
        now: Now,
        id: ConnId,
        frame: &Frame<'_>,
        fx: &mut Effects,
    ) -> Result<Next, Violation> {
        let conn = self.conns.get(id.0).expect("looked up by the caller");
        let unsubscribe = Unsubscribe::decode(frame.header, frame.body, conn.version)?;
        let farewell = Farewell {
            packet_id: unsubscribe.packet_id,
            reasons: Vec::new(),
            changes: Vec::new(),
        };
        self.unsubscribe_from_all(now, id, (unsubscribe.filters(), farewell), fx)
    }

    /// A slice of the filters of an UNSUBSCRIBE, and after the last one UNSUBACK.
    fn unsubscribe_from_all(
        &mut self,
        now: Now,
        id: ConnId,
        (mut filters, mut farewell): (UnsubscribeFilters<'_>, Farewell),
        fx: &mut Effects,
    ) -> Result<Next, Violation> {
        let conn = self.conns.get(id.0).expect("looked up by the caller");
        let (slot, version) = (conn.session, conn.version);
        let packet_bytes_max = conn.packet_bytes_max;
        while let Some(text) = filters.next() {
            let mounted = self.mounted_filter(id, text);
            let text = mounted.as_deref().unwrap_or(text);
            let (reason, change) = self.unsubscribe(slot, text, fx);
            farewell.reasons.push(reason);
            if change != 0 {
                self.expect_change(change);
                farewell.changes.push(change);
            }
            self.slices.spend(FILTER);
            if self.slices.is_spent() && !filters.rest().is_empty() {
                let kind = RequestKind::Unsubscribe {
                    packet_id: farewell.packet_id,
                    reasons: farewell.reasons,
                    changes: farewell.changes,
                };
                return Ok(self.keep_request(id, filters.rest(), kind));
            }
        }
        let unsuback = UnsubAck::new(farewell.packet_id, &farewell.reasons);
        let out = fx.out.of(id);
        let start = out.len();
        unsuback.encode(version, out);
        if out.len() - start > packet_bytes_max as usize {
            out.truncate(start);
            self.end(now, id, Ending::AnswerTooLarge { told: true }, fx);
            return Ok(Next::Stop);
        }
        self.counters.packets_out[11] += 1;
        farewell.changes.retain(|&change| self.is_expected(change));
        self.hold_outbox(slot, &farewell.changes, fx);
        Ok(self.next(id))
    }

    /// Gives the change that UNSUBACK has to wait for, too.
    pub(super) fn unsubscribe(
        &mut self,
        slot: u32,
        text: &str,
        fx: &mut Effects,
    ) -> (ReasonCode, u64) {
        let Ok(filter) = Filter::parse(text) else {
            return (ReasonCode::TopicFilterInvalid, 0);
        };
        let change = match self.kept_as(slot) {
            Some(session) => {
                let filter = written(&filter);
                self.keep(Change::Unsubscribe { session, filter })
            }
            None => 0,
        };
        (self.unsubscribe_from(slot, &filter, fx), change)
    }

    fn unsubscribe_from(&mut self, slot: u32, filter: &Filter<'_>, fx: &mut Effects) -> ReasonCode {
        if let Some(share) = filter.share {
            return match self.leave(slot, (share, filter.levels), fx) {
                true => ReasonCode::Success,
                false => ReasonCode::NoSubscriptionExisted,
            };
        }
        let Some(id) = self.router.unsubscribe(ClientKey(slot), filter.levels) else {
            return ReasonCode::NoSubscriptionExisted;
        };
        let session = self
            .sessions
            .get_mut(slot)
            .expect("who is up has a session");
        let at = session.subscriptions.iter().position(|known| *known == id);
        at.map(|at| session.subscriptions.swap_remove(at));
        if let Some(flow) = &mut session.flow {
            // What was asked for and not begun is not wanted any more (MQTT-3.10.4-2).
            self.slices.spend(flow.pulls.len() / PULLS_A_DELIVERY);
            flow.forget_pull(id);
        }
        ReasonCode::Success
    }

    /// A number that no other question of this shard has.
    pub(super) fn ticket(&mut self) -> u32 {
        self.next_ticket = self.next_ticket.wrapping_add(1);
        self.next_ticket
    }
}

/// A filter as a client could have written it, however it did.
fn written(filter: &Filter<'_>) -> Box<str> {
    match filter.share {
        None => filter.levels.into(),
        Some("$queue") => format!("$queue/{}", filter.levels).into(),
        Some(share) => format!("$share/{share}/{}", filter.levels).into(),
    }
}

fn granted_reason(qos: QoS) -> ReasonCode {
    match qos {
        QoS::AtMostOnce => ReasonCode::Success,
        QoS::AtLeastOnce => ReasonCode::GrantedQoS1,
        QoS::ExactlyOnce => ReasonCode::GrantedQoS2,
    }
}
