//! Containers that know nothing of MQTT: a paged slab that gives memory back, a calendar of
//! deadlines, and what the pure core is told of instants and of peers.

pub mod calendar;
pub mod id;
pub mod network;
pub mod paged;
pub mod peer;
pub mod prefetch;
pub mod time;

pub use calendar::Calendar;
pub use id::{ConnId, ShardId};
pub use network::Network;
pub use paged::Paged;
pub use peer::{CertificateName, Peer, PeerCertificate, PeerIdentity, Transport};
pub use prefetch::prefetch;
pub use time::Now;
