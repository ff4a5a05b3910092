//! Access rules: who may publish and subscribe what. The first rule that matches decides.
//!
//! A subscription asks for a set of topics, so it is let through only when no topic of that set is
//! denied: what is denied cannot be reached through a wildcard.

mod cidr;
pub mod erlang;
mod levels;
pub mod row;

pub use cidr::Cidr;
pub use row::Row;

use crate::codec::Filter;
use levels::{Level, covers, filter, matches, meet, pattern};
use std::net::IpAddr;

/// What is decided.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Answer {
    Allow,
    #[default]
    Deny,
}

/// What a rule is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    Publish,
    Subscribe,
    Both,
}

/// Whom a rule is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Who {
    Everybody,
    User(Box<str>),
    Client(Box<str>),
    Address(Cidr),
    AllOf(Box<[Who]>),
    AnyOf(Box<[Who]>),
}

/// Which topics a rule is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Topics {
    /// A filter; a level `%u` is the user name and `%c` the client id.
    Pattern(Box<str>),
    /// `eq`: with a wildcard, the filter of a subscription that is written just so; without, the
    /// topic.
    Literal(Box<str>),
}

/// One rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    pub answer: Answer,
    pub who: Who,
    pub action: Action,
    /// Any of these; empty: whatever topic.
    pub topics: Box<[Topics]>,
}

/// Rules in the order in which they are tried.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rules(Box<[Rule]>);

/// Whoever wants to do something, as rules know it.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// Only a name that was shown to be the client's.
    pub username: Option<&'a str>,
    pub client_id: &'a str,
    pub address: IpAddr,
}

impl Rules {
    pub fn new(rules: Vec<Rule>) -> Rules {
        Rules(rules.into())
    }

    /// For a client whose rules cannot be read: it may do nothing.
    pub fn deny_all() -> Rules {
        Rules::new(vec![Rule {
            answer: Answer::Deny,
            who: Who::Everybody,
            action: Action::Both,
            topics: Box::default(),
        }])
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn iter(&self) -> std::slice::Iter<'_, Rule> {
        self.0.iter()
    }
}

impl<'r> IntoIterator for &'r Rules {
    type Item = &'r Rule;
    type IntoIter = std::slice::Iter<'r, Rule>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

/// What the first matching rule says of a publication; `None` when none matches.
pub fn may_publish<'r>(
    rules: impl IntoIterator<Item = &'r Rule>,
    subject: &Subject<'_>,
    topic: &str,
) -> Option<Answer> {
    let decides = |rule: &&Rule| {
        rule.action != Action::Subscribe && rule.who.is(subject) && rule.has(subject, topic)
    };
    rules.into_iter().find(decides).map(|rule| rule.answer)
}

/// What the rules say of a subscription to `text`, a filter without its share name; `None` when
/// some of its topics are left to whatever decides without a rule, and none is denied.
///
/// Sound, and complete but for a set of topics that several rules allow only together: that is
/// denied when a later rule denies it, or when nothing decides about it.
pub fn may_subscribe<'r>(
    rules: impl IntoIterator<Item = &'r Rule>,
    subject: &Subject<'_>,
    text: &str,
) -> Option<Answer> {
    let wanted = filter(text);
    let mut allowed: Vec<Vec<Level<'_>>> = Vec::new();
    for rule in rules {
        if rule.action == Action::Publish || !rule.who.is(subject) {
            continue;
        }
        if rule.topics.is_empty() {
            return Some(rule.answer);
        }
        for topics in &rule.topics {
            let Some(set) = topics.set(subject, text) else {
                continue;
            };
            if covers(&set, &wanted) {
                return Some(rule.answer);
            }
            let Some(shared) = meet(&set, &wanted) else {
                continue;
            };
            match rule.answer {
                Answer::Allow => allowed.push(set),
                Answer::Deny if allowed.iter().any(|set| covers(set, &shared)) => {}
                Answer::Deny => return Some(Answer::Deny),
            }
        }
    }
    None
}

impl Rule {
    fn has(&self, subject: &Subject<'_>, topic: &str) -> bool {
        let any = |topics: &Topics| match topics {
            Topics::Pattern(text) => matches(text, subject, topic),
            Topics::Literal(text) => **text == *topic,
        };
        self.topics.is_empty() || self.topics.iter().any(any)
    }
}

impl Topics {
    /// The topics that match `text`.
    ///
    /// # Errors
    /// It is no topic filter.
    pub fn pattern(text: &str) -> Result<Topics, String> {
        match Filter::parse(text) {
            Ok(filter) if filter.share.is_none() => Ok(Topics::Pattern(text.into())),
            Ok(_) => Err(format!(
                "`{text}`: rules are about topics, whatever the share"
            )),
            Err(_) => Err(format!("`{text}` is no topic filter")),
        }
    }

    /// The set of topics for this client, as far as it can have anything of the filter `wanted`.
    fn set<'a>(&'a self, subject: &Subject<'a>, wanted: &str) -> Option<Vec<Level<'a>>> {
        match self {
            Topics::Pattern(text) => pattern(text, subject),
            Topics::Literal(text) => {
                let is_filter = text.split('/').any(|level| matches!(level, "+" | "#"));
                (!is_filter || **text == *wanted).then(|| filter(text))
            }
        }
    }
}

impl Who {
    /// Whether the rule is about this client.
    pub fn is(&self, subject: &Subject<'_>) -> bool {
        match self {
            Who::Everybody => true,
            Who::User(name) => subject.username == Some(name),
            Who::Client(client_id) => subject.client_id == &**client_id,
            Who::Address(range) => range.contains(subject.address),
            Who::AllOf(all) => all.iter().all(|who| who.is(subject)),
            Who::AnyOf(any) => any.iter().any(|who| who.is(subject)),
        }
    }
}

#[cfg(test)]
mod tests;
