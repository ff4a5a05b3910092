//! The commands of the real binary that need no running broker.

use std::fs;
use std::process::{Command, Output, Stdio};

use ringmq::config::keys::KEYS;

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
