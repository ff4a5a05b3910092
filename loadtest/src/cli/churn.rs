//! `loadtest churn`

use super::common::CommonArgs;
use super::values;
use crate::scenario::Common;
use crate::scenario::churn::{Churn, ChurnOptions};
use clap::Args;
use ringmq::codec::QoS;

/// Clients that come and go all the time
///
/// Each connects with a client id of its own, subscribes, publishes a message to itself, and
/// leaves when that has come. Times count from when the client was to begin.
#[derive(Debug, Args)]
pub struct ChurnArgs {
    #[command(flatten)]
    pub common: CommonArgs,
    /// Clients at a time, at most
    #[arg(short = 'n', long, default_value = "100", value_parser = values::count::<u32>)]
    clients: u32,
    /// Clients that begin a second; 0: whenever another one has left
    #[arg(short, long, value_name = "PER_SECOND", default_value_t = 0)]
    rate: u64,
    #[arg(short, long, default_value = "1", value_parser = values::qos)]
    qos: QoS,
    /// Seconds for which clients begin
    #[arg(short, long, value_name = "SECONDS", default_value = "10",
        value_parser = values::some_seconds)]
    duration: u64,
    /// Seconds that a client stays after its message has come
    #[arg(long, value_name = "SECONDS", default_value = "0", value_parser = values::seconds)]
    stay: u64,
    /// Seconds to wait for the last ones
    #[arg(long, value_name = "SECONDS", default_value = "5", value_parser = values::seconds)]
    drain: u64,
}

impl ChurnArgs {
    pub fn connections(&self) -> usize {
        self.clients as usize
    }

    /// # Errors
    /// None now; other kinds have some.
    pub fn scenario(&self, common: Common) -> Result<Churn, String> {
        let options = ChurnOptions {
            clients: self.clients,
            rate_per_s: self.rate,
            qos: self.qos,
            duration_ns: self.duration,
            stay_ns: self.stay,
            drain_ns: self.drain,
        };
        Ok(Churn::new(common, options))
    }
}
