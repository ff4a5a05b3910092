//! One shard's turn: what came is brought to the shard, what it wants is carried out.
//!
//! A turn reads the clock once, takes mail, reads each connection that has something once, and
//! then does what [`crate::shard`] asks of its driver, in its order; those who come and go are
//! served after that, one by one. Nothing here waits; how a shard sleeps is in
//! [`super::executor`].

mod accept;
mod asks;
mod close;
mod crowd;
mod input;
mod layered;
mod output;
mod sleep;

pub use layered::Tallies;

use super::clock::Clock;
use super::helm::Helm;
use super::host::House;
use super::mail::{Mail, Pauses, Reach};
use super::memory::{self, Ebb};
use super::mesh::{Mailbox, Outgoing};
use super::turns::Turns;
use crate::base::{ConnId, Now, Paged, ShardId};
use crate::identity::Gate;
use crate::limits::ALWAYS_KEPT_BYTES;
use crate::net::layer::{Room, Rules};
use crate::net::{Connection, Events, Listener, Poller, Source, TokenBucket, Watch, poller};
use crate::routing::Directory;
use crate::shard::{Effects, Envelope, Input, Shard};
use close::Closing;
use crossbeam_channel::Sender;
use crowd::Newcomer;
pub use sleep::Rest;
use sleep::{Gathering, Share};
use std::collections::{HashMap, VecDeque};
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::time::Duration;

/// Events of one wait. More than that is served in the next turn.
const EVENTS_MAX: usize = 1024;
/// The scratch buffer that all connections are read into, and so the most that one brings in a
/// turn: some hundred small messages, after which the others have their turn.
const SCRATCH_BYTES: usize = 32 * 1024;
/// Answers of layers that a socket has not taken, above which nothing more is read from it.
const UNSENT_BYTES_MAX: usize = 16 * 1024;

/// All that a shard's thread is given.
pub struct Seat {
    pub id: ShardId,
    pub shards: u16,
    pub shard: Shard,
    /// Listening sockets with their index in the configuration.
    pub listeners: Vec<(OwnedFd, u16)>,
    pub mailbox: Mailbox<Mail>,
    pub out: Outgoing<Mail>,
    /// Of all shards, by number.
    pub helms: Arc<[Helm]>,
    pub house: Arc<House>,
    pub directory: Arc<Directory>,
    pub gate: Gate,
    pub crowd: Arc<Crowd>,
    pub reach: Reach,
    /// Of each listener, in the order of the configuration.
    pub doors: Arc<[Rules]>,
    pub outbox_bytes_max: usize,
}

/// Connections of the process now.
pub struct Crowd {
    pub total: AtomicU32,
    pub by_listener: Box<[AtomicU32]>,
}

/// A shard with its sockets.
pub struct Driver {
    id: ShardId,
    shards: u16,
    shard: Shard,
    fx: Effects,
    now: Now,
    clock: Clock,
    watch: Watch,
    conns: Paged<Connection>,
    next_serial: u32,
    scratch: Box<[u8]>,
    /// Buffers of connections with layers: what they work in, and what is sent.
    room: Room,
    wire: Vec<u8>,
    doors: Arc<[Rules]>,
    tallies: Tallies,
    /// Who comes and who has gone, in order: see [`crowd`].
    newcomers: VecDeque<Newcomer>,
    leavers: VecDeque<(u32, u32)>,
    /// Connections by when their layers have to be up, and their PROXY header to be there.
    openings: VecDeque<Closing>,
    proxies: VecDeque<Closing>,
    listeners: Vec<Listener>,
    mailbox: Mailbox<Mail>,
    out: Outgoing<Mail>,
    helms: Arc<[Helm]>,
    house: Arc<House>,
    /// How much mail this turn has posted, in messages.
    posted: usize,
    /// What this turn has done, in deliveries, and what is left of the mail that it is at.
    spent: usize,
    /// What this turn has taken to let connections in.
    accepting: Duration,
    batch: std::vec::IntoIter<Envelope>,
    share: Share,
    gathering: Gathering,
    /// Turns that others ran while this shard slept.
    turns_asleep: u64,
    turns: Turns,
    directory: Arc<Directory>,
    gate: Gate,
    crowd: Arc<Crowd>,
    reach: Reach,
    bucket: TokenBucket,
    strained: TokenBucket,
    pauses: Pauses,
    outbox_bytes_max: usize,
    /// Down to which a connection's outbox takes more whatever the memory budget.
    relieved_at: usize,
    /// Connections to read, oldest first, and the list that takes its place while it is read.
    to_read: Vec<u32>,
    reading: Vec<u32>,
    /// Connections to write.
    dirty: Vec<ConnId>,
    /// Outboxes that were full and are not any more.
    drained: Vec<u32>,
    /// Slots to be freed when what the shard asked for is carried out.
    freed: Vec<u32>,
    closings: VecDeque<Closing>,
    /// Bytes that were thrown away of connections that are let go of.
    wasted: HashMap<u32, usize>,
    ebb: Ebb,
    /// Who waits for what this shard has to post.
    settling: Vec<Sender<u16>>,
    stopping: Option<Sender<u16>>,
    ended: bool,
}

