//! Sets of topics: what a pattern of a rule means for a client, and how it lies to a filter.

use super::Subject;

/// One level of a pattern for one client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Level<'a> {
    Exact(&'a str),
    /// `+`
    Any,
    /// `#`: this level and all below, and the level above (section 4.7.1.2).
    Rest,
}

use Level::{Any, Exact, Rest};

/// The levels of a pattern with `%u` and `%c` put in; `None` when it cannot match anything of this
/// client. A name with a separator or a wildcard in it is no level, so no client can widen a rule
/// by what it calls itself; one that begins with `$` would reach what is the broker's own.
pub(super) fn pattern<'a>(text: &'a str, subject: &Subject<'a>) -> Option<Vec<Level<'a>>> {
    text.split('/')
        .map(|level| resolve(level, subject))
        .collect()
}

/// The levels of a filter, or of a topic as a filter without wildcards.
pub(super) fn filter(text: &str) -> Vec<Level<'_>> {
    text.split('/').map(plain).collect()
}

/// Whether a pattern of a rule has a topic, without building anything.
pub(super) fn matches(text: &str, subject: &Subject<'_>, topic: &str) -> bool {
    let mut topic_levels = topic.split('/');
    let mut is_first = true;
    for level in text.split('/') {
        let Some(level) = resolve(level, subject) else {
            return false;
        };
        let hidden = std::mem::take(&mut is_first) && topic.starts_with('$');
        match (level, topic_levels.next()) {
            (Rest, _) => return !hidden,
            (Any, Some(_)) if !hidden => {}
            (Exact(wanted), Some(level)) if wanted == level => {}
            _ => return false,
        }
    }
    topic_levels.next().is_none()
}

/// Whether `outer` has every topic that `inner` has.
pub(super) fn covers(outer: &[Level<'_>], inner: &[Level<'_>]) -> bool {
    walk(outer, inner, &mut |outer, inner| match (outer, inner) {
        (Some(Rest), _) => Step::Yes,
        (None, None) => Step::Yes,
        (Some(Any), Some(Any | Exact(_))) => Step::Next,
        (Some(Exact(a)), Some(Exact(b))) if a == b => Step::Next,
        _ => Step::No,
    })
}

/// The topics that both have.
pub(super) fn meet<'a>(a: &[Level<'a>], b: &[Level<'a>]) -> Option<Vec<Level<'a>>> {
    let mut met = Vec::new();
    let found = walk(a, b, &mut |a, b| match (a, b) {
        (None, None) | (Some(Rest), None) | (None, Some(Rest)) => Step::Yes,
        (Some(Rest), Some(Rest)) => {
            met.push(Rest);
            Step::Yes
        }
        (Some(Rest), Some(level)) => {
            met.push(level);
            Step::NextRight
        }
        (Some(level), Some(Rest)) => {
            met.push(level);
            Step::NextLeft
        }
        (Some(Any), Some(level)) | (Some(level), Some(Any)) => {
            met.push(level);
            Step::Next
        }
        (Some(Exact(a)), Some(Exact(b))) if a == b => {
            met.push(Exact(a));
            Step::Next
        }
        _ => Step::No,
    });
    found.then_some(met)
}

enum Step {
    Yes,
    No,
    Next,
    NextLeft,
    NextRight,
}

/// Goes through both from the first level on. A `#` alone is `+/#`: a topic has one level at least.
fn walk<'a>(
    left: &[Level<'a>],
    right: &[Level<'a>],
    step: &mut impl FnMut(Option<Level<'a>>, Option<Level<'a>>) -> Step,
) -> bool {
    if hides(left, right) || hides(right, left) {
        return false;
    }
    let (mut l, mut r) = (levels(left), levels(right));
    loop {
        match step(l.clone().next(), r.clone().next()) {
            Step::Yes => return true,
            Step::No => return false,
            Step::Next => {
                l.next();
                r.next();
            }
            Step::NextLeft => drop(l.next()),
            Step::NextRight => drop(r.next()),
        }
    }
}

fn levels<'a, 's>(levels: &'s [Level<'a>]) -> impl Iterator<Item = Level<'a>> + Clone + 's {
    let any = (levels.first() == Some(&Rest)).then_some(Any);
    any.into_iter().chain(levels.iter().copied())
}

/// A wildcard in the first place does not have topics that begin with `$` (MQTT-4.7.2-1).
fn hides(wild: &[Level<'_>], named: &[Level<'_>]) -> bool {
    matches!(wild.first(), Some(Any | Rest))
        && matches!(named.first(), Some(Exact(name)) if name.starts_with('$'))
}

fn resolve<'a>(level: &'a str, subject: &Subject<'a>) -> Option<Level<'a>> {
    let name = match level {
        "%u" => subject.username?,
        "%c" => subject.client_id,
        level => return Some(plain(level)),
    };
    let is_level = !name.is_empty() && !name.starts_with('$') && !name.contains(['/', '+', '#']);
    is_level.then_some(Exact(name))
}

fn plain(level: &str) -> Level<'_> {
    match level {
        "+" => Any,
        "#" => Rest,
        level => Exact(level),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_of_topics() {
        for (outer, inner, covered) in [
            ("#", "a/+", true),
            ("+/#", "#", true),
            ("#", "+/#", true),
            ("a/#", "a", true),
            ("a/#", "a/#", true),
            ("a/+/#", "a/#", false),
            ("a/+", "a/b", true),
            ("a/b", "a/+", false),
            ("+", "a/b", false),
            ("+/b", "a/b", true),
            ("#", "$SYS/x", false),
            ("$SYS/#", "$SYS/x", true),
            ("+/x", "$SYS/x", false),
            ("a/#", "#", false),
        ] {
            assert_eq!(
                covers(&filter(outer), &filter(inner)),
                covered,
                "{outer} {inner}"
            );
        }
    }

    #[test]
    fn what_two_sets_share() {
        for (a, b, met) in [
            ("a/+", "+/b", Some("a/b")),
            ("a/#", "+/b", Some("a/b")),
            ("a/#", "a", Some("a")),
            ("#", "#", Some("+/#")),
            ("a/#", "+/+/c", Some("a/+/c")),
            ("a/#", "a/+/#", Some("a/+/#")),
            ("a/b", "a/c", None),
            ("a", "a/+", None),
            ("#", "$SYS/#", None),
            ("$SYS/+", "$SYS/#", Some("$SYS/+")),
        ] {
            let met = met.map(filter);
            assert_eq!(meet(&filter(a), &filter(b)), met, "{a} {b}");
            assert_eq!(meet(&filter(b), &filter(a)), met, "{b} {a}");
        }
    }

    #[test]
    fn a_name_is_one_level_or_none() {
        let subject = |username| Subject {
            username,
            client_id: "c1",
            address: std::net::Ipv4Addr::LOCALHOST.into(),
        };
        assert!(matches("s/%u/+", &subject(Some("u")), "s/u/x"));
        assert!(matches("s/%c", &subject(None), "s/c1"));
        for name in ["#", "+", "a/b", "", "$SYS"] {
            assert_eq!(pattern("%u", &subject(Some(name))), None, "{name}");
            assert!(!matches("%u/#", &subject(Some(name)), &format!("{name}/x")));
        }
        assert!(!matches("s/%u", &subject(None), "s/%u"));
        // Only a whole level is a variable.
        assert!(matches("s/x%u", &subject(Some("u")), "s/x%u"));
    }
}
