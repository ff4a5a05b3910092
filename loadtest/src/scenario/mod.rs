//! The kinds of load.

pub mod churn;
mod common;
pub mod dashboards;
pub mod devices;
pub mod flow;
mod identity;
pub mod idle;
mod inflight;
pub mod storm;
mod summary;

pub use common::Common;
pub use identity::Users;
