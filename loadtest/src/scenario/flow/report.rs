//! What a flow comes to.

use super::clients::Counts;
use super::{Flow, Outcome};
use crate::measure::busy::Busy;
use crate::measure::latency::Latency;
use crate::measure::sequence::Tally;
use crate::net::FleetStats;
use crate::report::{Report, Value, text};
use crate::run::{Sample, Samples};
use crate::scenario::{generator, summary};
use ringmq::codec::QoS;

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
    replies(flow, &sum, &mut report);
    sessions(flow, &sum, &mut report);
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
    counts: Counts,
    replies: Tally,
    round_trip: Latency,
    cuts: u64,
    away: u64,
    lag: Latency,
    /// Of the busiest.
    busy: Busy,
    unsent: u64,
    cut_short: u64,
    stalls: u64,
}

impl Sum {
    fn of(flow: &Flow, outcomes: Vec<Outcome>) -> Sum {
        let mut sum = Sum {
            stats: FleetStats::default(),
            tally: Tally::default(),
            sent: 0,
            latency: Latency::default(),
            counts: Counts::default(),
            replies: Tally::default(),
            round_trip: Latency::default(),
            cuts: 0,
            away: 0,
            lag: Latency::default(),
            busy: Busy::default(),
            unsent: 0,
            cut_short: 0,
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
            sum.counts.merge(&outcome.counts);
            sum.replies += outcome.replies;
            sum.round_trip.merge(&outcome.round_trip);
            sum.cuts += outcome.cuts;
            sum.away += outcome.away;
            sum.unsent += outcome.unsent;
            sum.cut_short += outcome.cut_short;
            sum.stalls += outcome.stalls;
        }
        // A request that was lost has no reply to lose.
        sum.replies.lost = sum.replies.lost.saturating_sub(sum.tally.lost);
        sum
    }
}

/// Messages that were sent to a receiver's topic and have not reached it, over all of them.
fn lost(flow: &Flow, outcomes: &[Outcome]) -> u64 {
    let plan = &flow.options.plan;
    let shards = flow.common.shards;
    // Nothing of those whose worker was lost: of their messages only gaps are known to be lost.
    let mut sent = vec![None; plan.publishers as usize];
    for outcome in outcomes {
        for (i, count) in outcome.sent.iter().enumerate() {
            sent[outcome.shard + i * shards] = Some(*count);
        }
    }
    let mut lost = 0;
    for outcome in outcomes {
        for (i, arrivals) in outcome.arrivals.iter().enumerate() {
            let receiver = (outcome.shard + i * shards) as u32;
            for stream in plan.streams_seen(receiver) {
                let place = plan.position(receiver, stream);
                let place = place.expect("a stream that is seen has a place");
                lost += match sent[plan.publisher_of(stream) as usize] {
                    Some(sent) => arrivals[place].missing(plan.sent_of(stream, sent)),
                    None => arrivals[place].gaps(),
                };
            }
        }
    }
    lost
}

fn title(flow: &Flow) -> String {
    let plan = &flow.options.plan;
    let groups = match plan.groups {
        0 => String::new(),
        _ => format!(
            " in {}",
            text::counted(plan.receivers().into(), "shared group")
        ),
    };
    format!(
        "{}, {}{groups}, {}, QoS {}, {} bytes, {}",
        text::counted(plan.publishers.into(), "publisher"),
        text::counted(plan.subscribers.into(), "subscriber"),
        text::counted(plan.topics.into(), "topic"),
        flow.options.qos as u8,
        flow.options.payload_bytes,
        flow.common.protocol(),
    )
}

/// In JSON only: what was asked for.
fn options(flow: &Flow, report: &mut Report) {
    let options = &flow.options;
    summary::options(&flow.common, report)
        .count("publishers", "", options.plan.publishers.into())
        .count("subscribers", "", options.plan.subscribers.into())
        .count("topics", "", options.plan.topics.into())
        .count("groups", "", options.plan.groups.into())
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
    summary::late(&flow.common, "late", sum.counts.late, section);
}

fn replies(flow: &Flow, sum: &Sum, report: &mut Report) {
    if !flow.options.has_replies {
        return;
    }
    let section = report.section("replies");
    section
        .count("replies", "came", sum.replies.delivered)
        .count("replies_lost", "lost", sum.replies.lost)
        .count("replies_duplicated", "duplicated", sum.replies.duplicated)
        .count("replies_reordered", "reordered", sum.replies.reordered);
    let late = sum.counts.replies_late;
    summary::late(&flow.common, "replies_late", late, section);
    let keys = [
        "round_trip_p50_us",
        "round_trip_p90_us",
        "round_trip_p99_us",
        "round_trip_p999_us",
        "round_trip_max_us",
    ];
    report
        .section("round trip from the intended time")
        .latency(keys, &sum.round_trip);
    report.problem(sum.replies.lost, "replies were lost");
    report.problem(sum.replies.duplicated, "replies were duplicated");
    report.problem(sum.replies.reordered, "replies were reordered");
}

