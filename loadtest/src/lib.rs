//! The load tester that ringmq brings. It measures any MQTT broker: open-loop sending with
//! latency from the intended time, exact counts of what was lost, duplicated and reordered, and
//! what the broker's process used for it.
//!
//! Modules point one way: `measure <- net <- {report, host} <- run <- {crew, scenario} <- cli`.
//! Each executor ([`run`]) owns a [`net::Fleet`] of connections; a [`scenario`] says what they do.

pub mod cli;
pub mod crew;
pub mod host;
pub mod measure;
pub mod net;
pub mod report;
pub mod run;
pub mod scenario;
