//! Files that a person writes: access rules for everybody, and users with hashed passwords.

use super::hashing::verify;
use super::hearing::Ear;
use super::source::{Judgement, Reach, Remember, Scope, Source};
use crate::auth::acl::{Action, Answer, Rule, Rules, Topics, Who, erlang};
use crate::auth::{AuthRequest, AuthStep, Grant, PasswordFormat};
use crate::codec::ReasonCode;
use crate::limits::ACL_RULES_MAX;
use std::collections::{BTreeSet, HashMap};
use std::path::Path;
use std::sync::Arc;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// Reads access rules: emqttd's `acl.conf`, or TOML where the name ends so.
///
/// # Errors
/// A sentence with the file and the line.
pub fn read_rules(path: &Path) -> Result<Rules, String> {
    let text = read(path)?;
    if path
        .extension()
        .is_some_and(|extension| extension == "toml")
    {
        return toml_rules(&text).map_err(|(line, what)| place(path, line, &what));
    }
    erlang::parse(&text).map_err(|mistake| place(path, mistake.line, &mistake.what))
}

fn read(path: &Path) -> Result<String, String> {
    std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))
}

fn place(path: &Path, line: usize, what: &str) -> String {
    format!("{}:{line}: {what}", path.display())
}

type Mistake = (usize, String);

fn toml_rules(text: &str) -> Result<Rules, Mistake> {
    let line_of = |at: usize| 1 + text.bytes().take(at).filter(|byte| *byte == b'\n').count();
    let document = DeTable::parse(text).map_err(|error| {
        let at = error.span().map_or(0, |span| span.start);
        (line_of(at), error.message().to_owned())
    })?;
    let mut rules = Vec::new();
    for (name, value) in document.get_ref() {
        let DeValue::Array(list) = value.get_ref() else {
            return Err((
                line_of(name.span().start),
                "a rule is written [[rule]]".into(),
            ));
        };
        if name.get_ref() != "rule" {
            return Err((
                line_of(name.span().start),
                "a rule is written [[rule]]".into(),
            ));
        }
        for item in list {
            let line = line_of(item.span().start);
            let DeValue::Table(table) = item.get_ref() else {
                return Err((line, "a rule is written [[rule]]".into()));
            };
            rules.push(toml_rule(table).map_err(|what| (line, what))?);
            if rules.len() > ACL_RULES_MAX {
                return Err((line, format!("more than {ACL_RULES_MAX} rules")));
            }
        }
    }
    Ok(Rules::new(rules))
}

fn toml_rule(table: &DeTable<'_>) -> Result<Rule, String> {
    let mut answer = None;
    let mut action = Action::Both;
    let mut all = Vec::new();
    let mut topics = Vec::new();
    for (name, value) in table {
        let value = value.get_ref();
        match &**name.get_ref() {
            "allow" => match value {
                DeValue::Boolean(true) => answer = Some(Answer::Allow),
                DeValue::Boolean(false) => answer = Some(Answer::Deny),
                _ => return Err("allow is true or false".into()),
            },
            "action" => match word(value)? {
                "publish" => action = Action::Publish,
                "subscribe" => action = Action::Subscribe,
                "all" => action = Action::Both,
                other => {
                    return Err(format!(
                        "action: `{other}` is none of publish, subscribe, all"
                    ));
                }
            },
            "user" => all.push(Who::User(word(value)?.into())),
            "client" => all.push(Who::Client(word(value)?.into())),
            "address" => all.push(Who::Address(word(value)?.parse()?)),
            "topics" => topics.extend(words(value)?.into_iter().map(Topics::pattern)),
            "equal" => {
                let literal = |text: &str| Ok(Topics::Literal(text.into()));
                topics.extend(words(value)?.into_iter().map(literal));
            }
            other => {
                return Err(format!(
                    "unknown key `{other}`: allow, action, user, client, address, topics, equal"
                ));
            }
        }
    }
    let topics: Result<Box<[Topics]>, String> = topics.into_iter().collect();
    Ok(Rule {
        answer: answer.ok_or("a rule needs allow = true or false")?,
        who: match all.len() {
            0 => Who::Everybody,
            _ => Who::AllOf(all.into()),
        },
        action,
        topics: topics?,
    })
}

