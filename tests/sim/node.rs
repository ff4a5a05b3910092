//! A shard and its driver, in stages, so that others can act between them.

use super::env::Env;
use super::mailboxes::{Item, Mailboxes};
use super::model::Closing;
use super::store::Store;
use super::wire::{Place, Who, link_of, peer_of};
use ringmq::auth::{AuthRequest, Authenticator, Verdict};
use ringmq::base::ConnId;
use ringmq::codec::ReasonCode;
use ringmq::message::{Content, Message};
use ringmq::routing::Directory;
use ringmq::shard::{Effects, Envelope, Event, Input, Membership, Options, Shard};
use std::sync::Arc;

/// What a turn does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Takes mail, accepts, reads, rings alarms.
    Gather,
    /// Posts mail and hands connections over.
    Post,
    /// Writes and closes.
    Write,
}

/// A connection's slot in the driver.
struct Slot {
    link: usize,
    /// The shard has let go of it: it goes when its outbox is written.
    closing: bool,
    drain_due: bool,
}

pub struct Node {
    pub id: u16,
    pub shard: Shard,
    pub fx: Effects,
    pub stage: Stage,
    slots: Vec<Option<Slot>>,
    /// Links that nobody has accepted yet.
    pub backlog: Vec<usize>,
    dirty: Vec<ConnId>,
    drained: Vec<ConnId>,
    broken: Vec<ConnId>,
    /// Slots that are free when the turn is over.
    freed: Vec<u32>,
    /// Questions whose answer takes its time.
    questions: Vec<AuthRequest>,
    pub store: Store,
    /// When due alarms were last looked for.
    ticked_ms: u64,
}

/// Says who may come in by the user name, at once or later.
struct Gate;

impl Authenticator for Gate {
    fn ask(&mut self, request: &AuthRequest) -> Verdict {
        match request.username.as_deref() {
            Some(name) if name.starts_with("slow") => Verdict::Pending,
            _ => judge(request),
        }
    }
}

fn judge(request: &AuthRequest) -> Verdict {
    match request.username.as_deref() {
        Some(name) if name.ends_with("denied") => Verdict::Refuse(ReasonCode::NotAuthorized),
        _ => Verdict::allow(),
    }
}

fn brief(envelope: &Envelope) -> String {
    let show = |content: Content<'_>| {
        let payload = String::from_utf8_lossy(content.payload);
        format!("{} {}", content.topic, payload.trim_end_matches('.'))
    };
    let message = |message: &Message| show(message.content());
    match envelope {
        Envelope::Publish(m) => format!("Publish {}", message(m)),
        Envelope::Awaited(a) => {
            format!(
                "{:?} {} for {:?}",
                a.purpose,
                message(&a.message),
                a.receipt
            )
        }
        Envelope::Stored { wait } => format!("Stored {wait}"),
        Envelope::Packed(pack) => {
            let packed: Vec<String> = pack.iter().map(|(content, _)| show(content)).collect();
            format!("Packed {packed:?}")
        }
        Envelope::Retain(m) => format!("Retain {}", message(m)),
        Envelope::RetainedQuery(q) => {
            let filters: Vec<&str> = q.filters.iter().map(|wanted| &*wanted.filter).collect();
            format!("RetainedQuery {:?} {filters:?}", q.asker)
        }
        Envelope::RetainedChunk(c) => {
            let found = c.found.iter().flat_map(|matches| &matches.messages);
            let found: Vec<String> = found.map(message).collect();
            format!("RetainedChunk {:?} {found:?}", c.asker)
        }
        Envelope::Group(change) => {
            let what = match change.change {
                Membership::Join { .. } => "joins",
                Membership::Leave => "leaves",
                Membership::HasRoom(true) => "has room in",
                Membership::HasRoom(false) => "has no room in",
                Membership::Connected(true) => "is back in",
                Membership::Connected(false) => "is away from",
            };
            format!("{:?} {what} {}", change.member, change.key.share)
        }
        Envelope::Joined { client, ticket } => format!("Joined {client:?} {ticket}"),
        Envelope::Dealt(d) => format!("Dealt {:?} {}", d.member, message(&d.message)),
        Envelope::Offered(o) => format!(
            "Offered {:?} {} by {:?}",
            o.ticket,
            message(&o.message),
            o.by
        ),
        Envelope::Answered {
            client,
            ticket,
            taken,
        } => {
            format!("Answered {ticket} of {client:?}: taken {taken}")
        }
    }
}

