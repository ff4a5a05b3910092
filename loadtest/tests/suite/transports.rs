//! TLS and WebSocket below every kind of load, and who clients say they are.

use crate::pki::Authority;
use crate::support::{folder, run, run_words, start_with, stop};
use ringmq::codec::{Connect, frame};
use ringmq::config::ListenerClientCertificates;
use ringmq::control::Node;
use std::collections::BTreeSet;
use std::io::Read;
use std::net::{SocketAddr, TcpListener};
use std::sync::mpsc::{Receiver, channel};

const SCHEMES: [&str; 3] = ["tls", "ws", "wss"];

/// One scenario over each transport: everything comes, and the figures are those of TCP.
#[track_caller]
fn over_all(words: &str, expected: &[(&str, u64)]) {
    let name = words.split(' ').nth(1).unwrap();
    let folder = folder(&format!("over-{name}"));
    let urls = ["tls://127.0.0.1:0", "ws://127.0.0.1:0", "wss://127.0.0.1:0"];
    let (broker, addresses) = start_with(&urls, |settings| {
        settings.node.shards = 2;
        settings.node.data_dir = folder.join("data");
    });
    for (scheme, address) in SCHEMES.iter().zip(addresses) {
        let trust = if *scheme == "ws" { "" } else { "--insecure" };
        let words = format!("{words} --broker {scheme}://{address} {trust}");
        let (report, json) = run_words(&words);
        assert!(report.is_ok(), "{scheme}: {report}");
        for (key, value) in expected {
            let figure = json[key].as_u64();
            assert_eq!(figure, Some(*value), "{key} over {scheme}\n{report}");
        }
        assert_eq!(json["transport"], *scheme);
    }
    stop(&broker);
}

#[test]
fn idle() {
    let words = "run idle -n 30 --hold 2 --keep-alive 2 --every 3 --reconnect --shards 2";
    over_all(words, &[("held", 30), ("delivered", 10), ("back", 30)]);
}

#[test]
fn pairs_with_large_messages() {
    // Larger than a TLS record and than a short frame.
    let words = "run pairs -p 4 -s 4 -t 4 --size 100000 --rate 60 -d 0.5 --warm-up 0 --shards 2";
    over_all(words, &[("published", 30), ("delivered", 30)]);
}

#[test]
fn fan_in() {
    let words = "run fan-in -p 10 -t 10 --rate 600 -d 0.5 --warm-up 0";
    over_all(words, &[("published", 300), ("delivered", 300)]);
}

#[test]
fn fan_out() {
    let words = "run fan-out -s 20 --rate 40 -d 0.5 --warm-up 0 --mqtt 5";
    over_all(words, &[("published", 20), ("delivered", 400)]);
}

#[test]
fn shared_groups() {
    let words = "run shared -p 10 -t 10 --rate 600 -d 0.5 --warm-up 0 -q 1";
    over_all(words, &[("published", 300), ("delivered", 600)]);
}

#[test]
fn telemetry() {
    let words = "run telemetry -p 50 -t 50 --rate 400 -d 0.5 --warm-up 0 --late-ms 60000";
    over_all(words, &[("published", 200), ("delivered", 200)]);
}

#[test]
fn commands() {
    let words = "run command -p 3 -s 20 -t 20 --rate 400 -d 0.5 --warm-up 0";
    over_all(words, &[("published", 200), ("replies", 200)]);
}

#[test]
fn dashboards() {
    let words = "run dashboards -n 10 -t 60 -a 5";
    over_all(words, &[("published", 60), ("delivered", 120)]);
}

#[test]
fn storm() {
    let words = "run storm -n 30 --hold 0.1";
    over_all(words, &[("back", 30), ("sessions_resumed", 30)]);
}

#[test]
fn everybody_who_comes_back_resumes() {
    let folder = folder("resume");
    let (broker, addresses) = start_with(&["tls://127.0.0.1:0"], |settings| {
        settings.node.data_dir = folder.join("data");
    });
    let words = "storm -n 30 --hold 0.1 --insecure --tls-resume";
    let (report, json) = run_words(&format!("{words} --broker tls://{}", addresses[0]));
    assert!(report.is_ok() && json["back"] == 30, "{report}");
    let handshakes = broker.status().unwrap().handshakes;
    assert!(handshakes.resumed >= 30, "{handshakes:?}");
    stop(&broker);
}

#[test]
fn churn() {
    over_all("run churn -n 10 --rate 50 -d 0.5", &[("lost", 0)]);
}

#[test]
fn soak() {
    let words = "run soak -p 10 -s 10 -t 10 --rate 400 -d 1 --warm-up 0 --cut-rate 10 --away 0.1";
    over_all(words, &[("published", 400), ("delivered", 400)]);
}

