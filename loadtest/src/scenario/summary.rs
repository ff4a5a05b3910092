//! Parts of the closing report that all kinds of load share.

use super::Common;
use super::idle::Again;
use crate::measure::sequence::Tally;
use crate::net::FleetStats;
use crate::report::{Report, Section, Value};
use crate::run::Sample;

/// A thread that is busier than this has no time to spare.
const BUSY_MAX: f64 = 0.95;

/// Begins the section of what was asked for, which is in JSON only.
pub fn options<'a>(common: &Common, report: &'a mut Report) -> &'a mut Section {
    report
        .section("options")
        .add("broker", "", Value::Text(common.broker.to_string()))
        .add("protocol", "", Value::Text(common.version_name().into()))
        .add("transport", "", Value::Text(common.transport.name().into()))
        .add("run", "", Value::Text(format!("{:08x}", common.run)))
        .count("shards", "", common.shards as u64)
}

/// What came later than was said to be late, if that was said.
pub fn late(common: &Common, key: &'static str, count: u64, section: &mut Section) {
    if common.late_ns < u64::MAX {
        section.count(key, "later than said", count);
    }
}

/// Connections, those that publish included, and how long they took to come up.
pub fn connections(stats: &FleetStats, report: &mut Report) {
    let section = report.section("connections");
    section
        .count("connected", "connected in all", stats.connect.count())
        .count("connections_failed", "failed", stats.failed)
        .add(
            "refused",
            "attempts refused",
            Value::Faults(stats.refused.clone()),
        )
        .add(
            "connections_lost",
            "lost",
            Value::Faults(stats.lost.clone()),
        );
    let keys = [
        "connect_p50_us",
        "connect_p90_us",
        "connect_p99_us",
        "connect_p999_us",
        "connect_max_us",
    ];
    report
        .section("time to CONNACK")
        .latency(keys, &stats.connect);
}

/// Those that were cut off and came back, and what of it was wrong.
pub fn back(again: &Again, clients: u32, report: &mut Report) {
    let span_ns = again.stats.last_connack_ns.saturating_sub(again.began_ns);
    let rate = again.stats.connect.count() as f64 / (span_ns.max(1) as f64 / 1e9);
    report
        .section("cut off and back")
        .count("attempts", "attempts", again.stats.attempts)
        .count("back", "back", again.back)
        .add(
            "last_connack_s",
            "last CONNACK after",
            Value::Duration(span_ns),
        )
        .add("back_per_s", "came back", Value::PerSecond(rate));
    let missing = u64::from(clients).saturating_sub(again.back);
    report.problem(missing, "clients did not come back");
    report.problem(again.stats.lost.total(), "connections were lost again");
}

/// What the broker used between two samples, if its process is known.
pub fn broker(window: Option<(&Sample, &Sample)>, deliveries: u64, report: &mut Report) {
    let Some((from, to)) = window else { return };
    let (Some(before), Some(after)) = (from.broker, to.broker) else {
        return;
    };
    let cpu_ns = after.cpu_ns.saturating_sub(before.cpu_ns) as f64;
    let span_ns = (to.at_ns - from.at_ns).max(1) as f64;
    let section = report.section("broker");
    if deliveries > 0 {
        let cost = Value::Cost(cpu_ns / deliveries as f64);
        section.add("broker_cpu_us_per_delivery", "CPU per delivery", cost);
    }
    section
        .add(
            "broker_cores",
            "CPU, of a core",
            Value::Share(cpu_ns / span_ns),
        )
        .add(
            "broker_resident_bytes",
            "resident memory",
            memory(after.resident_bytes),
        );
}

/// What the load tester used between two samples.
pub fn own(window: Option<(&Sample, &Sample)>, deliveries: u64, busy: f64, report: &mut Report) {
    let section = report.section("load tester");
    if let Some((from, to)) = window
        && deliveries > 0
    {
        let cpu_ns = to.own_cpu_ns.saturating_sub(from.own_cpu_ns) as f64;
        let cost = Value::Cost(cpu_ns / deliveries as f64);
        section.add("own_cpu_us_per_delivery", "CPU per delivery", cost);
    }
    section.add("own_busy", "busiest executor", Value::Share(busy));
}

pub fn judge_tally(tally: &Tally, report: &mut Report) {
    report.problem(tally.lost, "messages were lost");
    report.problem(tally.duplicated, "messages were duplicated");
    report.problem(tally.reordered, "messages were reordered");
}

pub fn judge_connections(stats: &FleetStats, report: &mut Report) {
    report.problem(stats.failed, "connections failed");
    report.problem(stats.lost.total(), "connections were lost");
}

/// Says if the load tester, not the broker, may have been the limit.
pub fn judge_busy(busy: f64, report: &mut Report) {
    if busy > BUSY_MAX {
        report.notes.push(format!(
            "the load tester, not the broker, may have been the limit: its busiest executor used \
             {:.0} % of a core; try more --shards or --workers",
            busy * 100.0
        ));
    }
}

pub fn memory(bytes: u64) -> Value {
    Value::Bytes(i64::try_from(bytes).unwrap_or(i64::MAX))
}
