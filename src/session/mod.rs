//! One client's protocol state. It knows no socket, no bytes and no other session.
//!
//! A connected client that has nothing under way holds a [`Session`] and no more: what comes and
//! goes with traffic is in [`Flow`], made on first use and dropped when it is empty.

pub mod access;
pub mod alias;
pub mod delivery;
pub mod inbound;
pub mod outbound;
pub mod owed;
pub mod request;
pub mod violation;
pub mod will;

pub use access::Access;
pub use alias::Aliases;
pub use delivery::{Deal, Delivery, GroupKey, Ids};
pub use inbound::{Arrival, Inbound};
pub use outbound::{Opened, Outbound, QueueBounds, Recorded, Stage, Window};
pub use owed::{Owed, OwedAcks};
pub use request::{Request, RequestKind};
pub use violation::Violation;
pub use will::Will;

use crate::auth::Voucher;
use crate::base::{ConnId, ShardId};
use crate::codec::{ReasonCode, Version};
use crate::routing::{FilterId, Subscription};
use smallvec::SmallVec;
use std::collections::VecDeque;
use std::sync::Arc;

/// "Does not expire" as a Session Expiry Interval (section 3.1.2.11.2).
pub const EXPIRY_NEVER_S: u32 = u32::MAX;

/// A session, connected or not.
pub struct Session {
    pub client_id: Box<str>,
    pub username: Option<Box<str>>,
    /// Whether the user name was shown to be the client's.
    pub is_named: bool,
    /// Who vouches for it: [`Grant::voucher`](crate::auth::Grant::voucher).
    pub voucher: Voucher,
    /// What bounds the connected client; `None`: only what bounds everybody.
    pub access: Option<Box<Access>>,
    /// The connection it is served by.
    pub conn: Option<ConnId>,
    /// Tells successive owners of a slot apart.
    pub generation: u32,
    /// Grows with every connect of any client of the shard: presence events carry it.
    pub epoch: u64,
    /// Of the last connection.
    pub version: Version,
    /// The client's Receive Maximum.
    pub receive_maximum: u16,
    /// Session Expiry Interval, [`EXPIRY_NEVER_S`] for ever.
    pub expiry_s: u32,
    /// When the last connection ended, in monotonic milliseconds; 0 while connected.
    pub disconnected_ms: u64,
    /// The earliest alarm that is set for this session, [`u64::MAX`] without one.
    pub alarm_ms: u64,
    pub subscriptions: SmallVec<[FilterId; 4]>,
    /// `None` without shared subscriptions.
    pub shared: Option<Box<Vec<SharedSubscription>>>,
    pub will: Option<Box<Will>>,
    pub flow: Option<Box<Flow>>,
}

const _: () = assert!(
    std::mem::size_of::<Session>() <= 160,
    "the idle budget counts on it"
);

/// What exists only while something is under way.
#[derive(Default)]
pub struct Flow {
    pub out: Outbound,
    pub inbound: Inbound,
    /// New subscriptions to which retained messages are due.
    pub pulls: VecDeque<RetainedPull>,
    /// What was asked for the first of them, until the answer comes.
    pub question: Option<Box<Question>>,
    /// Retained messages that came and wait for room.
    pub retained: VecDeque<Delivery>,
    /// How many of these, from the front, are from before the rules changed; never fewer.
    pub retained_doubted: usize,
    /// Whether a retained message goes before the queue next: they take turns, so that neither
    /// keeps the other waiting for ever.
    pub is_retained_turn: bool,
    /// The groups on other shards whose owners were told that it has no room.
    pub full_told: Vec<Arc<GroupKey>>,
    /// SUBACKs that wait until shared subscriptions are known to their owners.
    pub subacks: Vec<PendingSuback>,
    /// The packet that the connection is at, when it is too long for one step.
    pub request: Option<Box<Request>>,
    /// Acknowledgements that wait until a store has what they promise.
    pub acks: OwedAcks,
}

/// A shared subscription of this session.
pub struct SharedSubscription {
    pub key: Arc<GroupKey>,
    pub subscription: Subscription,
}

