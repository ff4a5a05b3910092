//! What this host has, beside what a number of connections needs, and the commands that raise it.

use super::memory::available_bytes;
use rustix::process::{Resource, getrlimit};
use std::fmt::Write;

/// Bytes that a connection takes over all, with both ends on this host: the kernel's as measured
/// for two sockets, their files and epoll entries, the broker's and the load tester's.
const BYTES_BOTH: u64 = 6_600 + 550 + 250;
/// Files of a process beside its connections.
const FILES_ELSE: u64 = 1_000;

/// What was found, as far as this host tells.
#[derive(Clone, Debug, Default)]
pub struct Host {
    /// Open files of a process: now, and as far as it may raise them itself.
    pub files: Option<u64>,
    pub files_hard: Option<u64>,
    pub nr_open: Option<u64>,
    pub file_max: Option<u64>,
    /// Ephemeral ports of one address.
    pub ports: Option<u64>,
    pub somaxconn: Option<u64>,
    pub syn_backlog: Option<u64>,
    pub tw_reuse: Option<u64>,
    pub epoll_watches: Option<u64>,
    /// Connections that a firewall follows; nothing if there is none.
    pub conntrack: Option<u64>,
    pub memory_bytes: Option<u64>,
    pub locked_bytes: Option<u64>,
    /// 0: everybody may have a ring, 1: some, 2: nobody.
    pub uring_disabled: Option<u64>,
    pub cpus: u64,
}

/// One line of the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    pub name: &'static str,
    pub have: Option<u64>,
    pub need: u64,
    /// How many connections this alone allows.
    pub fits: u64,
    /// What gives as much as is needed.
    pub command: String,
}

impl Host {
    /// Looks at this host.
    pub fn look() -> Host {
        let limit = |resource| getrlimit(resource);
        let files = limit(Resource::Nofile);
        let sysctl = |name: &str| {
            let text = std::fs::read_to_string(format!("/proc/sys/{}", name.replace('.', "/")));
            text.ok()?.split_whitespace().last()?.parse().ok()
        };
        Host {
            files: Some(files.current.unwrap_or(u64::MAX)),
            files_hard: Some(files.maximum.unwrap_or(u64::MAX)),
            nr_open: sysctl("fs.nr_open"),
            file_max: sysctl("fs.file-max"),
            ports: Some(super::limits::ports()),
            somaxconn: sysctl("net.core.somaxconn"),
            syn_backlog: sysctl("net.ipv4.tcp_max_syn_backlog"),
            tw_reuse: sysctl("net.ipv4.tcp_tw_reuse"),
            epoll_watches: sysctl("fs.epoll.max_user_watches"),
            conntrack: sysctl("net.netfilter.nf_conntrack_max"),
            memory_bytes: available_bytes(),
            locked_bytes: Some(limit(Resource::Memlock).current.unwrap_or(u64::MAX)),
            uring_disabled: sysctl("kernel.io_uring_disabled"),
            cpus: std::thread::available_parallelism().map_or(1, |cpus| cpus.get() as u64),
        }
    }

    /// What matters for `connections` from `sources` addresses, with both ends on this host.
    pub fn checks(&self, connections: u64, sources: u64) -> Vec<Check> {
        let files = connections + FILES_ELSE;
        let each = |have: u64| have.saturating_sub(FILES_ELSE);
        let whole = |have: u64| have;
        let sources = sources.max(1);
        let ports = move |have: u64| have.saturating_mul(sources);
        let sysctl = |name: &str, value: u64| format!("sysctl -w {name}={value}");
        let more = connections.div_ceil(self.ports.unwrap_or(1).max(1));
        // In the order in which they can be raised: no limit of a process goes beyond fs.nr_open.
        let mut checks = vec![
            check(
                "fs.nr_open",
                self.nr_open,
                files,
                each,
                sysctl("fs.nr_open", files),
            ),
            check(
                "open files of a process",
                self.files_hard,
                files,
                each,
                format!("ulimit -Hn {files}"),
            ),
            check(
                "fs.file-max",
                self.file_max,
                2 * files,
                |have| each(have / 2),
                sysctl("fs.file-max", 2 * files),
            ),
            check(
                "ports of the addresses",
                self.ports.map(ports),
                connections,
                whole,
                format!(
                    "sysctl -w net.ipv4.ip_local_port_range='1024 65535', and --sources {more}"
                ),
            ),
            check(
                "fs.epoll.max_user_watches",
                self.epoll_watches,
                2 * connections,
                |have| have / 2,
                sysctl("fs.epoll.max_user_watches", 2 * connections),
            ),
            check(
                "memory available",
                self.memory_bytes,
                connections * BYTES_BOTH,
                |have| have / BYTES_BOTH,
                "more memory, or the two ends on two hosts".into(),
            ),
        ];
        if self.conntrack.is_some() {
            let name = "net.netfilter.nf_conntrack_max";
            checks.push(check(
                name,
                self.conntrack,
                2 * connections,
                |have| have / 2,
                sysctl(name, 2 * connections),
            ));
        }
        checks
    }

