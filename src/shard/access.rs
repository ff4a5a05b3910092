//! What a client may do: its grant, the rules it is held to, and what becomes of it when either
//! changes.

use super::close::Ending;
use super::conn::{Conn, Phase};
use super::timers::Alarm;
use super::{Drop, Effects, Event, Refusal, Shard};
use crate::auth::acl::{Answer, may_publish, may_subscribe};
use crate::auth::{AuthRequest, AuthStep, Grant, Identity, Revision, Rules, acl};
use crate::base::{ConnId, Now};
use crate::codec::ReasonCode;
use crate::session::{Access, Delivery, Session};
use std::sync::Arc;

/// Sessions that a revision looks at in one step.
const REVISED_A_STEP: usize = 4096;
/// How soon, and how many at a time, clients are asked about again about whom nobody could say.
const ASKED_AGAIN_MS: u64 = 1000;
const ASKED_AGAIN_A_STEP: usize = 1024;
/// Rules and filters that are gone through in the time that a delivery takes.
const LOOKED_AT_A_DELIVERY: usize = 16;
/// With fewer rules than this, going through them costs no more than looking a topic up.
const CACHED_FROM_RULES: usize = 8;

/// Which rules hold for a connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Bounds {
    /// Those for everybody, if there are any.
    #[default]
    Common,
    /// Its own, then those for everybody.
    Own,
    /// None: a superuser.
    None,
}

/// A revision on its way through the sessions, and the slot to go on from.
pub(super) struct Revising {
    revision: Arc<Revision>,
    from: u32,
}

impl Shard {
    /// Whether rules hold for what this connection does. Asked once a read, so that a publication
    /// without rules costs a look at a flag.
    #[inline]
    pub(super) fn is_restricted(&self, conn: &Conn) -> bool {
        match conn.bounds {
            Bounds::Common => self.options.access.common.is_some(),
            Bounds::Own => true,
            Bounds::None => false,
        }
    }

    /// Whether a client may publish to `topic`; if not, it is counted and told to the log.
    pub(super) fn allows_publish(&mut self, id: ConnId, topic: &str, fx: &mut Effects) -> bool {
        let conn = self.conns.get(id.0).expect("looked up by the caller");
        let session = self
            .sessions
            .get(conn.session)
            .expect("who is up has a session");
        let own = session.access.as_deref();
        let version = self.access_version;
        let known = own.and_then(|access| access.recent.find(topic, version));
        let allowed = match known {
            Some(allowed) => allowed,
            None => self.decide_publish(id, topic),
        };
        if !allowed {
            self.deny(id, Refusal::PublishDenied, topic, fx);
        }
        allowed
    }

    fn decide_publish(&mut self, id: ConnId, topic: &str) -> bool {
        let conn = self.conns.get(id.0).expect("looked up by the caller");
        let slot = conn.session;
        let session = self.sessions.get(slot).expect("who is up has a session");
        let subject = subject(session, conn);
        let own = session
            .access
            .as_deref()
            .and_then(|access| access.rules.as_deref());
        let rules = in_order(own, self.options.access.common.as_deref());
        let answer = may_publish(rules, &subject, topic);
        let allowed = answer.unwrap_or(self.options.access.nomatch) == Answer::Allow;
        let common = self.options.access.common.as_deref();
        let count = own.map_or(0, Rules::len) + common.map_or(0, Rules::len);
        if count >= CACHED_FROM_RULES {
            let session = self.sessions.get_mut(slot).expect("looked up before");
            let access = session.access.get_or_insert_default();
            access.recent.keep(topic, allowed, self.access_version);
        }
        allowed
    }

    /// Whether a client may subscribe to `filter`, which is without its share name.
    pub(super) fn allows_subscribe(&mut self, id: ConnId, filter: &str, fx: &mut Effects) -> bool {
        let conn = self.conns.get(id.0).expect("looked up by the caller");
        let allowed = !self.is_restricted(conn) || self.decide_subscribe(conn, filter);
        if !allowed {
            self.deny(id, Refusal::SubscribeDenied, filter, fx);
        }
        allowed
    }

