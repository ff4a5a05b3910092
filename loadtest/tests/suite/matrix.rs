//! Every scenario, through a relay that drops, doubles, reorders and delays what it delivers, does
//! not answer a client, or cuts one off: the figures are exactly what was planted.
//!
//! Where a kind of fault has no meaning, the row of the scenario says so.

use crate::relay::{Delivery, Fault, Which, relay};
use crate::support::{run, start, stop};
use std::time::Duration;

/// How late the relay makes a delivery; more than 3 s are late. A machine that is busy with other
/// things may well take one.
const DELAY: Duration = Duration::from_millis(4_500);
const OPTIONS: &str = "--late-ms 3000 --connect-timeout 5";

/// Runs these words with each fault, and compares figures. A figure that is an object counts by
/// the sum of its numbers.
#[track_caller]
fn matrix<const N: usize>(words: &str, keys: [&str; N], rows: &[(&str, Fault, [u64; N])]) {
    for (name, fault, expected) in rows {
        let (broker, address) = start(2);
        // What does not come is waited for, so that what is late is not taken for lost.
        let drain_s = if let Fault::Drop(_) = fault { 5 } else { 10 };
        let words = format!("{words} {OPTIONS} --drain {drain_s}");
        let (report, json) = run(relay(address, *fault), &words);
        stop(&broker);
        let figures = keys.map(|key| match &json[key] {
            serde_json::Value::Object(parts) => parts.values().filter_map(|v| v.as_u64()).sum(),
            value => value.as_u64().unwrap_or_else(|| panic!("no `{key}`")),
        });
        assert_eq!(figures, *expected, "{words}: {name}: {keys:?}\n{report}");
    }
}

/// Every tenth message of each stream.
fn tenth(message: Delivery) -> bool {
    message.number % 10 == 4 && !message.is_reply
}

/// The fourth and the fourteenth of each stream: each member of a group has others after them.
fn early(message: Delivery) -> bool {
    message.number < 20 && tenth(message)
}

/// The last of the fifty messages of each stream.
fn last(message: Delivery) -> bool {
    message.number == 49 && !message.is_reply
}

const FLOW: [&str; 6] = [
    "published",
    "delivered",
    "lost",
    "duplicated",
    "reordered",
    "late",
];

/// Of a flow in which so much is published and `all` is to be delivered, `hits` of which are hit.
fn flow(words: &str, (published, all, hits): (u64, u64, u64), (late, lates): (Which, u64)) {
    let rows = [
        (
            "drop",
            Fault::Drop(tenth),
            [published, all - hits, hits, 0, 0, 0],
        ),
        (
            "double",
            Fault::Double(tenth),
            [published, all, 0, hits, 0, 0],
        ),
        (
            "reorder",
            Fault::Swap(tenth),
            [published, all, 0, 0, hits, 0],
        ),
        (
            "delay",
            Fault::Delay(late, DELAY),
            [published, all, 0, 0, 0, lates],
        ),
    ];
    matrix(words, FLOW, &rows);
    broken(words);
}

/// A flow does not begin while somebody is missing.
fn broken(words: &str) {
    let keys = ["connections_failed", "connections_lost"];
    let rows = [
        ("unanswered", Fault::Unanswered(|name| name == "s0"), [1, 0]),
        ("cut", Fault::Cut(|name| name == "s0"), [0, 1]),
    ];
    matrix(words, keys, &rows);
}

#[test]
fn pairs() {
    let words = "run pairs -p 4 -s 4 -t 4 --rate 400 -d 0.5 --warm-up 0";
    flow(words, (200, 200, 20), (last, 4));
}

#[test]
fn fan_in() {
    let words = "run fan-in -p 4 -t 4 --rate 400 -d 0.5 --warm-up 0";
    flow(words, (200, 200, 20), (last, 4));
}

#[test]
fn fan_out() {
    let words = "run fan-out -s 8 --rate 100 -d 0.5 --warm-up 0";
    flow(words, (50, 400, 40), (last, 8));
}

/// Two groups of four get each message once. What a member gets of a stream is in an order.
#[test]
fn shared_groups() {
    let words = "run shared -p 5 -t 5 --rate 500 -d 0.5 --warm-up 0";
    let rows = [
        ("drop", Fault::Drop(tenth), [250, 450, 50, 0, 0, 0]),
        ("double", Fault::Double(tenth), [250, 500, 0, 50, 0, 0]),
        ("reorder", Fault::Swap(early), [250, 500, 0, 0, 20, 0]),
        ("delay", Fault::Delay(last, DELAY), [250, 500, 0, 0, 0, 10]),
    ];
    matrix(words, FLOW, &rows);
    broken(words);
}

