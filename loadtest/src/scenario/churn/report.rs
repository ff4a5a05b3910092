//! What coming and going comes to.

use super::{Churn, Outcome};
use crate::report::{Report, Value, text};
use crate::run::Samples;
use crate::scenario::summary;

pub fn report(churn: &Churn, outcomes: Vec<Outcome>, samples: &Samples) -> Report {
    let sum = outcomes
        .into_iter()
        .reduce(Outcome::merged)
        .expect("one executor at least");
    let mut report = Report::new("churn", title(churn));
    summary::options(&churn.common, &mut report)
        .count("clients", "", churn.options.clients.into())
        .count("rate_per_s", "", churn.options.rate_per_s)
        .count("qos", "", churn.options.qos as u64);
    let section = report.section("lives");
    section
        .count("lives", "connected to left", sum.counts.lived)
        .count("published", "messages sent", sum.counts.published)
        .count("delivered", "came", sum.counts.lived)
        .count("lost", "lost", sum.counts.lost)
        .count("duplicated", "duplicated", sum.counts.duplicated);
    if churn.options.rate_per_s > 0 {
        section.count("not_begun", "due and not begun", sum.counts.not_begun);
    }
    summary::late(&churn.common, "late", sum.counts.late, section);
    let window = samples.marks.first().zip(samples.mark(1));
    let lived = window.map_or(0, |(from, to)| to.totals.delivered - from.totals.delivered);
    if let Some((from, to)) = window {
        let seconds = (to.at_ns - from.at_ns).max(1) as f64 / 1e9;
        let rate = Value::PerSecond(lived as f64 / seconds);
        section.add("lives_per_s", "lives", rate);
    }
    report
        .section("from the intended beginning to the message")
        .latency(
            ["p50_us", "p90_us", "p99_us", "p999_us", "max_us"],
            &sum.life,
        );
    summary::connections(&sum.stats, &mut report);
    summary::broker(window, 0, &mut report);
    if let Some((from, to)) = window
        && let (Some(before), Some(after)) = (from.broker, to.broker)
    {
        let each = after.cpu_ns.saturating_sub(before.cpu_ns) as f64 / lived.max(1) as f64;
        let section = report.sections.last_mut().expect("the broker's section");
        section.add(
            "broker_cpu_us_per_life",
            "CPU for a life",
            Value::Cost(each),
        );
    }
    summary::own(None, 0, sum.busy, &mut report);
    judge(churn, &sum, samples, &mut report);
    report
}

fn title(churn: &Churn) -> String {
    let pace = match churn.options.rate_per_s {
        0 => "as fast as they leave".to_owned(),
        rate => format!("{} a second", text::count(rate)),
    };
    format!(
        "{} at a time come and go, {pace}, QoS {}, {}",
        text::counted(churn.options.clients.into(), "client"),
        churn.options.qos as u8,
        churn.common.protocol(),
    )
}

fn judge(churn: &Churn, sum: &Outcome, samples: &Samples, report: &mut Report) {
    report.problem(sum.counts.lost, "messages were lost");
    report.problem(sum.counts.duplicated, "messages were duplicated");
    report.problem(sum.counts.rejected, "messages were refused by the broker");
    let astray = "deliveries were changed or came to the wrong client";
    report.problem(sum.counts.astray, astray);
    summary::judge_connections(&sum.stats, samples.began_ns(), report);
    if sum.counts.lived == 0 && !samples.was_interrupted {
        report.problems.push("nobody lived".into());
    }
    summary::judge_busy(sum.busy, report);
    if sum.counts.not_begun > 0 {
        report.notes.push(format!(
            "{} were due and found no client free: more --clients would have begun them",
            text::counted(sum.counts.not_begun, "life")
        ));
    }
    let began_ns = samples.marks.first().map_or(u64::MAX, |began| began.at_ns);
    let how_far = summary::so_far(samples, began_ns, churn.options.duration_ns);
    summary::ended_early(samples, &how_far, report);
}

impl Outcome {
    fn merged(mut self, other: Outcome) -> Outcome {
        self.stats.merge(other.stats);
        self.counts.merge(&other.counts);
        self.life.merge(&other.life);
        self.busy = self.busy.max(other.busy);
        self
    }
}
