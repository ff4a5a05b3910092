//! What is measured, and with which clock: pure but for [`clock`] and [`busy`].

pub mod busy;
pub mod clock;
pub mod latency;
pub mod schedule;
pub mod sequence;
pub mod stamp;
