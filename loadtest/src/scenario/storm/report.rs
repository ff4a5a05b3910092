//! What a storm comes to.

use super::{Outcome, Storm};
use crate::report::{Report, Value, text};
use crate::run::{Sample, Samples};
use crate::scenario::summary;
use ringmq::codec::QoS;

pub fn report(storm: &Storm, outcomes: Vec<Outcome>, samples: &Samples) -> Report {
    let sum = outcomes
        .into_iter()
        .reduce(Outcome::merged)
        .expect("one executor at least");
    let mut report = Report::new("storm", title(storm, &sum, samples));
    summary::options(&storm.common, &mut report)
        .count("clients", "", storm.options.clients.into())
        .count("qos", "", storm.options.qos as u64);
    report
        .section("first connections")
        .count("first_connected", "connected", sum.first.connect.count())
        .count("first_failed", "failed", sum.first.failed)
        .add("first_lost", "lost", Value::Faults(sum.first.lost.clone()))
        .add(
            "first_p99_us",
            "99 %",
            Value::Time(sum.first.connect.quantile_ns(0.99)),
        );
    let all_back_ns = match sum.again.connect.count() {
        0 => 0,
        _ => sum.again.last_connack_ns.saturating_sub(sum.began_ns),
    };
    let rate = sum.again.connect.count() as f64 / (all_back_ns.max(1) as f64 / 1e9);
    report
        .section("reconnections")
        .count("attempts", "attempts", sum.again.attempts)
        .count("back", "back", sum.back)
        .add(
            "last_connack_s",
            "last CONNACK after",
            Value::Duration(all_back_ns),
        )
        .add("back_per_s", "came back", Value::PerSecond(rate));
    if storm.options.session_expiry_s.is_some() {
        let section = report.sections.last_mut().expect("one was just added");
        section.count(
            "sessions_resumed",
            "with their session",
            sum.counts.sessions_resumed,
        );
    }
    summary::connections(&sum.again, &mut report);
    messages(storm, &sum, &mut report);
    let window = samples.marks.get(1).zip(samples.mark(2));
    cost(&sum, window, &mut report);
    summary::own(None, 0, sum.busy, &mut report);
    judge(storm, &sum, samples, &mut report);
    report
}

impl Outcome {
    fn merged(mut self, other: Outcome) -> Outcome {
        self.first.merge(other.first);
        self.again.merge(other.again);
        self.connected += other.connected;
        self.began_ns = match (self.began_ns, other.began_ns) {
            (0, began_ns) | (began_ns, 0) => began_ns,
            (mine_ns, theirs_ns) => mine_ns.min(theirs_ns),
        };
        self.sessions_left += other.sessions_left;
        self.back += other.back;
        self.tally += other.tally;
        self.counts.merge(&other.counts);
        self.latency.merge(&other.latency);
        self.busy = self.busy.max(other.busy);
        self
    }
}

/// What was done, also if that was less than was to be.
fn title(storm: &Storm, sum: &Outcome, samples: &Samples) -> String {
    let done = match samples.marks.len() {
        0 | 1 if samples.was_interrupted => "connected",
        2 if samples.was_interrupted => "cut off",
        _ => "cut off and back",
    };
    let sessions = match storm.options.session_expiry_s {
        Some(_) => "persistent",
        None => "clean",
    };
    format!(
        "{} with {sessions} sessions {done}, QoS {}, {}",
        text::counted(sum.connected, "client"),
        storm.options.qos as u8,
        storm.common.protocol(),
    )
}

fn messages(storm: &Storm, sum: &Outcome, report: &mut Report) {
    let missed = u64::from(storm.missed()) * u64::from(storm.options.clients);
    let section = report.section("messages");
    section
        .count(
            "published_away",
            "published while away",
            missed.min(sum.counts.published),
        )
        .count("published", "published in all", sum.counts.published)
        .count("delivered", "delivered", sum.tally.delivered)
        .count("lost", "lost", sum.tally.lost)
        .count("duplicated", "duplicated", sum.tally.duplicated)
        .count("reordered", "reordered", sum.tally.reordered)
        .count("repeated", "", sum.counts.repeated);
    summary::late(&storm.common, "late", sum.counts.late, section);
}

fn cost(sum: &Outcome, window: Option<(&Sample, &Sample)>, report: &mut Report) {
    summary::broker(window, 0, report);
    if let Some((from, to)) = window
        && let (Some(from), Some(to)) = (from.broker, to.broker)
    {
        let each = to.cpu_ns.saturating_sub(from.cpu_ns) as f64 / sum.back.max(1) as f64;
        let section = report
            .sections
            .last_mut()
            .expect("the section of the broker");
        section.add(
            "broker_cpu_us_per_connection",
            "CPU to connect one",
            Value::Cost(each),
        );
    }
}

fn judge(storm: &Storm, sum: &Outcome, samples: &Samples, report: &mut Report) {
    let is_persistent = storm.options.session_expiry_s.is_some();
    let mut tally = sum.tally;
    // At QoS 1 what was not acknowledged before the cut comes again, with DUP.
    if is_persistent && storm.options.qos == QoS::AtLeastOnce {
        tally = tally.without_redelivered();
    }
    summary::judge_tally(&tally, report);
    let began_ns = samples.began_ns();
    summary::judge_connections(&sum.first, began_ns, report);
    report.problem(sum.again.failed, "clients did not come back");
    summary::judge_lost(&sum.again, began_ns, "connections were lost again", report);
    report.problem(sum.counts.sessions_missing, "sessions were gone");
    report.problem(
        sum.counts.sessions_unexpected,
        "sessions were there that ought not to be",
    );
    report.problem(
        sum.counts.astray,
        "deliveries were changed or came to the wrong device",
    );
    report.problem(sum.counts.rejected, "messages were refused by the broker");
    let waves = [
        ("while connecting, ", &sum.first.pace),
        ("while coming back, ", &sum.again.pace),
    ];
    summary::judge_waves(&storm.common, &waves, sum.busy, report);
    let all = text::counted(storm.options.clients.into(), "client");
    let how_far = match samples.marks.len() {
        0 => format!(
            "while connecting: {} of {all} were connected",
            text::count(sum.connected)
        ),
        1 => "before they were let back".into(),
        2 => format!(
            "while they came back: {} of {all} were back",
            text::count(sum.back)
        ),
        _ => "when all were back".into(),
    };
    summary::ended_early(samples, &how_far, report);
    if sum.sessions_left > 0 {
        report.notes.push(format!(
            "up to {} stay at the broker until they expire",
            text::counted(sum.sessions_left, "session")
        ));
    }
}
