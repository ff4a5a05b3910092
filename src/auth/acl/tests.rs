//! Decisions, by example and against brute force.

use super::*;
use proptest::prelude::*;

fn subject<'a>() -> Subject<'a> {
    Subject {
        username: Some("u"),
        client_id: "c",
        address: std::net::Ipv4Addr::new(10, 0, 0, 1).into(),
    }
}

fn rules(text: &str) -> Rules {
    erlang::parse(text).expect("rules of a test")
}

#[test]
fn the_first_match_wins() {
    let rules = rules(
        r##"{allow, {user, "u"}, publish, ["a/b"]}.
           {deny, all, publish, ["a/#"]}.
           {allow, all, pubsub, ["#"]}."##,
    );
    let publish = |topic| may_publish(&rules, &subject(), topic);
    assert_eq!(publish("a/b"), Some(Answer::Allow));
    assert_eq!(publish("a/c"), Some(Answer::Deny));
    assert_eq!(publish("b"), Some(Answer::Allow));
    assert_eq!(publish("$SYS/x"), None);
    let other = Subject {
        username: None,
        ..subject()
    };
    assert_eq!(may_publish(&rules, &other, "a/b"), Some(Answer::Deny));
}

#[test]
fn a_denied_topic_is_not_reached_through_a_wildcard() {
    let rules = rules(
        r##"{deny, all, subscribe, ["a/secret", {eq, "#"}]}.
           {allow, all, subscribe, ["a/#", "b/+"]}."##,
    );
    let subscribe = |filter| may_subscribe(&rules, &subject(), filter);
    for denied in [
        "a/secret",
        "a/+",
        "a/#",
        "+/+",
        "#",
        "+/secret",
        "a/secret/#",
    ] {
        assert_eq!(subscribe(denied), Some(Answer::Deny), "{denied}");
    }
    for allowed in ["a/x", "a/x/#", "b/x", "b/+", "a/+/x"] {
        assert_eq!(subscribe(allowed), Some(Answer::Allow), "{allowed}");
    }
    for open in ["c", "b/#", "b/x/y"] {
        assert_eq!(subscribe(open), None, "{open}");
    }
}

#[test]
fn an_earlier_permission_opens_what_a_later_rule_denies() {
    let rules = rules(
        r##"{allow, all, subscribe, ["a/x"]}. {deny, all, subscribe, ["+/x"]}.
           {allow, all, subscribe, ["a/+"]}."##,
    );
    assert_eq!(
        may_subscribe(&rules, &subject(), "a/+"),
        Some(Answer::Allow)
    );
    assert_eq!(may_subscribe(&rules, &subject(), "+/x"), Some(Answer::Deny));
}

