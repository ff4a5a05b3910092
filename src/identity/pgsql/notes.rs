//! What the triggers of `etc/sql/pgsql_notify.sql` tell: changes in the two tables.

use std::fmt;

use serde::Deserialize;

/// The channel that the triggers speak on.
pub const CHANNEL: &str = "ringmq";

/// Changes since the last look, gathered.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Changes {
    /// More users than anybody would name.
    pub all_users: bool,
    /// New users, more than anybody would name: nothing that is known becomes wrong by them.
    pub many_new: bool,
    /// Users whose password is another or who are gone.
    pub kicked: Vec<String>,
    /// Users of whom something else changed.
    pub touched: Vec<String>,
    /// Users who are new.
    pub new: Vec<String>,
    /// Rules for everybody, or more than anybody would name.
    pub all_rules: bool,
    pub rule_users: Vec<String>,
    pub rule_clients: Vec<String>,
    pub rule_addresses: Vec<String>,
}

#[derive(Deserialize)]
struct Note {
    t: String,
    #[serde(default)]
    all: bool,
    #[serde(default)]
    k: Vec<Option<String>>,
    #[serde(default)]
    r: Vec<Option<String>>,
    #[serde(default)]
    u: Vec<Option<String>>,
    #[serde(default)]
    c: Vec<Option<String>>,
    #[serde(default)]
    a: Vec<Option<String>>,
}

impl Changes {
    /// Everything may have changed.
    pub fn everything() -> Self {
        Self {
            all_users: true,
            all_rules: true,
            ..Self::default()
        }
    }

    /// Adds what one notification says. One that is not understood is an older or newer trigger's:
    /// everything may have changed.
    pub fn add(&mut self, payload: &str) {
        let Ok(note) = serde_json::from_str::<Note>(payload) else {
            *self = Self::everything();
            return;
        };
        let names = |names: Vec<Option<String>>| names.into_iter().flatten();
        match note.t.as_str() {
            "new" => {
                self.many_new |= note.all;
                self.new.extend(names(note.r));
            }
            "user" => {
                self.all_users |= note.all;
                self.kicked.extend(names(note.k));
                self.touched.extend(names(note.r));
            }
            "acl" => {
                // A rule without any name is for everybody.
                let is_nameless = note.u.is_empty() && note.c.is_empty() && note.a.is_empty();
                self.all_rules |= note.all || is_nameless;
                for name in names(note.u) {
                    match name.as_str() {
                        "$all" => self.all_rules = true,
                        _ => self.rule_users.push(name),
                    }
                }
                self.rule_clients.extend(names(note.c));
                self.rule_addresses.extend(names(note.a));
            }
            _ => *self = Self::everything(),
        }
    }

    /// Whether the rules changed, whoever they are about.
    pub fn has_rules(&self) -> bool {
        self.all_rules
            || !(self.rule_users.is_empty()
                && self.rule_clients.is_empty()
                && self.rule_addresses.is_empty())
    }
}

impl fmt::Display for Changes {
    /// For the log: how many of what, and a name where there is only one.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts = Vec::new();
        if self.all_users {
            parts.push("all users".to_owned());
        }
        if self.all_rules {
            parts.push("rules for everybody".to_owned());
        }
        if self.many_new {
            parts.push("many new users".to_owned());
        }
        for (what, names) in [
            ("other password or gone", &self.kicked),
            ("user", &self.touched),
            ("new user", &self.new),
            ("rules of user", &self.rule_users),
            ("rules of client", &self.rule_clients),
            ("rules of address", &self.rule_addresses),
        ] {
            match names.as_slice() {
                [] => {}
                [name] => parts.push(format!("{what}: {name:?}")),
                names => parts.push(format!("{what}: {}", names.len())),
            }
        }
        f.write_str(&parts.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notes_are_gathered() {
        let mut changes = Changes::default();
        changes.add(r#"{"t": "new", "k": [], "r": ["a\"b", null]}"#);
        changes.add(r#"{"t": "user", "k": ["c"], "r": ["c"]}"#);
        changes.add(r#"{"t": "acl", "u": ["d"], "c": ["e"], "a": ["10.0.0.0/8"]}"#);
        assert_eq!(changes.new, ["a\"b"]);
        assert_eq!(changes.touched, ["c"]);
        assert_eq!(changes.kicked, ["c"]);
        assert_eq!((changes.all_users, changes.all_rules), (false, false));
        assert!(changes.has_rules());
        assert_eq!(
            changes.to_string(),
            "other password or gone: \"c\", user: \"c\", new user: \"a\\\"b\", \
             rules of user: \"d\", rules of client: \"e\", rules of address: \"10.0.0.0/8\""
        );
        let mut nameless = Changes::default();
        nameless.add(r#"{"t": "acl", "u": [], "c": [], "a": []}"#);
        assert!(nameless.all_rules, "a rule for everybody has no name");
        changes.add(r#"{"t": "acl", "u": ["$all"], "c": [], "a": []}"#);
        changes.add(r#"{"t": "new", "all": true}"#);
        assert!(changes.all_rules && changes.many_new && !changes.all_users);
    }

    #[test]
    fn what_is_not_understood_is_everything() {
        for payload in ["", "x", "[]", r#"{"t": "other"}"#, r#"{"t": 1}"#] {
            let mut changes = Changes::default();
            changes.add(payload);
            assert!(changes.all_users && changes.all_rules, "{payload}");
        }
    }
}
