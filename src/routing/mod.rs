//! Who receives what: subscriptions, shared subscriptions, interest of other shards, retained
//! messages.
//!
//! Pure: no sockets, clocks, threads or randomness; the seed of the hash tables is an argument.
//! A [`Router`] belongs to one shard. The [`Directory`] is the one thing that shards share.

mod cache;
mod directory;
mod exact;
mod filter;
mod groups;
mod hash;
mod levels;
mod qos;
mod retained;
mod route;
mod router;
mod shard_set;
mod subscribers;
mod table;
mod target;
mod text;
mod topic_tree;
mod trie;

#[cfg(test)]
mod tests;

pub use cache::CacheLimits;
pub use directory::Directory;
pub use filter::{FilterId, Interest};
pub use groups::{GroupId, Member, group_owner};
pub use hash::fixed_hash;
pub use qos::QoS;
pub use retained::{Allowance, Cursor, Retained};
pub use route::{Route, Target};
pub use router::{Router, Stats, Subscribed};
pub use shard_set::{SHARDS_MAX, ShardSet};
pub use subscribers::{ClientKey, Subscription};
