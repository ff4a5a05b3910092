//! SUBSCRIBE and UNSUBSCRIBE with more filters than are looked at in a row.

use crate::codec::ReasonCode;
use std::num::NonZeroU32;

/// The rest of such a packet.
pub struct Request {
    /// Its filters as they came, from the first one that was not looked at.
    pub filters: Vec<u8>,
    pub kind: RequestKind,
}

/// What is asked for, and how far it has come.
pub enum RequestKind {
    /// The rest is in the [`PendingSuback`](super::PendingSuback) with this ticket.
    Subscribe {
        ticket: u32,
        identifier: Option<NonZeroU32>,
    },
    Unsubscribe {
        packet_id: u16,
        reasons: Vec<ReasonCode>,
        /// The changes that UNSUBACK has to wait for.
        changes: Vec<u64>,
    },
}
