//! `loadtest idle`

use super::common::CommonArgs;
use super::values;
use crate::scenario::Common;
use crate::scenario::idle::{Idle, IdleOptions};
use clap::Args;
use ringmq::codec::QoS;

/// Many connections, each with a subscription to a topic of its own, held
///
/// Then a message is published to every k-th of them and its arrival is counted. With --pid the
/// broker's memory is told per connection.
#[derive(Debug, Args)]
pub struct IdleArgs {
    #[command(flatten)]
    pub common: CommonArgs,
    #[arg(short = 'n', long, default_value = "1000", value_parser = values::count::<u32>)]
    connections: u32,
    /// QoS of the subscriptions and of what is published
    #[arg(short, long, default_value = "1", value_parser = values::qos)]
    qos: QoS,
    /// Seconds to hold them
    #[arg(long, value_name = "SECONDS", default_value = "5", value_parser = values::seconds)]
    hold: u64,
    /// Publish to every K-th device; 0: to none
    #[arg(long, value_name = "K", default_value_t = 10)]
    every: u32,
    /// Seconds to wait for the arrivals
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = values::seconds)]
    drain: u64,
    /// In the end cut all off at once and let all come back
    #[arg(long)]
    reconnect: bool,
    /// Seconds for all to be back
    #[arg(long, value_name = "SECONDS", default_value = "120", value_parser = values::some_seconds)]
    deadline: u64,
}

impl IdleArgs {
    /// One more an executor publishes.
    pub fn connections(&self) -> usize {
        self.connections as usize + self.common.executors()
    }

    /// # Errors
    /// None now; the other kinds have some.
    pub fn scenario(&self, common: Common) -> Result<Idle, String> {
        let options = IdleOptions {
            connections: self.connections,
            qos: self.qos,
            hold_ns: self.hold,
            every: self.every,
            drain_ns: self.drain,
            reconnects: self.reconnect,
            deadline_ns: self.deadline,
        };
        Ok(Idle::new(common, options))
    }
}
