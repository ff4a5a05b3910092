//! Filters and topics as the network may write them: what the router and the retained store find
//! is what the naive matcher finds.
//!
//! The input is text, a line each: filters, and topics where a line is no valid filter or has a
//! `=` before it. Lines beginning with `-` take the filter out again.

#![no_main]

use std::collections::{BTreeMap, BTreeSet};

use libfuzzer_sys::fuzz_target;
use ringmq::codec::QoS;
use ringmq::codec::topic::{Filter, matches, validate_name};
use ringmq::routing::{Allowance, ClientKey, Retained, Router, Subscription};

const LINES_MAX: usize = 64;

const SUBSCRIPTION: Subscription = Subscription {
    identifier: None,
    qos: QoS::AtMostOnce,
    no_local: false,
    retain_as_published: false,
};

fuzz_target!(|input: &str| {
    let mut router = Router::new(0, None, 1);
    let mut retained = Retained::new(1, |_: &usize| 0);
    let (mut filters, mut topics) = (BTreeMap::new(), BTreeSet::new());
    for (number, line) in input.lines().take(LINES_MAX).enumerate() {
        let (gone, text) = match line.strip_prefix('-') {
            Some(text) => (true, text),
            None => (false, line),
        };
        let topic = text.strip_prefix('=').unwrap_or(text);
        if let Ok(filter) = Filter::parse(text) {
            let client = ClientKey(number as u32);
            if gone {
                let known = filters.remove(filter.levels);
                let out = known.map(|client| router.unsubscribe(client, filter.levels).is_some());
                assert_ne!(out, Some(false), "what was subscribed can be unsubscribed");
            } else if !filters.contains_key(filter.levels) {
                filters.insert(filter.levels, client);
                assert!(router.subscribe(client, filter.levels, SUBSCRIPTION).is_new);
            }
        }
        if validate_name(topic).is_ok() {
            topics.insert(topic);
            retained.insert(topic, number);
            check_route(&mut router, &filters, topic);
        }
    }
    for filter in filters.keys() {
        check_retained(&retained, &topics, filter);
    }
});

fn check_route(router: &mut Router, filters: &BTreeMap<&str, ClientKey>, topic: &str) {
    let routed: BTreeSet<u32> = router
        .route(topic)
        .targets
        .iter()
        .map(|t| t.client.0)
        .collect();
    let matching = filters.iter().filter(|(filter, _)| matches(filter, topic));
    let expected: BTreeSet<u32> = matching.map(|(_, client)| client.0).collect();
    assert_eq!(routed, expected, "{topic}");
}

fn check_retained(retained: &Retained<usize>, topics: &BTreeSet<&str>, filter: &str) {
    let (mut given, mut cursor) = (Vec::new(), None);
    loop {
        let give = |topic: &str, _: &usize| given.push(topic.to_owned());
        cursor = retained.walk(filter, cursor.as_deref(), &mut Allowance::new(3), give);
        if cursor.is_none() {
            break;
        }
    }
    given.sort_unstable();
    let expected: Vec<&str> = topics
        .iter()
        .copied()
        .filter(|t| matches(filter, t))
        .collect();
    assert_eq!(given, expected, "{filter}");
}