    /// What costs time or comes in bursts, and does not bound the number: sentences.
    pub fn advice(&self) -> Vec<String> {
        let mut advice = vec![];
        let mut low = |have: Option<u64>, least: u64, name: &str, why: &str| {
            if have.is_some_and(|have| have < least) {
                advice.push(format!("{why}: sysctl -w {name}={least}"));
            }
        };
        low(
            self.somaxconn,
            4096,
            "net.core.somaxconn",
            "many who connect at once are held up",
        );
        low(
            self.syn_backlog,
            4096,
            "net.ipv4.tcp_max_syn_backlog",
            "many who connect at once are held up",
        );
        if self.tw_reuse == Some(0) {
            advice.push(
                "those who come back at once find no port for a minute: \
                 sysctl -w net.ipv4.tcp_tw_reuse=1"
                    .into(),
            );
        }
        if self.locked_bytes.is_some_and(|bytes| bytes < 512 * 1024) {
            advice.push("a ring may not lock its memory: ulimit -Hl 512".into());
        }
        if self.uring_disabled.is_some_and(|level| level > 0) {
            advice.push("nobody may have a ring: sysctl -w kernel.io_uring_disabled=0".into());
        }
        if self.cpus < 2 {
            advice.push("broker and load tester share one processor".into());
        }
        advice
    }
}

/// How many connections fit: what allows the fewest.
pub fn fits(checks: &[Check]) -> u64 {
    checks.iter().map(|check| check.fits).min().unwrap_or(0)
}

/// The table, what fits, and the commands that raise it.
pub fn table(host: &Host, connections: u64, sources: u64) -> String {
    let checks = host.checks(connections, sources);
    let mut text = format!(
        "{:<34}{:>18}{:>18}{:>18}\n",
        "",
        "there is",
        format!("for {}", number(connections)),
        "enough for"
    );
    // Writing to a string does not fail.
    for check in &checks {
        let mark = if check.is_short() { "  <-- short" } else { "" };
        let _ = writeln!(
            text,
            "{:<34}{:>18}{:>18}{:>18}{mark}",
            check.name,
            check.have.map_or("not known".into(), number),
            number(check.need),
            number(check.fits),
        );
    }
    let fits = fits(&checks);
    let _ = writeln!(
        text,
        "\n{} connections fit on this host, with both ends on it.",
        number(fits)
    );
    let short: Vec<_> = checks.iter().filter(|check| check.is_short()).collect();
    if !short.is_empty() {
        let _ = writeln!(text, "\nFor {} of them, as root:", number(connections));
        short.iter().for_each(|check| {
            let _ = writeln!(text, "  {}", check.command);
        });
    }
    let advice = host.advice();
    if !advice.is_empty() {
        let _ = writeln!(text, "\nBesides:");
        advice.iter().for_each(|sentence| {
            let _ = writeln!(text, "  {sentence}");
        });
    }
    text
}

impl Check {
    pub fn is_short(&self) -> bool {
        self.have.is_some_and(|have| have < self.need)
    }
}

/// What is not known bounds nothing.
fn check(
    name: &'static str,
    have: Option<u64>,
    need: u64,
    fits: impl Fn(u64) -> u64,
    command: String,
) -> Check {
    Check {
        name,
        have,
        need,
        fits: have.map_or(u64::MAX, fits),
        command,
    }
}

fn number(value: u64) -> String {
    match value {
        value if value > 1 << 60 => "no limit".into(),
        value => crate::report::text::count(value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host() -> Host {
        Host {
            files_hard: Some(20_000),
            nr_open: Some(1_048_576),
            file_max: Some(u64::MAX >> 1),
            ports: Some(28_232),
            memory_bytes: Some(8 << 30),
            somaxconn: Some(128),
            tw_reuse: Some(2),
            cpus: 2,
            ..Host::default()
        }
    }

    #[test]
    fn the_scarcest_decides() {
        let checks = host().checks(15_000, 1);
        assert!(checks.iter().all(|check| !check.is_short()), "{checks:?}");
        assert_eq!(fits(&checks), 19_000);
        let raised = Host {
            files_hard: Some(2_000_000),
            ..host()
        };
        assert_eq!(fits(&raised.checks(1_000_000, 1)), 28_232);
        assert_eq!(fits(&raised.checks(1_000_000, 40)), 1_047_576);
    }

    #[test]
    fn what_is_short_has_its_command() {
        let text = table(&host(), 2_000_000, 40);
        for line in [
            "19,000 connections fit on this host",
            "  ulimit -Hn 2001000",
            "  sysctl -w fs.nr_open=2001000",
            "and --sources 71",
            "net.core.somaxconn=4096",
        ] {
            assert!(text.contains(line), "{line}\n{text}");
        }
        assert!(!text.contains("fs.file-max="), "{text}");
        let place = |command| text.find(command).unwrap();
        assert!(
            place("sysctl -w fs.nr_open") < place("ulimit -Hn"),
            "{text}"
        );
        assert!(text.contains("not known"), "{text}");
    }

    #[test]
    fn this_host_can_be_looked_at() {
        let host = Host::look();
        assert!(host.files_hard.is_some() && host.memory_bytes.is_some() && host.cpus > 0);
        assert!(fits(&host.checks(1000, 1)) > 0);
    }
}
