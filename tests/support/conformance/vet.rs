//! Checks of the rows themselves, so that a slip of the pen is found before a broker is blamed.

use super::data::{Binds, Row, Suite};
use super::pattern::{self, Captures, Pattern, Token};
use super::script::{Action, Expected};
use super::wire;
use std::collections::BTreeSet;

/// Where the tests of the front doors are.
const SOURCES: [&str; 4] = [
    include_str!("../../doors/websockets.rs"),
    include_str!("../../../src/net/layer/tests.rs"),
    include_str!("../../../src/net/layer/websocket/frame.rs"),
    include_str!("../../../src/net/layer/websocket/upgrade.rs"),
];

/// Everything wrong with the rows, a line each.
pub fn complaints(suite: &Suite) -> Vec<String> {
    let mut out = Vec::new();
    let mut names = BTreeSet::new();
    for row in &suite.rows {
        let at = format!("{}, row \"{}\"", row.file, row.name);
        if !names.insert((&row.file, &row.name)) {
            out.push(format!("{at}: the name is there twice"));
        }
        if row.ids.is_empty() {
            out.push(format!("{at}: no statement"));
        }
        for id in &row.ids {
            match suite
                .statements
                .iter()
                .find(|statement| statement.id == *id)
            {
                None => out.push(format!("{at}: {id} is no statement")),
                Some(found) if found.binds != Binds::Server => {
                    out.push(format!("{at}: {id} is not the server's"))
                }
                Some(_) => {}
            }
        }
        out.extend(
            check_steps(row)
                .into_iter()
                .map(|error| format!("{at}: {error}")),
        );
    }
    for statement in suite.statements.iter().filter(|s| s.binds == Binds::Doors) {
        let unknown = |test: &&String| {
            !SOURCES
                .iter()
                .any(|text| text.contains(&format!("fn {test}(")))
        };
        if statement.tests.is_empty() {
            out.push(format!("{}: no test", statement.id));
        }
        for test in statement.tests.iter().filter(unknown) {
            out.push(format!("{}: there is no test {test}", statement.id));
        }
    }
    for statement in suite.statements.iter().filter(|s| s.binds == Binds::Server) {
        if !suite.rows.iter().any(|row| row.ids.contains(&statement.id)) {
            out.push(format!("{}: no row", statement.id));
        }
    }
    out
}

fn check_steps(row: &Row) -> Vec<String> {
    let mut out = Vec::new();
    let mut open = BTreeSet::new();
    for step in &row.steps {
        let (conns, found) = match &step.action {
            Action::Open(conn) => {
                open.insert(*conn);
                (vec![], Ok(()))
            }
            Action::Send(conn, tokens) if row.malformed => {
                (vec![*conn], sendable(tokens).map(drop))
            }
            Action::Send(conn, tokens) => (vec![*conn], sendable(tokens).and_then(whole_packets)),
            Action::Expect(conn, Expected::Any(patterns) | Expected::All(patterns))
            | Action::Closed(conn, patterns) => {
                (vec![*conn], patterns.iter().try_for_each(one_packet))
            }
            Action::OneOf(conns, pattern) => (conns.clone(), one_packet(pattern)),
            Action::Quiet(conn) | Action::Silent(conn) | Action::Close(conn) => {
                (vec![*conn], Ok(()))
            }
            Action::Advance(_) | Action::Differ(_) => (vec![], Ok(())),
        };
        if let Err(error) = found {
            out.push(format!("`{}`: {error}", step.line));
        }
        if !conns.iter().all(|conn| open.contains(conn)) {
            out.push(format!("`{}`: not opened", step.line));
        }
    }
    out
}

/// The bytes with captures standing for themselves.
fn sendable(tokens: &[Token]) -> Result<Vec<u8>, String> {
    let names = tokens.iter().filter_map(|token| match token {
        Token::Id(name) => Some((name.clone(), [0x7f, 0x7f])),
        _ => None,
    });
    pattern::bytes(tokens, &names.collect::<Captures>())
}

/// The length in each fixed header is what follows.
fn whole_packets(bytes: Vec<u8>) -> Result<(), String> {
    let mut rest = &bytes[..];
    if rest.is_empty() {
        return Err("no bytes".into());
    }
    while !rest.is_empty() {
        let len = wire::packet_len(rest)
            .ok_or_else(|| format!("no whole packet, {} bytes from the end", rest.len()))?;
        rest = &rest[len..];
    }
    Ok(())
}

fn one_packet(pattern: &Pattern) -> Result<(), String> {
    let Pattern::Tokens(tokens) = pattern else {
        return Ok(());
    };
    let plain = |at: usize| match tokens.get(at) {
        Some(Token::Byte(byte)) => Some(*byte),
        _ => None,
    };
    let header: Vec<u8> = (1..5).map_while(plain).collect();
    let Some((expected, size)) = wire::varint(&header) else {
        // The length is left to the server.
        return Ok(());
    };
    let (least, most) = pattern::length(&tokens[1 + size..]);
    if expected < least || most.is_some_and(|most| expected != most) {
        return Err(format!(
            "remaining length {expected}, but {least} bytes follow"
        ));
    }
    Ok(())
}
