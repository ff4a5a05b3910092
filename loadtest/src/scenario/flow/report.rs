//! What a flow comes to.

use super::{Flow, Outcome};
use crate::measure::clock::MS;
use crate::measure::latency::Latency;
use crate::measure::sequence::Tally;
use crate::net::FleetStats;
use crate::report::{Report, Value, text};
use crate::run::{Sample, Samples};
use crate::scenario::summary;
use ringmq::codec::QoS;

/// A sender that is later than this was a limit of its own.
const LAG_MAX_NS: u64 = 2 * MS;
/// A thread that is busier than this has no time to spare.
const BUSY_MAX: f64 = 0.95;

pub fn report(flow: &Flow, outcomes: Vec<Outcome>, samples: &Samples) -> Report {
    let sum = Sum::of(flow, outcomes);
    let mut report = Report::new("flow", title(flow));
    options(flow, &mut report);
    messages(flow, &sum, samples, &mut report);
    report
        .section("latency from the intended time")
        .add("mean_us", "", Value::Time(sum.latency.mean_ns()))
        .latency(
            ["p50_us", "p90_us", "p99_us", "p999_us", "max_us"],
            &sum.latency,
        );
    summary::connections(&sum.stats, &mut report);
    let window = window(samples);
    let deliveries = window.map_or(0, |(from, to)| to.totals.delivered - from.totals.delivered);
    summary::broker(window, deliveries, &mut report);
    summary::own(window, deliveries, sum.busy, &mut report);
    if flow.options.rate_per_s > 0 {
        let section = report
            .sections
            .last_mut()
            .expect("the section of the load tester");
        section.add(
            "lag_p99_us",
            "late by (99 %)",
            Value::Time(sum.lag.quantile_ns(0.99)),
        );
    }
    judge(flow, &sum, samples, &mut report);
    report
}

/// All executors' outcomes together.
struct Sum {
    stats: FleetStats,
    tally: Tally,
    sent: u64,
    latency: Latency,
    lag: Latency,
    /// Of the busiest.
    busy: f64,
    unsent: u64,
    rejected: u64,
    astray: u64,
    foreign: u64,
    stalls: u64,
}

impl Sum {
    fn of(flow: &Flow, outcomes: Vec<Outcome>) -> Sum {
        let mut sum = Sum {
            stats: FleetStats::default(),
            tally: Tally::default(),
            sent: 0,
            latency: Latency::default(),
            lag: Latency::default(),
            busy: 0.0,
            unsent: 0,
            rejected: 0,
            astray: 0,
            foreign: 0,
            stalls: 0,
        };
        sum.tally.lost = lost(flow, &outcomes);
        for outcome in outcomes {
            sum.sent += outcome.sent.iter().sum::<u64>();
            sum.stats.merge(outcome.stats);
            sum.tally += outcome.tally;
            sum.latency.merge(&outcome.latency);
            sum.lag.merge(&outcome.lag);
            sum.busy = sum.busy.max(outcome.busy);
            sum.unsent += outcome.unsent;
            sum.rejected += outcome.rejected;
            sum.astray += outcome.astray;
            sum.foreign += outcome.foreign;
            sum.stalls += outcome.stalls;
        }
        sum
    }
}

/// Messages that were sent to a subscriber's topic and have not reached it, over all of them.
fn lost(flow: &Flow, outcomes: &[Outcome]) -> u64 {
    let plan = &flow.options.plan;
    let shards = outcomes.len();
    let mut sent = vec![0; plan.publishers as usize];
    for outcome in outcomes {
        for (i, count) in outcome.sent.iter().enumerate() {
            sent[outcome.shard + i * shards] = *count;
        }
    }
    let mut lost = 0;
    for outcome in outcomes {
        for (i, arrivals) in outcome.arrivals.iter().enumerate() {
            let subscriber = (outcome.shard + i * shards) as u32;
            for stream in plan.streams_seen(subscriber) {
                let place = plan.position(subscriber, stream);
                let place = place.expect("a stream that is seen has a place");
                let of_publisher = sent[plan.publisher_of(stream) as usize];
                lost += arrivals[place].missing(plan.sent_of(stream, of_publisher));
            }
        }
    }
    lost
}

