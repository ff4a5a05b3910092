//! Each scenario that comes with the load tester, at small size, against ringmq.

use crate::support::{run, start, stop};
use loadtest::report::Report;
use serde_json::Value;

fn number(json: &Value, key: &str) -> u64 {
    json[key]
        .as_u64()
        .unwrap_or_else(|| panic!("no number `{key}` in {json}"))
}

/// Runs it against two shards, wants everything to be in order, and gives the figures.
fn in_order(words: &str) -> (Report, Value) {
    let (broker, address) = start(2);
    let (report, json) = run(address, words);
    stop(&broker);
    assert!(report.is_ok(), "{report}");
    (report, json)
}

#[track_caller]
fn figures(words: &str, expected: &[(&str, u64)]) {
    let (report, json) = in_order(words);
    for (key, value) in expected {
        assert_eq!(number(&json, key), *value, "{key}\n{report}");
    }
}

#[test]
fn idle() {
    let words = "run idle -n 60 --hold 0.3 --every 6 --reconnect --shards 2";
    figures(words, &[("held", 60), ("delivered", 10), ("back", 60)]);
}

#[test]
fn pairs() {
    let words = "run pairs -p 6 -s 6 -t 6 --rate 600 -d 0.5 --warm-up 0";
    figures(words, &[("published", 300), ("delivered", 300)]);
}

#[test]
fn fan_in() {
    let words = "run fan-in -p 30 -t 30 --rate 600 -d 0.5 --warm-up 0 --shards 2";
    figures(words, &[("published", 300), ("delivered", 300)]);
}

#[test]
fn fan_out() {
    let words = "run fan-out -s 40 --rate 20 -d 0.5 --warm-up 0 --mqtt 5";
    figures(words, &[("published", 10), ("delivered", 400)]);
}

#[test]
fn shared_groups_get_everything_once() {
    for qos in 0..3 {
        let words = format!(
            "run shared -p 10 -t 10 --rate 600 -d 0.5 --warm-up 0 --shards 2 --mqtt 5 -q {qos}"
        );
        figures(&words, &[("published", 300), ("delivered", 600)]);
    }
}

#[test]
fn telemetry_is_scattered_and_complete() {
    let words = "run telemetry -p 200 -t 200 --rate 400 -d 1 --warm-up 0 --late-ms 60000";
    let expected = [("published", 400), ("delivered", 400), ("late", 0)];
    figures(words, &expected);
}

#[test]
fn commands_are_answered() {
    for (mqtt, qos) in [(5, 0), (5, 1), (4, 2)] {
        let words = format!(
            "run command -p 3 -s 40 -t 40 --rate 400 -d 0.5 --warm-up 0 --shards 2 \
             --mqtt {mqtt} -q {qos}"
        );
        figures(
            &words,
            &[("published", 200), ("delivered", 200), ("replies", 200)],
        );
    }
}

#[test]
fn dashboards_get_all_that_is_retained() {
    for qos in 0..3 {
        let words = format!("run dashboards -n 30 -t 120 -a 7 --shards 2 -q {qos}");
        // Areas 0 have 18 topics and the others 17; dashboards 0 and 1 are five, the others four.
        let expected = 5 * 18 + 5 * 17 + 4 * 17 * 5;
        let expected = [("published", 120), ("delivered", expected), ("filled", 30)];
        figures(&words, &expected);
    }
}

#[test]
fn storm() {
    let words = "run storm -n 60 --hold 0.1";
    figures(
        words,
        &[("back", 60), ("sessions_resumed", 60), ("delivered", 120)],
    );
}

#[test]
fn churn_at_a_rate_and_as_fast_as_it_goes() {
    for qos in 0..3 {
        let words = format!("run churn -n 40 --rate 100 -d 0.5 -q {qos} --shards 2");
        let (report, json) = in_order(&words);
        // One more may begin at the very end.
        assert!((49..=52).contains(&number(&json, "lives")), "{report}");
        assert_eq!(
            number(&json, "lives"),
            number(&json, "published"),
            "{report}"
        );
    }
    let (report, json) = in_order("churn -n 5 --rate 0 -d 0.3 --mqtt 5");
    assert!(number(&json, "lives") > 10, "{report}");
}

#[test]
fn a_soak_cuts_off_and_loses_nothing() {
    for (mqtt, qos) in [(5, 1), (4, 1), (5, 2)] {
        let words = format!(
            "run soak -p 20 -s 20 -t 20 --rate 400 -d 1 --warm-up 0 --cut-rate 20 --away 0.1 \
             --shards 2 --mqtt {mqtt} -q {qos}"
        );
        let (report, json) = in_order(&words);
        assert_eq!(number(&json, "delivered"), 400, "{report}");
        assert_eq!(number(&json, "lost"), 0, "{report}");
        assert!((15..=21).contains(&number(&json, "cuts")), "{report}");
        let resumed = number(&json, "sessions_resumed");
        assert_eq!(resumed, number(&json, "cuts"), "{report}");
    }
}
