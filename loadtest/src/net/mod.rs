//! The clients' side of the network: source addresses, dialling, and a fleet of connections that
//! one executor drives with one epoll set.

pub mod client;
mod control;
pub mod dial;
pub mod fault;
pub mod fleet;
mod pings;
pub mod ramp;
mod sleep;
pub mod sources;
mod stats;
pub mod transport;

pub use client::Client;
pub use dial::Dialer;
pub use fault::{Fault, Faults};
pub use fleet::{Fleet, FleetOptions, Handler};
pub use ramp::Ramp;
pub use stats::{FleetStats, Pace};
pub use transport::Transport;
