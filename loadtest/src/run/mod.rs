//! Executors, what they share, and the thread that watches them.

mod executors;
mod shared;
mod watch;

pub use executors::{Scenario, spawn};
pub use shared::{Ended, GATES, Gate, Live, ROLL_NS, Shared, Totals};
pub use watch::{Sample, Samples, Setup, observe, run};
