//! The load tester against ringmq itself.

use crate::support::{run, start, stop};
use serde_json::Value;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

fn number(json: &Value, key: &str) -> u64 {
    json[key]
        .as_u64()
        .unwrap_or_else(|| panic!("no number `{key}` in {json}"))
}

/// Runs it, wants everything to be in order, and gives the figures.
fn in_order(shards: u16, words: &str) -> Value {
    let (broker, address) = start(shards);
    let (report, json) = run(address, words);
    stop(&broker);
    assert!(report.is_ok(), "{report}");
    for key in ["lost", "duplicated"] {
        assert_eq!(number(&json, key), 0);
    }
    json
}

#[test]
fn a_flow_at_a_rate_sends_exactly_what_is_due() {
    let json = in_order(
        2,
        "flow -p 4 -s 6 -t 2 --rate 2000 -d 1 --warm-up 0.5 --mqtt 5",
    );
    assert_eq!(number(&json, "published"), 3000);
    assert_eq!(number(&json, "delivered"), 9000);
    assert_eq!(number(&json, "unsent"), 0);
    assert!(json["p99_us"].as_f64().unwrap() > 0.0);
}

#[test]
fn a_flow_within_a_window_at_each_qos() {
    for qos in 0..3 {
        let words = format!("flow -p 3 -s 3 -t 3 -q {qos} -d 0.3 --warm-up 0.1 --size 100");
        let json = in_order(1, &words);
        assert!(number(&json, "delivered") > 100);
        assert_eq!(number(&json, "delivered"), number(&json, "published"));
    }
}

#[test]
fn several_executors_share_a_flow() {
    let json = in_order(
        2,
        "flow -p 5 -s 4 -t 7 --shards 3 --rate 1000 -d 0.5 -q 2 --warm-up 0",
    );
    assert_eq!(number(&json, "published"), 500);
    assert_eq!(number(&json, "delivered"), 500);
}

#[test]
fn idle_connections_are_kept_alive_and_get_their_messages() {
    let words = "idle -n 90 --hold 2.5 --keep-alive 2 --every 3 --shards 2 --sources 3";
    let json = in_order(2, words);
    assert_eq!(number(&json, "held"), 90);
    assert!(number(&json, "pings") >= 90);
    assert_eq!(number(&json, "delivered"), 30);
}

#[test]
fn a_storm_resumes_sessions_and_brings_what_was_missed() {
    for (version, qos) in [(4, 1), (5, 2)] {
        let words = format!("storm -n 60 --missed 3 --hold 0.2 -q {qos} --mqtt {version}");
        let json = in_order(2, &words);
        assert_eq!(number(&json, "back"), 60);
        assert_eq!(number(&json, "sessions_resumed"), 60);
        assert_eq!(number(&json, "published_away"), 180);
        assert_eq!(number(&json, "delivered"), 240);
    }
}

#[test]
fn a_storm_of_clean_sessions_subscribes_again() {
    let json = in_order(1, "storm -n 40 --session clean --hold 0 --connect-rate 400");
    assert_eq!(number(&json, "back"), 40);
    assert_eq!(number(&json, "delivered"), 40);
    // Paced: the last one begins 39/400 s after the first.
    assert!(json["last_connack_s"].as_f64().unwrap() >= 0.097);
}

#[test]
fn nobody_there_is_told_and_fails() {
    let free = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let (report, json) = run(free, "flow -p 2 -s 2 -t 2");
    assert_eq!(report.problems[0], "4 connections failed");
    assert_eq!(json["refused"]["connection refused"], 4);
    assert_eq!(json["ok"], false);
}

#[test]
fn churn_does_not_spin_where_nobody_is() {
    let free = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let (report, json) = run(free, "churn -n 5 --rate 0 -d 0.5");
    // Each tries at once, and then ten times a second.
    let failed = number(&json, "connections_failed");
    assert!((5..=30).contains(&failed), "{report}");
    let (_, json) = run(free, "churn -n 5 --rate 200 -d 0.5");
    assert_eq!(number(&json, "connections_failed"), 100);
}

