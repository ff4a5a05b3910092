//! `loadtest flow`

use super::common::CommonArgs;
use super::values;
use crate::measure::stamp::STAMP_BYTES;
use crate::scenario::Common;
use crate::scenario::flow::{Flow, FlowOptions, Plan};
use clap::Args;
use ringmq::codec::QoS;

/// Publishers to subscribers over topics
///
/// Publisher i publishes to topic i mod T, subscriber j subscribes to topic j mod T; if there are
/// more topics than publishers, each of them has several topics in turn, and so have subscribers.
///
/// With --rate every message has its time beforehand, whatever the broker does, and latency
/// counts from that time. Without it publishers send as fast as --window outstanding deliveries
/// let.
///
/// Each subscriber counts each publisher's messages on each of its topics: 16 bytes, and some
/// more for each gap while there are gaps.
#[derive(Debug, Args)]
pub struct FlowArgs {
    #[command(flatten)]
    pub common: CommonArgs,
    #[arg(short = 'p', long, default_value = "1", value_parser = values::count::<u32>)]
    publishers: u32,
    /// 0: nobody gets what is published
    #[arg(short, long, default_value_t = 1)]
    subscribers: u32,
    #[arg(short, long, default_value = "1", value_parser = values::count::<u32>)]
    topics: u32,
    /// Subscribers share ($share) in this many groups; 0: everybody gets everything
    #[arg(short, long, value_name = "COUNT", default_value_t = 0)]
    groups: u32,
    /// Subscribers have one wildcard subscription to all topics
    #[arg(long)]
    wildcard: bool,
    /// Subscribers answer each message, and the round trip is measured
    #[arg(long)]
    reply: bool,
    /// QoS of publishing and of subscribing
    #[arg(short, long, default_value = "0", value_parser = values::qos)]
    qos: QoS,
    /// Bytes of a payload
    #[arg(long, value_name = "BYTES", default_value_t = 64)]
    size: usize,
    /// Messages a second over all publishers; 0: as fast as the window lets
    #[arg(short, long, value_name = "PER_SECOND", default_value_t = 0)]
    rate: u64,
    /// At a rate, send in portions of this many microseconds
    #[arg(long, value_name = "MICROSECONDS", default_value = "1000",
        value_parser = values::count::<u32>)]
    tick_us: u32,
    /// Scatter each publisher's messages by this share of the time between two of them
    #[arg(long, value_name = "0-1", default_value = "0", value_parser = values::share)]
    jitter: f64,
    /// Seconds that are measured
    #[arg(short, long, value_name = "SECONDS", default_value = "10",
        value_parser = values::some_seconds)]
    duration: u64,
    /// Seconds before that
    #[arg(long, value_name = "SECONDS", default_value = "1", value_parser = values::seconds)]
    warm_up: u64,
    /// Without a rate: deliveries outstanding at most
    #[arg(long, value_name = "COUNT", default_value = "2000", value_parser = values::count::<u64>)]
    window: u64,
    /// QoS 1 and 2: unacknowledged messages of a publisher at most
    #[arg(long, value_name = "COUNT", default_value = "20", value_parser = values::count::<u16>)]
    in_flight: u16,
    /// Seconds to wait for the last deliveries
    #[arg(long, value_name = "SECONDS", default_value = "5", value_parser = values::seconds)]
    drain: u64,
    /// Sessions of subscribers persist; their expiry in seconds (MQTT 5)
    #[arg(long, value_name = "SECONDS", value_parser = values::count::<u32>)]
    session_expiry: Option<u32>,
    /// Subscribers cut off a second; they come back to their sessions
    #[arg(long, value_name = "PER_SECOND", default_value = "0", value_parser = values::rate)]
    cut_rate: f64,
    /// Seconds that they stay away
    #[arg(long, value_name = "SECONDS", default_value = "1", value_parser = values::seconds)]
    away: u64,
}

impl FlowArgs {
    pub fn connections(&self) -> usize {
        self.publishers as usize + self.subscribers as usize
    }

    /// # Errors
    /// A sentence: options that do not go together.
    pub fn scenario(&self, common: Common) -> Result<Flow, String> {
        if self.size < STAMP_BYTES {
            return Err(format!(
                "a payload has at least {STAMP_BYTES} bytes: run, stream, number and time"
            ));
        }
        self.check()?;
        let plan = Plan {
            publishers: self.publishers,
            subscribers: self.subscribers,
            topics: self.topics,
            groups: self.groups,
            is_wildcard: self.wildcard,
        };
        let options = FlowOptions {
            plan,
            qos: self.qos,
            payload_bytes: self.size,
            rate_per_s: self.rate,
            tick_ns: u64::from(self.tick_us) * 1000,
            warm_up_ns: self.warm_up,
            duration_ns: self.duration,
            window: self.window,
            in_flight: self.in_flight,
            drain_ns: self.drain,
            jitter: self.jitter,
            has_replies: self.reply,
            session_expiry_s: self.session_expiry,
            cuts_per_s: self.cut_rate,
            away_ns: self.away,
        };
        Ok(Flow::new(common, options))
    }

    /// What does not go together.
    fn check(&self) -> Result<(), String> {
        if self.groups > self.subscribers {
            return Err(format!(
                "--groups {} share among --subscribers {}: each group needs one",
                self.groups, self.subscribers
            ));
        }
        if self.jitter > 0.0 && self.rate == 0 {
            return Err("--jitter scatters what is sent at a --rate".into());
        }
        let is_cut = self.cut_rate > 0.0;
        if is_cut && (self.session_expiry.is_none() || self.qos == QoS::AtMostOnce) {
            return Err(
                "--cut-rate needs sessions that keep messages: --session-expiry and --qos 1 or 2"
                    .into(),
            );
        }
        if self.reply && (is_cut || self.wildcard || self.groups > 0) {
            return Err(
                "--reply goes with plain subscriptions, not with --cut-rate, --wildcard \
                        or --groups"
                    .into(),
            );
        }
        Ok(())
    }
}
