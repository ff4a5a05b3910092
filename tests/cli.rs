//! The real binary: commands that need no broker, and the life of one with MQTT clients.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use std::time::Duration;

use ringmq::config::keys::KEYS;
use ringmq::control::DataDir;
use rustix::process::{Pid, Signal, kill_process};

fn ringmq(words: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ringmq"));
    command
        .args(words.split_whitespace())
        .current_dir(env!("CARGO_TARGET_TMPDIR"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("RINGMQ_") {
            command.env_remove(name);
        }
    }
    command
}

fn run(words: &str) -> Output {
    ringmq(words).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn check_says_what_is_not_default() {
    let file = concat!(env!("CARGO_TARGET_TMPDIR"), "/check.toml");
    fs::write(
        file,
        "[node]\nshards = 3\n[mqtt]\npacket_bytes_max = \"64KiB\"\n",
    )
    .unwrap();
    let output = run(&format!("check {file}"));
    assert!(output.status.success(), "{output:?}");
    let said = text(&output.stdout);
    let lines: Vec<_> = said.lines().collect();
    assert_eq!(lines[0], format!("{file}: no mistakes"));
    assert!(lines[2].starts_with("shards: 3, "), "{said}");
    let changed = [
        "node.shards = 3 (default 0)",
        "mqtt.packet_bytes_max = 64KiB (default 1MiB)",
    ];
    assert_eq!(lines[3..], changed);
}

#[test]
fn check_fails_with_the_place_of_every_mistake() {
    let file = concat!(env!("CARGO_TARGET_TMPDIR"), "/wrong.toml");
    fs::write(
        file,
        "[node]\nshards = 300\n\n[limits]\nqueue_lenght_max = 1\n",
    )
    .unwrap();
    let output = run(&format!("check {file}"));
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(
        text(&output.stderr),
        format!(
            "{file}:2: node.shards: 300 is out of range: 1 to 128, or 0 (one for each CPU)\n\
             {file}:5: unknown key `limits.queue_lenght_max`; the nearest is \
             `limits.queue_length_max`\n"
        )
    );
}

#[test]
fn check_knows_the_environment_and_the_cpus() {
    let output = ringmq("check")
        .env("RINGMQ_NODE_CPUS", "1023")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("node.cpus: this process may not use CPU 1023, only "));
    let output = ringmq("check")
        .env("RINGMQ_NODE_CPU", "0")
        .output()
        .unwrap();
    assert!(text(&output.stderr).contains("the nearest is RINGMQ_NODE_CPUS"));
}

#[test]
fn the_shipped_file_checks() {
    let output = run(concat!(
        "check ",
        env!("CARGO_MANIFEST_DIR"),
        "/etc/ringmq.toml"
    ));
    assert!(output.status.success(), "{output:?}");
    assert_eq!(
        text(&output.stdout).lines().count(),
        3,
        "nothing differs from the defaults"
    );
}

#[test]
fn completions_and_man_are_printed() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let output = run(&format!("completions {shell}"));
        assert!(
            output.status.success() && text(&output.stdout).contains("listen"),
            "{shell}"
        );
    }
    let page = text(&run("man").stdout);
    assert!(KEYS.iter().all(|key| page.contains(&key.variable())));
}

#[test]
fn a_closed_pipe_is_no_panic() {
    for words in ["man", "completions bash", "check"] {
        let mut child = ringmq(words)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        assert_eq!(text(&output.stderr), "", "{words}");
    }
}

#[test]
fn without_a_broker_there_is_nothing_to_talk_to() {
    let folder = concat!(env!("CARGO_TARGET_TMPDIR"), "/nobody");
    for words in [
        "status",
        "stop",
        "ctl clients list",
        "ctl reload",
        "ctl status",
    ] {
        let output = run(&format!("{words} --data {folder}"));
        assert_eq!(output.status.code(), Some(1), "{words}");
        let said = text(&output.stdout) + &text(&output.stderr);
        assert_eq!(said, "ringmq is not running\n", "{words}");
    }
    assert!(
        !std::path::Path::new(folder).exists(),
        "asking makes no folder"
    );
}

/// A data folder of its own; a broker that is left in it is killed.
struct Home(PathBuf);

impl Home {
    fn new(name: &str) -> Self {
        let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
        let _ = fs::remove_dir_all(&path);
        Self(path)
    }

    fn run(&self, words: &str) -> Output {
        run(&format!("{words} --data {}", self.0.display()))
    }

    fn ok(&self, words: &str) -> String {
        let output = self.run(words);
        assert!(output.status.success(), "{words}: {output:?}");
        text(&output.stdout)
    }

    fn signal(&self, signal: Signal) {
        if let Some(pid) = DataDir::new(&self.0).holder() {
            kill_process(Pid::from_raw(pid as i32).unwrap(), signal).unwrap();
        }
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        self.signal(Signal::KILL);
    }
}