/// Down to how many unsent bytes a connection has to come to be told of, so that it takes more
/// whatever is left of the memory budget.
fn relieved_at(outbox_bytes_max: usize) -> usize {
    outbox_bytes_max.min(ALWAYS_KEPT_BYTES)
}

impl Driver {
    /// Registers the seat's sockets in a set of their own, whose other end is to be waited at.
    ///
    /// # Errors
    /// The process has no file descriptors left.
    pub fn new(seat: Seat) -> io::Result<(Driver, Poller)> {
        let (watch, poller) = poller::set(EVENTS_MAX)?;
        watch.add_bell(seat.mailbox.bell())?;
        let mut listeners = Vec::new();
        for (at, (socket, index)) in seat.listeners.into_iter().enumerate() {
            watch.add_listener(&socket, at as u16)?;
            listeners.push(Listener::new(socket, index));
        }
        let mut clock = Clock::default();
        let now = clock.read();
        let driver = Driver {
            id: seat.id,
            shards: seat.shards,
            shard: seat.shard,
            fx: Effects::default(),
            now,
            clock,
            watch,
            conns: Paged::default(),
            next_serial: 0,
            scratch: vec![0; SCRATCH_BYTES].into_boxed_slice(),
            room: Room::default(),
            wire: Vec::new(),
            doors: seat.doors,
            tallies: Tallies::default(),
            newcomers: VecDeque::new(),
            leavers: VecDeque::new(),
            openings: VecDeque::new(),
            proxies: VecDeque::new(),
            listeners,
            mailbox: seat.mailbox,
            out: seat.out,
            helms: seat.helms,
            house: seat.house,
            posted: 0,
            spent: 0,
            accepting: Duration::ZERO,
            batch: Vec::new().into_iter(),
            share: Share::default(),
            gathering: Gathering::default(),
            turns_asleep: 0,
            turns: Turns::default(),
            directory: seat.directory,
            gate: seat.gate,
            crowd: seat.crowd,
            bucket: TokenBucket::new(seat.reach.connect_rate_max, now.ms),
            strained: TokenBucket::new(seat.reach.strained_rate_max, now.ms),
            reach: seat.reach,
            pauses: Pauses::default(),
            outbox_bytes_max: seat.outbox_bytes_max,
            relieved_at: relieved_at(seat.outbox_bytes_max),
            to_read: Vec::new(),
            reading: Vec::new(),
            dirty: Vec::new(),
            drained: Vec::new(),
            freed: Vec::new(),
            closings: VecDeque::new(),
            wasted: HashMap::new(),
            ebb: Ebb::default(),
            settling: Vec::new(),
            stopping: None,
            ended: false,
        };
        Ok((driver, poller))
    }

    /// One turn, with the events of the last wait.
    pub fn turn(&mut self, events: Events<'_>) {
        self.now = self.clock.read();
        self.posted = 0;
        self.spent = 0;
        self.accepting = Duration::ZERO;
        self.out.retry();
        self.tell_drained();
        self.take_mail();
        for event in events {
            match event.source {
                Source::Connection(slot) => self.notice(slot, event),
                Source::Listener(at) => self.accept(at),
                // Mail is taken in any case, and guests the host's thread looks after.
                Source::Bell | Source::Guest(_) => {}
                Source::Alarm => self.watch.alarm_rang(),
            }
        }
        self.read_listed();
        if self.is_due() {
            self.shard.step(self.now, Input::Tick, &mut self.fx);
        }
        self.resume_listeners();
        self.carry_out();
        // Who is connected has what is his: what one newcomer costs only the next one waits for.
        self.serve_crowd();
        self.report_settled();
        self.report_stopped();
        self.turns.add(self.now.ms, self.clock.since_read());
    }

    /// Whether the shard was told to leave.
    pub fn ended(&self) -> bool {
        self.ended
    }

    /// Lets go of what was made for more than there is now.
    fn give_back(&mut self) {
        self.shard.shrink();
        self.fx.shrink();
        self.to_read.shrink_to_fit();
        self.reading.shrink_to_fit();
        self.dirty.shrink_to_fit();
        self.drained.shrink_to_fit();
        self.freed.shrink_to_fit();
        self.closings.shrink_to_fit();
        self.wasted.shrink_to_fit();
        memory::return_free();
    }

    /// Puts a connection on the list of those to read.
    #[inline]
    fn list(&mut self, slot: u32) {
        if let Some(conn) = self.conns.get_mut(slot)
            && !conn.listed
        {
            conn.listed = true;
            self.to_read.push(slot);
        }
    }
}
