//! Plug-in files as emqttd has them: one `key = value` a line, `#` before a comment.
//!
//! A value is everything after `=` to the end of the line, without quotes of its own, so that a
//! query stands there as it is typed. A `#` begins a comment only at the start of a line or after
//! a space: emqttd cuts a password at any `#` and says nothing.

use std::path::Path;

use crate::config::{Error, Errors, Origin, nearest};
use crate::limits::PLUGIN_FILE_BYTES_MAX;

/// One setting of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry<'a> {
    pub key: &'a str,
    pub value: &'a str,
    /// Counted from 1.
    pub line: usize,
}

/// A key that a plug-in knows, and how its text gets into the options.
pub struct Key<T: 'static> {
    pub name: &'static str,
    /// What the key takes instead, as a sentence, where the text is none.
    pub set: fn(&mut T, &str) -> Result<(), String>,
}

/// Reads the file's text into `T`, beginning with its defaults.
///
/// # Errors
/// All mistakes, each with its line, and for an unknown key the nearest one.
pub fn read<T: Default>(path: &Path, text: &str, keys: &[Key<T>]) -> Result<T, Errors> {
    let mut errors = Vec::new();
    let error = |line, message: String| {
        let path = path.to_path_buf();
        Error::new(Origin::File { path, line }, message)
    };
    let mut options = T::default();
    let mut seen: Vec<Entry<'_>> = Vec::new();
    for entry in entries(text) {
        let entry = match entry {
            Ok(entry) => entry,
            Err((line, message)) => {
                errors.push(error(line, message.into()));
                continue;
            }
        };
        let message = match keys.iter().find(|key| key.name == entry.key) {
            _ if seen.iter().any(|before| before.key == entry.key) => {
                let first = seen.iter().find(|before| before.key == entry.key);
                let line = first.map_or(0, |before| before.line);
                Err(format!("{} is set on line {line} already", entry.key))
            }
            Some(key) => {
                (key.set)(&mut options, entry.value).map_err(|why| format!("{}: {why}", entry.key))
            }
            None => {
                let nearest = nearest::nearest(entry.key, keys.iter().map(|key| key.name));
                Err(format!(
                    "unknown key `{}`; the nearest is `{nearest}`",
                    entry.key
                ))
            }
        };
        seen.push(entry);
        if let Err(message) = message {
            errors.push(error(entry.line, message));
        }
    }
    match errors.is_empty() {
        true => Ok(options),
        false => Err(Errors(errors)),
    }
}

/// Reads a file of this form.
///
/// # Errors
/// It cannot be read, or has mistakes: all of them, with their lines.
pub fn load<T: Default>(path: &Path, keys: &[Key<T>]) -> Result<T, Errors> {
    let fail = |message: String| {
        let path = path.to_path_buf();
        Errors(vec![Error::new(Origin::File { path, line: 1 }, message)])
    };
    let bytes = std::fs::metadata(path).map_or(0, |file| file.len());
    if bytes > PLUGIN_FILE_BYTES_MAX {
        return Err(fail(format!("{bytes} bytes are no plug-in file")));
    }
    match std::fs::read_to_string(path) {
        Ok(text) => read(path, &text, keys),
        Err(error) => Err(fail(format!("cannot be read: {error}"))),
    }
}

/// The settings of a file, in order; where a line is none, its number and why.
pub fn entries(text: &str) -> impl Iterator<Item = Result<Entry<'_>, (usize, &'static str)>> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let numbered = text.lines().zip(1..);
    numbered.filter_map(|(text, line)| {
        let text = without_comment(text).trim();
        if text.is_empty() {
            return None;
        }
        let Some((key, value)) = text.split_once('=') else {
            return Some(Err((line, "a setting is written `key = value`")));
        };
        let (key, value) = (key.trim_end(), value.trim_start());
        if key.is_empty() || key.contains(char::is_whitespace) {
            return Some(Err((line, "a key is one word, as in `key = value`")));
        }
        Some(Ok(Entry { key, value, line }))
    })
}

fn without_comment(line: &str) -> &str {
    let starts = |(at, _): &(usize, &str)| {
        line[..*at]
            .chars()
            .next_back()
            .is_none_or(char::is_whitespace)
    };
    match line.match_indices('#').find(starts) {
        Some((at, _)) => &line[..at],
        None => line,
    }
}