#[test]
fn all_means_also_topics_of_the_broker() {
    let deny = rules("{deny, all}.");
    assert_eq!(may_publish(&deny, &subject(), "$SYS/x"), Some(Answer::Deny));
    assert_eq!(
        may_subscribe(&deny, &subject(), "$SYS/#"),
        Some(Answer::Deny)
    );
    let some = rules(r##"{allow, all, pubsub, ["#"]}."##);
    assert_eq!(may_subscribe(&some, &subject(), "$SYS/#"), None);
    assert_eq!(
        may_publish(&Rules::deny_all(), &subject(), "a"),
        Some(Answer::Deny)
    );
}

/// Levels of the small world in which sets of topics can be written out.
const NAMES: [&str; 4] = ["a", "b", "u", "$s"];
const DEPTH: usize = 3;

fn every_topic() -> Vec<String> {
    let mut all = Vec::new();
    let mut longest: Vec<String> = NAMES.iter().map(|name| name.to_string()).collect();
    for _ in 0..DEPTH {
        all.extend(longest.iter().cloned());
        let longer = |topic: &String| NAMES.map(|name| format!("{topic}/{name}"));
        longest = longest.iter().flat_map(longer).collect();
    }
    all
}

/// MQTT's own matching, written anew and in another way than the code under test.
fn is_in(topic: &str, filter: &str) -> bool {
    let hidden = topic.starts_with('$') && filter.starts_with(['+', '#']);
    fn rest(topic: &[&str], filter: &[&str]) -> bool {
        match (topic, filter) {
            (_, ["#"]) => true,
            ([], []) => true,
            ([name, topic @ ..], [level, filter @ ..]) => {
                (level == name || *level == "+") && rest(topic, filter)
            }
            _ => false,
        }
    }
    let topic: Vec<&str> = topic.split('/').collect();
    let filter: Vec<&str> = filter.split('/').collect();
    !hidden && rest(&topic, &filter)
}

fn any_filter() -> impl Strategy<Value = String> {
    let level = prop_oneof![
        3 => prop::sample::select(&NAMES[..]).prop_map(String::from),
        2 => Just("+".to_owned()),
    ];
    (prop::collection::vec(level, 1..=DEPTH), any::<bool>()).prop_map(|(mut levels, rest)| {
        if rest {
            levels.pop();
            levels.push("#".into());
        }
        levels.join("/")
    })
}

fn any_rule() -> impl Strategy<Value = Rule> {
    let topics = prop_oneof![
        6 => any_filter().prop_map(|text| Topics::Pattern(text.replace("u", "%u").into())),
        1 => any_filter().prop_map(|text| Topics::Literal(text.into())),
    ];
    let action = prop::sample::select(&[Action::Publish, Action::Subscribe, Action::Both][..]);
    let topics = prop::collection::vec(topics, 0..3);
    (any::<bool>(), action, topics).prop_map(|(allows, action, topics)| Rule {
        answer: if allows { Answer::Allow } else { Answer::Deny },
        who: Who::Everybody,
        action,
        topics: topics.into(),
    })
}

/// The first rule about a topic that a subscription to `filter` would bring.
fn brute(rules: &[Rule], topic: &str, filter: &str) -> Answer {
    let about = |topics: &Topics| is_about(topics, topic, filter);
    let first = rules.iter().find(|rule| {
        rule.action != Action::Publish && (rule.topics.is_empty() || rule.topics.iter().any(about))
    });
    first.map_or(Answer::Deny, |rule| rule.answer)
}

fn is_about(topics: &Topics, topic: &str, filter: &str) -> bool {
    match topics {
        Topics::Pattern(text) => is_in(topic, &text.replace("%u", "u")),
        Topics::Literal(text) if text.contains(['+', '#']) => **text == *filter,
        Topics::Literal(text) => **text == *topic,
    }
}

/// Whether one rule allows all of these topics by one of its patterns, and none before it denies
/// one of them.
fn is_allowed_whole(rules: &[Rule], topics: &[&String], filter: &str) -> bool {
    let mut rules = rules.iter().filter(|rule| rule.action != Action::Publish);
    let about = |pattern: &Topics, topic: &&String| is_about(pattern, topic, filter);
    let first = rules.find(|rule| match rule.answer {
        Answer::Allow => {
            let is_whole = |pattern: &Topics| topics.iter().all(|topic| about(pattern, topic));
            rule.topics.is_empty() || rule.topics.iter().any(is_whole)
        }
        Answer::Deny => {
            let touches = |pattern: &Topics| topics.iter().any(|topic| about(pattern, topic));
            rule.topics.is_empty() || rule.topics.iter().any(touches)
        }
    });
    first.is_some_and(|rule| rule.answer == Answer::Allow)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4000, ..ProptestConfig::default() })]

    /// Whatever is let through has no denied topic; whatever one rule allows whole, with nothing
    /// denied of it before, is let through.
    #[test]
    fn coverage_agrees_with_every_topic_written_out(
        list in prop::collection::vec(any_rule(), 0..6),
        filter in any_filter(),
    ) {
        let answer = may_subscribe(&list, &subject(), &filter).unwrap_or(Answer::Deny);
        let topics = every_topic();
        let brought: Vec<&String> = topics.iter().filter(|topic| is_in(topic, &filter)).collect();
        let denied = brought.iter().find(|topic| brute(&list, topic, &filter) == Answer::Deny);
        if answer == Answer::Allow {
            prop_assert_eq!(denied, None, "{} brings a denied topic", filter);
        }
        if !brought.is_empty() && is_allowed_whole(&list, &brought, &filter) {
            prop_assert_eq!(answer, Answer::Allow, "one rule allows all of {}", filter);
        }
        let is_plain = !filter.contains(['+', '#']);
        if is_plain {
            let exact = denied.map_or(Answer::Allow, |_| Answer::Deny);
            prop_assert_eq!(answer, exact, "a filter of one topic is decided exactly");
        }
    }

    #[test]
    fn publishing_agrees_with_the_same_matching(
        list in prop::collection::vec(any_rule(), 0..6),
        topic in prop::sample::select(every_topic()),
    ) {
        let both: Vec<Rule> = list
            .into_iter()
            .map(|rule| Rule { action: Action::Both, ..rule })
            .collect();
        let answer = may_publish(&both, &subject(), &topic).unwrap_or(Answer::Deny);
        prop_assert_eq!(answer, brute(&both, &topic, &topic));
    }
}