impl Node {
    pub fn new(id: u16, env: &mut Env, directory: &Arc<Directory>) -> Node {
        let directory = (env.plan.shards > 1).then(|| directory.clone());
        let seed = env.rng.next();
        Node {
            id,
            shard: Shard::new(env.plan.options_of(id), Box::new(Gate), directory, seed),
            fx: Effects::default(),
            stage: Stage::Gather,
            slots: Vec::new(),
            backlog: Vec::new(),
            dirty: Vec::new(),
            drained: Vec::new(),
            broken: Vec::new(),
            freed: Vec::new(),
            questions: Vec::new(),
            store: Store::default(),
            ticked_ms: 0,
        }
    }

    /// Nothing was kept from before.
    pub fn start(mut self, env: &mut Env) -> Node {
        if env.plan.options.durable {
            self.step(Input::Restored, env);
        }
        self
    }

    /// The only way to the shard: after each step its books are looked at, and its events told.
    pub fn step(&mut self, input: Input<'_>, env: &mut Env) {
        self.shard.step(env.now(), input, &mut self.fx);
        for event in std::mem::take(&mut self.fx.events) {
            self.tell(&event, env);
        }
        self.store.take(&mut self.fx.changes, &mut env.kept);
        // Whoever may bring bytes again is looked at in every turn anyway.
        self.fx.resumed.clear();
        self.check_books();
    }

    fn check_books(&self) {
        let counters = self.shard.counters();
        let ledger = &counters.ledger;
        assert_eq!(ledger.imbalance(), 0, "shard {}: {ledger:?}", self.id);
        let held = self.shard.count_held() as u64;
        assert_eq!(
            ledger.held, held,
            "shard {} holds {held}: {ledger:?}",
            self.id
        );
        assert!(
            held > 0 || counters.queued_bytes == 0,
            "bytes of nothing are queued"
        );
    }

    fn tell(&self, event: &Event, env: &mut Env) {
        env.say(|| format!("shard {}: {event:?}", self.id));
        env.fold(format!("{event:?}").as_bytes());
        match event {
            Event::Connected {
                peer,
                session_present,
                ..
            } => {
                let id = link_of(peer);
                let now_ms = env.now_ms;
                let link = &mut env.links[id];
                assert!(!link.terms.denied, "link {id} was let in");
                link.established = true;
                link.heard_ms = now_ms;
                link.session_present = *session_present;
                let times = (now_ms, self.ticked_ms);
                env.model.connected((id, link), times, env.step);
            }
            Event::Disconnected { peer, reason, .. } => {
                let link = link_of(peer);
                let closing = Closing {
                    link,
                    reason,
                    now_ms: env.now_ms,
                    step: env.step,
                };
                let at = &mut env.links[link];
                at.over = true;
                if *reason == "keep_alive_timeout" {
                    let allowed_ms = u64::from(at.terms.keep_alive_s) * 1500;
                    let rogue = matches!(at.who, Who::Rogue(_));
                    assert!(
                        rogue || env.now_ms - at.heard_whole_ms >= allowed_ms,
                        "cut too early"
                    );
                }
                env.model.disconnected(at, &closing);
            }
            Event::Denied { .. } => panic!("there are no access rules here"),
            Event::Violation { peer, what, .. } => {
                let rogue = matches!(env.links[link_of(peer)].who, Who::Rogue(_));
                assert!(rogue, "a client was cut: {what}");
            }
            Event::Refused { peer, reason } => {
                let rogue = matches!(env.links[link_of(peer)].who, Who::Rogue(_));
                let late = *reason == "connect_timeout";
                assert!(rogue || late, "a client was refused: {reason}");
            }
        }
    }

    /// The first part of a turn.
    pub fn gather(&mut self, env: &mut Env, mail: &mut Mailboxes) {
        mail.retry(self.id);
        let items = if env.calm { 100 } else { env.rng.below(4) };
        for _ in 0..items {
            match mail.take(self.id) {
                None => break,
                Some(Item::Batch(batch)) => {
                    for envelope in batch {
                        env.say(|| format!("shard {} <- {}", self.id, brief(&envelope)));
                        self.step(Input::Envelope(envelope), env);
                    }
                }
                Some(Item::Socket { link, bytes }) => self.adopt((link, &bytes), env),
            }
        }
        let told = self.store.work((&mut env.rng, env.calm), &mut env.kept);
        if !told.is_empty() {
            self.step(Input::Committed(&told), env);
        }
        self.tell_drained(env);
        self.accept(env);
        if !mail.congested(self.id) {
            for at in 0..self.slots.len() as u32 {
                if env.calm || env.rng.percent(70) {
                    self.read(ConnId(at), env);
                }
            }
        }
        self.answer(env);
        if !env.calm && env.rng.one_in(300) {
            let client = env.rng.below(env.plan.clients as u64);
            self.step(
                Input::Kick {
                    client_id: &format!("c{client}"),
                },
                env,
            );
        }
        if self
            .shard
            .next_deadline_ms()
            .is_some_and(|due| due <= env.now_ms)
        {
            self.step(Input::Tick, env);
        }
        self.ticked_ms = env.now_ms;
        self.check_silence(env);
    }

