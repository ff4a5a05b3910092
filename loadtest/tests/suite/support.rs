//! Brokers in this process, and the load tester against them.

use loadtest::report::Report;
use ringmq::config::{Listener, Settings};
use ringmq::runtime::Broker;
use serde_json::Value;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// A broker that lets everybody in, on a port of its own.
pub fn start(shards: u16) -> (Broker, SocketAddr) {
    let (broker, addresses) = start_with(&["tcp://127.0.0.1:0"], |settings| {
        settings.node.shards = shards;
    });
    (broker, addresses[0])
}

/// A broker with these listeners; `change` may say more.
pub fn start_with(urls: &[&str], change: impl FnOnce(&mut Settings)) -> (Broker, Vec<SocketAddr>) {
    let listeners = urls.iter().map(|url| Listener::at(url.parse().unwrap()));
    let mut settings = Settings {
        listeners: listeners.collect(),
        ..Settings::default()
    };
    settings.limits.connect_rate_max = 0;
    change(&mut settings);
    let broker = Broker::start(settings).unwrap();
    let addresses = broker.addresses();
    (broker, addresses)
}

pub fn stop(broker: &Broker) {
    let ended = broker.stop(Duration::from_secs(5));
    assert!(ended.is_complete, "{ended:?}");
}

/// An empty folder for a test.
pub fn folder(name: &str) -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("load-{name}"));
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

/// Runs the load tester; gives its report, also as the JSON object that it prints.
pub fn run(broker: SocketAddr, words: &str) -> (Report, Value) {
    run_words(&format!("{words} --broker {broker}"))
}

/// As [`run`]; the words say where the broker is.
pub fn run_words(words: &str) -> (Report, Value) {
    let all: Vec<&str> = ["loadtest"]
        .into_iter()
        .chain(words.split_whitespace())
        .collect();
    let report = loadtest::cli::run_words(&all, &Arc::default()).unwrap();
    let json = serde_json::from_str(&report.to_json()).unwrap();
    (report, json)
}
