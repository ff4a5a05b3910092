//! Which CPUs the shards run on, and how many shards there are.

use std::cmp::Ordering;
use std::fmt;

use rustix::thread::{CpuSet, sched_getaffinity};

use super::settings::Node;
use crate::limits::{CPUS_MAX, SHARDS_MAX};

/// Where the shards go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placement {
    /// 1 to [`SHARDS_MAX`].
    pub shards: usize,
    /// CPUs to pin to, see [`Self::cpu`]. Empty: pin nowhere, because nobody named CPUs and there
    /// is not one for each shard, or others may want the same ones.
    pub cpus: Vec<u16>,
    /// The CPUs that the process may use, where nobody named any and the shards are more than
    /// these; otherwise empty.
    pub crowded: Vec<u16>,
}

impl Placement {
    /// Where a shard is pinned: on the CPUs in turn. None: the system chooses, among those that
    /// the process may use.
    pub fn cpu(&self, shard: usize) -> Option<u16> {
        let turn = shard.checked_rem(self.cpus.len())?;
        Some(self.cpus[turn])
    }
}

impl fmt::Display for Placement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "shards: {}, ", self.shards)?;
        match (self.cpus.as_slice(), self.crowded.as_slice()) {
            ([], []) => f.write_str("on the CPUs that the system chooses"),
            ([], crowded) => write!(
                f,
                "more than the CPUs that this process may use ({}): the system chooses among these",
                format_list(crowded)
            ),
            (cpus, _) => {
                let used = &cpus[..cpus.len().min(self.shards)];
                write!(f, "pinned to CPUs {}", format_list(used))
            }
        }
    }
}

/// Reads `0-3,6`; nothing is the empty list.
///
/// # Errors
/// What is wrong with the list.
pub fn parse_list(text: &str) -> Result<Vec<u16>, String> {
    let mut cpus: Vec<u16> = Vec::new();
    for part in text
        .split(',')
        .map(str::trim)
        .filter(|part| !part.is_empty())
    {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (Ok(first), Ok(last)) = (first.trim().parse::<u16>(), last.trim().parse::<u16>())
        else {
            return Err(format!("`{part}` is no CPU: write a list as 0-3,6"));
        };
        if first > last || usize::from(last) >= CPUS_MAX {
            return Err(format!(
                "`{part}` is no range of CPUs between 0 and {}",
                CPUS_MAX - 1
            ));
        }
        for cpu in first..=last {
            if cpus.contains(&cpu) {
                return Err(format!("CPU {cpu} is in the list twice"));
            }
            cpus.push(cpu);
        }
    }
    Ok(cpus)
}

/// Writes a list as [`parse_list`] reads it, with ranges where numbers follow each other.
pub fn format_list(cpus: &[u16]) -> String {
    let mut parts: Vec<String> = Vec::new();
    let mut rest = cpus;
    while let [first, ..] = rest {
        let run = (1..rest.len())
            .take_while(|index| usize::from(rest[*index]) == usize::from(*first) + index)
            .count();
        parts.push(match run {
            0 => first.to_string(),
            _ => format!("{first}-{}", rest[run]),
        });
        rest = &rest[run + 1..];
    }
    parts.join(",")
}

/// The shards and CPUs for these settings, on this machine: without a list those that the
/// process may use (affinity), as many shards as CPUs, fewer where a CPU quota says so.
///
/// # Errors
/// A CPU of the list is not one that the process may use.
pub fn place(node: &Node) -> Result<Placement, String> {
    let allowed = allowed();
    let quota = std::thread::available_parallelism().map_or(1, usize::from);
    place_on(node, allowed, quota)
}

/// CPUs that the process may use, in order.
pub fn allowed() -> Vec<u16> {
    let set = sched_getaffinity(None).unwrap_or_else(|_| {
        // More CPUs than the set holds: take the first ones.
        let mut set = CpuSet::new();
        (0..std::thread::available_parallelism().map_or(1, usize::from)).for_each(|i| set.set(i));
        set
    });
    (0..CpuSet::MAX_CPU.min(CPUS_MAX))
        .filter(|cpu| set.is_set(*cpu))
        .map(|cpu| cpu as u16)
        .collect()
}

