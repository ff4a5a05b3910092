//! emqttd's `acl.conf`: Erlang terms, one rule each, as
//! `{allow, {user, "dashboard"}, subscribe, ["$SYS/#"]}.`

use super::{Action, Answer, Rule, Rules, Topics, Who};
use crate::limits::{ACL_NESTING_MAX, ACL_RULES_MAX};
use std::iter::Peekable;
use std::str::CharIndices;

/// A mistake and the line it is on, counted from 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    pub line: usize,
    pub what: String,
}

/// The rules of a file.
///
/// # Errors
/// The first thing that is no rule.
pub fn parse(text: &str) -> Result<Rules, Mistake> {
    let mut reader = Reader::new(text);
    let mut rules = Vec::new();
    while let Some(term) = reader.term(0)? {
        let line = term.line;
        reader.require('.')?;
        rules.push(rule(&term).map_err(|what| Mistake { line, what })?);
        if rules.len() > ACL_RULES_MAX {
            let what = format!("more than {ACL_RULES_MAX} rules");
            return Err(Mistake { line, what });
        }
    }
    Ok(Rules::new(rules))
}

/// A term with the line it begins on.
struct Term {
    line: usize,
    value: Value,
}

enum Value {
    Atom(String),
    Text(String),
    Tuple(Vec<Term>),
    List(Vec<Term>),
}

fn rule(term: &Term) -> Result<Rule, String> {
    let Value::Tuple(parts) = &term.value else {
        return Err("a rule is {allow, Who, publish, [\"topic\"]} or {deny, all}".into());
    };
    let answer = match parts.first().and_then(atom) {
        Some("allow") => Answer::Allow,
        Some("deny") => Answer::Deny,
        _ => return Err("a rule begins with allow or deny".into()),
    };
    match &parts[1..] {
        [all] if atom(all) == Some("all") => Ok(Rule {
            answer,
            who: Who::Everybody,
            action: Action::Both,
            topics: Box::default(),
        }),
        [subject, action, topics] => Ok(Rule {
            answer,
            who: who(subject)?,
            action: match atom(action) {
                Some("publish") => Action::Publish,
                Some("subscribe") => Action::Subscribe,
                Some("pubsub") => Action::Both,
                _ => return Err("the third part is publish, subscribe or pubsub".into()),
            },
            topics: all_topics(topics)?,
        }),
        _ => Err("a rule has two parts ({deny, all}) or four".into()),
    }
}

fn who(term: &Term) -> Result<Who, String> {
    const FORMS: &str = "who is all, {user, \"u\"}, {client, \"c\"}, {ipaddr, \"10.0.0.0/8\"}, \
                         {'and', [...]} or {'or', [...]}";
    let parts = match &term.value {
        Value::Atom(name) if name == "all" => return Ok(Who::Everybody),
        Value::Tuple(parts) => parts,
        _ => return Err(FORMS.into()),
    };
    let [kind, of] = &parts[..] else {
        return Err(FORMS.into());
    };
    Ok(match (atom(kind), &of.value) {
        (Some("user" | "client"), Value::Atom(name)) if name == "all" => Who::Everybody,
        (Some("user"), Value::Text(name)) => Who::User(name.as_str().into()),
        (Some("client"), Value::Text(name)) => Who::Client(name.as_str().into()),
        (Some("ipaddr"), Value::Text(range)) => Who::Address(range.parse()?),
        (Some("and"), Value::List(all)) => {
            Who::AllOf(all.iter().map(who).collect::<Result<_, _>>()?)
        }
        (Some("or"), Value::List(any)) => {
            Who::AnyOf(any.iter().map(who).collect::<Result<_, _>>()?)
        }
        _ => return Err(FORMS.into()),
    })
}

fn all_topics(term: &Term) -> Result<Box<[Topics]>, String> {
    let Value::List(list) = &term.value else {
        return Err("topics are a list: [\"a/#\", {eq, \"#\"}]".into());
    };
    if list.is_empty() {
        return Err("the list of topics is empty".into());
    }
    list.iter().map(topics).collect()
}

