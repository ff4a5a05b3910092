//! The kinds of load.

pub mod churn;
mod common;
pub mod dashboards;
pub mod devices;
pub mod flow;
mod generator;
mod identity;
pub mod idle;
mod inflight;
pub mod storm;
mod summary;
mod talk;

pub use common::Common;
pub use identity::Users;
