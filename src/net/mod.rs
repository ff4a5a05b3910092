//! Sockets of a shard: the epoll set, listening, accepting, receiving and sending. Mechanism only:
//! what a connection may do is decided by [`crate::shard`], when by [`crate::runtime`].

pub mod bell;
pub mod bucket;
pub mod certificates;
pub mod connection;
pub mod files;
pub mod layer;
pub mod listener;
pub mod poller;

pub use bell::Bell;
pub use bucket::TokenBucket;
pub use connection::Connection;
pub use listener::Listener;
pub use poller::{Events, Poller, Source, Watch};