fn word<'a>(value: &'a DeValue<'_>) -> Result<&'a str, String> {
    match value {
        DeValue::String(text) => Ok(text),
        _ => Err("a text in quotes is wanted".into()),
    }
}

fn words<'a>(value: &'a DeValue<'_>) -> Result<Vec<&'a str>, String> {
    match value {
        DeValue::Array(list) if !list.is_empty() => {
            let item = |item: &'a Spanned<DeValue<'_>>| word(item.get_ref());
            list.iter().map(item).collect()
        }
        _ => Err("a list of texts is wanted, as [\"a/#\"]".into()),
    }
}

/// Users of a file with lines `name:hash`, the hash in argon2's or bcrypt's own form.
pub struct PasswordFile {
    users: HashMap<Box<str>, (PasswordFormat, Box<str>)>,
    /// It changes only when it is read again, as another one.
    ear: Arc<Ear>,
}

impl PasswordFile {
    /// Reads the file. Empty lines, and those that begin with `#`, say nothing.
    ///
    /// # Errors
    /// A sentence with the file and the line.
    pub fn read(path: &Path) -> Result<PasswordFile, String> {
        let mut users = HashMap::new();
        for (line, number) in read(path)?.lines().zip(1..) {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let (name, hash) = parse_line(line).map_err(|what| place(path, number, what))?;
            if users.insert(name.into(), hash).is_some() {
                return Err(place(
                    path,
                    number,
                    &format!("the user {name} is there twice"),
                ));
            }
        }
        let ear = Ear::sharp();
        Ok(PasswordFile { users, ear })
    }

    /// Who is not there any more in a later reading, or has another password.
    pub fn lost(&self, later: Option<&PasswordFile>) -> BTreeSet<Box<str>> {
        let same =
            |name: &str, hash| later.is_some_and(|later| later.users.get(name) == Some(hash));
        let users = self.users.iter().filter(|(name, hash)| !same(name, hash));
        users.map(|(name, _)| name.clone()).collect()
    }
}

fn parse_line(line: &str) -> Result<(&str, (PasswordFormat, Box<str>)), &'static str> {
    let (name, hash) = line.split_once(':').ok_or("a line is name:hash")?;
    if name.is_empty() {
        return Err("a line is name:hash");
    }
    let format = if hash.starts_with("$argon2") {
        PasswordFormat::Argon2
    } else if ["$2a$", "$2b$", "$2x$", "$2y$"]
        .iter()
        .any(|form| hash.starts_with(form))
    {
        PasswordFormat::Bcrypt
    } else {
        return Err("the hash is neither argon2 ($argon2id$...) nor bcrypt ($2b$...)");
    };
    Ok((name, (format, hash.into())))
}

