//! A broker in this process, and the load tester against it.

use loadtest::report::Report;
use ringmq::config::{Listener, Settings};
use ringmq::runtime::Broker;
use serde_json::Value;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// A broker that lets everybody in, on a port of its own.
pub fn start(shards: u16) -> (Broker, SocketAddr) {
    let mut settings = Settings::default();
    settings.node.shards = shards;
    settings.listeners = vec![Listener::at("tcp://127.0.0.1:0".parse().unwrap())];
    settings.limits.connect_rate_max = 0;
    let broker = Broker::start(settings).unwrap();
    let address = broker.addresses()[0];
    (broker, address)
}

pub fn stop(broker: &Broker) {
    let ended = broker.stop(Duration::from_secs(5));
    assert!(ended.is_complete, "{ended:?}");
}

/// Runs the load tester; gives its report, also as the JSON object that it prints.
pub fn run(broker: SocketAddr, words: &str) -> (Report, Value) {
    let broker = broker.to_string();
    let mut all = vec!["loadtest"];
    all.extend(words.split_whitespace());
    all.extend(["--broker", &broker]);
    let report = loadtest::cli::run_words(&all, &Arc::default()).unwrap();
    let json = serde_json::from_str(&report.to_json()).unwrap();
    (report, json)
}
