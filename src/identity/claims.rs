//! Access rules as JSON, as tokens and services carry them.
//!
//! Two forms: a list in which the first rule that fits decides,
//! `[{"permission": "allow", "action": "publish", "topic": "a/%u/#"}]`, and an object of what is
//! allowed, `{"pub": ["a/#"], "sub": ["b/#"], "all": ["c/#"]}`, beside which nothing is.

use serde_json::Value;

use crate::auth::Rules;
use crate::auth::acl::{Action, Answer, Rule, Topics, Who};
use crate::limits::ACL_RULES_MAX;

/// Reads rules of either form.
///
/// # Errors
/// What is wrong with them: whoever has such rules is to be denied.
pub fn rules(value: &Value) -> Result<Rules, String> {
    let rules = match value {
        Value::Array(list) => list
            .iter()
            .zip(1..)
            .map(|(item, number)| rule(item).map_err(|why| format!("rule {number}: {why}")))
            .collect::<Result<Vec<_>, _>>()?,
        Value::Object(map) => {
            let mut rules = Vec::new();
            for (name, topics) in map {
                let action = match name.as_str() {
                    "pub" => Action::Publish,
                    "sub" => Action::Subscribe,
                    "all" => Action::Both,
                    _ => return Err(format!("`{name}` is none of pub, sub and all")),
                };
                let topics = topics_of(topics)?;
                // No topics are no topics, not all of them.
                if !topics.is_empty() {
                    rules.push(for_everybody(Answer::Allow, action, topics));
                }
            }
            let none = Box::default();
            rules.push(for_everybody(Answer::Deny, Action::Both, none));
            rules
        }
        _ => return Err("rules are a list or an object".into()),
    };
    match rules.len() > ACL_RULES_MAX {
        true => Err(format!("more than {ACL_RULES_MAX} rules")),
        false => Ok(Rules::new(rules)),
    }
}

fn rule(item: &Value) -> Result<Rule, String> {
    let word = |name: &str| item.get(name).and_then(Value::as_str);
    let answer = match word("permission") {
        Some("allow") => Answer::Allow,
        Some("deny") => Answer::Deny,
        _ => return Err("permission is allow or deny".into()),
    };
    let action = match word("action") {
        Some("publish" | "pub") => Action::Publish,
        Some("subscribe" | "sub") => Action::Subscribe,
        Some("all" | "pubsub") | None => Action::Both,
        Some(other) => return Err(format!("`{other}` is no action")),
    };
    let topics = match (item.get("topic"), item.get("topics")) {
        (Some(topic), None) | (None, Some(topic)) => topics_of(topic)?,
        _ => return Err("there is to be a topic, or a list of topics".into()),
    };
    match topics.is_empty() {
        true => Err("the list of topics is empty".into()),
        false => Ok(for_everybody(answer, action, topics)),
    }
}

/// A topic, or a list of them; `eq ` before one takes it literally.
fn topics_of(value: &Value) -> Result<Box<[Topics]>, String> {
    let one = |value: &Value| {
        let text = value.as_str().ok_or("a topic is a text")?;
        match text.strip_prefix("eq ") {
            Some(literal) => Ok(Topics::Literal(literal.trim().into())),
            None => Topics::pattern(text),
        }
    };
    match value {
        Value::Array(list) if list.len() > ACL_RULES_MAX => Err("too many topics".into()),
        Value::Array(list) => list.iter().map(one).collect(),
        single => Ok([one(single)?].into()),
    }
}

fn for_everybody(answer: Answer, action: Action, topics: Box<[Topics]>) -> Rule {
    Rule {
        answer,
        who: Who::Everybody,
        action,
        topics,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::acl::{Subject, may_publish, may_subscribe};

    const SUBJECT: Subject<'static> = Subject {
        username: Some("u"),
        client_id: "c",
        address: std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST),
    };

    fn read(text: &str) -> Result<Rules, String> {
        rules(&serde_json::from_str(text).unwrap())
    }

    #[test]
    fn a_list_is_tried_in_order() {
        let rules = read(
            r##"[{"permission": "deny", "action": "publish", "topic": "a/b"},
                {"permission": "allow", "action": "publish", "topics": ["a/#", "x/%u"]},
                {"permission": "allow", "action": "subscribe", "topic": "eq #"},
                {"permission": "deny", "topic": "#"}]"##,
        )
        .unwrap();
        for (topic, answer) in [
            ("a/b", Answer::Deny),
            ("a/c", Answer::Allow),
            ("x/u", Answer::Allow),
            ("x/v", Answer::Deny),
        ] {
            assert_eq!(
                may_publish(&rules, &SUBJECT, topic),
                Some(answer),
                "{topic}"
            );
        }
        assert_eq!(may_subscribe(&rules, &SUBJECT, "#"), Some(Answer::Allow));
        assert_eq!(may_subscribe(&rules, &SUBJECT, "a"), Some(Answer::Deny));
    }

    #[test]
    fn an_object_says_all_that_is_allowed() {
        let rules = read(r#"{"pub": ["a"], "sub": "b/+", "all": []}"#).unwrap();
        for (topic, answer) in [("a", Answer::Allow), ("b/c", Answer::Deny)] {
            assert_eq!(may_publish(&rules, &SUBJECT, topic), Some(answer));
        }
        for (filter, answer) in [("b/+", Answer::Allow), ("b/#", Answer::Deny)] {
            assert_eq!(may_subscribe(&rules, &SUBJECT, filter), Some(answer));
        }
    }

    #[test]
    fn what_is_wrong_is_told() {
        for (text, part) in [
            ("1", "a list or an object"),
            (r#"{"publish": []}"#, "`publish` is none of"),
            (r#"{"pub": [1]}"#, "a topic is a text"),
            (r#"{"pub": ["a#"]}"#, "no topic filter"),
            (r#"[1]"#, "rule 1: permission"),
            (
                r#"[{"permission": "allow"}]"#,
                "rule 1: there is to be a topic",
            ),
            (
                r#"[{"permission": "allow", "topics": []}]"#,
                "rule 1: the list",
            ),
            (
                r#"[{"permission": "allow", "action": "x", "topic": "a"}]"#,
                "rule 1: `x` is no action",
            ),
        ] {
            let told = read(text).unwrap_err();
            assert!(told.contains(part), "{text}: {told}");
        }
    }
}
