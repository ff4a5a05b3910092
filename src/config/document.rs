//! The two documents made from the table: `etc/ringmq.toml` and `docs/configuration.md`.

use std::fmt::Write;

use super::keys::{KEYS, Key, Kind, LISTENER_KEYS, SECTIONS};
use super::settings::Listener;
use crate::limits::*;

const WIDTH: usize = 82;

const EXAMPLE_HEAD: &str = "\
# Configuration of ringmq: every key, at its default.
#
# Made from the table in src/config/table.rs; a test holds both together. Sizes are
# numbers of bytes or have a unit (\"64KiB\", \"1MiB\"), durations are seconds or have
# one (\"30s\", \"2h\", \"7d\"). Variables RINGMQ_SECTION_KEY override this file, flags
# override both. `ringmq check FILE` says what is wrong with a file; SIGHUP or
# `ringmq ctl reload` reads it again.
";

const REFERENCE_HEAD: &str = "\
# Configuration

<!-- Made from the table in src/config/table.rs; do not edit. -->

Values come from four places, the later winning: built-in defaults, the file, the environment,
the flags. The file is the one named by `--config` or `RINGMQ_CONFIG`, else `etc/ringmq.toml` in
the working directory, else `/etc/ringmq/ringmq.toml`; without any the defaults below hold. The
start of the log says which it was.

Sizes are numbers of bytes or have a unit (`64KiB`, `1MiB`; `K`, `KB` and `KiB` are all 1,024).
Durations are seconds or have a unit (`30s`, `5m`, `2h`, `7d`).

An unknown key or a bad value stops the start with its file and line and, for a key, the nearest
one; `ringmq check [FILE]` does the same without starting. So does a variable that begins with
`RINGMQ_` and names no key (but for those that Kubernetes makes for a service called `ringmq`).
`SIGHUP` and `ringmq ctl reload` read everything again, change all or nothing, and say what waits
for a restart. \"Acts\" says when a changed key takes effect after such a reload.

| flag | in place of |
|---|---|
| `--config FILE` | the place of the file (`RINGMQ_CONFIG`) |
| `--data DIR` | `node.data_dir` |
| `--listen URL` (may be repeated) | all `[[listener]]` (`RINGMQ_LISTEN`, by commas) |
| `--shards N` | `node.shards` |
| `--cpus LIST` | `node.cpus` |
| `--auth-threads N` | `auth.threads` |
| `--log LEVEL` | `node.log_level` |
";

/// The file that ships: every key at its default, each with its words.
pub fn example() -> String {
    let mut out = String::from(EXAMPLE_HEAD);
    for (section, about) in SECTIONS {
        out.push('\n');
        wrap(&mut out, "# ", about);
        if *section == "listener" {
            out.push_str("[[listener]]\n");
            LISTENER_KEYS
                .iter()
                .for_each(|key| example_key(&mut out, key));
            for listener in Listener::presets().iter().skip(1) {
                let _ = write!(out, "\n[[listener]]\nurl = \"{}\"\n", listener.url);
            }
        } else {
            let _ = writeln!(out, "[{section}]");
            keys_of(section).for_each(|key| example_key(&mut out, key));
        }
    }
    out
}

