//! Plays a row against a target.

use super::data::Row;
use super::pattern::{self, Captures, Pattern};
use super::script::{Action, Expected, Name, Step};
use super::target::Target;
use super::wire;
use std::collections::BTreeSet;

/// The sizes at which what is sent is cut; 0: not at all.
pub const CUTS: [usize; 6] = [0, 1, 2, 3, 5, 7];

/// Why a row failed.
pub struct Failure {
    pub step: usize,
    pub line: String,
    pub what: String,
}

/// Plays all steps; `cut` is the size of the pieces that are sent, 0 for whole.
pub fn play(row: &Row, cut: usize, target: &mut dyn Target) -> Result<(), Failure> {
    let mut captures = Captures::new();
    for (index, step) in row.steps.iter().enumerate() {
        let fail = |what: String| Failure {
            step: index + 1,
            line: step.line.clone(),
            what,
        };
        play_step(step, cut, target, &mut captures).map_err(fail)?;
    }
    Ok(())
}

/// A failure for people: file, row, step, expected and got.
pub fn describe(row: &Row, cut: usize, failure: &Failure) -> String {
    let cut = if cut == 0 {
        "whole".into()
    } else {
        format!("cut at {cut}")
    };
    format!(
        "{}, row \"{}\" ({cut})\n  step {}: {}\n  {}",
        row.file,
        row.name,
        failure.step,
        shortened(&failure.line),
        failure.what
    )
}

fn shortened(line: &str) -> String {
    match line.char_indices().nth(300) {
        Some((at, _)) => format!("{}...", &line[..at]),
        None => line.into(),
    }
}

fn play_step(
    step: &Step,
    cut: usize,
    target: &mut dyn Target,
    captures: &mut Captures,
) -> Result<(), String> {
    match &step.action {
        Action::Open(conn) => target.open(*conn),
        Action::Send(conn, tokens) => {
            let bytes = pattern::bytes(tokens, captures)?;
            // Cutting 64 KiB into single bytes shows nothing more than cutting its ends.
            let size = if cut == 0 {
                bytes.len()
            } else {
                cut.max(bytes.len() / 500)
            };
            bytes
                .chunks(size)
                .for_each(|piece| target.send(*conn, piece));
        }
        Action::Expect(conn, Expected::Any(patterns)) => {
            let packet = next_packet(target, *conn)?;
            if !patterns
                .iter()
                .any(|pattern| pattern.matches(&packet, captures))
            {
                return Err(format!("got {}", wire::hex(&packet)));
            }
        }
        Action::Expect(conn, Expected::All(patterns)) => {
            expect_all(target, *conn, patterns, captures)?
        }
        Action::OneOf(conns, pattern) => expect_one_of(target, conns, pattern, captures)?,
        Action::Quiet(conn) => {
            target.send(*conn, &[0xc0, 0x00]);
            let packet = next_packet(target, *conn)?;
            if packet != [0xd0, 0x00] {
                return Err(format!("not quiet: got {}", wire::hex(&packet)));
            }
        }
        Action::Silent(conn) => {
            let received = target.recv(*conn, &|_| true);
            if !received.bytes.is_empty() || received.closed {
                let closed = if received.closed { ", then closed" } else { "" };
                return Err(format!(
                    "not silent: got {}{closed}",
                    wire::hex(&received.bytes)
                ));
            }
        }
        Action::Closed(conn, patterns) => expect_closed(target, *conn, patterns, captures)?,
        Action::Close(conn) => target.close(*conn),
        Action::Advance(seconds) => target.advance(*seconds),
        Action::Differ(names) => {
            let ids: BTreeSet<_> = names.iter().map(|name| captures.get(name)).collect();
            if ids.len() != names.len() {
                return Err(format!("not all different: {captures:02x?}"));
            }
        }
    }
    Ok(())
}

fn next_packet(target: &mut dyn Target, conn: Name) -> Result<Vec<u8>, String> {
    let received = target.recv(conn, &|got| {
        wire::packet_len(&got.bytes).is_some() || got.closed
    });
    match wire::packet_len(&received.bytes) {
        Some(len) => Ok(received.bytes.drain(..len).collect()),
        None if received.closed => Err(format!(
            "got {} and the server closed",
            nothing_or(&received.bytes)
        )),
        None => Err(format!("got {}", nothing_or(&received.bytes))),
    }
}

fn nothing_or(bytes: &[u8]) -> String {
    if bytes.is_empty() {
        "nothing".into()
    } else {
        wire::hex(bytes)
    }
}

fn expect_all(
    target: &mut dyn Target,
    conn: Name,
    patterns: &[Pattern],
    captures: &mut Captures,
) -> Result<(), String> {
    let mut packets: Vec<Vec<u8>> = Vec::new();
    for _ in patterns {
        match next_packet(target, conn) {
            Ok(packet) => packets.push(packet),
            Err(error) => return Err(format!("after {}: {error}", listed(&packets))),
        }
    }
    let mut left: Vec<&Pattern> = patterns.iter().collect();
    if assign(&packets, &mut left, captures) {
        return Ok(());
    }
    Err(format!("got {}", listed(&packets)))
}

fn listed(packets: &[Vec<u8>]) -> String {
    packets
        .iter()
        .map(|packet| wire::hex(packet))
        .collect::<Vec<_>>()
        .join(" / ")
}

/// Finds a pattern for every packet.
fn assign(packets: &[Vec<u8>], left: &mut Vec<&Pattern>, captures: &mut Captures) -> bool {
    let Some((packet, later)) = packets.split_first() else {
        return true;
    };
    for index in 0..left.len() {
        let pattern = left.remove(index);
        let mut taken = captures.clone();
        if pattern.matches(packet, &mut taken) && assign(later, left, &mut taken) {
            *captures = taken;
            return true;
        }
        left.insert(index, pattern);
    }
    false
}

fn expect_one_of(
    target: &mut dyn Target,
    conns: &[Name],
    pattern: &Pattern,
    captures: &mut Captures,
) -> Result<(), String> {
    let mut others = String::new();
    // A packet may come on any of them, and what is for a later line before it: look at each for a
    // short while, several times.
    for _ in 0..200 {
        others.clear();
        for conn in conns {
            let received = target.recv(*conn, &|_| true);
            let Some(len) = wire::packet_len(&received.bytes) else {
                continue;
            };
            if pattern.matches(&received.bytes[..len], captures) {
                return next_packet(target, *conn).map(drop);
            }
            others += &format!("; {conn} got {}", wire::hex(&received.bytes[..len]));
        }
        std::thread::sleep(std::time::Duration::from_millis(if target.is_live() {
            5
        } else {
            0
        }));
    }
    Err(format!("none of them got it{others}"))
}

fn expect_closed(
    target: &mut dyn Target,
    conn: Name,
    patterns: &[Pattern],
    captures: &mut Captures,
) -> Result<(), String> {
    let received = target.recv(conn, &|got| got.closed);
    if !patterns.is_empty()
        && let Some(len) = wire::packet_len(&received.bytes)
    {
        let packet: Vec<u8> = received.bytes.drain(..len).collect();
        if !patterns
            .iter()
            .any(|pattern| pattern.matches(&packet, captures))
        {
            return Err(format!("got {}", wire::hex(&packet)));
        }
    }
    match (received.closed, received.bytes.is_empty()) {
        (true, true) => Ok(()),
        (false, _) => Err(format!(
            "got {}, and not closed",
            nothing_or(&received.bytes)
        )),
        (true, false) => Err(format!(
            "got {} before the close",
            wire::hex(&received.bytes)
        )),
    }
}
