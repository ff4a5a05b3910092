//! Who clients say they are: one user for all, a pattern, or a line of a file for each.

use std::borrow::Cow;
use std::path::Path;
use std::sync::Arc;

/// User names and passwords of a run's clients.
#[derive(Clone, Debug, Default)]
pub struct Users {
    kind: Kind,
}

#[derive(Clone, Debug, Default)]
enum Kind {
    #[default]
    None,
    /// `{}` stands for the client's number, `{id}` for its client id.
    Pattern {
        username: Option<Arc<str>>,
        password: Option<Arc<str>>,
    },
    /// Client n has line n, beginning again after the last.
    File(Arc<Lines>),
}

/// A file in one piece, and where its lines begin and end.
#[derive(Debug)]
struct Lines {
    text: String,
    spans: Vec<(u32, u32)>,
}

/// What one client says in its CONNECT.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct User<'a> {
    pub name: Option<Cow<'a, str>>,
    pub password: Option<Cow<'a, str>>,
}

impl Users {
    pub fn pattern(username: Option<&str>, password: Option<&str>) -> Users {
        let kind = match (username, password) {
            (None, None) => Kind::None,
            _ => Kind::Pattern {
                username: username.map(Arc::from),
                password: password.map(Arc::from),
            },
        };
        Users { kind }
    }

    /// Reads a file of lines `USER:PASSWORD`; the first colon divides, and a line without one is
    /// a user without password.
    ///
    /// # Errors
    /// A sentence: the file is not there, is no text, or has no line.
    pub fn read(path: &Path) -> Result<Users, String> {
        let text = std::fs::read_to_string(path)
            .map_err(|error| format!("{}: {error}", path.display()))?;
        Users::parse(text).map_err(|why| format!("{}: {why}", path.display()))
    }

    fn parse(text: String) -> Result<Users, String> {
        if u32::try_from(text.len()).is_err() {
            return Err("it has more than 4 GiB".into());
        }
        let mut spans = Vec::new();
        let mut at = 0;
        for line in text.split_inclusive('\n') {
            let bare = line.trim_end_matches(['\n', '\r']);
            if !bare.is_empty() {
                spans.push((at as u32, (at + bare.len()) as u32));
            }
            at += line.len();
        }
        if spans.is_empty() {
            return Err("there is no line USER:PASSWORD in it".into());
        }
        let kind = Kind::File(Arc::new(Lines { text, spans }));
        Ok(Users { kind })
    }

    /// Of the client with this number and id.
    pub fn of<'a>(&'a self, number: u32, client_id: &str) -> User<'a> {
        match &self.kind {
            Kind::None => User::default(),
            Kind::Pattern { username, password } => {
                let filled = |pattern: &'a Option<Arc<str>>| {
                    pattern.as_deref().map(|text| fill(text, number, client_id))
                };
                User {
                    name: filled(username),
                    password: filled(password),
                }
            }
            Kind::File(lines) => {
                let (from, to) = lines.spans[number as usize % lines.spans.len()];
                let line = &lines.text[from as usize..to as usize];
                let (name, password) = match line.split_once(':') {
                    Some((name, password)) => (name, Some(password)),
                    None => (line, None),
                };
                User {
                    name: Some(name.into()),
                    password: password.map(Cow::from),
                }
            }
        }
    }
}

fn fill<'a>(pattern: &'a str, number: u32, client_id: &str) -> Cow<'a, str> {
    match pattern.contains('{') {
        true => pattern
            .replace("{}", &number.to_string())
            .replace("{id}", client_id)
            .into(),
        false => pattern.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(user: &User<'_>) -> (Option<String>, Option<String>) {
        let text = |part: &Option<Cow<'_, str>>| part.as_ref().map(|part| part.to_string());
        (text(&user.name), text(&user.password))
    }

    fn pair(name: &str, password: &str) -> (Option<String>, Option<String>) {
        (Some(name.into()), Some(password.into()))
    }

    #[test]
    fn patterns_are_filled_in() {
        let users = Users::pattern(Some("device-{}"), Some("secret-{}-{id}"));
        assert_eq!(texts(&users.of(7, "c7")), pair("device-7", "secret-7-c7"));
        let users = Users::pattern(Some("{all}"), None);
        assert_eq!(texts(&users.of(7, "c7")), (Some("{all}".into()), None));
        assert_eq!(Users::default().of(1, ""), User::default());
    }

    #[test]
    fn lines_come_in_turn() {
        let users = Users::parse("ann:a:b\r\n\nbob\ncy:".into()).unwrap();
        assert_eq!(texts(&users.of(0, "")), pair("ann", "a:b"));
        assert_eq!(texts(&users.of(1, "")), (Some("bob".into()), None));
        assert_eq!(texts(&users.of(2, "")), pair("cy", ""));
        assert_eq!(texts(&users.of(3, "")), pair("ann", "a:b"));
        assert!(Users::parse("\n\n".into()).is_err());
    }
}