/// The address in `listening on tcp://ADDRESS`.
fn address(said: &str) -> &str {
    let line = said
        .lines()
        .find_map(|line| line.strip_prefix("listening on tcp://"));
    line.unwrap_or_else(|| panic!("no listener in {said}"))
}

/// A connection that has sent `bytes` and got exactly `answer`.
fn exchange(stream: &mut TcpStream, bytes: &[u8], answer: &[u8]) {
    stream.write_all(bytes).unwrap();
    let mut got = vec![0; answer.len()];
    stream.read_exact(&mut got).unwrap();
    assert_eq!(got, answer);
}

fn connect(address: &str) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(10)))
        .unwrap();
    stream
}

#[test]
fn a_broker_lives_from_start_to_stop() {
    let home = Home::new("life");
    let said = home.ok("start --listen tcp://127.0.0.1:0 --shards 2");
    let first = format!(
        "ringmq {} is started successfully!",
        env!("CARGO_PKG_VERSION")
    );
    assert_eq!(said.lines().next(), Some(first.as_str()));

    // 3.1.1, client id "old", subscribed to x/# with QoS 1.
    let mut old = connect(address(&said));
    exchange(
        &mut old,
        b"\x10\x0f\0\x04MQTT\x04\x02\0\0\0\x03old",
        b"\x20\x02\0\0",
    );
    exchange(
        &mut old,
        b"\x82\x08\0\x01\0\x03x/#\x01",
        b"\x90\x03\0\x01\x01",
    );
    // 5.0, client id "new"; of its CONNACK only the head is of interest.
    let mut new = connect(address(&said));
    new.write_all(b"\x10\x10\0\x04MQTT\x05\x02\0\0\0\0\x03new")
        .unwrap();
    let mut connack = [0; 1024];
    let length = new.read(&mut connack).unwrap();
    assert_eq!(
        (connack[0], connack[3]),
        (0x20, 0),
        "{:?}",
        &connack[..length]
    );

    let status = home.ok("status");
    let has = |part: &str| assert!(status.contains(part), "{part} in {status}");
    has("Node 'ringmq@127.0.0.1' is started\nringmq ");
    has("connections   2 of ");
    has("sessions      2\nsubscriptions 1\n");
    has(&format!(
        "listener      tcp://{}, 2 connections",
        address(&said)
    ));
    assert!(!status.contains("off by"), "{status}");

    let clients = home.ok("ctl clients list");
    assert_eq!(clients.lines().count(), 2, "{clients}");
    assert!(
        clients.contains("Client(new, ") && clients.contains("protocol=3.1.1"),
        "{clients}"
    );
    assert_eq!(home.ok("ctl subscriptions list"), "old -> x/#: qos 1\n");
    assert_eq!(home.ok("ctl clients kick old"), "ok\n");
    assert_eq!(
        old.read(&mut [0; 16]).unwrap(),
        0,
        "the kicked client is cut"
    );
    assert_eq!(home.run("ctl clients kick old").status.code(), Some(1));

    home.ok("stop");
    let mut last = Vec::new();
    new.read_to_end(&mut last).unwrap();
    assert_eq!(
        (last[0], last[2]),
        (0xe0, 0x8b),
        "v5 clients are told that the server goes"
    );
    assert_eq!(text(&home.run("status").stdout), "ringmq is not running\n");
}

#[test]
fn a_taken_port_is_told_by_start() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let home = Home::new("taken");
    let output = home.run(&format!(
        "start --listen tcp://{}",
        taken.local_addr().unwrap()
    ));
    assert_eq!(output.status.code(), Some(1));
    let said = text(&output.stderr);
    assert!(
        said.starts_with("ringmq could not be started: the process ended; "),
        "{said}"
    );
    assert!(
        said.contains(&taken.local_addr().unwrap().to_string()),
        "{said}"
    );
    assert!(said.contains("ringmq could not start: "), "{said}");
}

#[test]
fn a_restart_serves_the_same_listeners_again() {
    let home = Home::new("again");
    let port = {
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        free.local_addr().unwrap().port()
    };
    let first = home.ok(&format!("start --listen tcp://127.0.0.1:{port} --shards 1"));
    let second = home.ok("restart");
    assert_eq!(first, second);
    let mut client = connect(address(&second));
    exchange(
        &mut client,
        b"\x10\x0d\0\x04MQTT\x04\x02\0\0\0\x01c",
        b"\x20\x02\0\0",
    );
    home.signal(Signal::INT);
    assert_eq!(client.read(&mut [0; 16]).unwrap(), 0);
    assert!(DataDir::new(&home.0).wait_until_free(Duration::from_secs(10)));
}
