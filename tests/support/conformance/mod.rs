//! The conformance suite: rows of bytes from `tests/conformance/*.toml`, checked on their own, and
//! played against the pure shard and against the running broker.

pub mod authenticator;
pub mod data;
pub mod document;
pub mod generated;
pub mod live;
pub mod pattern;
pub mod play;
pub mod pure;
pub mod script;
pub mod target;
pub mod traces;
pub mod vet;
pub mod wire;
