//! What a store keeps for a shard, as values.
//!
//! A shard with [`Options::durable`](super::Options::durable) says by [`Effects::changes`] what has
//! to outlive the process. It does not wait for the store; it waits *with* what a client could take
//! for a promise (PUBACK, PUBREC, PUBCOMP, SUBACK, and the packets of QoS 2 towards a client) until
//! [`Input::Committed`] names the change.
//!
//! The shard numbers the changes, so nothing waits for a store only to learn a number: a delivery
//! that was acknowledged before it was ever written is trimmed by the number of its
//! [`Change::Append`]. Epochs are the shard's own too.
//!
//! # What a store has to do
//!
//! - Make changes durable. Those of one session, and those of one topic, in the order of their
//!   numbers; otherwise in any order, and it may answer in any order.
//! - Never answer for a change before it would survive a crash. Changes that one step made may be
//!   made durable together, and then a QoS 2 message is not delivered twice however the process
//!   ends; if they are not, a crash in between can deliver it again, and never lose it.
//! - After a start, give back every change in the order of the numbers, to the shard that owns the
//!   client id or the topic, before anything else; then, when all shards have had theirs and
//!   their mail is posted, [`Input::Restored`]. What later changes made void may be left out: all
//!   but the last [`Change::Session`] and [`Change::Left`] of a session, everything of a session
//!   that has come to [`Change::End`] but its deliveries, what was unsubscribed, trimmed, closed,
//!   or replaced.
//!
//! Deadlines of messages are in monotonic milliseconds; a store keeps them against the Unix time of
//! the [`Now`](crate::base::Now) of the step.
//!
//! [`Effects::changes`]: super::Effects::changes
//! [`Input::Committed`]: super::Input::Committed
//! [`Input::Restored`]: super::Input::Restored

use crate::codec::Version;
use crate::message::Message;
use crate::routing::Subscription;
use crate::session::{Delivery, Will};

/// One change, as it goes to a store and as it comes back.
#[derive(Clone)]
pub struct Numbered {
    /// Grows within a shard; no other change of the process, now or after a restart with any
    /// number of shards, has the same.
    pub number: u64,
    pub change: Change,
}

/// Something that has to outlive the process. Sessions and deliveries are named by the numbers of
/// the changes that made them.
#[derive(Clone)]
pub enum Change {
    /// A connection has this session: a new one, or one that is taken up again. It claims the
    /// client id: whoever has a smaller epoch has lost it.
    Session(Box<SessionRecord>),
    /// The connection ended at this Unix time, and the expiry interval runs.
    Left {
        session: u64,
        unix_ms: u64,
        expiry_s: u32,
        /// Whether the will still waits for its delay.
        has_will: bool,
    },
    /// The session is over. Its deliveries are trimmed one by one.
    End {
        session: u64,
    },
    /// A subscription, as SUBSCRIBE wrote it: new, or with other options.
    Subscribe {
        session: u64,
        filter: Box<str>,
        subscription: Subscription,
    },
    Unsubscribe {
        session: u64,
        filter: Box<str>,
    },
    /// A delivery that the session is owed.
    Append {
        session: u64,
        delivery: Delivery,
    },
    /// A QoS 2 delivery got its packet id.
    Begin {
        delivery: u64,
        packet_id: u16,
    },
    /// PUBREC came for it: the message is not needed any more, the exchange goes on.
    Received {
        delivery: u64,
    },
    /// A delivery is done, or given up.
    Trim {
        delivery: u64,
    },
    /// A QoS 2 message came from the client, and PUBREL has not.
    Open {
        session: u64,
        packet_id: u16,
    },
    /// PUBREL came.
    Close {
        session: u64,
        packet_id: u16,
    },
    /// What is retained for a topic from now on.
    Retain {
        topic: Box<str>,
        message: Option<Message>,
    },
}

/// What there is to know of a session beyond what it subscribes to and is owed.
#[derive(Clone)]
pub struct SessionRecord {
    pub session: u64,
    pub client_id: Box<str>,
    pub username: Option<Box<str>>,
    pub epoch: u64,
    pub version: Version,
    pub expiry_s: u32,
    pub receive_maximum: u16,
    pub will: Option<Box<Will>>,
}