/// What a client can run into that no key changes: name, and what happens beyond it.
const FIXED: [(&str, u64, &str); 11] = [
    (
        "CONNECT, bytes (and no more than `mqtt.packet_bytes_max`)",
        CONNECT_BYTES_MAX as u64,
        "ended; `packet_too_large`",
    ),
    (
        "MQTT string, bytes",
        TOPIC_BYTES_MAX as u64,
        "cannot be said on the wire",
    ),
    (
        "PROXY header, bytes",
        PROXY_HEADER_BYTES_MAX as u64,
        "ended",
    ),
    (
        "half of a TLS handshake, bytes",
        TLS_HANDSHAKE_BYTES_MAX as u64,
        "ended",
    ),
    (
        "HTTP request for a WebSocket, bytes",
        HTTP_HEAD_BYTES_MAX as u64,
        "refused",
    ),
    (
        "HTTP request for a WebSocket, headers",
        HTTP_HEADERS_MAX as u64,
        "refused",
    ),
    (
        "message of SCRAM, bytes",
        SCRAM_MESSAGE_BYTES_MAX as u64,
        "refused",
    ),
    (
        "half a packet or unsent bytes that one may have with the memory budget spent",
        ALWAYS_KEPT_BYTES as u64,
        "ended, `memory_budget`; not read until they are sent",
    ),
    (
        "time to take what is left for a connection that is ended, ms",
        CLOSE_MS_MAX,
        "cut",
    ),
    (
        "bytes of such a connection that are thrown away unread",
        CLOSE_WASTE_BYTES_MAX as u64,
        "cut",
    ),
    (
        "connections that wait to be accepted, of each listener and shard",
        ACCEPT_BACKLOG,
        "turned away by the kernel; `net.core.somaxconn` may hold it lower",
    ),
];

fn write_fixed(out: &mut String) {
    out.push_str("\n## Limits without a key\n\n");
    let about = "Of what a client can run into, these are fixed (`src/limits.rs`).";
    wrap(out, "", about);
    out.push_str("\n| what | at most | beyond it |\n|---|---|---|\n");
    for (what, max, then) in FIXED {
        let _ = writeln!(out, "| {what} | {} | {then} |", super::unit::thousands(max));
    }
}

/// The reference page.
pub fn reference() -> String {
    let mut out = String::from(REFERENCE_HEAD);
    for (section, about) in SECTIONS {
        let _ = write!(out, "\n## {section}\n\n");
        wrap(&mut out, "", about);
        if *section == "listener" {
            LISTENER_KEYS
                .iter()
                .for_each(|key| reference_key(&mut out, key, None));
        } else {
            keys_of(section).for_each(|key| reference_key(&mut out, key, Some(key.variable())));
        }
    }
    write_fixed(&mut out);
    out
}

fn keys_of(section: &str) -> impl Iterator<Item = &'static Key<super::Settings>> {
    KEYS.iter().filter(move |key| key.section == section)
}

fn example_key<T>(out: &mut String, key: &Key<T>) {
    wrap(out, "# ", &format!("{} ({})", key.doc, key.kind.describe()));
    let _ = writeln!(out, "{} = {}", key.name, literal(key));
}

fn reference_key<T>(out: &mut String, key: &Key<T>, variable: Option<String>) {
    let _ = write!(out, "\n### `{}`\n\n", key.path());
    wrap(out, "", key.doc);
    let default = match key.default_text() {
        text if text.is_empty() => "empty".into(),
        text => format!("`{text}`"),
    };
    let _ = write!(
        out,
        "\n- default: {default}\n- takes: {}",
        key.kind.describe()
    );
    if !key.unit.is_empty() {
        let _ = write!(out, " (in {})", key.unit);
    }
    let _ = writeln!(out, "\n- acts: {}", key.reload.describe());
    if let Some(variable) = variable {
        let _ = writeln!(out, "- variable: `{variable}`");
    }
}

/// The default as TOML writes it.
fn literal<T>(key: &Key<T>) -> String {
    let text = key.default_text();
    let bare = matches!(text.as_str(), "true" | "false") || text.parse::<u64>().is_ok();
    match key.kind {
        Kind::Path
        | Kind::NodeName
        | Kind::Url
        | Kind::Cpus
        | Kind::Mountpoint
        | Kind::FileMode => {
            format!("{text:?}")
        }
        _ if bare => text,
        _ => format!("{text:?}"),
    }
}

/// Words as lines of at most [`WIDTH`] columns, each after `prefix`.
fn wrap(out: &mut String, prefix: &str, words: &str) {
    let mut column = 0;
    for word in words.split_whitespace() {
        if column > 0 && column + 1 + word.len() <= WIDTH {
            out.push(' ');
            column += 1 + word.len();
        } else {
            if column > 0 {
                out.push('\n');
            }
            out.push_str(prefix);
            column = prefix.len() + word.len();
        }
        out.push_str(word);
    }
    out.push('\n');
}
