//! What this host allows: open files, memory, accept queue, locked memory for rings.

use std::fs;
use std::path::Path;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::settings::Settings;
use super::unit::{about_size, thousands};
use crate::limits::{ACCEPT_BACKLOG, FILES_RESERVED, MEMLOCK_BYTES_MIN};

/// Share of the memory available that queues may take when nothing is configured: one in four.
const BUDGET_SHARE: u64 = 4;
/// Memory assumed when the host does not say.
const MEMORY_UNKNOWN_BYTES: u64 = 1 << 30;

/// What was found; `u64::MAX` is "unlimited".
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Host {
    pub open_files: u64,
    /// The soft limit before [`raise_limits`], when that raised it.
    pub open_files_before: Option<u64>,
    pub memory_available_bytes: u64,
    /// The control group that holds the memory lower than the machine does, if one does.
    pub memory_by_cgroup: bool,
    pub somaxconn: Option<u64>,
    pub locked_memory_bytes: u64,
    /// `kernel.io_uring_disabled`: 1 without a privilege, 2 for everybody.
    pub io_uring_disabled: u64,
}

/// One plain sentence for the start of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sentence {
    /// Whether somebody should do something about it.
    pub is_warning: bool,
    pub text: String,
}

/// Raises the soft limits of open files and locked memory to the hard ones; returns the soft
/// limit of open files from before. A limit that cannot be raised stays as it is.
pub fn raise_limits() -> u64 {
    let before = getrlimit(Resource::Nofile);
    for resource in [Resource::Nofile, Resource::Memlock] {
        let limit = getrlimit(resource);
        let raised = Rlimit {
            current: limit.maximum,
            maximum: limit.maximum,
        };
        // Refusals leave the limit as it was, and the sentences say what it is.
        let _ = setrlimit(resource, raised);
    }
    before.current.unwrap_or(u64::MAX)
}

impl Host {
    /// Looks at this host, after [`raise_limits`].
    pub fn probe(open_files_before: u64) -> Self {
        let open_files = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
        let (memory_available_bytes, memory_by_cgroup) = memory(Path::new("/"));
        Self {
            open_files,
            open_files_before: (open_files_before < open_files).then_some(open_files_before),
            memory_available_bytes,
            memory_by_cgroup,
            somaxconn: number(Path::new("/proc/sys/net/core/somaxconn")),
            locked_memory_bytes: getrlimit(Resource::Memlock).current.unwrap_or(u64::MAX),
            io_uring_disabled: number(Path::new("/proc/sys/kernel/io_uring_disabled")).unwrap_or(0),
        }
    }

    /// Connections that are let in: those configured, or fewer where open files end first.
    pub fn connections_max(&self, settings: &Settings) -> u32 {
        let files = self.open_files.saturating_sub(FILES_RESERVED).max(1);
        settings
            .limits
            .connections_max
            .min(u32::try_from(files).unwrap_or(u32::MAX))
    }

    /// Memory for all queues: what is configured, else a quarter of what is available.
    pub fn memory_budget_bytes(&self, settings: &Settings) -> u64 {
        match settings.limits.memory_budget_bytes {
            0 => self.memory_available_bytes / BUDGET_SHARE,
            bytes => bytes,
        }
    }

    /// The settings as this host can keep them: what is left to the host made definite, and no
    /// more connections than files. This is what a node is started with and reloaded to.
    pub fn resolve(&self, settings: &Settings) -> Settings {
        let mut resolved = settings.clone();
        resolved.limits.connections_max = self.connections_max(settings);
        resolved.limits.memory_budget_bytes = self.memory_budget_bytes(settings);
        resolved
    }

    /// One sentence for each thing that may hold a broker with these settings back, with the
    /// command that would help where it does.
    pub fn sentences(&self, settings: &Settings) -> Vec<Sentence> {
        let mut sentences = vec![
            self.files_sentence(settings),
            self.memory_sentence(settings),
        ];
        sentences.extend(self.somaxconn_sentence());
        sentences.push(self.rings_sentence());
        sentences
    }