    fn adopt(&mut self, (link, bytes): (usize, &[u8]), env: &mut Env) {
        if let Some(conn) = self.open(link, env) {
            self.step(Input::Bytes { conn, bytes }, env);
        }
    }

    fn open(&mut self, link: usize, env: &mut Env) -> Option<ConnId> {
        let at = match self.slots.iter().position(Option::is_none) {
            Some(at) => at,
            None => {
                self.slots.push(None);
                self.slots.len() - 1
            }
        };
        let conn = ConnId(at as u32);
        self.slots[at] = Some(Slot {
            link,
            closing: false,
            drain_due: false,
        });
        env.links[link].place = Place::Slot(self.id, conn);
        env.say(|| format!("shard {}: link {link} has slot {at}", self.id));
        self.step(
            Input::Opened {
                conn,
                peer: peer_of(link),
            },
            env,
        );
        Some(conn)
    }

    fn accept(&mut self, env: &mut Env) {
        while !self.backlog.is_empty() && (env.calm || env.rng.one_in(2)) {
            let link = self.backlog.remove(0);
            self.open(link, env);
        }
    }

    fn read(&mut self, conn: ConnId, env: &mut Env) {
        let Some(Some(slot)) = self.slots.get(conn.0 as usize) else {
            return;
        };
        let link = &mut env.links[slot.link];
        if link.vanished {
            return;
        }
        if slot.closing {
            link.to_server.clear();
            if link.client_ended {
                self.free(conn, env);
            }
            return;
        }
        if !self.shard.wants_input(conn, &self.fx) {
            return;
        }
        if !link.to_server.is_empty() {
            let count = env.rng.fragment(link.to_server.len());
            let bytes = link.receive(count);
            link.heard_ms = env.now_ms;
            // What a cut left may be the first half of a packet.
            if link.to_server.is_empty() && !link.client_ended {
                link.heard_whole_ms = env.now_ms;
            }
            self.step(
                Input::Bytes {
                    conn,
                    bytes: &bytes,
                },
                env,
            );
        } else if link.client_ended {
            self.step(Input::Closed { conn }, env);
            self.free(conn, env);
        }
    }

    /// The driver lets go of a connection.
    fn free(&mut self, conn: ConnId, env: &mut Env) {
        self.fx.out.discard(conn);
        if self.freed.contains(&conn.0) {
            return;
        }
        if let Some(slot) = &self.slots[conn.0 as usize] {
            env.links[slot.link].place = Place::Gone;
            env.links[slot.link].server_ended = true;
            self.freed.push(conn.0);
        }
    }

    fn tell_drained(&mut self, env: &mut Env) {
        for conn in std::mem::take(&mut self.drained) {
            if let Some(Some(slot)) = self.slots.get(conn.0 as usize)
                && !slot.closing
            {
                self.step(Input::Drained { conn }, env);
            }
        }
        for conn in std::mem::take(&mut self.broken) {
            if let Some(Some(slot)) = self.slots.get(conn.0 as usize) {
                if !slot.closing {
                    self.step(Input::Closed { conn }, env);
                }
                self.free(conn, env);
            }
        }
    }

    /// Verdicts come when they come, also for connections that are gone.
    fn answer(&mut self, env: &mut Env) {
        self.questions.append(&mut self.fx.auth);
        while !self.questions.is_empty() && (env.calm || env.rng.one_in(4)) {
            let question = self.questions.remove(0);
            let (conn, attempt, verdict) = (question.conn, question.attempt, judge(&question));
            self.step(
                Input::Verdict {
                    conn,
                    attempt,
                    verdict,
                },
                env,
            );
        }
    }

    /// The last part of a turn: what waits for clients is written, unless mail waits for room.
    pub fn write(&mut self, env: &mut Env, congested: bool) {
        self.questions.append(&mut self.fx.auth);
        for conn in std::mem::take(&mut self.fx.closes) {
            if let Some(Some(slot)) = self.slots.get_mut(conn.0 as usize) {
                slot.closing = true;
                self.dirty.push(conn);
            }
        }
        self.fx.out.take_dirty(&mut self.dirty);
        if !congested {
            for conn in std::mem::take(&mut self.dirty) {
                self.write_one(conn, env);
            }
        }
        for slot in self.freed.drain(..) {
            self.slots[slot as usize] = None;
        }
    }