fn place_on(node: &Node, allowed: Vec<u16>, quota: usize) -> Result<Placement, String> {
    if let Some(cpu) = node.cpus.iter().find(|cpu| !allowed.contains(cpu)) {
        let allowed = format_list(&allowed);
        return Err(format!(
            "this process may not use CPU {cpu}, only {allowed}"
        ));
    }
    let auto = match node.cpus.len() {
        0 => allowed.len().min(quota).clamp(1, SHARDS_MAX),
        named => named.min(SHARDS_MAX),
    };
    let shards = if node.shards == 0 {
        auto
    } else {
        usize::from(node.shards)
    };
    let (cpus, crowded) = match (node.cpus.as_slice(), shards.cmp(&allowed.len())) {
        ([], Ordering::Less) => (Vec::new(), Vec::new()),
        ([], Ordering::Equal) => (allowed, Vec::new()),
        ([], Ordering::Greater) => (Vec::new(), allowed),
        (named, _) => (named.to_vec(), Vec::new()),
    };
    Ok(Placement {
        shards,
        cpus,
        crowded,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_read_and_write() {
        for (text, cpus, written) in [
            ("", vec![], ""),
            ("0", vec![0], "0"),
            ("0-3,6", vec![0, 1, 2, 3, 6], "0-3,6"),
            (" 6 , 0-1 ", vec![6, 0, 1], "6,0-1"),
            ("0,1,2", vec![0, 1, 2], "0-2"),
        ] {
            assert_eq!(parse_list(text), Ok(cpus.clone()));
            assert_eq!(format_list(&cpus), written);
        }
        for text in ["x", "3-1", "0-1024", "1,1", "0-2,2", "-1", "1-"] {
            assert!(parse_list(text).is_err(), "{text}");
        }
    }

    fn placed(shards: u16, cpus: &[u16], quota: usize) -> Result<(usize, Vec<u16>), String> {
        let node = Node {
            shards,
            cpus: cpus.to_vec(),
            ..Node::default()
        };
        place_on(&node, vec![0, 1, 2, 3], quota).map(|place| (place.shards, place.cpus))
    }

    #[test]
    fn shards_follow_cpus_and_quota() {
        assert_eq!(placed(0, &[], 4), Ok((4, vec![0, 1, 2, 3])));
        assert_eq!(placed(0, &[], 2), Ok((2, vec![])));
        assert_eq!(placed(1, &[], 4), Ok((1, vec![])));
        assert_eq!(placed(0, &[3, 1], 1), Ok((2, vec![3, 1])));
        assert_eq!(placed(6, &[3, 1], 4), Ok((6, vec![3, 1])));
        assert!(
            placed(0, &[4], 4)
                .unwrap_err()
                .contains("may not use CPU 4, only 0-3")
        );
    }

    #[test]
    fn named_cpus_hold_and_a_crowd_is_said() {
        let place = |shards, cpus: &[u16], allowed: &[u16]| {
            let node = Node {
                shards,
                cpus: cpus.to_vec(),
                ..Node::default()
            };
            place_on(&node, allowed.to_vec(), 4).unwrap()
        };
        let pins = |place: &Placement| (0..place.shards).map(|i| place.cpu(i)).collect::<Vec<_>>();
        let named = place(3, &[1, 0], &[0, 1]);
        assert_eq!(pins(&named), [Some(1), Some(0), Some(1)]);
        assert_eq!(named.to_string(), "shards: 3, pinned to CPUs 1,0");
        let fewer = place(1, &[0, 1], &[0, 1]);
        assert_eq!(fewer.to_string(), "shards: 1, pinned to CPUs 0");
        let crowd = place(3, &[], &[4, 5]);
        assert_eq!(pins(&crowd), [None; 3]);
        assert_eq!(
            crowd.to_string(),
            "shards: 3, more than the CPUs that this process may use (4-5): the system chooses \
             among these"
        );
    }

    #[test]
    fn this_machine_has_a_place() {
        let place = place(&Node::default()).unwrap();
        assert!((1..=SHARDS_MAX).contains(&place.shards));
        assert!(!allowed().is_empty());
    }
}