    fn files_sentence(&self, settings: &Settings) -> Sentence {
        let wanted = u64::from(settings.limits.connections_max);
        let allowed = u64::from(self.connections_max(settings));
        let raised = self.open_files_before.map_or(String::new(), |before| {
            format!(" (raised from {})", thousands(before))
        });
        let files = amount(self.open_files, thousands);
        if allowed == wanted {
            let wanted = thousands(wanted);
            return info(format!(
                "open files: {files} allowed{raised}, enough for {wanted} connections"
            ));
        }
        let needed = wanted + FILES_RESERVED;
        warning(format!(
            "open files: {files} allowed{raised}, so at most {} of the {} connections configured; \
             raise with `ulimit -Hn {needed}` as root before the start, or LimitNOFILE={needed} in \
             the service",
            thousands(allowed),
            thousands(wanted),
        ))
    }

    fn memory_sentence(&self, settings: &Settings) -> Sentence {
        let available = about_size(self.memory_available_bytes);
        let by = if self.memory_by_cgroup {
            " (held by the control group)"
        } else {
            ""
        };
        let budget = self.memory_budget_bytes(settings);
        let text = format!(
            "memory: {available} available{by}, {} for queues",
            about_size(budget)
        );
        if budget <= self.memory_available_bytes {
            return info(text);
        }
        warning(format!(
            "{text}, which is more than there is: lower limits.memory_budget_bytes, or set it to 0"
        ))
    }

    fn somaxconn_sentence(&self) -> Option<Sentence> {
        let somaxconn = self.somaxconn?;
        let count = thousands(somaxconn);
        Some(if somaxconn >= ACCEPT_BACKLOG {
            info(format!(
                "net.core.somaxconn: {count} connections may wait to be accepted"
            ))
        } else {
            warning(format!(
                "net.core.somaxconn: only {count} connections may wait to be accepted, a crowd \
                 that reconnects is turned away; raise with `sysctl -w \
                 net.core.somaxconn={ACCEPT_BACKLOG}`"
            ))
        })
    }

    fn rings_sentence(&self) -> Sentence {
        let locked = amount(self.locked_memory_bytes, about_size);
        if self.io_uring_disabled > 0 {
            return warning(format!(
                "rings: io_uring is switched off on this host (kernel.io_uring_disabled is {}); \
                 allow it with `sysctl -w kernel.io_uring_disabled=0`",
                self.io_uring_disabled
            ));
        }
        if self.locked_memory_bytes >= MEMLOCK_BYTES_MIN {
            return info(format!("locked memory for rings: {locked} allowed"));
        }
        let (needed, kib) = (about_size(MEMLOCK_BYTES_MIN), MEMLOCK_BYTES_MIN / 1024);
        warning(format!(
            "locked memory for rings: only {locked} allowed, {needed} needed; raise with \
             `ulimit -Hl {kib}` as root before the start, or LimitMEMLOCK={MEMLOCK_BYTES_MIN} in \
             the service"
        ))
    }
}

fn info(text: String) -> Sentence {
    Sentence {
        is_warning: false,
        text,
    }
}

fn warning(text: String) -> Sentence {
    Sentence {
        is_warning: true,
        text,
    }
}

fn amount(number: u64, show: fn(u64) -> String) -> String {
    if number == u64::MAX {
        "unlimited".into()
    } else {
        show(number)
    }
}

/// Memory that may still be taken, and whether a control group is what holds it.
fn memory(root: &Path) -> (u64, bool) {
    let machine = meminfo_available(root).unwrap_or(MEMORY_UNKNOWN_BYTES);
    match cgroup_room(root) {
        Some(room) if room < machine => (room, true),
        _ => (machine, false),
    }
}