/// Devices that are not in step, and a back end of three that shares them.
#[test]
fn telemetry() {
    let words = "run telemetry -p 5 -t 5 -s 3 --rate 500 -d 0.5 --warm-up 0";
    let rows = [
        ("drop", Fault::Drop(tenth), [250, 225, 25, 0, 0, 0]),
        ("double", Fault::Double(tenth), [250, 250, 0, 25, 0, 0]),
        ("reorder", Fault::Swap(early), [250, 250, 0, 0, 10, 0]),
        ("delay", Fault::Delay(last, DELAY), [250, 250, 0, 0, 0, 5]),
    ];
    matrix(words, FLOW, &rows);
    broken(words);
}

/// Requests on their way to devices, and replies on their way back, are counted apart. A device
/// answers in the order in which it hears, and a request that comes twice once.
#[test]
fn command_and_reply() {
    let words = "run command -p 2 -s 4 -t 4 --rate 400 -d 0.5 --warm-up 0";
    let keys = [
        "delivered",
        "lost",
        "duplicated",
        "reordered",
        "late",
        "replies",
        "replies_lost",
        "replies_duplicated",
        "replies_reordered",
        "replies_late",
    ];
    let back: Which = |message| message.is_reply && message.number % 10 == 4;
    let last_back: Which = |message| message.is_reply && message.number == 49;
    let rows = [
        (
            "drop",
            Fault::Drop(tenth),
            [180, 20, 0, 0, 0, 180, 0, 0, 0, 0],
        ),
        (
            "double",
            Fault::Double(tenth),
            [200, 0, 20, 0, 0, 200, 0, 0, 0, 0],
        ),
        (
            "reorder",
            Fault::Swap(tenth),
            [200, 0, 0, 20, 0, 200, 0, 0, 20, 0],
        ),
        (
            "delay",
            Fault::Delay(last, DELAY),
            [200, 0, 0, 0, 4, 200, 0, 0, 0, 4],
        ),
        (
            "drop back",
            Fault::Drop(back),
            [200, 0, 0, 0, 0, 180, 20, 0, 0, 0],
        ),
        (
            "double back",
            Fault::Double(back),
            [200, 0, 0, 0, 0, 200, 0, 20, 0, 0],
        ),
        (
            "reorder back",
            Fault::Swap(back),
            [200, 0, 0, 0, 0, 200, 0, 0, 20, 0],
        ),
        (
            "delay back",
            Fault::Delay(last_back, DELAY),
            [200, 0, 0, 0, 0, 200, 0, 0, 0, 4],
        ),
    ];
    matrix(words, keys, &rows);
    broken(words);
}

/// A fleet of which each subscriber but one is cut off once and comes back to its session; at
/// QoS 2 what comes again after a cut is no duplicate.
#[test]
fn soak() {
    let words = "run soak -p 5 -s 30 -t 30 --rate 600 -d 3 --warm-up 0 -q 2 --cut-rate 10 \
                 --away 0.1";
    let keys = [
        "delivered",
        "lost",
        "duplicated",
        "reordered",
        "late",
        "cuts",
        "sessions_resumed",
    ];
    // What is on its way to somebody who is cut off just then may come or not. So it is what comes
    // to five who were cut off early, after they have come back, that is hit.
    let after: Which = |message| {
        message.stream < 5 && message.connection == 2 && [5, 10, 15, 20].contains(&message.place)
    };
    let last: Which = |message| message.number == 59;
    let rows = [
        ("drop", Fault::Drop(after), [1780, 20, 0, 0, 0, 29, 29]),
        ("double", Fault::Double(after), [1800, 0, 20, 0, 0, 29, 29]),
        ("reorder", Fault::Swap(after), [1800, 0, 0, 20, 0, 29, 29]),
        (
            "delay",
            Fault::Delay(last, DELAY),
            [1800, 0, 0, 0, 30, 29, 29],
        ),
    ];
    matrix(words, keys, &rows);
    broken(words);
}

/// Each dashboard gets one message a topic, and topics have no order among each other: there is
/// nothing to be reordered, and what comes in another order is whole.
#[test]
fn dashboards() {
    let words = "run dashboards -n 4 -t 60 -a 2";
    let keys = [
        "published",
        "delivered",
        "lost",
        "duplicated",
        "late",
        "filled",
        "connections_failed",
        "connections_lost",
    ];
    let fifth: Which = |message| message.stream % 5 == 2;
    let unanswered = Fault::Unanswered(|name| name == "b3");
    let rows = [
        ("drop", Fault::Drop(fifth), [60, 96, 24, 0, 0, 0, 0, 0]),
        ("double", Fault::Double(fifth), [60, 120, 0, 24, 0, 4, 0, 0]),
        ("reorder", Fault::SwapFirst, [60, 120, 0, 0, 0, 4, 0, 0]),
        (
            "delay",
            Fault::Delay(fifth, DELAY),
            [60, 120, 0, 0, 24, 4, 0, 0],
        ),
        ("unanswered", unanswered, [60, 90, 0, 0, 0, 3, 1, 0]),
    ];
    matrix(words, keys, &rows);
    // What had come before the cut is not known, and what had not is lost.
    let cut = Fault::Cut(|name| name == "b3");
    matrix(
        words,
        ["connections_lost", "filled"],
        &[("cut", cut, [1, 3])],
    );
}