    fn write_one(&mut self, conn: ConnId, env: &mut Env) {
        let Some(Some(slot)) = self.slots.get_mut(conn.0 as usize) else {
            return self.fx.out.discard(conn);
        };
        if self.freed.contains(&conn.0) {
            return self.fx.out.discard(conn);
        }
        let link = &mut env.links[slot.link];
        let pending = self.fx.out.pending(conn);
        if link.reset && !pending.is_empty() {
            self.fx.out.discard(conn);
            return self.broken.push(conn);
        }
        let waiting = pending.len();
        let limit = env.plan.options.limits.outbox_bytes_max;
        assert!(
            waiting <= limit + 128 * 1024,
            "{waiting} bytes wait for one connection"
        );
        let room = match link.client_ended {
            true => waiting,
            false => env.plan.socket_bytes.saturating_sub(link.to_client.len()),
        };
        let sent = waiting.min(room);
        if !link.client_ended {
            link.to_client.extend(&pending[..sent]);
        }
        if waiting > 0 {
            self.fx.out.consume(conn, sent);
        }
        let left = waiting - sent;
        slot.drain_due |= left > 0 || waiting > limit;
        if slot.drain_due && left <= limit / 2 {
            slot.drain_due = false;
            self.drained.push(conn);
        }
        if left > 0 {
            // Looked at again in the next turn, as the poller would say.
            self.dirty.push(conn);
        } else if slot.closing {
            self.free(conn, env);
        }
    }

    /// Gives a connection away.
    pub fn release(&mut self, conn: ConnId) -> Option<usize> {
        self.fx.out.discard(conn);
        self.slots[conn.0 as usize].take().map(|slot| slot.link)
    }

    /// A client that says nothing is cut in time (MQTT-3.1.2-22).
    fn check_silence(&self, env: &Env) {
        if env.plan.options.slice < Options::default().slice {
            // Who waits for its turn is not silent, and here many do.
            return;
        }
        let due_ms = self.shard.next_deadline_ms();
        if due_ms.is_some_and(|due_ms| due_ms <= env.now_ms) {
            // More are late together than one step cuts: the rest are in the next ones.
            return;
        }
        for slot in self.slots.iter().flatten() {
            let link = &env.links[slot.link];
            if !link.established || link.over || link.terms.keep_alive_s == 0 {
                continue;
            }
            let most_ms = u64::from(link.terms.keep_alive_s) * 1500 + 128;
            let silence_ms = env.now_ms - link.heard_ms;
            assert!(
                silence_ms <= most_ms,
                "{silence_ms} ms of silence were not noticed"
            );
        }
    }

    /// Whether nothing is left to do.
    pub fn is_quiet(&self, env: &Env) -> bool {
        let idle = |slot: &Slot| {
            let link = &env.links[slot.link];
            !slot.closing && (link.vanished || (link.to_server.is_empty() && !link.client_ended))
        };
        self.stage == Stage::Gather
            && self.backlog.is_empty()
            && self.dirty.is_empty()
            && self.drained.is_empty()
            && self.broken.is_empty()
            && self.freed.is_empty()
            && self.questions.is_empty()
            && self.store.is_idle()
            && self.fx.mail.is_empty()
            && !self.fx.out.any_dirty()
            && self.slots.iter().flatten().all(idle)
            && self
                .shard
                .next_deadline_ms()
                .is_none_or(|due| due > env.now_ms)
    }

    /// Tells what keeps the shard from being quiet.
    pub fn told(&self, env: &Env) -> String {
        let slots = self.slots.iter().flatten();
        let slots: Vec<String> = slots
            .map(|slot| {
                let link = &env.links[slot.link];
                let unread = link.to_server.len();
                format!(
                    "link {} closing {} unread {unread}",
                    slot.link, slot.closing
                )
            })
            .collect();
        format!(
            "shard {} {:?} backlog {:?} dirty {:?} questions {} due {:?} at {} ms, {slots:?}",
            self.id,
            self.stage,
            self.backlog,
            self.dirty,
            self.questions.len(),
            self.shard.next_deadline_ms(),
            env.now_ms,
        )
    }

    /// Connections in the driver.
    pub fn connections(&self) -> usize {
        self.slots.iter().flatten().count()
    }
}