/// A new subscription on its way through the retained messages, shard after shard.
pub struct RetainedPull {
    /// No other one of the session has it.
    pub ticket: u32,
    /// No other one of the session has it either: who subscribes again begins anew.
    pub id: FilterId,
    pub filter: Box<str>,
    pub subscription: Subscription,
    /// The shards still to ask, the present one last, and where to go on there.
    pub shards: Vec<ShardId>,
    pub after: Option<Box<str>>,
}

/// A question for retained messages to which the answer is under way.
pub struct Question {
    pub ticket: u32,
    /// Topics of which a newer message was delivered since it was asked: what the answer says of
    /// them is old.
    pub overtaken: Vec<Box<str>>,
}

/// SUBACK to be sent when `waiting` owners have answered.
pub struct PendingSuback {
    pub ticket: u32,
    pub packet_id: u16,
    pub reasons: Vec<ReasonCode>,
    pub waiting: u32,
    /// Retained messages that are due afterwards.
    pub pulls: Vec<RetainedPull>,
    /// Of a 3.1 client, what it had not subscribed to before: taken back if another filter of the
    /// packet cannot be granted.
    pub new: Vec<Box<str>>,
}

impl Session {
    /// What comes and goes with traffic.
    pub fn flow_mut(&mut self) -> &mut Flow {
        self.flow.get_or_insert_default()
    }

    /// Gives the memory of [`Flow`] back if nothing is in it.
    pub fn drop_idle_flow(&mut self) {
        if self.flow.as_ref().is_some_and(|flow| flow.is_idle()) {
            self.flow = None;
        }
    }

    /// What may be under way unacknowledged, with `max` of this broker.
    pub fn window(&self, max: Window) -> Window {
        Window {
            count: self.receive_maximum.min(max.count),
            ..max
        }
    }

    /// Whether deliveries of QoS 0 wait for their turn.
    #[inline]
    pub fn has_queued_qos0(&self) -> bool {
        self.flow
            .as_ref()
            .is_some_and(|flow| flow.out.has_queued_qos0())
    }

    /// Whether the session outlives its connection.
    pub fn persists(&self) -> bool {
        self.expiry_s > 0
    }

    /// Whether it ended with its connection: there is only left to take it apart.
    pub fn is_over(&self) -> bool {
        self.conn.is_none() && !self.persists()
    }

    /// The monotonic millisecond at which the will of a session without a connection is due.
    pub fn will_due_ms(&self) -> u64 {
        match &self.will {
            Some(will) => self.disconnected_ms + u64::from(will.delay_s) * 1000,
            None => u64::MAX,
        }
    }

    /// When something of a session without a connection is due.
    pub fn deadline_ms(&self) -> u64 {
        self.ends_ms().min(self.will_due_ms())
    }

    /// The monotonic millisecond at which a session without a connection ends.
    pub fn ends_ms(&self) -> u64 {
        match self.expiry_s {
            EXPIRY_NEVER_S => u64::MAX,
            s => self.disconnected_ms + u64::from(s) * 1000,
        }
    }
}

impl Flow {
    /// Whether nothing is under way.
    pub fn is_idle(&self) -> bool {
        self.out.is_empty()
            && self.inbound.is_empty()
            && self.pulls.is_empty()
            && self.retained.is_empty()
            && self.subacks.is_empty()
            && self.request.is_none()
            && self.acks.is_empty()
            && self.full_told.is_empty()
    }

    /// What was asked for under this filter and has not come is not wanted any more.
    pub fn forget_pull(&mut self, id: FilterId) {
        let still_wanted = |pull: &RetainedPull| pull.id != id;
        self.pulls.retain(still_wanted);
        for waiting in &mut self.subacks {
            waiting.pulls.retain(still_wanted);
        }
    }

    /// The rules have changed: what waits now is looked at before it is sent.
    pub fn doubt_waiting(&mut self) {
        self.out.doubt_queue();
        self.retained_doubted = self.retained.len();
    }

    /// Whether retained messages are to be sent or asked for now, before what is queued.
    pub fn is_retained_next(&self) -> bool {
        if self.out.queue_len() == 0 {
            return true;
        }
        match self.retained.front() {
            Some(first) => self.is_retained_turn && self.out.may_overtake(first.message.topic()),
            None => !self.pulls.is_empty(),
        }
    }

    /// Deliveries that wait or are not acknowledged.
    pub fn held(&self) -> usize {
        self.out.len() + self.retained.len()
    }
}