/// Nine messages for each session while it is away, and one when all are back.
#[test]
fn storm() {
    let words = "run storm -n 4 --missed 9 --hold 0.1 --deadline 8";
    let keys = [
        "published",
        "delivered",
        "lost",
        "duplicated",
        "reordered",
        "late",
        "first_failed",
        "first_lost",
        "connections_failed",
        "back",
    ];
    let last: Which = |message| message.number == 9;
    let unanswered = Fault::Unanswered(|name| name == "d3");
    // Who comes back to a session does not subscribe, so it is cut off once.
    let cut = Fault::Cut(|name| name == "d3");
    let rows = [
        ("drop", Fault::Drop(tenth), [40, 36, 4, 0, 0, 0, 0, 0, 0, 4]),
        (
            "double",
            Fault::Double(tenth),
            [40, 40, 0, 4, 0, 0, 0, 0, 0, 4],
        ),
        (
            "reorder",
            Fault::Swap(tenth),
            [40, 40, 0, 0, 4, 0, 0, 0, 0, 4],
        ),
        (
            "delay",
            Fault::Delay(last, DELAY),
            [40, 40, 0, 0, 0, 4, 0, 0, 0, 4],
        ),
        // What is published to one who is not there is published all the same.
        ("unanswered", unanswered, [39, 30, 0, 0, 0, 0, 1, 0, 1, 3]),
        ("cut", cut, [40, 40, 0, 0, 0, 0, 0, 1, 0, 4]),
    ];
    matrix(words, keys, &rows);
}

/// Ten devices of twenty get one message each in the end: there is nothing to be reordered. What
/// matters more is who did not come, was lost, and came back.
#[test]
fn idle() {
    let words = "run idle -n 20 --hold 0.3 --every 2 --deadline 8";
    let keys = [
        "published",
        "delivered",
        "lost",
        "duplicated",
        "late",
        "held",
        "connections_failed",
        "connections_lost",
    ];
    let fourth: Which = |message| message.stream % 4 == 0;
    let unanswered = Fault::Unanswered(|name| name == "d3");
    let cut = Fault::Cut(|name| name == "d3");
    let rows = [
        ("drop", Fault::Drop(fourth), [10, 5, 5, 0, 0, 20, 0, 0]),
        ("double", Fault::Double(fourth), [10, 10, 0, 5, 0, 20, 0, 0]),
        (
            "delay",
            Fault::Delay(fourth, DELAY),
            [10, 10, 0, 0, 5, 20, 0, 0],
        ),
        ("unanswered", unanswered, [10, 10, 0, 0, 0, 19, 1, 0]),
        ("cut", cut, [10, 10, 0, 0, 0, 19, 0, 1]),
    ];
    matrix(words, keys, &rows);
    let words = format!("{words} --reconnect");
    matrix(
        &words,
        ["held", "back"],
        &[("unanswered", unanswered, [19, 19])],
    );
}

/// Each life gets one message, the one that it sends itself: there is nothing to be reordered.
#[test]
fn churn() {
    let words = "run churn -n 20 --rate 100 -d 0.5 --stay 0.1";
    let keys = [
        "published",
        "lives",
        "lost",
        "duplicated",
        "late",
        "connections_failed",
        "connections_lost",
    ];
    // Of the fifty lives only one has a client id that ends so.
    let unanswered = Fault::Unanswered(|name| name.ends_with("-4"));
    let cut = Fault::Cut(|name| name.ends_with("-4"));
    let rows = [
        ("drop", Fault::Drop(tenth), [50, 45, 5, 0, 0, 0, 0]),
        ("double", Fault::Double(tenth), [50, 50, 0, 5, 0, 0, 0]),
        ("delay", Fault::Delay(tenth, DELAY), [50, 50, 0, 0, 5, 0, 0]),
        ("unanswered", unanswered, [49, 49, 0, 0, 0, 1, 0]),
        ("cut", cut, [50, 49, 1, 0, 0, 0, 1]),
    ];
    matrix(words, keys, &rows);
}