fn sessions(flow: &Flow, sum: &Sum, report: &mut Report) {
    if flow.options.session_expiry_s.is_none() {
        return;
    }
    report
        .section("sessions")
        .count("cuts", "subscribers cut off", sum.cuts)
        .count(
            "sessions_resumed",
            "back to their session",
            sum.counts.sessions_resumed,
        )
        .count("repeated", "", sum.counts.repeated);
    report.problem(sum.counts.sessions_missing, "sessions were gone");
    report.problem(sum.away, "clients did not come back");
}

/// The samples that enclose the measurement. If it was interrupted, it ended then.
fn window(samples: &Samples) -> Option<(&Sample, &Sample)> {
    let from = samples.marks.first()?;
    let to = samples.mark(1)?;
    (to.at_ns > from.at_ns).then_some((from, to))
}

fn judge(flow: &Flow, sum: &Sum, samples: &Samples, report: &mut Report) {
    // What is lost with a connection follows from that.
    summary::judge_connections(&sum.stats, samples.began_ns(), report);
    summary::judge_tally(&excused(flow, sum), report);
    report.problem(
        sum.counts.astray,
        "deliveries were changed or came to the wrong subscriber",
    );
    report.problem(sum.counts.rejected, "messages were refused by the broker");
    if sum.sent == 0 && !samples.was_interrupted {
        report.problems.push("nothing was sent".into());
    }
    if sum.counts.foreign > 0 {
        let count = text::count(sum.counts.foreign);
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
    unsent(flow, sum, report);
    how_far(flow, sum, samples, report);
    judge_generator(flow, sum, report);
}

fn unsent(flow: &Flow, sum: &Sum, report: &mut Report) {
    if sum.cut_short > 0 {
        report.notes.push(format!(
            "{} messages were due when their publishers had lost their connections, and were not \
             sent",
            text::count(sum.cut_short)
        ));
    }
    let unsent = sum.unsent.saturating_sub(sum.cut_short);
    if unsent > 0 {
        let window = match flow.options.qos {
            QoS::AtMostOnce => String::new(),
            _ => format!(", or --in-flight ({}) was used up", flow.options.in_flight),
        };
        report.notes.push(format!(
            "{} messages were due and not sent when the time was over, and are not part of the \
             latency: sockets were full{window}",
            text::count(unsent)
        ));
    }
}

/// Of a run that ended before its time: when.
fn how_far(flow: &Flow, sum: &Sum, samples: &Samples, report: &mut Report) {
    let began = samples.marks.first();
    let began_ns = began.map(|measured| measured.at_ns - flow.options.warm_up_ns);
    let span_ns = flow.span_ns();
    let how_far = match began_ns {
        Some(began_ns) => summary::so_far(samples, began_ns, span_ns),
        None if sum.sent > 0 => "in the warm-up".into(),
        None => format!(
            "while connecting: {} of {} were connected",
            text::count(sum.stats.connect.count()),
            text::counted(flow.connections() as u64, "client")
        ),
    };
    summary::ended_early(samples, &how_far, report);
    let is_over = samples.marks.len() > 1;
    if !samples.was_interrupted && !is_over && sum.sent > 0 {
        report
            .notes
            .push(format!("everybody had lost the connection {how_far}"));
    }
}

/// What counts against the broker. After a cut, what was not acknowledged comes again at QoS 1,
/// with DUP, and in a group it goes to another member, as new and behind later ones.
fn excused(flow: &Flow, sum: &Sum) -> Tally {
    let mut tally = sum.tally;
    if sum.cuts > 0 && flow.options.qos == QoS::AtLeastOnce {
        tally = tally.without_redelivered();
    }
    if sum.cuts > 0 && flow.options.plan.groups > 0 {
        tally.duplicated = match flow.options.qos {
            QoS::AtLeastOnce => 0,
            _ => tally.duplicated,
        };
        tally.reordered = 0;
    }
    tally
}

fn judge_generator(flow: &Flow, sum: &Sum, report: &mut Report) {
    let late_ns = sum.lag.quantile_ns(0.99);
    let sending = generator::of_sending(late_ns, flow.options.tick_ns);
    report.notes.extend(sending);
    summary::judge_busy(sum.busy, report);
    let has_all = sum.stats.lost.total() == 0;
    if flow.options.qos == QoS::AtMostOnce && sum.tally.lost > 0 && has_all {
        report
            .notes
            .push("at QoS 0 a broker may drop messages when it is overloaded".into());
    }
}
