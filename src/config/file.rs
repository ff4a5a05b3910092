//! The configuration file as lines of text values: TOML syntax is checked here, meaning is not.

use std::path::Path;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::error::{Error, Origin};
use super::keys::SECTIONS;
use super::nearest;

/// One `name = value`, its value as the text that a flag would give.
#[derive(Debug)]
pub struct Entry {
    pub section: String,
    pub name: String,
    pub text: String,
    pub origin: Origin,
}

/// What a file says.
#[derive(Debug, Default)]
pub struct Content {
    pub entries: Vec<Entry>,
    /// One for each `[[listener]]`.
    pub listeners: Vec<(Origin, Vec<Entry>)>,
}

/// Reads `text`, which came from `path`; every mistake found is added to `errors`.
pub fn parse(path: &Path, text: &str, errors: &mut Vec<Error>) -> Content {
    let reader = Reader { path, text };
    let mut content = Content::default();
    let (table, syntax) = DeTable::parse_recoverable(text);
    for error in &syntax {
        let at = error.span().map_or(0, |span| span.start);
        errors.push(reader.error(at, one_line(error.message())));
    }
    if !syntax.is_empty() {
        return content;
    }
    for (section, value) in table.get_ref() {
        match (section.get_ref().as_ref(), value.get_ref()) {
            ("listener", DeValue::Array(list)) => {
                for item in list.iter() {
                    reader.listener(item, &mut content, errors);
                }
            }
            ("listener", _) => {
                let at = section.span().start;
                errors.push(reader.error(at, "a listener is written [[listener]]"));
            }
            (name, DeValue::Table(table)) if is_section(name) => {
                content
                    .entries
                    .append(&mut reader.entries(name, table, errors));
            }
            (name, _) if is_section(name) => {
                let message = format!("`{name}` is a section: write [{name}]");
                errors.push(reader.error(section.span().start, message));
            }
            (name, DeValue::Table(_)) => {
                errors.push(reader.unknown_section(name, section.span().start));
            }
            (name, _) => {
                let nearest = nearest::key("", name);
                let message = format!("unknown key `{name}`; the nearest is `{nearest}`");
                errors.push(reader.error(section.span().start, message));
            }
        }
    }
    content
}

struct Reader<'a> {
    path: &'a Path,
    text: &'a str,
}

impl Reader<'_> {
    fn listener(
        &self,
        item: &Spanned<DeValue<'_>>,
        content: &mut Content,
        errors: &mut Vec<Error>,
    ) {
        let at = item.span().start;
        match item.get_ref() {
            DeValue::Table(table) => {
                let entries = self.entries("listener", table, errors);
                content.listeners.push((self.origin(at), entries));
            }
            _ => errors.push(self.error(at, "a listener is written [[listener]]")),
        }
    }

    fn entries(&self, section: &str, table: &DeTable<'_>, errors: &mut Vec<Error>) -> Vec<Entry> {
        let mut entries = Vec::new();
        for (name, value) in table {
            let at = name.span().start;
            match plain(value.get_ref()) {
                Ok(text) => entries.push(Entry {
                    section: section.into(),
                    name: name.get_ref().to_string(),
                    text,
                    origin: self.origin(at),
                }),
                Err(found) => {
                    let message = format!(
                        "{section}.{}: a value is wanted, not {found}",
                        name.get_ref()
                    );
                    errors.push(self.error(at, message));
                }
            }
        }
        entries
    }

    fn unknown_section(&self, name: &str, at: usize) -> Error {
        let known = SECTIONS.iter().map(|(known, _)| *known);
        let nearest = nearest::nearest(name, known);
        self.error(
            at,
            format!("unknown section `{name}`; the nearest is `{nearest}`"),
        )
    }

    fn error(&self, at: usize, message: impl Into<String>) -> Error {
        Error::new(self.origin(at), message)
    }

    fn origin(&self, at: usize) -> Origin {
        let before = &self.text.as_bytes()[..at.min(self.text.len())];
        let line = 1 + before.iter().filter(|byte| **byte == b'\n').count();
        Origin::File {
            path: self.path.into(),
            line,
        }
    }
}

fn is_section(name: &str) -> bool {
    SECTIONS.iter().any(|(known, _)| *known == name)
}

/// A value as the text that a flag would give; the names of what cannot be one as error.
fn plain(value: &DeValue<'_>) -> Result<String, &'static str> {
    match value {
        DeValue::String(text) => Ok(text.to_string()),
        DeValue::Boolean(value) => Ok(value.to_string()),
        DeValue::Integer(number) => Ok(integer(number.as_str(), number.radix())),
        DeValue::Float(number) => Ok(number.as_str().into()),
        DeValue::Array(list) => {
            let items: Result<Vec<_>, _> = list.iter().map(|item| plain(item.get_ref())).collect();
            items.map(|items| items.join(","))
        }
        DeValue::Table(_) => Err("a table"),
        DeValue::Datetime(_) => Err("a date"),
    }
}

/// Decimal digits, whatever the radix; what does not fit stays as it is for the key to refuse.
fn integer(digits: &str, radix: u32) -> String {
    match i128::from_str_radix(digits, radix) {
        Ok(number) => number.to_string(),
        Err(_) => digits.into(),
    }
}

fn one_line(message: &str) -> String {
    message
        .lines()
        .map(str::trim)
        .collect::<Vec<_>>()
        .join(", ")
}
