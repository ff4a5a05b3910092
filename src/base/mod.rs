//! Containers that know nothing of MQTT: a paged slab that gives memory back, a calendar of
//! deadlines, and the instants that the pure core is told.

pub mod calendar;
pub mod id;
pub mod paged;
pub mod time;

pub use calendar::Calendar;
pub use id::{ConnId, Peer, ShardId};
pub use paged::Paged;
pub use time::Now;
