//! What goes into a shard and what comes out, as values.

pub use crate::auth::{AuthRequest, AuthStep, Revision, Verdict};
pub use crate::base::{ConnId, Peer, ShardId};
use crate::message::{Message, Pack};
use crate::routing::Subscription;
pub use crate::session::GroupKey;
use std::sync::Arc;

/// A client's session on some shard: the slot, and which of its successive owners is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientRef {
    pub shard: ShardId,
    pub slot: u32,
    pub generation: u32,
}

/// One thing that happened to a shard.
pub enum Input<'a> {
    /// A connection was accepted, or moved here from the shard that accepted it.
    Opened { conn: ConnId, peer: Peer },
    /// Bytes arrived. Only while [`Shard::wants_input`](super::Shard::wants_input) says so.
    Bytes { conn: ConnId, bytes: &'a [u8] },
    /// The peer closed the connection or it broke; the driver has already let go of it.
    Closed { conn: ConnId },
    /// The outbox, once above its limit, was written out.
    Drained { conn: ConnId },
    /// Mail of another shard, or of this one to itself.
    Envelope(Envelope),
    /// The answer to an [`AuthRequest`].
    Verdict {
        conn: ConnId,
        attempt: u32,
        verdict: Verdict,
    },
    /// A message of the broker itself ($SYS).
    Publish(Message),
    /// Time passed: at the latest when [`Shard::next_deadline_ms`](super::Shard::next_deadline_ms)
    /// has come.
    Tick,
    /// Take this client off, as an operator asked.
    Kick { client_id: &'a str },
    /// Some clients are to be cut, or whoever vouched for them asked again.
    Revise(Arc<Revision>),
    /// These [`Effects::changes`](super::Effects::changes) would survive a crash.
    Committed(&'a [u64]),
    /// At the start, before anything else: what a store kept, in the order of its numbers.
    Restore(Box<super::Numbered>),
    /// All that was kept is back, in every shard, and the mail of that has been delivered.
    Restored,
    /// Other settings for what comes from now on.
    Reload(Box<super::Options>),
    /// The process ends: every client is told (0x8B) and every connection closed.
    Shutdown,
    /// The process is going to end: wills that are to be published are, while those who get them
    /// are still there. [`Input::Shutdown`] comes once they have.
    LastWills,
}

/// A connection to be carried to its owner shard with all the bytes read so far.
#[derive(Debug)]
pub struct Move {
    pub conn: ConnId,
    pub to: ShardId,
    pub peer: Peer,
    pub bytes: Vec<u8>,
}

/// Mail between shards. It is posted in order and never dropped: a full mailbox stops the reading
/// of sockets, not the mail. So losing any of these would be a defect, and each says which.
pub enum Envelope {
    /// A message for whoever subscribes here. Lost: a subscriber misses it.
    Publish(Message),
    /// As [`Envelope::Publish`] or [`Envelope::Retain`], to be answered when it is kept. Lost: as
    /// there, and its publisher is never answered.
    Awaited(Box<Awaited>),
    /// What was awaited is kept. Lost: its publisher is never answered.
    Stored { wait: u64 },
    /// Small messages for whoever subscribes here. Lost: as above.
    Packed(Pack),
    /// Replaces or (empty payload) removes a retained message at the topic's owner. Lost: new
    /// subscribers see an old state.
    Retain(Message),
    /// Asks the owner for retained messages that match. Lost: a subscription starts without them.
    RetainedQuery(Box<RetainedQuery>),
    /// The answer, at most a chunk. Lost: as above.
    RetainedChunk(Box<RetainedChunk>),
    /// A session joins, changes or leaves a shared subscription at the group's owner. Lost: the
    /// group deals to a ghost, or never to this member.
    Group(Box<GroupChange>),
    /// The owner has carried out a join: SUBACK may go. Lost: a client waits for SUBACK.
    Joined { client: ClientRef, ticket: u32 },
    /// A message that the group's owner dealt to this member. Lost: nobody of the group has it.
    Dealt(Box<Dealt>),
    /// A dealt message whose member is away: another member may have it. Lost: it waits for that
    /// member, or is lost with its session.
    Offered(Box<Offered>),
    /// What came of an offer: another member has it and it is to be forgotten, or nobody else can.
    /// Lost: it is never sent, or twice.
    Answered {
        client: ClientRef,
        ticket: u32,
        taken: bool,
    },
}

const _: () = assert!(std::mem::size_of::<Envelope>() <= 40);

impl Envelope {
    /// How many messages it stands for.
    pub fn messages(&self) -> usize {
        match self {
            Envelope::Packed(pack) => pack.len(),
            _ => 1,
        }
    }
}

/// Mail that a shard waits for another one to keep.
pub struct Awaited {
    pub message: Message,
    pub purpose: Purpose,
    pub receipt: Receipt,
}

/// What awaited mail is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    Deliver,
    Retain,
}

/// Where [`Envelope::Stored`] goes, and what it says there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Receipt {
    pub shard: ShardId,
    pub wait: u64,
}

