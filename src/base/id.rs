//! Names of things that live in slots.

use std::net::SocketAddr;

/// A connection of one shard: a slot that the driver chose and does not use again before it has
/// carried out the close or the move that names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnId(pub u32);

/// A shard of the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ShardId(pub u16);

/// Where a connection comes from, as the operator knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    pub address: SocketAddr,
    /// Index of the listener in the configuration.
    pub listener: u16,
}