fn title(flow: &Flow) -> String {
    let plan = &flow.options.plan;
    format!(
        "{}, {}, {}, QoS {}, {} bytes, {}",
        text::counted(plan.publishers.into(), "publisher"),
        text::counted(plan.subscribers.into(), "subscriber"),
        text::counted(plan.topics.into(), "topic"),
        flow.options.qos as u8,
        flow.options.payload_bytes,
        flow.common.version_name(),
    )
}

/// In JSON only: what was asked for.
fn options(flow: &Flow, report: &mut Report) {
    let options = &flow.options;
    summary::options(&flow.common, report)
        .count("publishers", "", options.plan.publishers.into())
        .count("subscribers", "", options.plan.subscribers.into())
        .count("topics", "", options.plan.topics.into())
        .count("qos", "", options.qos as u64)
        .count("payload_bytes", "", options.payload_bytes as u64)
        .count("rate_per_s", "", options.rate_per_s);
}

fn messages(flow: &Flow, sum: &Sum, samples: &Samples, report: &mut Report) {
    let section = report.section("messages");
    section.count("published", "published", sum.sent).count(
        "delivered",
        "delivered",
        sum.tally.delivered,
    );
    if let Some((from, to)) = window(samples) {
        let seconds = (to.at_ns - from.at_ns) as f64 / 1e9;
        let rate = |from: u64, to: u64| Value::PerSecond((to - from) as f64 / seconds);
        let published = rate(from.totals.sent, to.totals.sent);
        let delivered = rate(from.totals.delivered, to.totals.delivered);
        section
            .add(
                "measured_s",
                "measured for",
                Value::Duration(to.at_ns - from.at_ns),
            )
            .add("published_per_s", "published", published)
            .add("delivered_per_s", "delivered", delivered);
    }
    section
        .count("lost", "lost", sum.tally.lost)
        .count("duplicated", "duplicated", sum.tally.duplicated)
        .count("reordered", "reordered", sum.tally.reordered);
    if flow.options.rate_per_s > 0 {
        section.count("unsent", "due and not sent", sum.unsent);
    }
}

/// The samples that enclose the measurement. If it was interrupted, it ended then.
fn window(samples: &Samples) -> Option<(&Sample, &Sample)> {
    let from = samples.marks.first()?;
    let to = samples.marks.get(1).or(samples.after.as_ref())?;
    (to.at_ns > from.at_ns).then_some((from, to))
}

fn judge(flow: &Flow, sum: &Sum, samples: &Samples, report: &mut Report) {
    summary::judge_tally(&sum.tally, report);
    summary::judge_connections(&sum.stats, report);
    report.problem(
        sum.astray,
        "deliveries were changed or came to the wrong subscriber",
    );
    report.problem(sum.rejected, "messages were refused by the broker");
    if sum.sent == 0 && !samples.was_interrupted {
        report.problems.push("nothing was sent".into());
    }
    if sum.foreign > 0 {
        let count = text::count(sum.foreign);
        report
            .notes
            .push(format!("{count} messages of others came on our topics"));
    }
    if sum.stalls > 0 {
        report.notes.push(format!(
            "the window was stuck for a second {}: deliveries were lost or very late",
            text::counted(sum.stalls, "time")
        ));
    }
    if sum.unsent > 0 {
        report.notes.push(format!(
            "{} messages could not be sent in time and are not part of the latency: the broker \
             does not take this rate",
            text::count(sum.unsent)
        ));
    }
    if samples.was_interrupted {
        report.notes.push("ended early".into());
    }
    judge_generator(flow, sum, report);
}

fn judge_generator(flow: &Flow, sum: &Sum, report: &mut Report) {
    let late_ns = sum.lag.quantile_ns(0.99);
    if flow.options.rate_per_s > 0 && late_ns > LAG_MAX_NS.max(flow.options.tick_ns) {
        report.notes.push(format!(
            "the load tester, not the broker, was a limit: it sent up to {} late (99 %)",
            text::time(late_ns)
        ));
    }
    if sum.busy > BUSY_MAX {
        report.notes.push(format!(
            "the load tester, not the broker, may have been the limit: its busiest executor used \
             {:.0} % of a core; try --shards {}",
            sum.busy * 100.0,
            flow.common.shards + 1
        ));
    }
    if flow.options.qos == QoS::AtMostOnce && sum.tally.lost > 0 {
        report
            .notes
            .push("at QoS 0 a broker may drop messages when it is overloaded".into());
    }
}