/// What a member tells its group's owner.
pub struct GroupChange {
    pub member: ClientRef,
    pub key: Arc<GroupKey>,
    pub change: Membership,
}

/// The change of a member.
pub enum Membership {
    Join {
        subscription: Subscription,
        ticket: u32,
    },
    Leave,
    Connected(bool),
    /// Whether it can take a message now: said by members on other shards, of whose window and
    /// queue the owner does not know.
    HasRoom(bool),
}

/// A delivery that its member cannot be sure to make.
pub struct Offered {
    pub group: Arc<GroupKey>,
    pub message: Message,
    pub by: ClientRef,
    /// What to name in [`Envelope::Answered`]; `None`: the member has forgotten it already, because
    /// its session is over.
    pub ticket: Option<u32>,
    /// Who has to know when it is kept elsewhere. Only without a ticket.
    pub receipt: Option<Receipt>,
}

/// A message on its way from a group's owner to the member that was chosen.
pub struct Dealt {
    pub member: ClientRef,
    pub group: Arc<GroupKey>,
    pub message: Message,
    pub subscription: Subscription,
    /// A member has given it back already: it is not to be given back again.
    pub was_offered: bool,
    /// Who has to know when it is kept.
    pub receipt: Option<Receipt>,
}

/// A subscriber's question for retained messages.
pub struct RetainedQuery {
    pub asker: ClientRef,
    /// Which of the asker's questions this is.
    pub ticket: u32,
    pub filters: Vec<RetainedFilter>,
}

/// A filter that retained messages are asked for.
pub struct RetainedFilter {
    /// Which of the asker's new subscriptions this is.
    pub ticket: u32,
    pub filter: Box<str>,
    /// Where the chunk before ended.
    pub after: Option<Box<str>>,
}

/// Retained messages for a subscriber: of as many of the filters, from the first one on, as make a
/// chunk.
pub struct RetainedChunk {
    pub asker: ClientRef,
    pub ticket: u32,
    pub found: Vec<RetainedMatches>,
}

/// Retained messages that match one filter.
pub struct RetainedMatches {
    pub ticket: u32,
    pub messages: Vec<Message>,
    /// Where to go on; `None` when this was all of that shard.
    pub next: Option<Box<str>>,
}

/// What the operator's log may want to know.
#[derive(Debug)]
pub enum Event {
    Connected {
        client_id: Box<str>,
        peer: Peer,
        session_present: bool,
    },
    Disconnected {
        client_id: Box<str>,
        peer: Peer,
        reason: &'static str,
    },
    /// A connection that did not become a client.
    Refused { peer: Peer, reason: &'static str },
    /// A client was not allowed to publish or subscribe.
    Denied {
        client_id: Box<str>,
        peer: Peer,
        what: &'static str,
        topic: Box<str>,
    },
    /// A client was cut for what it sent.
    Violation {
        client_id: Box<str>,
        peer: Peer,
        what: String,
    },
}