/// `true` and `false`, and the words for them that emqttd's files use.
///
/// # Errors
/// Neither.
pub fn boolean(text: &str) -> Result<bool, String> {
    match text {
        "true" | "on" => Ok(true),
        "false" | "off" => Ok(false),
        _ => Err(format!("`{text}` is neither true nor false")),
    }
}

/// A whole number between two others, both included.
///
/// # Errors
/// It is no number, or out of range.
pub fn number(text: &str, min: u32, max: u32) -> Result<u32, String> {
    match text.parse() {
        Ok(number) if (min..=max).contains(&number) => Ok(number),
        Ok(number) => Err(format!("{number} is out of range: {min} to {max}")),
        Err(_) => Err(format!("`{text}` is not a whole number")),
    }
}

/// Seconds, with or without unit.
///
/// # Errors
/// It is no duration, or out of range.
pub fn seconds(text: &str, min: u32, max: u32) -> Result<u32, String> {
    let seconds = crate::config::unit::parse_duration_s(text)?;
    match u32::try_from(seconds) {
        Ok(seconds) if (min..=max).contains(&seconds) => Ok(seconds),
        _ => Err(format!("{text} is out of range: {min}s to {max}s")),
    }
}

/// Text that may not be empty.
///
/// # Errors
/// It is.
pub fn word(text: &str) -> Result<String, String> {
    match text.is_empty() {
        true => Err("a value is wanted; write no line at all for none".into()),
        false => Ok(text.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Default, PartialEq)]
    struct Options {
        server: String,
        pool: u32,
    }

    const KEYS: &[Key<Options>] = &[
        Key {
            name: "auth.pgsql.server",
            set: |options, text| word(text).map(|text| options.server = text),
        },
        Key {
            name: "auth.pgsql.pool",
            set: |options, text| number(text, 1, 64).map(|pool| options.pool = pool),
        },
    ];

    fn told(text: &str) -> Vec<String> {
        match read(Path::new("p.conf"), text, KEYS) {
            Ok(_) => Vec::new(),
            Err(errors) => errors.0.iter().map(ToString::to_string).collect(),
        }
    }

    #[test]
    fn settings_are_read() {
        let text = "\u{feff}## comment\r\n\r\n  auth.pgsql.server=h#1 # here\r\n\
                    auth.pgsql.pool = 8#\t\n#auth.pgsql.pool = 9";
        let found: Result<Vec<_>, _> = entries(text).collect();
        let found = found.unwrap();
        assert_eq!(
            (found[0].key, found[0].value, found[0].line),
            ("auth.pgsql.server", "h#1", 3)
        );
        assert_eq!((found[1].value, found[1].line), ("8#", 4));
        assert_eq!(found.len(), 2);
        let options = read(Path::new("p"), "auth.pgsql.pool = 8", KEYS).unwrap();
        assert_eq!(options.pool, 8);
    }

    #[test]
    fn mistakes_name_file_line_and_nearest_key() {
        assert_eq!(
            told(
                "auth.pgsql.sever = x\nauth.pgsql.pool = many\nnothing\n\
                  auth.pgsql.pool = 1\na b = c\nauth.pgsql.server ="
            ),
            [
                "p.conf:1: unknown key `auth.pgsql.sever`; the nearest is `auth.pgsql.server`",
                "p.conf:2: auth.pgsql.pool: `many` is not a whole number",
                "p.conf:3: a setting is written `key = value`",
                "p.conf:4: auth.pgsql.pool is set on line 2 already",
                "p.conf:5: a key is one word, as in `key = value`",
                "p.conf:6: auth.pgsql.server: a value is wanted; write no line at all for none",
            ]
        );
        assert_eq!(
            told("auth.pgsql.pool = 65"),
            ["p.conf:1: auth.pgsql.pool: 65 is out of range: 1 to 64"]
        );
    }

    #[test]
    fn words_numbers_and_durations() {
        assert_eq!(boolean("on"), Ok(true));
        assert!(boolean("yes").is_err());
        assert_eq!(seconds("5s", 1, 60), Ok(5));
        assert_eq!(seconds("5000ms", 1, 60), Ok(5));
        assert!(seconds("2m", 1, 60).is_err());
    }
}
