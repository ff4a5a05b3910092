//! `loadtest dashboards`

use super::common::CommonArgs;
use super::values;
use crate::measure::stamp::STAMP_BYTES;
use crate::scenario::Common;
use crate::scenario::dashboards::{DashboardOptions, Dashboards};
use clap::Args;
use ringmq::codec::QoS;

/// Retained messages, and many who subscribe to them by wildcards
///
/// Messages are retained on topics in areas. Then each dashboard subscribes to all topics of one
/// area and ought to get each message once, marked as retained. In the end they are cleared.
#[derive(Debug, Args)]
pub struct DashboardArgs {
    #[command(flatten)]
    pub common: CommonArgs,
    #[arg(short = 'n', long, default_value = "1000", value_parser = values::count::<u32>)]
    dashboards: u32,
    /// Topics with a retained message
    #[arg(short, long, default_value = "1000", value_parser = values::count::<u32>)]
    topics: u32,
    /// Areas; a dashboard sees one of them
    #[arg(short, long, default_value = "10", value_parser = values::count::<u32>)]
    areas: u32,
    /// QoS of the subscriptions
    #[arg(short, long, default_value = "0", value_parser = values::qos)]
    qos: QoS,
    /// Bytes of a payload
    #[arg(long, value_name = "BYTES", default_value_t = 64)]
    size: usize,
    /// Seconds to wait for the last arrivals
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = values::seconds)]
    drain: u64,
}

impl DashboardArgs {
    /// One more an executor stores.
    pub fn connections(&self) -> usize {
        self.dashboards as usize + self.common.executors()
    }

    /// # Errors
    /// A sentence: options that do not go together.
    pub fn scenario(&self, common: Common) -> Result<Dashboards, String> {
        if self.size < STAMP_BYTES {
            return Err(format!("a payload has at least {STAMP_BYTES} bytes"));
        }
        let options = DashboardOptions {
            dashboards: self.dashboards,
            topics: self.topics,
            areas: self.areas,
            qos: self.qos,
            payload_bytes: self.size,
            drain_ns: self.drain,
        };
        Ok(Dashboards::new(common, options))
    }
}
