//! Parts of the closing report that all kinds of load share.

use super::Common;
use super::generator;
use super::idle::Again;
use crate::measure::busy::Busy;
use crate::measure::clock::SECOND;
use crate::measure::sequence::Tally;
use crate::net::{FleetStats, Pace};
use crate::report::{Report, Section, Value, text};
use crate::run::{Sample, Samples};

/// Losses that are further apart did not come at once.
const AT_ONCE_NS: u64 = SECOND / 10;

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
pub fn back(again: &Again, clients: u32, began_ns: u64, report: &mut Report) {
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
    judge_lost(
        &again.stats,
        began_ns,
        "connections were lost again",
        report,
    );
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
pub fn own(window: Option<(&Sample, &Sample)>, deliveries: u64, busy: Busy, report: &mut Report) {
    let section = report.section("load tester");
    if let Some((from, to)) = window
        && deliveries > 0
    {
        let cpu_ns = to.own_cpu_ns.saturating_sub(from.own_cpu_ns) as f64;
        let cost = Value::Cost(cpu_ns / deliveries as f64);
        section.add("own_cpu_us_per_delivery", "CPU per delivery", cost);
    }
    section
        .add("own_busy", "busiest executor", Value::Share(busy.used))
        .add(
            "own_waited",
            "  waited for a core",
            Value::Share(busy.waited),
        );
}

pub fn judge_tally(tally: &Tally, report: &mut Report) {
    report.problem(tally.lost, "messages were lost");
    report.problem(tally.duplicated, "messages were duplicated");
    report.problem(tally.reordered, "messages were reordered");
}

/// `began_ns`: when the run began.
pub fn judge_connections(stats: &FleetStats, began_ns: u64, report: &mut Report) {
    report.problem(stats.failed, "connections failed");
    judge_lost(stats, began_ns, "connections were lost", report);
}

/// Says when connections were lost, and how: `200 connections were lost 3.1 s after the beginning:
/// closed by the broker (200)`.
pub fn judge_lost(stats: &FleetStats, began_ns: u64, words: &str, report: &mut Report) {
    let after = |at_ns: u64| text::time(at_ns.saturating_sub(began_ns));
    let (first_ns, last_ns) = (stats.first_lost_ns, stats.last_lost_ns);
    let when = match last_ns.saturating_sub(first_ns) < AT_ONCE_NS {
        true => after(first_ns),
        false => format!("{} to {}", after(first_ns), after(last_ns)),
    };
    let how = stats.lost.iter();
    let how = how.map(|(fault, count)| format!("{fault} ({})", text::count(count)));
    let how = how.collect::<Vec<_>>().join(", ");
    report.problem(
        stats.lost.total(),
        &format!("{words} {when} after the beginning: {how}"),
    );
}

/// Says if the load tester, not the broker, may have been the limit.
pub fn judge_busy(busy: Busy, report: &mut Report) {
    report.notes.extend(generator::of_busy("", busy));
}

/// The same of waves of connections, each with its words, and of the whole run if no wave was busy.
pub fn judge_waves(common: &Common, waves: &[(&str, &Pace)], busy: Busy, report: &mut Report) {
    let before = report.notes.len();
    for (when, pace) in waves {
        report
            .notes
            .extend(generator::of_connecting(when, pace, common.allowed()));
    }
    if report.notes.len() == before {
        judge_busy(busy, report);
    }
}

/// Says that the run was ended before its time, and how far it had come.
pub fn ended_early(samples: &Samples, how_far: &str, report: &mut Report) {
    if samples.was_interrupted {
        report.notes.push(format!("ended early, {how_far}"));
    }
}

/// `after 3.1 s of 60 s`, of what began at a time.
pub fn so_far(samples: &Samples, began_ns: u64, span_ns: u64) -> String {
    let ended_ns = samples.last.map_or(began_ns, |last| last.at_ns);
    format!(
        "after {} of {}",
        text::time(ended_ns.saturating_sub(began_ns).min(span_ns)),
        text::time(span_ns)
    )
}

pub fn memory(bytes: u64) -> Value {
    Value::Bytes(i64::try_from(bytes).unwrap_or(i64::MAX))
}
