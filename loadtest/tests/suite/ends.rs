//! Runs that end before their time: by Ctrl-C, by a worker that is killed, by a broker that stops.
//! What is told is what was done until then.

use crate::relay::{Fault, relay};
use crate::support::{start, stop};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::process::{Child, ChildStderr, Command, Stdio};
use std::time::Instant;

/// The load tester as a process, which tells on standard error how things are.
struct Run {
    child: Child,
    told: BufReader<ChildStderr>,
    began: Instant,
}

/// What a process has left.
struct Left {
    status: Option<i32>,
    json: Value,
    table: String,
}

impl Run {
    fn start(broker: SocketAddr, words: &str) -> Run {
        let mut child = Command::new(env!("CARGO_BIN_EXE_loadtest"))
            .args(words.split_whitespace())
            .args(["--json", "--broker", &broker.to_string()])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        Run {
            told: BufReader::new(child.stderr.take().unwrap()),
            child,
            began: Instant::now(),
        }
    }

    /// Waits until it tells something with these words in it.
    fn wait_for(&mut self, words: &str) {
        self.wait_for_some(1, words);
    }

    /// Waits until so many of the lines that it tells have these words in them.
    fn wait_for_some(&mut self, count: usize, words: &str) {
        let mut all = String::new();
        while all.lines().filter(|line| line.contains(words)).count() < count {
            let read = self.told.read_line(&mut all).unwrap();
            assert!(read > 0, "it does not say `{words}` {count} times: {all}");
        }
    }

    fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// Ctrl-C; gives how long it has run by then, in seconds.
    fn interrupt(&self) -> f64 {
        kill_process(self.pid(), Signal::INT).unwrap();
        self.began.elapsed().as_secs_f64()
    }

    fn left(mut self) -> Left {
        let mut table = String::new();
        self.told.read_to_string(&mut table).unwrap();
        let output = self.child.wait_with_output().unwrap();
        assert!(self.began.elapsed().as_secs() < 50, "it goes on: {table}");
        Left {
            status: output.status.code(),
            json: serde_json::from_slice(&output.stdout)
                .unwrap_or_else(|_| panic!("no JSON: {table}")),
            table,
        }
    }
}

impl Left {
    fn number(&self, key: &str) -> f64 {
        let number = self.json[key].as_f64();
        number.unwrap_or_else(|| panic!("no `{key}`: {}", self.table))
    }

    #[track_caller]
    fn expect(&self, list: &str, parts: &[&str]) {
        let all = self.json[list].as_array().unwrap();
        let mut sentences = all.iter().map(|sentence| sentence.as_str().unwrap());
        let is_there = sentences.any(|one| parts.iter().all(|part| one.contains(part)));
        assert!(is_there, "no {parts:?} in {list} of\n{}", self.table);
    }
}

#[test]
fn an_interrupted_flow_has_its_own_time_and_not_that_of_waiting() {
    let (broker, address) = start(1);
    // What does not come is waited for, for three seconds that are not part of the rates.
    let relay = relay(address, Fault::Drop(|message| message.number % 10 == 4));
    let words = "flow -p 4 -s 4 -t 4 --rate 400 -d 60 --warm-up 0 --drain 3";
    let mut run = Run::start(relay, words);
    run.wait_for_some(3, "s  sent");
    let run_for_s = run.interrupt();
    let left = run.left();
    stop(&broker);
    assert_eq!(left.status, Some(1));
    let measured_s = left.number("measured_s");
    assert!(
        measured_s > 1.0 && measured_s < run_for_s + 1.0,
        "{run_for_s} s\n{}",
        left.table
    );
    assert_eq!(
        left.number("lost") + left.number("delivered"),
        left.number("published")
    );
    left.expect("notes", &["ended early, after ", " of 60.0 s"]);
}

#[test]
fn an_interrupted_idle_tells_what_was_made_and_held() {
    let (broker, address) = start(1);
    let mut run = Run::start(address, "idle -n 3000 --connect-rate 100 --hold 60");
    run.wait_for(" of 3,000");
    run.interrupt();
    let left = run.left();
    assert_eq!(left.status, Some(0), "{}", left.table);
    let held = left.number("held");
    assert!(
        held > 0.0 && held < 2_900.0 && left.number("held_s") == 0.0,
        "{}",
        left.table
    );
    assert!(
        left.table
            .contains(&format!("idle: {held} connections with")),
        "{}",
        left.table
    );
    let told = format!("ended early, while connecting: {held} of 3,000 connections were made");
    left.expect("notes", &[&told]);

    let mut run = Run::start(address, "idle -n 20 --hold 60");
    run.wait_for("holding 20");
    let run_for_s = run.interrupt();
    let left = run.left();
    stop(&broker);
    assert_eq!(
        (left.status, left.number("held")),
        (Some(0), 20.0),
        "{}",
        left.table
    );
    let held_s = left.number("held_s");
    assert!(held_s > 0.0 && held_s < run_for_s + 1.0, "{}", left.table);
    left.expect("notes", &["ended early, held for ", " of 60.0 s"]);
}