fn topics(term: &Term) -> Result<Topics, String> {
    match &term.value {
        Value::Text(text) => Topics::pattern(text),
        Value::Tuple(parts) => match &parts[..] {
            [
                eq,
                Term {
                    value: Value::Text(text),
                    ..
                },
            ] if atom(eq) == Some("eq") => Ok(Topics::Literal(text.as_str().into())),
            _ => Err("a topic is \"a/#\" or {eq, \"#\"}".into()),
        },
        _ => Err("a topic is \"a/#\" or {eq, \"#\"}".into()),
    }
}

fn atom(term: &Term) -> Option<&str> {
    match &term.value {
        Value::Atom(name) => Some(name),
        _ => None,
    }
}

struct Reader<'a> {
    chars: Peekable<CharIndices<'a>>,
    line: usize,
}

impl<'a> Reader<'a> {
    fn new(text: &'a str) -> Reader<'a> {
        Reader {
            chars: text.char_indices().peekable(),
            line: 1,
        }
    }

    /// The next term; none at the end of the text.
    fn term(&mut self, depth: usize) -> Result<Option<Term>, Mistake> {
        self.skip_blank();
        let line = self.line;
        let Some(&(_, c)) = self.chars.peek() else {
            return Ok(None);
        };
        if depth > ACL_NESTING_MAX {
            return Err(self.mistake("nested too deeply".into()));
        }
        let value = match c {
            '{' => Value::Tuple(self.terms('}', depth)?),
            '[' => Value::List(self.terms(']', depth)?),
            '"' => Value::Text(self.quoted()?),
            '\'' => Value::Atom(self.quoted()?),
            '<' => {
                self.require('<')?;
                self.require('<')?;
                self.skip_blank();
                let text = self.quoted()?;
                self.require('>')?;
                self.require('>')?;
                Value::Text(text)
            }
            c if c.is_ascii_lowercase() => Value::Atom(self.word()),
            c => return Err(self.mistake(format!("`{c}` begins no term"))),
        };
        Ok(Some(Term { line, value }))
    }

    /// Terms between commas, up to `end`.
    fn terms(&mut self, end: char, depth: usize) -> Result<Vec<Term>, Mistake> {
        self.chars.next();
        let mut terms = Vec::new();
        self.skip_blank();
        if self.take(end) {
            return Ok(terms);
        }
        loop {
            match self.term(depth + 1)? {
                Some(term) => terms.push(term),
                None => return Err(self.mistake(format!("the text ends where `{end}` is missing"))),
            }
            self.skip_blank();
            if self.take(end) {
                return Ok(terms);
            }
            self.require(',')?;
        }
    }

    fn quoted(&mut self) -> Result<String, Mistake> {
        let quote = match self.chars.next() {
            Some((_, quote @ ('"' | '\''))) => quote,
            _ => return Err(self.mistake("here a text in quotes is missing".into())),
        };
        let begun = self.line;
        let mut text = String::new();
        while let Some((_, c)) = self.chars.next() {
            match c {
                c if c == quote => return Ok(text),
                '\\' => match self.chars.next() {
                    Some((_, 'n')) => text.push('\n'),
                    Some((_, 't')) => text.push('\t'),
                    Some((_, c)) => text.push(c),
                    None => break,
                },
                c => text.push(c),
            }
            self.line += usize::from(c == '\n');
        }
        Err(Mistake {
            line: begun,
            what: "a text in quotes does not end".into(),
        })
    }

    fn word(&mut self) -> String {
        let mut word = String::new();
        while let Some((_, c)) = self
            .chars
            .next_if(|(_, c)| c.is_ascii_alphanumeric() || matches!(c, '_' | '@'))
        {
            word.push(c);
        }
        word
    }

    fn require(&mut self, wanted: char) -> Result<(), Mistake> {
        self.skip_blank();
        if self.take(wanted) {
            return Ok(());
        }
        let found = self.chars.peek().map(|(_, c)| *c);
        let found = found.map_or("the end".into(), |c| format!("`{c}`"));
        Err(self.mistake(format!("`{wanted}` is missing before {found}")))
    }

    fn take(&mut self, wanted: char) -> bool {
        self.chars.next_if(|(_, c)| *c == wanted).is_some()
    }

    /// White space, and comments from `%` to the end of the line.
    fn skip_blank(&mut self) {
        let mut in_comment = false;
        while let Some((_, c)) = self
            .chars
            .next_if(|(_, c)| in_comment || *c == '%' || c.is_whitespace())
        {
            self.line += usize::from(c == '\n');
            in_comment = c != '\n' && (in_comment || c == '%');
        }
    }

    fn mistake(&self, what: String) -> Mistake {
        Mistake {
            line: self.line,
            what,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What emqttd 2.3 ships.
    const SHIPPED: &str = r##"
        %% Comments, and blank lines.
        {allow, {user, "dashboard"}, subscribe, ["$SYS/#"]}.
        {allow, {ipaddr, "127.0.0.1"}, pubsub, ["$SYS/#", "#"]}.
        {deny, all, subscribe, ["$SYS/#", {eq, "#"}]}. % after a rule
        {allow, all}.
    "##;

    #[test]
    fn the_shipped_file() {
        let rules = parse(SHIPPED).expect("emqttd reads it");
        assert_eq!(rules.len(), 4);
        assert_eq!(
            rules.0[2],
            Rule {
                answer: Answer::Deny,
                who: Who::Everybody,
                action: Action::Subscribe,
                topics: [
                    Topics::Pattern("$SYS/#".into()),
                    Topics::Literal("#".into())
                ]
                .into(),
            }
        );
    }

    #[test]
    fn every_form_of_who() {
        let text = r#"{deny, {'and', [{user, "u"}, {'or', [{client, "c"}, {client, all}]},
            {ipaddr, "10.0.0.0/8"}, {user, all}]}, publish, [<<"a/%u">>, "b\"c"]}."#;
        let rules = parse(text).expect("every part is known");
        let Who::AllOf(all) = &rules.0[0].who else {
            panic!("not {rules:?}");
        };
        assert_eq!(all.len(), 4);
        assert_eq!(all[3], Who::Everybody);
        assert_eq!(rules.0[0].topics[1], Topics::Pattern("b\"c".into()));
    }