#[test]
fn an_interrupted_run_reports_what_was_done() {
    let (broker, address) = start(1);
    let interrupt = Arc::new(AtomicBool::new(false));
    let flag = interrupt.clone();
    let interrupter = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(800));
        flag.store(true, Ordering::Relaxed);
    });
    let began = Instant::now();
    let address = address.to_string();
    let words = [
        "loadtest",
        "flow",
        "-d",
        "60",
        "--warm-up",
        "0",
        "--rate",
        "100",
        "-b",
        &address,
    ];
    let report = loadtest::cli::run_words(&words, &interrupt).unwrap();
    interrupter.join().unwrap();
    stop(&broker);
    assert!(
        report.is_ok() && began.elapsed() < Duration::from_secs(20),
        "{report}"
    );
    assert!(
        report.notes[0].starts_with("ended early, after "),
        "{report}"
    );
    let json: Value = serde_json::from_str(&report.to_json()).unwrap();
    assert!((20..2000).contains(&number(&json, "delivered")), "{json}");
}

#[test]
fn the_program_prints_one_line_and_says_by_its_status_how_it_went() {
    let (broker, address) = start(1);
    let program = || Command::new(env!("CARGO_BIN_EXE_loadtest"));
    let pid = std::process::id().to_string();
    let address = address.to_string();
    let words = [
        "flow",
        "--json",
        "-d",
        "0.2",
        "--warm-up",
        "0",
        "--pid",
        &pid,
        "-b",
        &address,
    ];
    let output = program().args(words).output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(text.lines().count(), 1);
    let json: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(
        (&json["scenario"], &json["ok"]),
        (&"flow".into(), &true.into())
    );
    assert!(number(&json, "broker_resident_bytes") > 1_000_000);
    stop(&broker);

    let output = program()
        .args(["idle", "-n", "3", "-b", &address])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(
        String::from_utf8(output.stdout)
            .unwrap()
            .contains("FAILED: 4 connections failed")
    );
    let output = program().args(["idle", "-b", "nowhere"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(output.stderr, b"loadtest: `nowhere` is not HOST:PORT\n");
}

#[test]
fn a_page_and_json_hold_the_run_second_by_second() {
    let (broker, address) = start(1);
    let folder = std::env::temp_dir().join(format!("loadtest-page-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let page = folder.join("out.html");
    let words = [
        "run".to_owned(),
        "pairs".to_owned(),
        "--duration=2.5".to_owned(),
        "--rate=400".to_owned(),
        format!("--pid={}", std::process::id()),
        format!("--report={}", page.display()),
        format!("--broker={address}"),
        "--json".to_owned(),
    ];
    let output = Command::new(env!("CARGO_BIN_EXE_loadtest"))
        .args(&words)
        .output()
        .unwrap();
    stop(&broker);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let json: Value = serde_json::from_slice(&output.stdout).unwrap();
    let timeline = &json["timeline"];
    let seconds = timeline["at_s"].as_array().unwrap().len();
    assert!((2..=5).contains(&seconds), "{timeline}");
    assert!(timeline["broker_bytes"][0].as_f64().unwrap() > 1e6);
    let page = std::fs::read_to_string(&page).unwrap();
    assert!(page.matches("<svg").count() >= 4 && page.contains("99 % latency"));
    let file = folder.join("a.json");
    std::fs::write(&file, &output.stdout).unwrap();
    let compared = Command::new(env!("CARGO_BIN_EXE_loadtest"))
        .arg("--compare")
        .args([&file, &file])
        .output()
        .unwrap();
    assert_eq!(compared.status.code(), Some(0), "{compared:?}");
    let text = String::from_utf8(compared.stdout).unwrap();
    assert!(
        text.starts_with("flow\n") && text.contains("delivered"),
        "{text}"
    );
    std::fs::remove_dir_all(&folder).unwrap();
}
