//! Rules as rows of a table: `allow, ipaddr, username, clientid, access, topic`, each as text or
//! NULL, as emqttd's `acl_query` returns them.

use super::{Action, Answer, Rule, Rules, Topics, Who};

/// One row. An empty text is as good as NULL.
#[derive(Clone, Copy, Debug, Default)]
pub struct Row<'a> {
    /// `1` or `0`.
    pub allow: Option<&'a str>,
    /// An address or a range.
    pub ipaddr: Option<&'a str>,
    /// `$all`: everybody, whatever else the row names.
    pub username: Option<&'a str>,
    pub clientid: Option<&'a str>,
    /// `1` subscribe, `2` publish, `3` both.
    pub access: Option<&'a str>,
    /// A filter with `%u` and `%c`, or `eq ` and a topic or filter.
    pub topic: Option<&'a str>,
}

/// Rules out of rows, in the order in which they came.
///
/// # Errors
/// Which row is wrong, counted from 1, and why: whoever has such rows is to be denied, since
/// leaving one out could allow what it denies.
pub fn rules<'a>(rows: impl IntoIterator<Item = Row<'a>>) -> Result<Rules, String> {
    let numbered = rows.into_iter().zip(1..);
    let rules: Result<Vec<Rule>, String> = numbered
        .map(|(row, number)| row.rule().map_err(|why| format!("row {number}: {why}")))
        .collect();
    rules.map(Rules::new)
}

impl Row<'_> {
    /// The rule that the row says. Its names are all to match; without any, the query has said
    /// whom the row is about.
    ///
    /// # Errors
    /// The column that is wrong.
    pub fn rule(&self) -> Result<Rule, String> {
        let answer = match filled(self.allow) {
            Some("1" | "t" | "true" | "allow") => Answer::Allow,
            Some("0" | "f" | "false" | "deny") => Answer::Deny,
            other => return Err(format!("allow is {}, not 1 or 0", shown(other))),
        };
        let action = match filled(self.access) {
            Some("1" | "subscribe") => Action::Subscribe,
            Some("2" | "publish") => Action::Publish,
            Some("3" | "pubsub") => Action::Both,
            other => return Err(format!("access is {}, not 1, 2 or 3", shown(other))),
        };
        let topic = filled(self.topic).ok_or("topic is NULL or empty")?;
        let topics = match topic.strip_prefix("eq ") {
            Some(literal) => Topics::Literal(literal.trim().into()),
            None => Topics::pattern(topic)?,
        };
        let topics = [topics].into();
        let who = self.who()?;
        Ok(Rule {
            answer,
            who,
            action,
            topics,
        })
    }

    fn who(&self) -> Result<Who, String> {
        let username = filled(self.username);
        if username == Some("$all") {
            return Ok(Who::Everybody);
        }
        let mut all = Vec::new();
        if let Some(range) = filled(self.ipaddr) {
            let range = range.parse().map_err(|why| format!("ipaddr: {why}"))?;
            all.push(Who::Address(range));
        }
        all.extend(username.map(|name| Who::User(name.into())));
        all.extend(filled(self.clientid).map(|id| Who::Client(id.into())));
        Ok(match (all.pop(), all.is_empty()) {
            (None, _) => Who::Everybody,
            (Some(one), true) => one,
            (Some(last), false) => {
                all.push(last);
                Who::AllOf(all.into())
            }
        })
    }
}

fn filled(column: Option<&str>) -> Option<&str> {
    column.map(str::trim).filter(|text| !text.is_empty())
}

fn shown(column: Option<&str>) -> String {
    column.map_or("NULL".into(), |text| format!("`{text}`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row<'a>(columns: [Option<&'a str>; 6]) -> Row<'a> {
        let [allow, ipaddr, username, clientid, access, topic] = columns;
        Row {
            allow,
            ipaddr,
            username,
            clientid,
            access,
            topic,
        }
    }

    #[test]
    fn names_are_all_to_match_and_everybody_is_everybody() {
        let who = |columns| row(columns).rule().expect("a good row").who;
        let (one, two, topic) = (Some("1"), Some("2"), Some("#"));
        let everybody = who([one, Some("10.0.0.1"), Some("$all"), Some("c"), two, topic]);
        assert_eq!(everybody, Who::Everybody);
        let range = "10.0.0.0/8".parse().expect("a test range");
        assert_eq!(
            who([one, Some("10.0.0.0/8"), Some("u"), Some(""), two, topic]),
            Who::AllOf([Who::Address(range), Who::User("u".into())].into())
        );
        let client = who([one, None, None, Some("c"), two, topic]);
        assert_eq!(client, Who::Client("c".into()));
        assert_eq!(who([one, None, None, None, two, topic]), Who::Everybody);
    }

    #[test]
    fn a_bad_row_is_named_and_no_rule_is_made() {
        let good = row([Some("1"), None, None, None, Some("3"), Some("eq #")]);
        for (bad, why) in [
            (
                Row {
                    allow: None,
                    ..good
                },
                "row 2: allow is NULL, not 1 or 0",
            ),
            (
                Row {
                    allow: Some("2"),
                    ..good
                },
                "row 2: allow is `2`, not 1 or 0",
            ),
            (
                Row {
                    access: Some("4"),
                    ..good
                },
                "row 2: access is `4`, not 1, 2 or 3",
            ),
            (
                Row {
                    topic: Some(" "),
                    ..good
                },
                "row 2: topic is NULL or empty",
            ),
            (
                Row {
                    topic: Some("a#"),
                    ..good
                },
                "row 2: `a#` is no topic filter",
            ),
            (
                Row {
                    ipaddr: Some("10.0.0"),
                    ..good
                },
                "row 2: ipaddr: `10.0.0` is neither an address nor a range as 10.0.0.0/8",
            ),
        ] {
            assert_eq!(rules([good, bad]), Err(why.into()));
        }
        let topics = &rules([good]).expect("a good row").0[0].topics;
        assert_eq!(**topics, [Topics::Literal("#".into())]);
    }
}
