//! A shard: all the sessions it owns, its part of the routing, and the one place where they change.
//!
//! The contract: [`Shard::step`] takes one [`Input`] and leaves what has to happen in [`Effects`].
//! Nothing in here reads a clock, a socket or a random number, so the same shard runs under
//! glommio, under the tests' virtual time and under the simulator.
//!
//! The driver's part, after a step or some, in this order (it is what makes acknowledgements true):
//! 1. [`Effects::mail`] is posted with [`Mail::drain`](mail::Mail::drain);
//! 2. [`Effects::moves`] are handed to their shards;
//! 3. the dirty outboxes are written, unless mail is still waiting for room;
//! 4. [`Effects::closes`] are closed as soon as their outbox is written.
//!
//! With a store, [`Effects::changes`] go to it at any time after the step: see [`change`].

mod access;
pub mod api;
pub mod change;
mod close;
mod conn;
mod connect;
mod deliver;
mod durable;
mod inspect;
pub mod ledger;
pub mod mail;
mod mount;
pub mod options;
pub mod outboxes;
mod packets;
mod presence;
mod promises;
mod publish;
mod restore;
mod retained;
mod shared;
mod slices;
mod subscribe;
mod timers;

pub use api::*;
pub use change::{Change, Numbered, SessionRecord};
pub use inspect::{ClientInfo, ShardStats};
pub use ledger::{Counters, Drop, Ledger, Refusal};
pub use mail::Mail;
pub use options::{Access, DropPolicy, Limits, MqttOptions, Options};
pub use outboxes::Outboxes;

use crate::auth::Authenticator;
use crate::base::{Calendar, Now, Paged};
use crate::message::Message;
use crate::routing::{Directory, Retained, Router};
use crate::session::Session;
use conn::{Conn, Phase};
use deliver::{Images, Parcel};
use hashbrown::HashTable;
use std::collections::VecDeque;
use std::sync::Arc;
use timers::Alarm;

/// What a step asks the driver to do.
#[derive(Default)]
pub struct Effects {
    /// Bytes for clients.
    pub out: Outboxes,
    /// Connections that the shard has let go of: write what is in the outbox, then close.
    pub closes: Vec<ConnId>,
    /// Connections that belong to another shard.
    pub moves: Vec<Move>,
    /// Mail for other shards.
    pub mail: Mail,
    /// Questions to whoever authenticates.
    pub auth: Vec<AuthRequest>,
    /// What the store is to keep, in this order. Empty without one.
    pub changes: Vec<Numbered>,
    /// Connections of which bytes are wanted again: see [`Shard::wants_input`].
    pub resumed: Vec<ConnId>,
    /// What the log may want to know.
    pub events: Vec<Event>,
}

impl Effects {
    /// Gives the memory of lists back that are empty now. Between two turns.
    pub fn shrink(&mut self) {
        self.out.shrink();
        self.mail.shrink();
        self.closes.shrink_to_fit();
        self.moves.shrink_to_fit();
        self.auth.shrink_to_fit();
        self.changes.shrink_to_fit();
        self.resumed.shrink_to_fit();
        self.events.shrink_to_fit();
    }
}

/// One shard's whole state.
pub struct Shard {
    options: Options,
    promises: promises::Promises,
    conns: Paged<Conn>,
    /// Of all connections together, what has come of packets that are not whole.
    tail_bytes: usize,
    sessions: Paged<Session>,
    /// Session slots by client id.
    by_client_id: HashTable<u32>,
    router: Router,
    retained: Retained<Message>,
    retained_own: retained::OwnRetained,
    /// Where the sweep for expired retained messages goes on.
    retained_sweep: Option<Box<str>>,
    sweep_armed: bool,
    groups: shared::Groups,
    /// Only with a store.
    durable: Option<Box<durable::Durable>>,
    alarms: Calendar<Alarm>,
    /// Those of a bucket that is due.
    ringing: std::vec::IntoIter<Alarm>,
    revising: VecDeque<access::Revising>,
    slices: slices::Slices,
    /// Clients that are in and were to be looked at again, when nobody could say: they are asked
    /// about until somebody can.
    unsure: VecDeque<Box<str>>,
    /// Grows with each reload: what was decided under older rules for everybody does not count.
    access_version: u32,
    authenticator: Box<dyn Authenticator>,
    counters: Counters,
    random: connect::SplitMix,
    next_generation: u32,
    next_ticket: u32,
    last_epoch: u64,
    images: Images,
    scratch: Vec<u8>,
    hasher: hashbrown::DefaultHashBuilder,
}

