//! ringmq: an MQTT broker for large device fleets.
//!
//! Modules point one way:
//! `base <- codec <- message <- {session, routing, auth} <- shard`, and from there
//! `shard <- {net, control, config, identity} <- runtime <- cli`.
//! Up to and including `shard` everything is sans-io: no socket, clock, thread or randomness.

pub mod auth;
pub mod base;
pub mod cli;
pub mod codec;
pub mod config;
pub mod control;
pub mod identity;
pub mod limits;
pub mod logging;
pub mod message;
pub mod net;
pub mod routing;
pub mod runtime;
pub mod session;
pub mod shard;
