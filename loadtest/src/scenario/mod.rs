//! The kinds of load.

pub mod churn;
mod common;
pub mod dashboards;
pub mod devices;
pub mod flow;
pub mod idle;
mod inflight;
pub mod storm;
mod summary;

pub use common::Common;