impl Shard {
    /// A shard without clients. `seed` feeds the ids it assigns and the hashing of its tables;
    /// `directory` is shared by all shards of a process, and absent when there is only one.
    pub fn new(
        options: Options,
        authenticator: Box<dyn Authenticator>,
        directory: Option<Arc<Directory>>,
        seed: u64,
    ) -> Shard {
        assert!(
            options.shard.0 < options.shards,
            "a shard is one of the shards"
        );
        let router = Router::new(options.shard.0, directory, seed);
        let is_durable = options.durable;
        Shard {
            conns: Paged::default(),
            tail_bytes: 0,
            sessions: Paged::default(),
            by_client_id: HashTable::new(),
            router,
            retained: Retained::new(seed, Message::size),
            retained_own: retained::OwnRetained::default(),
            retained_sweep: None,
            sweep_armed: false,
            groups: shared::Groups::default(),
            durable: is_durable.then(|| Box::new(durable::Durable::restoring())),
            alarms: Calendar::default(),
            ringing: Vec::new().into_iter(),
            revising: VecDeque::new(),
            slices: slices::Slices::new(options.slice),
            unsure: VecDeque::new(),
            access_version: 0,
            authenticator,
            counters: Counters::default(),
            random: connect::SplitMix(seed),
            next_generation: 0,
            next_ticket: 0,
            last_epoch: options.epoch_floor,
            images: Images::default(),
            promises: promises::Promises::new(options.mqtt.announced()),
            scratch: Vec::new(),
            hasher: hashbrown::DefaultHashBuilder::default(),
            options,
        }
    }

    /// The only way in: one input, its consequences in `fx`.
    #[inline]
    pub fn step(&mut self, now: Now, input: Input<'_>, fx: &mut Effects) {
        self.slices.begin();
        match input {
            Input::Bytes { conn, bytes } => self.handle_bytes(now, conn, bytes, fx),
            Input::Envelope(envelope) => self.handle_envelope(now, envelope, fx),
            Input::Opened { conn, peer } => self.handle_opened(now, conn, peer),
            Input::Closed { conn } => self.handle_closed(now, conn, fx),
            Input::Drained { conn } => self.handle_drained(now, conn, fx),
            Input::Verdict {
                conn,
                attempt,
                verdict,
            } => self.handle_verdict(now, (conn, attempt), verdict, fx),
            Input::Publish(message) => self.handle_internal(now, &message, fx),
            Input::Tick => self.handle_tick(now, fx),
            Input::Kick { client_id } => self.handle_kick(now, client_id, fx),
            Input::Revise(revision) => self.handle_revise(now, revision, fx),
            Input::Reload(options) => self.handle_reload(*options, fx),
            Input::LastWills => self.publish_last_wills(now, fx),
            Input::Shutdown => self.handle_shutdown(now, fx),
            Input::Committed(numbers) => self.handle_committed(now, numbers, fx),
            Input::Restore(numbered) => self.handle_restore(now, *numbered, fx),
            Input::Restored => self.handle_restored(now, fx),
        }
        self.hand_changes(fx);
    }

    #[inline]
    fn hand_changes(&mut self, fx: &mut Effects) {
        if let Some(durable) = self.durable.as_deref_mut() {
            fx.changes.append(&mut durable.changes);
        }
    }

