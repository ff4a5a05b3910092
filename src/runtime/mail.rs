//! What lies in a shard's mailbox: mail of other shards, connections, and questions of the control
//! plane.

use super::driver::Tallies;
use super::turns::Turns;
use crate::base::Peer;
use crate::message::Message;
use crate::net::layer::{Layers, Rules};
use crate::shard::{ClientInfo, ConnId, Envelope, Options, Revision, ShardStats, Verdict};
use crossbeam_channel::Sender;
use std::os::fd::OwnedFd;
use std::sync::Arc;

/// One item. Nothing of it may be lost while both shards run; each [`Envelope`] says why.
pub enum Mail {
    /// A turn's envelopes from one shard, in order.
    Batch(Vec<Envelope>),
    /// A connection that belongs here. Lost: a client that has sent CONNECT is cut.
    Socket(Box<Passed>),
    /// From the control plane.
    Ask(Box<Ask>),
}

const _: () = assert!(
    std::mem::size_of::<Mail>() <= 24,
    "a mailbox has thousands of slots"
);

/// A connection on its way to its owner.
pub struct Passed {
    pub socket: OwnedFd,
    pub peer: Peer,
    /// All that was read from it so far.
    pub bytes: Vec<u8>,
    pub layers: Option<Box<Layers>>,
}

/// What the control plane wants of a shard. Answers go to channels with room for them; whoever
/// asked may have given up, which the shard does not mind.
pub enum Ask {
    Stats(Sender<Report>),
    /// Up to `limit` clients from a slot on, and the slot to go on from.
    Clients {
        from: u32,
        limit: usize,
        reply: Sender<(Vec<ClientInfo>, Option<u32>)>,
    },
    Client {
        client_id: String,
        reply: Sender<Option<ClientInfo>>,
    },
    /// Whether there was such a client, connected.
    Kick {
        client_id: String,
        reply: Sender<bool>,
    },
    Reload(Box<Options>, Reach),
    /// Other rules for whoever connects from now on: one for each listener, as before.
    Doors(Arc<[Rules]>),
    /// A message of the broker itself.
    Publish(Message),
    /// The answer to a question of authentication.
    Verdict {
        conn: ConnId,
        attempt: u32,
        verdict: Verdict,
    },
    /// Some clients are to be cut or asked about again.
    Revise(Arc<Revision>),
    /// Stop listening, and publish the wills. Answered when they are posted.
    LastWills(Sender<u16>),
    /// Answered when all that came before is done, and what came of it is posted.
    Settle(Sender<u16>),
    /// Tell the clients, flush. Answered once, when no connection is left.
    Shutdown(Sender<u16>),
    /// Leave the thread; mail that is still under way is dropped.
    End,
}

/// How many connections a shard lets in.
#[derive(Clone, Debug)]
pub struct Reach {
    /// Of the whole process.
    pub connections_max: u32,
    /// Of each listener, all shards together; 0: only the above.
    pub by_listener_max: Vec<u32>,
    /// New connections a second of this shard; 0: any.
    pub connect_rate_max: u32,
    /// Time for TLS and WebSocket to be up, in milliseconds.
    pub opening_ms_max: u64,
    /// Time for a PROXY header to be there, in milliseconds, of each listener.
    pub proxy_ms_by_listener: Vec<u64>,
    /// The same while identities cannot be decided about; 0: as always.
    pub strained_rate_max: u32,
}

/// A shard's numbers at one moment.
pub struct Report {
    pub shard: u16,
    pub connections: u32,
    pub stats: ShardStats,
    pub pauses: Pauses,
    pub tallies: Tallies,
    /// Turns that other shards' threads ran while this one's slept.
    pub turns_asleep: u64,
    pub turns: Turns,
}

/// How often accepting was paused, by reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pauses {
    /// Connections came faster than the rate allows.
    pub connect_rate: u64,
    /// Identities cannot be decided about as fast as connections come.
    pub strained: u64,
    /// As many connections as allowed.
    pub connections_max: u64,
    /// No file descriptor, or no kernel memory, for another.
    pub no_files: u64,
}
