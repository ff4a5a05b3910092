//! The steps of a row, as written:
//!
//! ```text
//! play NAME X          steps of settings.toml, with connection X for `$`
//! X open               opens connection X (one letter)
//! X > BYTES            sends
//! X < PATTERN          the next packet matches; `P or Q`: one of them; `P and Q`: the next two
//!                      packets, in any order
//! one of X Y < PATTERN the next packet of one of these connections matches
//! X quiet              nothing has come: PINGREQ is sent, and PINGRESP is the next packet
//! X silent             nothing has come up to now
//! X closed             the server closes, and nothing comes before; `closed maybe P`: or only P
//! X close              closes abruptly, without DISCONNECT
//! advance S            S seconds go by
//! differ a b           the captured packet identifiers are all different
//! ```
//!
//! A line that begins with a space goes on the line before; `#` begins a comment line.

use super::pattern::{self, Pattern, Token};
use std::collections::BTreeMap;

/// A connection of a row, named by a letter.
pub type Name = char;

/// One step, and the line it was written as.
#[derive(Clone)]
pub struct Step {
    pub line: String,
    pub action: Action,
}

#[derive(Clone)]
pub enum Action {
    Open(Name),
    Send(Name, Vec<Token>),
    Expect(Name, Expected),
    OneOf(Vec<Name>, Pattern),
    Quiet(Name),
    Silent(Name),
    Closed(Name, Vec<Pattern>),
    Close(Name),
    Advance(u64),
    Differ(Vec<String>),
}

/// What the next packets of a connection have to be.
#[derive(Clone)]
pub enum Expected {
    Any(Vec<Pattern>),
    All(Vec<Pattern>),
}

impl Step {
    /// Seconds of waiting in this step.
    pub fn seconds(&self) -> u64 {
        match self.action {
            Action::Advance(seconds) => seconds,
            _ => 0,
        }
    }
}

/// Named beginnings of rows.
pub struct Plays(BTreeMap<String, String>);

impl Plays {
    pub fn new(entries: impl Iterator<Item = (String, String)>) -> Plays {
        Plays(entries.collect())
    }

    fn lines(&self, name: &str, conn: &str) -> Result<Vec<String>, String> {
        let text = self
            .0
            .get(name)
            .ok_or_else(|| format!("nothing to play is named {name}"))?;
        Ok(joined_lines(&text.replace('$', conn)))
    }
}

/// Reads the steps of a row.
pub fn parse(text: &str, plays: &Plays) -> Result<Vec<Step>, String> {
    let mut steps = Vec::new();
    for line in joined_lines(text) {
        let lines = match line.strip_prefix("play ") {
            Some(rest) => {
                let (name, conn) = rest.split_once(' ').ok_or("play NAME X")?;
                plays.lines(name, conn)?
            }
            None => vec![line],
        };
        for line in lines {
            let action = parse_line(&line).map_err(|error| format!("`{line}`: {error}"))?;
            steps.push(Step { line, action });
        }
    }
    Ok(steps)
}

fn joined_lines(text: &str) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for line in text.lines() {
        if line.starts_with(' ') {
            let last = lines.last_mut().expect("a line to go on");
            last.push(' ');
            last.push_str(line.trim());
        } else if !line.is_empty() && !line.starts_with('#') {
            lines.push(line.into());
        }
    }
    lines
}

fn parse_line(line: &str) -> Result<Action, String> {
    if let Some(rest) = line.strip_prefix("advance ") {
        return Ok(Action::Advance(rest.parse().map_err(|_| "no number")?));
    }
    if let Some(rest) = line.strip_prefix("differ ") {
        return Ok(Action::Differ(rest.split(' ').map(String::from).collect()));
    }
    if let Some(rest) = line.strip_prefix("one of ") {
        let (conns, pattern) = rest.split_once(" < ").ok_or("one of X Y < PATTERN")?;
        let conns = conns.split(' ').map(parse_name).collect::<Result<_, _>>()?;
        return Ok(Action::OneOf(conns, pattern::parse(pattern)?));
    }
    let (conn, rest) = line.split_once(' ').ok_or("too short")?;
    let conn = parse_name(conn)?;
    let (verb, rest) = rest.split_once(' ').unwrap_or((rest, ""));
    match (verb, rest) {
        ("open", "") => Ok(Action::Open(conn)),
        (">", bytes) => Ok(Action::Send(conn, pattern::parse_tokens(bytes)?)),
        ("<", patterns) => Ok(Action::Expect(conn, parse_expected(patterns)?)),
        ("quiet", "") => Ok(Action::Quiet(conn)),
        ("silent", "") => Ok(Action::Silent(conn)),
        ("close", "") => Ok(Action::Close(conn)),
        ("closed", "") => Ok(Action::Closed(conn, vec![])),
        ("closed", rest) => {
            let patterns = rest.strip_prefix("maybe ").ok_or("closed maybe PATTERN")?;
            Ok(Action::Closed(conn, parse_all(patterns, " or ")?))
        }
        _ => Err("no such step".into()),
    }
}

fn parse_name(text: &str) -> Result<Name, String> {
    let mut chars = text.chars();
    match (chars.next(), chars.next()) {
        (Some(name), None) if name.is_ascii_lowercase() => Ok(name),
        _ => Err(format!("`{text}` is no connection's letter")),
    }
}

fn parse_expected(text: &str) -> Result<Expected, String> {
    if text.contains(" and ") {
        return Ok(Expected::All(parse_all(text, " and ")?));
    }
    Ok(Expected::Any(parse_all(text, " or ")?))
}

fn parse_all(text: &str, separator: &str) -> Result<Vec<Pattern>, String> {
    text.split(separator).map(pattern::parse).collect()
}