impl Source for PasswordFile {
    fn name(&self) -> &'static str {
        "file"
    }

    fn pretend(&self, question: &AuthRequest) -> bool {
        let shown = question.password.as_deref().unwrap_or_default();
        let any = self.users.values().next();
        any.is_some_and(|(format, hash)| {
            verify(*format, shown, hash, None);
            true
        })
    }

    fn reach(&self, question: &AuthRequest) -> Reach {
        match question.username.is_none() || question.method.is_some() {
            true => Reach::Beyond,
            false => Reach::Waits,
        }
    }

    fn judge(&self, question: &AuthRequest) -> Judgement {
        let name = question.username.as_deref();
        let Some((format, hash)) = name.and_then(|name| self.users.get(name)) else {
            return Judgement::Next;
        };
        if question.step == AuthStep::Recheck {
            return Judgement::Allow(Grant::default(), Remember::No);
        }
        if question.method.is_some() {
            return Judgement::Next;
        }
        let shown = question.password.as_deref().unwrap_or_default();
        match verify(*format, shown, hash, None) {
            true => {
                let remember = Remember::WhileHeard(Scope::default(), self.ear.clone());
                Judgement::Allow(Grant::default(), remember)
            }
            false => Judgement::Deny(ReasonCode::BadUserNameOrPassword),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::source::tests::question;
    use super::*;

    fn with_file<T>(name: &str, text: &str, test: impl FnOnce(&Path) -> T) -> T {
        let path = std::env::temp_dir().join(format!("ringmq-{}-{name}", std::process::id()));
        std::fs::write(&path, text).unwrap();
        let done = test(&path);
        std::fs::remove_file(&path).unwrap();
        done
    }

    #[test]
    fn rules_in_toml_are_those_of_erlang() {
        let ours = r##"
            [[rule]]
            allow = true
            user = "u"
            address = "10.0.0.0/8"
            action = "publish"
            topics = ["a/%u", "b/#"]

            [[rule]]
            allow = false
            action = "subscribe"
            topics = ["$SYS/#"]
            equal = ["#"]

            [[rule]]
            allow = false
        "##;
        let theirs = r##"
            {allow, {'and', [{user, "u"}, {ipaddr, "10.0.0.0/8"}]}, publish, ["a/%u", "b/#"]}.
            {deny, all, subscribe, ["$SYS/#", {eq, "#"}]}.
            {deny, all}.
        "##;
        let read = |name, text| with_file(name, text, |path| read_rules(path).unwrap());
        // A table in TOML comes sorted by name, and `equal` is before `topics`.
        let ours: Vec<Rule> = read("acl.toml", ours).iter().cloned().collect();
        let theirs: Vec<Rule> = read("acl.conf", theirs).iter().cloned().collect();
        for (ours, theirs) in ours.iter().zip(&theirs) {
            assert_eq!(ours.answer, theirs.answer);
            assert_eq!(ours.action, theirs.action);
            let in_order = |rule: &Rule| {
                let mut topics: Vec<_> = rule.topics.iter().map(|t| format!("{t:?}")).collect();
                topics.sort();
                topics
            };
            assert_eq!(in_order(ours), in_order(theirs));
        }
        assert_eq!(ours.len(), theirs.len());
    }

    #[test]
    fn mistakes_have_their_place() {
        for (name, text, what) in [
            (
                "a.toml",
                "\n[[rule]]\nuser = \"u\"\n",
                "a.toml:2: a rule needs allow = true or false",
            ),
            (
                "b.toml",
                "[[rule]]\nallow = 1\n",
                "b.toml:1: allow is true or false",
            ),
            ("c.toml", "[rule]\n", "c.toml:1: a rule is written [[rule]]"),
            (
                "d.toml",
                "[[rule]]\nallow = true\ntopics = []\n",
                "d.toml:1: a list of texts",
            ),
            (
                "e.toml",
                "[[rule]]\nallow = true\ntopic = [\"a\"]\n",
                "e.toml:1: unknown key `topic`",
            ),
            ("f.conf", "\n{allow}.", "f.conf:2: a rule has two parts"),
            ("g.toml", "[[rule\n", "g.toml:1: "),
        ] {
            let error = with_file(name, text, |path| read_rules(path).unwrap_err());
            assert!(error.contains(what), "{error}");
        }
        let missing = read_rules(Path::new("/nowhere/acl.conf")).unwrap_err();
        assert!(missing.starts_with("/nowhere/acl.conf: "), "{missing}");
    }

    #[test]
    fn users_of_a_file() {
        // `htpasswd -nbB -C 4 alice secret`
        let text =
            "# users\n\nalice:$2y$04$FW5Gk6XKVkGg5kMnH7eU1.6eTTOJuVxXTpwKeBjpHjUQu/0pXEdBi\n";
        with_file("passwd", text, |path| {
            let file = PasswordFile::read(path).unwrap();
            let unknown = question("bob", "secret", "c");
            assert_eq!(file.judge(&unknown), Judgement::Next);
            let denied = Judgement::Deny(ReasonCode::BadUserNameOrPassword);
            assert_eq!(file.judge(&question("alice", "Secret", "c")), denied);
        });
        for (text, what) in [
            ("alice\n", ":1: a line is name:hash"),
            ("\nalice:secret\n", ":2: the hash is neither argon2"),
            (":$2b$x\n", ":1: a line is name:hash"),
            ("a:$2b$x\na:$2b$y\n", ":2: the user a is there twice"),
        ] {
            let error = with_file("passwd2", text, |path| PasswordFile::read(path).map(drop));
            assert!(
                error.as_ref().is_err_and(|error| error.contains(what)),
                "{error:?}"
            );
        }
    }
}
