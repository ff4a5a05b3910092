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
    // What a start would say of the host comes in between.
    for start in ["open files: ", "memory: "] {
        let is_said = |line: &&str| line.trim_start_matches("warning: ").starts_with(start);
        assert!(lines.iter().any(is_said), "{start} in {said}");
    }
    let changed = [
        "node.shards = 3 (default 0)",
        "mqtt.packet_bytes_max = 64KiB (default 1MiB)",
    ];
    assert_eq!(lines[lines.len() - 2..], changed);
}

#[test]
fn rules_that_nobody_reads_are_told() {
    let folder = concat!(env!("CARGO_TARGET_TMPDIR"), "/unread");
    fs::create_dir_all(folder).unwrap();
    let file = format!("{folder}/ringmq.toml");
    let rules = format!("{folder}/acl.conf");
    fs::write(&rules, "{deny, all}.\n").unwrap();
    for (settings, is_told) in [
        (String::new(), true),
        (format!("[auth]\nacl_file = \"{rules}\"\n"), false),
    ] {
        fs::write(&file, settings).unwrap();
        let output = run(&format!("check {file}"));
        assert!(output.status.success(), "{output:?}");
        let said = text(&output.stdout);
        let line = format!("warning: {rules} is not read: auth.acl_file names no file\n");
        assert_eq!(said.contains(&line), is_told, "{said}");
    }
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
    let said = text(&output.stdout);
    assert!(!said.contains(" (default "), "{said}");
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

/// A file with `text` in a folder of its own, which is emptied.
fn config(folder: &str, text: &str) -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(folder);
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(folder.join("etc")).unwrap();
    let file = folder.join("etc/ringmq.toml");
    fs::write(&file, text).unwrap();
    file
}

/// A port that nobody has at this moment.
fn free_port() -> u16 {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    free.local_addr().unwrap().port()
}

/// Configurations that are well written, and that no broker can start with, each with a part of
/// what is to be said.
const NO_STARTS: [(&str, &str); 6] = [
    ("[tls]\ncertificates = [\"nowhere.pem\"]\n", "nowhere.pem"),
    ("[auth]\nacl_file = \"nowhere.conf\"\n", "auth.acl_file: "),
    (
        "[auth]\nusers_file = \"nowhere.users\"\n",
        "auth.users_file: ",
    ),
    (
        "[tls]\nclient_certificates = \"required\"\nclient_ca = \"nowhere-ca.pem\"\n",
        "nowhere-ca.pem",
    ),
    (
        "[[listener]]\nurl = \"tcp://192.0.2.1:1883\"\n",
        "tcp://192.0.2.1:1883: ",
    ),
    (
        "[[listener]]\nurl = \"unix:///nowhere/mqtt.sock\"\n",
        "unix:///nowhere/mqtt.sock: ",
    ),
];

const ONE_TLS_LISTENER: &str = "[[listener]]\nurl = \"tls://127.0.0.1:0\"\n";

#[test]
fn check_and_restart_refuse_what_a_start_would() {
    let file = config("refusals", ONE_TLS_LISTENER);
    let home = Home::new("refusals-data");
    let named = format!("--config {}", file.display());
    home.ok(&format!("start {named}"));
    let running = DataDir::new(&home.0).holder();
    assert!(running.is_some());
    for (wrong, part) in NO_STARTS {
        fs::write(&file, format!("{ONE_TLS_LISTENER}{wrong}")).unwrap();
        let checked = run(&format!("check {}", file.display()));
        let refused = home.run(&format!("restart {named}"));
        for output in [&checked, &refused] {
            assert_eq!(output.status.code(), Some(1), "{wrong}: {output:?}");
            assert!(text(&output.stderr).contains(part), "{wrong}: {output:?}");
        }
        assert!(text(&refused.stderr).ends_with("\nnothing was stopped\n"));
        assert_eq!(DataDir::new(&home.0).holder(), running, "{wrong}");
    }
    // A plug-in that is loaded and whose file is not there, and a store that cannot be read.
    fs::write(&file, ONE_TLS_LISTENER).unwrap();
    for (name, content) in [
        ("loaded_plugins", "emq_auth_http.\n"),
        ("users.jsonl", "no json\n"),
    ] {
        fs::write(home.0.join(name), content).unwrap();
        let refused = home.run(&format!("restart {named}"));
        assert!(text(&refused.stderr).contains(name), "{refused:?}");
        assert_eq!(DataDir::new(&home.0).holder(), running, "{name}");
        fs::remove_file(home.0.join(name)).unwrap();
    }
    home.ok(&format!("restart {named}"));
    assert_ne!(DataDir::new(&home.0).holder(), running);
    home.ok("stop");
}

#[test]
fn a_taken_port_is_no_mistake_of_a_file_but_no_reason_to_stop_either() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("tcp://{}", taken.local_addr().unwrap());
    let file = config("taken-port", &format!("[[listener]]\nurl = \"{url}\"\n"));
    let checked = run(&format!("check {}", file.display()));
    assert!(checked.status.success(), "{checked:?}");
    let said = text(&checked.stdout);
    assert!(
        said.contains(&format!("warning: a start now would fail: {url}: ")),
        "{said}"
    );

    let home = Home::new("taken-port-data");
    home.ok("start --listen tcp://127.0.0.1:0");
    let refused = home.run(&format!("restart --listen {url}"));
    assert!(
        text(&refused.stderr).ends_with("\nnothing was stopped\n"),
        "{refused:?}"
    );
    assert!(text(&refused.stderr).starts_with(&url), "{refused:?}");
    home.ok("status");
    home.ok("stop");
}