    fn decide_subscribe(&self, conn: &Conn, filter: &str) -> bool {
        let session = self
            .sessions
            .get(conn.session)
            .expect("who is up has a session");
        let own = session
            .access
            .as_deref()
            .and_then(|access| access.rules.as_deref());
        let rules = in_order(own, self.options.access.common.as_deref());
        let answer = may_subscribe(rules, &subject(session, conn), filter);
        answer.unwrap_or(self.options.access.nomatch) == Answer::Allow
    }

    /// Counts what was not allowed, and tells the log.
    fn deny(&mut self, id: ConnId, why: Refusal, topic: &str, fx: &mut Effects) {
        self.counters.refuse(why);
        let conn = self.conns.get(id.0).expect("looked up by the caller");
        let session = self
            .sessions
            .get(conn.session)
            .expect("who is up has a session");
        fx.events.push(Event::Denied {
            client_id: session.client_id.clone(),
            peer: conn.peer.clone(),
            what: why.name(),
            topic: topic.into(),
        });
    }

    /// Whether a will may be published under a grant that is about to be given.
    pub(super) fn allows_will(&self, id: ConnId, grant: &Grant, topic: &str) -> bool {
        let access = &self.options.access;
        if grant.is_superuser || grant.rules.is_none() && access.common.is_none() {
            return true;
        }
        let conn = self.conns.get(id.0).expect("looked up by the caller");
        let pending = conn.rare.as_ref().and_then(|rare| rare.connect.as_ref());
        let Some(pending) = pending else {
            return true;
        };
        let subject = acl::Subject {
            username: match &grant.identity {
                Identity::AsGiven => pending.username.as_deref(),
                Identity::Named(name) => Some(name),
                Identity::Anonymous => None,
            },
            client_id: &pending.client_id,
            address: conn.peer.ip(),
        };
        let rules = in_order(grant.rules.as_deref(), access.common.as_deref());
        may_publish(rules, &subject, topic).unwrap_or(access.nomatch) == Answer::Allow
    }

    /// Holds a client to a grant: at CONNECT, and again when it is given another one.
    pub(super) fn bind(&mut self, now: Now, id: ConnId, grant: Grant) {
        let conn = self.conns.get_mut(id.0).expect("looked up by the caller");
        conn.bounds = match (grant.is_superuser, &grant.rules) {
            (true, _) => Bounds::None,
            (false, Some(_)) => Bounds::Own,
            (false, None) => Bounds::Common,
        };
        let ends_ms = match grant.expires_unix_s {
            Some(s) => now.ms + s.saturating_mul(1000).saturating_sub(now.unix_ms),
            None => u64::MAX,
        };
        let session = self
            .sessions
            .get_mut(conn.session)
            .expect("who is up has a session");
        session.voucher = grant.voucher;
        session.is_named = grant.identity != Identity::Anonymous;
        if let Identity::Named(name) = grant.identity {
            session.username = Some(name);
        }
        let rules = grant.rules.filter(|_| !grant.is_superuser);
        session.access = (rules.is_some() || ends_ms != u64::MAX).then(|| {
            Box::new(Access {
                rules,
                ends_ms,
                ..Access::default()
            })
        });
        if ends_ms != u64::MAX {
            self.arm_connection(ends_ms, id);
        }
    }

