//! Processor time and memory of the broker, from /proc.

use super::node;
use rustix::param::{clock_ticks_per_second, page_size};
use std::path::PathBuf;

/// What a process has used, or several together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// User and system time since its start, counted by the kernel in ticks, mostly of 10 ms.
    pub cpu_ns: u64,
    /// Resident memory now.
    pub resident_bytes: u64,
}

/// Whose processor time and memory are looked at.
#[derive(Clone, Debug, Default)]
pub enum Watched {
    #[default]
    Nobody,
    /// Processes of this host, together.
    Processes(Vec<u32>),
    /// A ringmq with this data folder.
    Node(PathBuf),
}

impl Watched {
    pub fn is_nobody(&self) -> bool {
        matches!(self, Watched::Nobody)
    }

    /// Nothing if it cannot be known.
    pub fn usage(&self) -> Option<Usage> {
        match self {
            Watched::Nobody => None,
            Watched::Processes(pids) => usage(pids),
            Watched::Node(data_dir) => node::usage(data_dir).ok(),
        }
    }
}

/// What these processes use together; nothing if there are none, or one of them is not there.
pub fn usage(pids: &[u32]) -> Option<Usage> {
    let mut sum = None;
    for pid in pids {
        let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let one = parse(&text)?;
        let sum = sum.get_or_insert(Usage::default());
        sum.cpu_ns += one.cpu_ns;
        sum.resident_bytes += one.resident_bytes;
    }
    sum
}

/// Reads the line of proc_pid_stat(5). The second field may contain anything, also spaces and
/// parentheses, so counting starts behind its end.
fn parse(stat: &str) -> Option<Usage> {
    let (_, rest) = stat.rsplit_once(") ")?;
    let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
    // `rest` begins with field 3.
    let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
    let ticks = field(14)? + field(15)?;
    Some(Usage {
        cpu_ns: ticks * (1_000_000_000 / clock_ticks_per_second().max(1)),
        resident_bytes: field(24)? * page_size() as u64,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_a_line_with_an_odd_name() {
        let line = "7 (a) b (c) S 1 7 7 0 -1 4194560 1 2 3 4 150 50 0 0 20 0 3 0 99 1000000 25 8\n";
        let tick_ns = 1_000_000_000 / clock_ticks_per_second();
        let expected = Usage {
            cpu_ns: 200 * tick_ns,
            resident_bytes: 25 * page_size() as u64,
        };
        assert_eq!(parse(line), Some(expected));
        assert_eq!(parse("7 (a) S 1"), None);
    }

    #[test]
    fn this_process_is_there_and_another_not() {
        let own = usage(&[std::process::id()]).unwrap();
        assert!(own.resident_bytes > 100_000);
        assert_eq!(usage(&[std::process::id(), u32::MAX]), None);
        assert_eq!(usage(&[]), None);
    }
}