    #[test]
    fn mistakes_have_their_line() {
        for (text, line, what) in [
            (
                "\n{allow, all}\n{deny, all}.",
                3,
                "`.` is missing before `{`",
            ),
            (
                "{allow, all, publish}.",
                1,
                "a rule has two parts ({deny, all}) or four",
            ),
            ("{permit, all}.", 1, "a rule begins with allow or deny"),
            (
                "\n\n{allow, all, read, [\"a\"]}.",
                3,
                "the third part is publish, subscribe or pubsub",
            ),
            (
                "{allow, all, publish, []}.",
                1,
                "the list of topics is empty",
            ),
            (
                "{allow, all, publish, [\"a]}.",
                1,
                "a text in quotes does not end",
            ),
            ("{allow, all", 1, "`,` is missing before the end"),
            ("{allow,", 1, "the text ends where `}` is missing"),
            (
                "{allow, all, publish, [\"a/#/b\"]}.",
                1,
                "`a/#/b` is no topic filter",
            ),
            ("7.", 1, "`7` begins no term"),
            (
                "{allow, {ipaddr, \"10\"}, publish, [\"a\"]}.",
                1,
                "`10` is neither an address nor a range as 10.0.0.0/8",
            ),
        ] {
            let what = what.to_owned();
            assert_eq!(parse(text), Err(Mistake { line, what }), "{text}");
        }
        let deep = "[".repeat(100_000);
        assert_eq!(
            parse(&deep).map_err(|mistake| mistake.what),
            Err("nested too deeply".into())
        );
    }
}
