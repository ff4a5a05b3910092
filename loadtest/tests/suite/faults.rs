//! What is told of faults that a relay between load tester and broker plants: the sentences, and
//! how the counts of several executors add up. Which scenario finds what is in `matrix`.

use crate::relay::{Delivery, Fault, relay};
use crate::support::{run, start, stop};
use loadtest::report::Report;
use serde_json::Value;

fn with_fault(fault: Fault, words: &str) -> (Report, Value) {
    let (broker, address) = start(1);
    let done = run(relay(address, fault), words);
    stop(&broker);
    done
}

/// 1,000 messages to each of two subscribers, with 10 faults for each: figures and problems.
#[track_caller]
fn told(fault: Fault, figures: [u64; 4], problems: &[&str]) {
    let words = "flow -p 1 -s 2 --size 24 --rate 2000 -d 0.5 --warm-up 0 --drain 2";
    for words in [
        words.to_owned(),
        format!("{words} --shards 2 -q 2 --mqtt 5"),
    ] {
        let (report, json) = with_fault(fault, &words);
        let keys = ["delivered", "lost", "duplicated", "reordered"];
        let found = keys.map(|key| json[key].as_u64().unwrap());
        assert_eq!(found, figures, "{words}\n{report}");
        assert_eq!(report.problems, problems, "{words}");
    }
}

fn hundredth(message: Delivery) -> bool {
    message.number % 100 == 99
}

fn hundredth_but_the_last(message: Delivery) -> bool {
    hundredth(message) && message.number < 999
}

#[test]
fn losses_are_told() {
    let fault = Fault::Drop(hundredth);
    told(fault, [1980, 20, 0, 0], &["20 messages were lost"]);
}

#[test]
fn duplicates_are_told() {
    let fault = Fault::Double(hundredth);
    told(fault, [2000, 0, 20, 0], &["20 messages were duplicated"]);
}

#[test]
fn reordered_ones_are_told() {
    let fault = Fault::Swap(hundredth_but_the_last);
    told(fault, [2000, 0, 0, 18], &["18 messages were reordered"]);
    // The last is held for good.
    let problems = ["2 messages were lost", "18 messages were reordered"];
    told(Fault::Swap(hundredth), [1998, 2, 0, 18], &problems);
}

#[test]
fn messages_for_others_are_told() {
    let problems = [
        "20 messages were lost",
        "20 deliveries were changed or came to the wrong subscriber",
    ];
    told(Fault::Alter(hundredth), [1980, 20, 0, 0], &problems);
}

#[test]
fn losses_of_replies_and_of_lives_are_told() {
    let words = "flow -p 1 -s 2 -t 2 --reply --size 24 --rate 2000 -d 0.5 --warm-up 0 --drain 2";
    let (report, _) = with_fault(Fault::Drop(hundredth), words);
    assert_eq!(report.problems, ["10 messages were lost"]);
    let replies = Fault::Drop(|message| message.is_reply && hundredth(message));
    assert_eq!(
        with_fault(replies, words).0.problems,
        ["10 replies were lost"]
    );
    let words = "churn -n 4 --rate 0 -d 0.3 --drain 0.5 -q 0";
    let (report, _) = with_fault(Fault::Drop(|_| true), words);
    assert_eq!(report.problems[0], "4 messages were lost");
}
