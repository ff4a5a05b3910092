//! The kinds of load.

mod common;
pub mod devices;
pub mod flow;
pub mod idle;
mod inflight;
pub mod storm;
mod summary;

pub use common::Common;
