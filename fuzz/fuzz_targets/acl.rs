//! Access rules as a file may have them, and filters as the network may: a subscription that is let
//! through brings no topic that publishing rules of the same text would deny.

#![no_main]

use libfuzzer_sys::fuzz_target;
use ringmq::auth::acl::{Answer, Subject, erlang, may_publish, may_subscribe};
use ringmq::codec::topic::{Filter, matches, validate_name};

fuzz_target!(|input: &str| {
    // Rules, and after a line of its own a filter and topics.
    let (text, asked) = input.split_once("\n--\n").unwrap_or((input, ""));
    let Ok(rules) = erlang::parse(
        &text
            .replace("publish", "pubsub")
            .replace("subscribe", "pubsub"),
    ) else {
        return;
    };
    let subject = Subject {
        username: Some("u"),
        client_id: "c",
        address: std::net::Ipv4Addr::LOCALHOST.into(),
    };
    let mut lines = asked.lines();
    let Some(Ok(filter)) = lines.next().map(Filter::parse) else {
        return;
    };
    // What `eq` says of a filter with wildcards, it says of no topic.
    if text.contains("eq") || filter.share.is_some() {
        return;
    }
    let answer = may_subscribe(&rules, &subject, filter.levels).unwrap_or(Answer::Deny);
    if answer == Answer::Deny {
        return;
    }
    for topic in lines.take(64) {
        if validate_name(topic).is_ok() && matches(filter.levels, topic) {
            let publish = may_publish(&rules, &subject, topic).unwrap_or(Answer::Deny);
            assert_eq!(publish, Answer::Allow, "{} brings {topic}", filter.levels);
        }
    }
});