#[test]
fn certificates_are_looked_at() {
    let folder = folder("trust");
    let (ours, theirs) = (
        Authority::new(&folder, "ours"),
        Authority::new(&folder, "theirs"),
    );
    let server = ours.issue("server", "localhost", 1, 30);
    ours.issue("client", "device", 2, 30);
    theirs.issue("stranger", "device", 3, 30);
    let (broker, addresses) = start_with(&["tls://127.0.0.1:0"], |settings| {
        settings.node.data_dir = folder.join("data");
        let listener = &mut settings.listeners[0];
        listener.certificates = vec![server.certificate.clone()];
        listener.private_keys = vec![server.private_key.clone()];
        listener.client_certificates = ListenerClientCertificates::Required;
        listener.client_ca = folder.join("ours.pem");
    });
    let port = addresses[0].port();
    let file = |name: &str| folder.join(name).display().to_string();
    let connect = |host: &str, ca: &str, name: &str| {
        let words = format!(
            "idle -n 3 --hold 0 --broker tls://{host}:{port} --ca {} --cert {} --key {}",
            file(ca),
            file(&format!("{name}.pem")),
            file(&format!("{name}.key"))
        );
        run_words(&words)
    };
    let (report, json) = connect("localhost", "ours.pem", "client");
    assert!(report.is_ok() && json["held"] == 3, "{report}");
    for (host, ca, name, part) in [
        ("localhost", "theirs.pem", "client", "UnknownIssuer"),
        ("127.0.0.1", "ours.pem", "client", "not valid for name"),
        ("localhost", "ours.pem", "stranger", "TLS: "),
    ] {
        let (report, json) = connect(host, ca, name);
        assert_eq!(report.problems[0], "4 connections failed");
        let told = json["refused"].to_string();
        assert!(told.contains(part), "{told}");
    }
    stop(&broker);
}

#[test]
fn strangers_are_told_by_name() {
    let (broker, addresses) = start_with(&["tcp://127.0.0.1:0", "ws://127.0.0.1:0"], |_| {});
    for (url, words) in [
        (
            format!("ws://{}/other", addresses[1]),
            "WebSocket: HTTP 404 Not Found",
        ),
        (
            format!("tls://{} --insecure", addresses[0]),
            "closed by the broker",
        ),
    ] {
        let (report, json) = run_words(&format!("idle -n 1 --hold 0 --broker {url}"));
        assert!(!report.is_ok());
        assert_eq!(json["refused"][words], 2, "{json}");
    }
    stop(&broker);
}

/// Somebody who only listens to CONNECTs: client id, user name and password of each.
fn registrar() -> (SocketAddr, Receiver<[String; 3]>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (said, heard) = channel();
    std::thread::spawn(move || {
        for socket in listener.incoming() {
            let mut bytes = [0; 1024];
            let count = socket.unwrap().read(&mut bytes).unwrap();
            let frame = frame::next(&bytes[..count], 1024).unwrap().unwrap();
            let connect = Connect::decode(frame.header, frame.body).unwrap();
            let password = connect.password.unwrap_or(b"-").to_vec();
            let all = [
                connect.client_id.to_owned(),
                connect.username.unwrap_or("-").to_owned(),
                String::from_utf8(password).unwrap(),
            ];
            if said.send(all).is_err() {
                return;
            }
        }
    });
    (address, heard)
}

#[test]
fn users_follow_a_pattern_or_a_file() {
    let (address, heard) = registrar();
    let names = |words: &str| {
        run(address, &format!("idle -n 3 --hold 0 {words}"));
        heard.try_iter().collect::<Vec<_>>()
    };
    let all = names("--username device-{} --password secret-{}-{id}");
    assert_eq!(all.len(), 4);
    for [id, name, password] in &all {
        let number = name.strip_prefix("device-").unwrap();
        assert!(
            id.ends_with(&format!("d{number}")) || id.ends_with("-c0"),
            "{all:?}"
        );
        assert_eq!(password, &format!("secret-{number}-{id}"));
    }
    let file = folder("users").join("users");
    std::fs::write(&file, "ann:a\nbob:b:c\ncy\n").unwrap();
    let all = names(&format!("--credentials {}", file.display()));
    let users = all
        .iter()
        .map(|[_, name, password]| format!("{name} {password}"));
    // The fourth is the client that publishes.
    let users: Vec<String> = users.collect();
    assert_eq!(users.iter().filter(|user| *user == "ann a").count(), 2);
    let users: BTreeSet<_> = users.iter().map(String::as_str).collect();
    assert_eq!(users, BTreeSet::from(["ann a", "bob b:c", "cy -"]));
}
