//! Instructions that one operation takes, counted by valgrind, each within a budget.
//!
//! `cargo bench --bench instructions` prints the table; its exit status is not 0 if one is over
//! its budget. Times depend on the machine and on what else it does, and these counts hardly do, so
//! they can be held. Each case runs in a process of its own, twice with different numbers of
//! rounds, and the difference counts: starting up and building tables do not.
//!
//! A change that is worth more instructions raises the budget in the same commit, and says why.

mod codec;
mod routing;
mod shard;

use std::process::{Command, ExitCode};

/// The broker's.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const TOPIC: &str = "fleet/000123/telemetry";
const PAYLOAD: [u8; 64] = [b'x'; 64];
const FEW: u64 = 200;
const MANY: u64 = 1_200;

/// A name, what does so many rounds of it, and the most instructions a round may take.
type Case = (&'static str, fn(u64), u64);

/// Budgets are some 20 % above what was counted when they were set.
const CASES: [Case; 13] = [
    ("codec: decode PUBLISH, 64 bytes", codec::decode, 155),
    ("codec: encode PUBLISH, 64 bytes", codec::encode, 185),
    ("codec: encode and decode PUBACK", codec::puback, 100),
    (
        "trie: route an exact filter, uncached",
        routing::route_exact,
        2_050,
    ),
    (
        "trie: route a + filter, uncached",
        routing::route_plus,
        3_300,
    ),
    ("trie: route, cached", routing::route_cached, 200),
    ("trie: subscribe and unsubscribe", routing::subscribe, 8_600),
    ("retained: replace", routing::retained_replace, 200),
    ("retained: ten by wildcard", routing::retained_ten, 8_600),
    ("mailbox: post and take", shard::mailbox, 215),
    (
        "session: PUBLISH to one, QoS 0",
        shard::session_qos_0,
        2_000,
    ),
    (
        "session: PUBLISH to one, QoS 1, acknowledged",
        shard::session_qos_1,
        4_400,
    ),
    (
        "fan-out: PUBLISH to a hundred, QoS 0",
        shard::fan_out,
        51_000,
    ),
];

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().collect();
    if let Some(at) = words.iter().position(|word| word == "--case") {
        let case = CASES.iter().find(|(name, ..)| *name == words[at + 1]);
        let rounds = words[at + 2].parse().expect("a number of rounds");
        case.expect("a case of the list").1(rounds);
        return ExitCode::SUCCESS;
    }
    println!(
        "{:<48}{:>12}{:>12}",
        "instructions a round", "counted", "budget"
    );
    let mut is_within = true;
    for (name, _, budget) in CASES {
        let each = (count(name, MANY) - count(name, FEW)) / (MANY - FEW);
        let mark = if each > budget { "  OVER" } else { "" };
        is_within &= each <= budget;
        println!("{name:<48}{each:>12}{budget:>12}{mark}");
    }
    match is_within {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}

/// Instructions of a process that does `rounds` of a case.
fn count(name: &str, rounds: u64) -> u64 {
    let this = std::env::current_exe().expect("a running program has a path");
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(this)
        .args(["--case", name, &rounds.to_string()])
        .output()
        .expect("valgrind is installed (Debian: apt-get install valgrind)");
    let text = String::from_utf8_lossy(&output.stderr);
    let line = text
        .lines()
        .find_map(|line| line.split_once("Collected : "));
    let (_, number) = line.unwrap_or_else(|| panic!("{name} failed:\n{text}"));
    number.trim().parse().expect("valgrind prints a number")
}