    /// Takes from a client what its rules do not allow it any more: subscriptions, of which no
    /// version can be told, and the will. What waits for it is looked at in its turn.
    pub(super) fn enforce(&mut self, id: ConnId, fx: &mut Effects) {
        let conn = self.conns.get(id.0).expect("looked up by the caller");
        if !self.is_restricted(conn) {
            return;
        }
        let slot = conn.session;
        let session = self.sessions.get(slot).expect("who is up has a session");
        let own = session
            .subscriptions
            .iter()
            .map(|&id| self.router.filter(id).to_owned());
        let shared = session
            .shared
            .iter()
            .flat_map(|shared| shared.iter())
            .map(|s| match &*s.key.share {
                "$queue" => format!("$queue/{}", s.key.filter),
                share => format!("$share/{share}/{}", s.key.filter),
            });
        let filters: Vec<String> = own.chain(shared).collect();
        let will = session.will.as_ref();
        let will_topic = will.map(|will| will.message.content().topic.to_owned());
        for text in filters {
            let levels = crate::codec::Filter::parse(&text).map_or(&*text, |filter| filter.levels);
            let levels = &*self.unmounted(id, levels);
            if !self.allows_subscribe(id, levels, fx) {
                self.unsubscribe(slot, &text, fx);
            }
        }
        let will_topic = will_topic.map(|topic| self.unmounted(id, &topic));
        if will_topic.is_some_and(|topic| !self.allows_publish(id, &topic, fx)) {
            let session = self.sessions.get_mut(slot).expect("looked up before");
            session.will = None;
        }
        let session = self.sessions.get_mut(slot).expect("looked up before");
        if let Some(flow) = session.flow.as_deref_mut() {
            flow.doubt_waiting();
        }
    }

    /// Whether a client may have a message that began to wait for it under other rules: they let
    /// it subscribe to this very topic, or the message is of a subscription that it still has. (A
    /// rule with `eq` may allow a filter and none of its topics.)
    pub(super) fn may_still_have(&mut self, id: ConnId, topic: &str) -> bool {
        let conn = self.conns.get(id.0).expect("looked up by the caller");
        if !self.is_restricted(conn) {
            return true;
        }
        let session = self
            .sessions
            .get(conn.session)
            .expect("who is up has a session");
        let own = session.access.as_deref();
        let own = own.and_then(|access| access.rules.as_deref());
        let common = self.options.access.common.as_deref();
        let mut looked_at = own.map_or(0, Rules::len) + common.map_or(0, Rules::len);
        let is_allowed = self.decide_subscribe(conn, conn.unmounted(topic)) || {
            let shared = session.shared.iter().flat_map(|shared| shared.iter());
            let own = session.subscriptions.iter();
            let filters = own
                .map(|&id| self.router.filter(id))
                .chain(shared.map(|shared| &*shared.key.filter));
            let mut filters = filters.inspect(|_| looked_at += 1);
            filters.any(|filter| crate::codec::topic::matches(filter, topic))
        };
        self.slices.spend(looked_at / LOOKED_AT_A_DELIVERY);
        is_allowed
    }

    /// Gives up a message that its receiver may not have any more; of a shared subscription it is
    /// somebody else's.
    pub(super) fn withhold(&mut self, now: Now, slot: u32, delivery: Delivery, fx: &mut Effects) {
        if delivery.deal.is_some() {
            let by = self.client_ref(slot);
            return self.return_dealt(now, (by, None), delivery, fx);
        }
        self.forget(&delivery, Some(Drop::Denied));
    }

    /// Some clients are to be cut or asked about again: those named by their ids at once, the
    /// others a part of the sessions at a time.
    pub(super) fn handle_revise(&mut self, now: Now, revision: Arc<Revision>, fx: &mut Effects) {
        if !revision.whom().is_clients_alone() {
            self.revising.push_back(Revising { revision, from: 0 });
            return self.go_on_revising(now, fx);
        }
        for client_id in &revision.whom().clients {
            let session = self
                .find_session(client_id)
                .and_then(|slot| self.sessions.get(slot));
            if let Some(id) = session.and_then(|session| session.conn) {
                self.revise(now, id, &revision, fx);
            }
        }
    }

    pub(super) fn go_on_revising(&mut self, now: Now, fx: &mut Effects) {
        let Some(Revising { revision, from }) = self.revising.pop_front() else {
            return;
        };
        let mut found = Vec::new();
        let mut next = None;
        for (seen, (slot, session)) in self.sessions.iter_from(from).enumerate() {
            if seen == REVISED_A_STEP {
                next = Some(slot);
                break;
            }
            let conn = session
                .conn
                .and_then(|id| Some((id, self.conns.get(id.0)?)));
            let Some((id, conn)) = conn else { continue };
            let subject = subject(session, conn);
            let (username, client_id) = (subject.username, subject.client_id);
            if revision
                .whom()
                .includes(username, client_id, subject.address)
            {
                found.push(id);
            }
        }
        for id in found {
            self.revise(now, id, &revision, fx);
        }
        if let Some(from) = next {
            self.revising.push_front(Revising { revision, from });
        }
    }