#[test]
fn a_restart_from_elsewhere_starts_the_same_broker() {
    let listener = |port: u16| format!("[[listener]]\nurl = \"tcp://127.0.0.1:{port}\"\n");
    let here = config("here", &listener(free_port()));
    let elsewhere = config("elsewhere", &listener(free_port()));
    let folder = |file: &PathBuf| file.parent().unwrap().parent().unwrap().to_owned();
    // A path that means something only where the broker is started.
    let text_here = fs::read_to_string(&here).unwrap();
    fs::write(&here, text_here + "[auth]\nacl_file = \"acl.conf\"\n").unwrap();
    fs::write(folder(&here).join("acl.conf"), "{allow, all}.\n").unwrap();
    let home = Home::new("same-data");
    let command = |words: &str, folder: PathBuf| {
        let mut command = ringmq(&format!("{words} --data {}", home.0.display()));
        command.current_dir(folder);
        command
    };
    let started = command("start", folder(&here))
        .env("RINGMQ_NODE_NAME", "first@here")
        .output()
        .unwrap();
    assert!(started.status.success(), "{started:?}");
    let process = |part: &str| {
        let status = home.ok("status --json");
        assert!(status.contains(part), "{part} in {status}");
    };
    process("first@here");
    // Another name in this environment is not the running broker's.
    let again = command("restart --log debug", folder(&elsewhere))
        .env("RINGMQ_NODE_NAME", "second@elsewhere")
        .output()
        .unwrap();
    assert_eq!(text(&again.stdout), text(&started.stdout), "{again:?}");
    process("first@here");
    process("\"debug\"");
    // What is given counts, and is meant from where it is given.
    let other = command("restart --config etc/ringmq.toml", folder(&elsewhere))
        .output()
        .unwrap();
    assert!(other.status.success(), "{other:?}");
    assert_ne!(text(&other.stdout), text(&started.stdout));
    process(&elsewhere.display().to_string());
    home.ok("stop");
}

/// What the kernel says of the threads of shards: the CPUs that each may run on.
fn cpus_of_shards(home: &Home) -> Vec<String> {
    let pid = DataDir::new(&home.0).holder().unwrap();
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    let statuses = tasks.map(|task| fs::read_to_string(task.unwrap().path().join("status")));
    let field = |status: &str, name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        line.unwrap_or_default().trim().to_owned()
    };
    statuses
        .filter_map(Result::ok)
        .filter(|status| field(status, "Name:").starts_with("shard-"))
        .map(|status| field(&status, "Cpus_allowed_list:"))
        .collect()
}

#[test]
fn shards_share_the_cpus_that_are_named() {
    let cpu = ringmq::config::cpus::allowed()[0];
    let home = Home::new("named-cpus");
    home.ok(&format!(
        "start --listen tcp://127.0.0.1:0 --shards 2 --cpus {cpu}"
    ));
    let are_on = |home: &Home, list: &str| {
        let found = cpus_of_shards(home);
        assert!(
            !found.is_empty() && found.iter().all(|on| on == list),
            "{found:?}"
        );
    };
    are_on(&home, &cpu.to_string());
    let log = fs::read_to_string(home.0.join("ringmq.log")).unwrap();
    assert!(
        log.contains(&format!("shards: 2, pinned to CPUs {cpu}\n")),
        "{log}"
    );
    assert!(!home.ok("status").contains("no CPU of its own"));
    home.ok("stop");

    // Nobody names CPUs, and there are fewer than shards: said, and no more than is allowed.
    let allowed = ringmq::config::cpus::allowed();
    let shards = allowed.len() + 1;
    let home = Home::new("crowded-cpus");
    home.ok(&format!(
        "start --listen tcp://127.0.0.1:0 --shards {shards}"
    ));
    let list = ringmq::config::cpus::format_list(&allowed);
    are_on(&home, &list);
    let log = fs::read_to_string(home.0.join("ringmq.log")).unwrap();
    let said = format!("more than the CPUs that this process may use ({list})");
    assert!(log.contains(&said), "{log}");
    home.ok("stop");
}

#[test]
fn the_interval_of_sys_topics_acts_at_once() {
    let file = config("interval", "[sys]\ninterval_s = 0\n");
    let home = Home::new("interval-data");
    let named = format!("--config {}", file.display());
    let said = home.ok(&format!("start --listen tcp://127.0.0.1:0 {named}"));
    let mut client = connect(address(&said));
    exchange(
        &mut client,
        b"\x10\x0d\0\x04MQTT\x04\x02\0\0\0\x01s",
        b"\x20\x02\0\0",
    );
    let filter = b"$SYS/brokers/+/uptime";
    let head = [0x82, filter.len() as u8 + 5, 0, 1, 0, filter.len() as u8];
    let subscribe = [&head[..], filter, &[0]].concat();
    exchange(&mut client, &subscribe, b"\x90\x03\0\x01\0");
    fs::write(&file, "[sys]\ninterval_s = 1\n").unwrap();
    assert!(home.ok("ctl reload").contains("sys.interval_s: 0 -> 1\n"));
    // Two of them: it goes on.
    let mut heard = Vec::new();
    while text(&heard).matches("uptime").count() < 2 {
        let mut chunk = [0; 1024];
        let length = client.read(&mut chunk).unwrap();
        assert_ne!(length, 0);
        heard.extend_from_slice(&chunk[..length]);
    }
    home.ok("stop");
}