fn meminfo_available(root: &Path) -> Option<u64> {
    let text = fs::read_to_string(root.join("proc/meminfo")).ok()?;
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

/// The least room among this process's control group and those above it, of either version.
fn cgroup_room(root: &Path) -> Option<u64> {
    let text = fs::read_to_string(root.join("proc/self/cgroup")).ok()?;
    text.lines()
        .filter_map(|line| {
            let mut parts = line.splitn(3, ':');
            let (_, controllers, path) = (parts.next()?, parts.next()?, parts.next()?);
            let (base, limit, usage) = if controllers.is_empty() {
                ("sys/fs/cgroup", "memory.max", "memory.current")
            } else if controllers.split(',').any(|name| name == "memory") {
                (
                    "sys/fs/cgroup/memory",
                    "memory.limit_in_bytes",
                    "memory.usage_in_bytes",
                )
            } else {
                return None;
            };
            let base = root.join(base);
            let own = base.join(path.trim_start_matches('/'));
            own.ancestors()
                .take_while(|folder| folder.starts_with(&base))
                .filter_map(|folder| {
                    let limit = number(&folder.join(limit))?;
                    Some(limit.saturating_sub(number(&folder.join(usage)).unwrap_or(0)))
                })
                .min()
        })
        .min()
}

/// A file that holds one number; none when it holds a word (`max`) or is not there.
fn number(path: &Path) -> Option<u64> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn roomy() -> Host {
        Host {
            open_files: 1_048_576,
            open_files_before: Some(1024),
            memory_available_bytes: 24 << 30,
            memory_by_cgroup: false,
            somaxconn: Some(4096),
            locked_memory_bytes: 8 << 20,
            io_uring_disabled: 0,
        }
    }

    #[test]
    fn a_roomy_host_gets_plain_sentences() {
        let sentences = roomy().sentences(&Settings::default());
        assert!(sentences.iter().all(|sentence| !sentence.is_warning));
        let texts: Vec<_> = sentences
            .iter()
            .map(|sentence| sentence.text.as_str())
            .collect();
        assert_eq!(
            texts,
            [
                "open files: 1,048,576 allowed (raised from 1,024), enough for 100,000 connections",
                "memory: 24 GiB available, 6 GiB for queues",
                "net.core.somaxconn: 4,096 connections may wait to be accepted",
                "locked memory for rings: 8 MiB allowed",
            ]
        );
    }

    #[test]
    fn a_tight_host_gets_commands() {
        let mut settings = Settings::default();
        settings.limits.memory_budget_bytes = 1 << 30;
        let host = Host {
            open_files: 4096,
            open_files_before: None,
            memory_available_bytes: 512 << 20,
            memory_by_cgroup: true,
            somaxconn: Some(128),
            locked_memory_bytes: 64 << 10,
            io_uring_disabled: 0,
        };
        let sentences = host.sentences(&settings);
        assert!(sentences.iter().all(|sentence| sentence.is_warning));
        let texts: Vec<_> = sentences
            .iter()
            .map(|sentence| sentence.text.as_str())
            .collect();
        assert_eq!(
            texts,
            [
                "open files: 4,096 allowed, so at most 3,840 of the 100,000 connections \
                 configured; raise with `ulimit -Hn 100256` as root before the start, or \
                 LimitNOFILE=100256 in the service",
                "memory: 512 MiB available (held by the control group), 1 GiB for queues, which \
                 is more than there is: lower limits.memory_budget_bytes, or set it to 0",
                "net.core.somaxconn: only 128 connections may wait to be accepted, a crowd that \
                 reconnects is turned away; raise with `sysctl -w net.core.somaxconn=4096`",
                "locked memory for rings: only 64 KiB allowed, 512 KiB needed; raise with \
                 `ulimit -Hl 512` as root before the start, or LimitMEMLOCK=524288 in the service",
            ]
        );
        assert_eq!(host.connections_max(&settings), 3840);
        let off = Host {
            io_uring_disabled: 2,
            ..host
        }
        .rings_sentence();
        assert!(
            off.text.contains("sysctl -w kernel.io_uring_disabled=0"),
            "{}",
            off.text
        );
    }

    #[test]
    fn memory_is_held_by_control_groups_of_either_version() {
        let root = std::env::temp_dir().join(format!("ringmq-host-{}", std::process::id()));
        let write = |path: &str, text: &str| {
            let path = root.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        write(
            "proc/meminfo",
            "MemTotal: 9000 kB\nMemAvailable:    8192 kB\n",
        );
        assert_eq!(memory(&root), (8192 << 10, false));
        write("proc/self/cgroup", "0::/a/b\n");
        write("sys/fs/cgroup/a/b/memory.max", "max\n");
        write("sys/fs/cgroup/a/memory.max", "4194304\n");
        write("sys/fs/cgroup/a/memory.current", "1048576\n");
        assert_eq!(memory(&root), (3 << 20, true));
        write("proc/self/cgroup", "5:cpu:/x\n4:hugetlb,memory:/c\n");
        write("sys/fs/cgroup/memory/c/memory.limit_in_bytes", "2097152\n");
        assert_eq!(memory(&root), (2 << 20, true));
        fs::remove_dir_all(&root).unwrap();
    }

    #[test]
    fn limits_of_this_process_are_raised() {
        let host = Host::probe(raise_limits());
        let limit = getrlimit(Resource::Nofile);
        assert_eq!(limit.current, limit.maximum);
        assert_eq!(host.open_files, limit.current.unwrap_or(u64::MAX));
        assert!(host.memory_available_bytes > 0);
    }
}