    fn revise(&mut self, now: Now, id: ConnId, revision: &Revision, fx: &mut Effects) {
        match revision {
            Revision::Kick(_, reason) => {
                self.counters.refuse(Refusal::Revoked);
                self.end(now, id, Ending::Refused(*reason), fx);
            }
            Revision::Recheck(_) => self.recheck(now, id, fx),
        }
    }

    /// Asks about a client that is in; it goes on meanwhile.
    fn recheck(&mut self, now: Now, id: ConnId, fx: &mut Effects) {
        let attempt = self.ticket();
        let Some(conn) = self
            .conns
            .get_mut(id.0)
            .filter(|conn| conn.phase == Phase::Up)
        else {
            return;
        };
        // A re-authentication that goes on brings a new grant of its own.
        let rare = conn.rare.as_deref();
        if rare.is_some_and(|rare| rare.reauthenticating) {
            return;
        }
        conn.attempt = attempt;
        let session = self
            .sessions
            .get(conn.session)
            .expect("who is up has a session");
        let request = AuthRequest {
            conn: id,
            attempt,
            peer: conn.peer.clone(),
            client_id: session.client_id.clone(),
            username: session.username.clone().filter(|_| session.is_named),
            password: None,
            method: rare.and_then(|rare| rare.method.clone()),
            data: None,
            state: None,
            voucher: session.voucher,
            step: AuthStep::Recheck,
        };
        self.ask(now, request, fx);
    }

    /// The verdict on a client that is in.
    pub(super) fn carry_out_recheck(
        &mut self,
        now: Now,
        id: ConnId,
        verdict: Result<Grant, ReasonCode>,
        fx: &mut Effects,
    ) {
        match verdict {
            Ok(grant) => {
                self.bind(now, id, grant);
                self.enforce(id, fx);
            }
            // Nobody can say: a live client is not touched for that, and not forgotten either.
            Err(ReasonCode::ServerUnavailable | ReasonCode::ServerBusy) => {
                self.counters.refuse(Refusal::ServerUnavailable);
                self.ask_later(now, id);
            }
            Err(reason) => {
                self.counters.refuse(Refusal::Revoked);
                self.end(now, id, Ending::Refused(reason), fx);
            }
        }
    }
}

impl Shard {
    fn ask_later(&mut self, now: Now, id: ConnId) {
        let session = self
            .conns
            .get(id.0)
            .and_then(|conn| self.sessions.get(conn.session));
        let Some(session) = session else { return };
        if self.unsure.is_empty() {
            self.alarms.arm(now.ms + ASKED_AGAIN_MS, Alarm::AskAgain);
        }
        self.unsure.push_back(session.client_id.clone());
    }

    /// Asks about some of those again about whom nobody could say.
    pub(super) fn ask_again(&mut self, now: Now, fx: &mut Effects) {
        let count = self.unsure.len().min(ASKED_AGAIN_A_STEP);
        let some: Vec<Box<str>> = self.unsure.drain(..count).collect();
        if !self.unsure.is_empty() {
            self.alarms.arm(now.ms + ASKED_AGAIN_MS, Alarm::AskAgain);
        }
        for client_id in some {
            let session = self
                .find_session(&client_id)
                .and_then(|slot| self.sessions.get(slot));
            if let Some(id) = session.and_then(|session| session.conn) {
                self.recheck(now, id, fx);
            }
        }
    }
}

/// A client's own rules, then those for everybody.
fn in_order<'r>(
    own: Option<&'r Rules>,
    common: Option<&'r Rules>,
) -> impl Iterator<Item = &'r acl::Rule> {
    own.into_iter().chain(common).flatten()
}

fn subject<'a>(session: &'a Session, conn: &Conn) -> acl::Subject<'a> {
    acl::Subject {
        username: session.username.as_deref().filter(|_| session.is_named),
        client_id: &session.client_id,
        address: conn.peer.ip(),
    }
}
