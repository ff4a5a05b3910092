//! Several processes that are one load: their figures are those of one.

use crate::support::{start, stop};
use serde_json::Value;
use std::io::{BufRead, BufReader, Read};
use std::net::TcpListener;
use std::process::{Command, Output, Stdio};

fn program() -> Command {
    Command::new(env!("CARGO_BIN_EXE_loadtest"))
}

fn json(output: &Output) -> Value {
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Three processes with two executors each: everything comes, and is counted once.
#[track_caller]
fn figures(words: &str, expected: &[(&str, u64)]) {
    let (broker, address) = start(2);
    let output = program()
        .args(words.split_whitespace())
        .args(["--workers", "3", "--shards", "2", "--json", "--broker"])
        .arg(address.to_string())
        .output()
        .unwrap();
    stop(&broker);
    let json = json(&output);
    for (key, value) in expected {
        assert_eq!(json[key].as_u64(), Some(*value), "{key} in {json}");
    }
    assert_eq!((&json["workers"], &json["shards"]), (&3.into(), &6.into()));
    assert!(
        json["timeline"]["own_bytes"][0]
            .as_f64()
            .is_none_or(|bytes| bytes > 1e6)
    );
}

#[test]
fn idle() {
    let words = "run idle -n 60 --hold 0.3 --every 6 --reconnect";
    figures(words, &[("held", 60), ("delivered", 10), ("back", 60)]);
}

#[test]
fn pairs_at_a_rate() {
    // Publishers and subscribers of a topic are in different processes.
    let words = "run pairs -p 7 -s 8 -t 5 --rate 800 -d 1.5 --warm-up 0 -q 1";
    figures(
        words,
        &[("published", 1200), ("delivered", 2058), ("lost", 0)],
    );
}

#[test]
fn a_window_over_all() {
    let words = "flow -p 6 -s 6 -t 6 -d 0.5 --warm-up 0.1";
    figures(words, &[("lost", 0), ("duplicated", 0)]);
}

#[test]
fn groups_requests_and_cuts() {
    let words = "run shared -p 10 -t 10 --rate 600 -d 0.5 --warm-up 0";
    figures(words, &[("published", 300), ("delivered", 600)]);
    let words = "run command -p 3 -s 20 -t 20 --rate 400 -d 0.5 --warm-up 0";
    figures(words, &[("published", 200), ("replies", 200)]);
    let words = "run soak -p 10 -s 10 -t 10 --rate 400 -d 1 --warm-up 0 --cut-rate 10 --away 0.1";
    figures(words, &[("published", 400), ("delivered", 400)]);
}

#[test]
fn dashboards_storm_and_churn() {
    let words = "run dashboards -n 12 -t 60 -a 5";
    figures(
        words,
        &[("published", 60), ("delivered", 144), ("filled", 12)],
    );
    let words = "run storm -n 60 --hold 0.1";
    figures(
        words,
        &[("back", 60), ("sessions_resumed", 60), ("delivered", 120)],
    );
    figures(
        "run churn -n 40 --rate 100 -d 0.5",
        &[("lost", 0), ("duplicated", 0)],
    );
}

#[test]
fn workers_of_other_machines_join() {
    let (broker, address) = start(1);
    let free = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let mut leader = program()
        .args("idle -n 30 --hold 0.2 --workers 1 --await 2 --json".split(' '))
        .args([format!("--listen={free}"), format!("--broker={address}")])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut told = BufReader::new(leader.stderr.take().unwrap());
    let mut line = String::new();
    told.read_line(&mut line).unwrap();
    assert_eq!(
        line,
        format!("waiting for 2 more to join: loadtest --join {free}\n")
    );
    let joined = program()
        .args(["--join", &free.to_string(), "--workers", "2"])
        .output()
        .unwrap();
    let mut rest = String::new();
    told.read_to_string(&mut rest).unwrap();
    let output = leader.wait_with_output().unwrap();
    stop(&broker);
    assert_eq!(joined.status.code(), Some(0), "{joined:?}");
    let json = json(&output);
    assert_eq!(
        (&json["workers"], &json["held"]),
        (&3.into(), &30.into()),
        "{rest}"
    );
}

#[test]
fn what_a_worker_cannot_do_ends_the_run_with_a_sentence() {
    let output = program()
        .args("idle -n 5 --workers 2 --credentials /nowhere/users".split(' '))
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(told.contains("/nowhere/users: No such file"), "{told}");
    let free = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let output = program()
        .args(["--join", &free.to_string()])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(
        told.starts_with(&format!("loadtest: the leader at {free}: ")),
        "{told}"
    );
}