#[test]
fn a_storm_that_is_interrupted_before_it_is_none() {
    let (broker, address) = start(1);
    for (version, sessions_left) in [(4, 20), (5, 0)] {
        let words = format!("storm -n 20 --hold 60 --mqtt {version}");
        let mut run = Run::start(address, &words);
        run.wait_for("holding 20");
        run.interrupt();
        let left = run.left();
        assert_eq!(left.status, Some(0), "{}", left.table);
        for key in ["back", "attempts", "published"] {
            assert_eq!(left.number(key), 0.0, "{key}\n{}", left.table);
        }
        let title = "storm: 20 clients with persistent sessions connected, QoS 1";
        assert!(left.table.contains(title), "{}", left.table);
        left.expect("notes", &["ended early, before they were let back"]);
        let stays = left.json["notes"]
            .to_string()
            .contains("up to 20 sessions stay");
        assert_eq!(stays, sessions_left > 0, "{}", left.table);
    }
    stop(&broker);
}

#[test]
fn interrupted_churn_and_dashboards_tell_how_far_they_came() {
    let (broker, address) = start(1);
    let mut run = Run::start(address, "churn -n 20 --rate 50 -d 60");
    run.wait_for("lived");
    run.interrupt();
    let left = run.left();
    assert_eq!(left.status, Some(0), "{}", left.table);
    assert!(left.number("lives") > 0.0 && left.number("lives_per_s") > 0.0);
    left.expect("notes", &["ended early, after ", " of 60.0 s"]);

    let words = "dashboards -n 2000 -t 10 -a 1 --connect-rate 50";
    let mut run = Run::start(address, words);
    run.wait_for("dashboards ");
    run.interrupt();
    let left = run.left();
    stop(&broker);
    assert_eq!(left.status, Some(0), "{}", left.table);
    left.expect(
        "notes",
        &[
            "ended early, while filling: ",
            " of 2,000 dashboards were filled",
        ],
    );
}

/// The processes that this one has started.
fn children(parent: Pid) -> Vec<Pid> {
    let folders = std::fs::read_dir("/proc").unwrap().flatten();
    let pids = folders.filter_map(|folder| folder.file_name().to_str()?.parse::<i32>().ok());
    let own = pids.filter(|pid| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let after_name = stat.rsplit_once(") ").map(|(_, rest)| rest.to_owned());
        let mother = after_name.and_then(|rest| rest.split(' ').nth(1)?.parse::<i32>().ok());
        mother == Some(parent.as_raw_nonzero().get())
    });
    own.filter_map(Pid::from_raw).collect()
}

#[test]
fn a_worker_that_is_killed_does_not_take_the_others_figures_along() {
    let (broker, address) = start(1);
    let words = "flow -p 6 -s 6 -t 6 --rate 300 -d 60 --warm-up 0 --drain 1 --workers 3";
    let mut run = Run::start(address, words);
    run.wait_for_some(3, "s  sent");
    let workers = children(run.pid());
    assert_eq!(workers.len(), 3);
    kill_process(workers[1], Signal::KILL).unwrap();
    let left = run.left();
    stop(&broker);
    assert_eq!(left.status, Some(1), "{}", left.table);
    let killed = format!(
        "its process {} ended with signal: 9",
        workers[1].as_raw_nonzero()
    );
    left.expect("problems", &["worker ", " of 3 was lost after ", &killed]);
    assert_eq!(left.number("workers_lost"), 1.0);
    // Two thirds of what was sent in two seconds.
    assert!(left.number("published") >= 200.0, "{}", left.table);
    assert!(left.number("delivered") >= 200.0, "{}", left.table);
    left.expect("notes", &["ended early, after "]);
}

#[test]
fn a_broker_that_stops_is_named_and_when_it_did() {
    // Not of all four: who was about to publish may be reset instead.
    for (version, how) in [
        (4, "closed by the broker ("),
        (5, "DISCONNECT 0x8B server shutting down ("),
    ] {
        let (broker, address) = start(1);
        let words = format!("flow -p 2 -s 2 -t 2 --rate 100 -d 60 --warm-up 0 --mqtt {version}");
        let mut run = Run::start(address, &words);
        run.wait_for_some(2, "s  sent");
        stop(&broker);
        let left = run.left();
        assert_eq!(left.status, Some(1), "{}", left.table);
        let lost = "4 connections were lost ";
        left.expect("problems", &[lost, " after the beginning: ", how]);
        left.expect(
            "notes",
            &["everybody had lost the connection after ", " of 60.0 s"],
        );
    }
    let (broker, address) = start(1);
    let mut run = Run::start(address, "idle -n 20 --hold 60");
    run.wait_for("holding 20");
    stop(&broker);
    let left = run.left();
    assert_eq!(
        (left.status, left.number("held")),
        (Some(1), 0.0),
        "{}",
        left.table
    );
    left.expect(
        "problems",
        &["21 connections were lost ", "closed by the broker (21)"],
    );
}

#[test]
fn what_the_load_tester_allows_itself_is_told() {
    let (broker, address) = start(1);
    for (words, part) in [
        (
            "idle -n 200 --hold 0 --parallel 1",
            "as --parallel allows (1): the pace",
        ),
        (
            "storm -n 200 --hold 0 --parallel 1",
            "while coming back, for ",
        ),
        (
            "idle -n 200 --hold 0 --parallel 1 --connect-rate 1000000",
            "while connecting, connections were begun up to ",
        ),
    ] {
        let left = Run::start(address, words).left();
        left.expect("notes", &[part, "as --parallel allows (1)"]);
    }
    let left = Run::start(address, "idle -n 20 --hold 0").left();
    assert!(
        !left.json["notes"].to_string().contains("--parallel"),
        "{}",
        left.table
    );
    stop(&broker);
}