    /// Whether bytes of `conn` may be brought now. False while its authentication is decided and
    /// while it does not take what is sent to it.
    #[inline]
    pub fn wants_input(&self, conn: ConnId, fx: &Effects) -> bool {
        fx.out.backlog(conn) <= self.outbox_bytes_max(fx)
            && self.conns.get(conn.0).is_some_and(Conn::wants_input)
    }

    /// Whether what was read of the connection is being worked on, a slice at a time.
    pub fn has_its_turn(&self, conn: ConnId) -> bool {
        let conn = self.conns.get(conn.0);
        conn.is_some_and(|conn| conn.pause == Some(conn::Pause::Turn))
    }

    /// What the last step has done, in deliveries: see [`Options::slice`].
    #[inline]
    pub fn spent(&self) -> usize {
        self.slices.spent()
    }

    /// When [`Input::Tick`] is due at the latest, in monotonic milliseconds.
    pub fn next_deadline_ms(&self) -> Option<u64> {
        if !self.revising.is_empty() || self.ringing.len() > 0 || self.slices.has_more() {
            return Some(0);
        }
        self.alarms.next_deadline_ms()
    }

    /// Other settings for what comes from now on; of what is there, access rules act at once, and
    /// what was announced to a client stands.
    fn handle_reload(&mut self, options: Options, fx: &mut Effects) {
        let announced = options.mqtt.announced();
        self.promises.announce(announced, &self.conns);
        let rules_changed = self.options.access != options.access;
        self.options = options;
        if rules_changed {
            self.access_version = self.access_version.wrapping_add(1);
            let ids: Vec<u32> = self.conns.iter_from(0).map(|(id, _)| id).collect();
            for id in ids {
                if self
                    .conns
                    .get(id)
                    .is_some_and(|conn| conn.phase == Phase::Up)
                {
                    self.enforce(ConnId(id), fx);
                }
            }
        }
    }

    /// Gives memory back that was made for more than there is now. What is remembered to save work
    /// is forgotten too.
    pub fn shrink(&mut self) {
        self.router.shrink();
        self.groups.shrink();
        self.slices.shrink();
        self.images = Images::default();
        self.scratch = Vec::new();
    }

    fn handle_envelope(&mut self, now: Now, envelope: Envelope, fx: &mut Effects) {
        self.slices.spend(1);
        match envelope {
            Envelope::Publish(message) => self.handle_arrived(now, Parcel::kept(&message), fx),
            Envelope::Packed(pack) => {
                self.handle_pack(now, &pack, fx);
                fx.mail.reuse(pack);
            }
            Envelope::Awaited(awaited) => self.handle_awaited(now, *awaited, fx),
            Envelope::Stored { wait } => self.come_true(now, wait, fx),
            Envelope::Retain(message) => self.store_retained(now, message),
            Envelope::RetainedQuery(query) => self.answer_query(now, *query, fx),
            Envelope::RetainedChunk(chunk) => self.handle_chunk(now, *chunk, fx),
            Envelope::Group(change) => self.handle_group_change(*change, fx),
            Envelope::Joined { client, ticket } => self.handle_joined(now, client, ticket, fx),
            Envelope::Dealt(dealt) => self.handle_dealt(now, *dealt, fx),
            Envelope::Offered(offer) => self.handle_offered(now, *offer, fx),
            Envelope::Answered {
                client,
                ticket,
                taken,
            } => self.handle_answered(now, (client, ticket, taken), fx),
        }
    }
}

/// The shard that owns a client id: the same on every shard of a process.
pub fn owner_of(client_id: &str, shards: u16) -> ShardId {
    if shards == 1 {
        return ShardId(0);
    }
    ShardId((crate::routing::fixed_hash(client_id.as_bytes()) % u64::from(shards)) as u16)
}

#[cfg(test)]
mod tests;
