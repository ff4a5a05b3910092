//! `loadtest storm`

use super::common::CommonArgs;
use super::values;
use crate::scenario::Common;
use crate::scenario::storm::{Storm, StormOptions};
use clap::{Args, ValueEnum};
use ringmq::codec::QoS;

/// Everybody is cut off at once and everybody reconnects
///
/// Each client subscribes to a topic of its own. With persistent sessions, messages are published
/// to all of them while they are away and ought to arrive. One more message to everybody shows in
/// the end that the subscriptions are there.
#[derive(Debug, Args)]
pub struct StormArgs {
    #[command(flatten)]
    pub common: CommonArgs,
    #[arg(short = 'n', long, default_value = "1000", value_parser = values::count::<u32>)]
    clients: u32,
    #[arg(long, value_enum, default_value = "persistent")]
    session: Session,
    /// Session Expiry Interval of persistent sessions in seconds (MQTT 5)
    #[arg(long, value_name = "SECONDS", default_value = "3600",
        value_parser = values::count::<u32>)]
    session_expiry: u32,
    /// QoS of the subscriptions and of what is published
    #[arg(short, long, default_value = "1", value_parser = values::qos)]
    qos: QoS,
    /// Seconds that they are connected before they are cut off
    #[arg(long, value_name = "SECONDS", default_value = "1", value_parser = values::seconds)]
    hold: u64,
    /// Seconds that they stay away, after what they miss is published
    #[arg(long, value_name = "SECONDS", default_value = "0", value_parser = values::seconds)]
    away: u64,
    /// Messages that each of them misses (persistent sessions, QoS 1 and 2)
    #[arg(long, value_name = "COUNT", default_value_t = 1)]
    missed: u32,
    /// Seconds after which a refused client tries again
    #[arg(long, value_name = "SECONDS", default_value = "1", value_parser = values::some_seconds)]
    retry: u64,
    /// Seconds for all to be back
    #[arg(long, value_name = "SECONDS", default_value = "120", value_parser = values::some_seconds)]
    deadline: u64,
    /// Seconds to wait for the arrivals
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = values::seconds)]
    drain: u64,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Session {
    Clean,
    Persistent,
}

impl StormArgs {
    /// One more an executor publishes.
    pub fn connections(&self) -> usize {
        self.clients as usize + self.common.executors()
    }

    /// # Errors
    /// None now; other kinds have some.
    pub fn scenario(&self, common: Common) -> Result<Storm, String> {
        let session_expiry_s = match self.session {
            Session::Clean => None,
            Session::Persistent => Some(self.session_expiry),
        };
        let options = StormOptions {
            clients: self.clients,
            qos: self.qos,
            session_expiry_s,
            hold_ns: self.hold,
            away_ns: self.away,
            missed: self.missed,
            retry_ns: self.retry,
            deadline_ns: self.deadline,
            drain_ns: self.drain,
        };
        Ok(Storm::new(common, options))
    }
}
