//! How many connections this host lets one process make.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Files that the load tester has open besides its connections, for each executor.
const FILES_PER_SHARD: u64 = 16;
const FILES_ELSE: u64 = 32;
/// The kernel's default, if the range cannot be read.
const PORTS_DEFAULT: u64 = 28_232;

/// What a process is to make.
#[derive(Clone, Copy, Debug)]
pub struct Demand {
    /// Connections of this process, and of all on this host together.
    pub own: u64,
    pub together: u64,
    /// Executors of this process.
    pub shards: u64,
    pub sources: u64,
}

/// Raises the limit on open files to the most that is allowed and says whether that and the ports
/// suffice.
///
/// # Errors
/// A sentence: what there is too little of, and the command that gives more.
pub fn prepare(demand: Demand) -> Result<(), String> {
    let files_max = raise_files();
    let ports = ports();
    check(demand, Host { files_max, ports })
}

/// Source addresses with which no connection waits for its port: the kernel goes through one half
/// of an address's ports, and through all of that half before it tries the other, so that once the
/// first half is in use each further connection takes a millisecond.
pub fn sources_needed(connections: usize) -> usize {
    connections.div_ceil((ports() / 2).max(1) as usize)
}

struct Host {
    files_max: u64,
    /// Ephemeral ports of one address.
    ports: u64,
}

fn check(demand: Demand, host: Host) -> Result<(), String> {
    let files = demand.own + demand.shards * FILES_PER_SHARD + FILES_ELSE;
    if files > host.files_max {
        return Err(format!(
            "{} connections need {files} open files and this process may have {}: raise the hard \
             limit with `ulimit -Hn {files}` as root before the start, or let several processes \
             make them: --workers",
            demand.own, host.files_max
        ));
    }
    let (connections, sources) = (demand.together, demand.sources.max(1));
    if connections > sources * host.ports {
        return Err(format!(
            "{connections} connections from {sources} source {} need more than the {} ports that \
             one address has (net.ipv4.ip_local_port_range): give at least {} with --sources",
            if sources == 1 { "address" } else { "addresses" },
            host.ports,
            connections.div_ceil(host.ports.max(1)),
        ));
    }
    Ok(())
}

/// Raises the soft limit to the hard one and gives what holds then.
fn raise_files() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    let holds = match setrlimit(Resource::Nofile, raised) {
        Ok(()) => limit.maximum,
        Err(_) => limit.current,
    };
    holds.unwrap_or(u64::MAX)
}

/// Ephemeral ports of one address.
pub fn ports() -> u64 {
    let text = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range");
    parse_ports(&text.unwrap_or_default()).unwrap_or(PORTS_DEFAULT)
}

fn parse_ports(text: &str) -> Option<u64> {
    let (first, last) = text.trim().split_once(char::is_whitespace)?;
    let (first, last): (u64, u64) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
    (last + 1).checked_sub(first)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOST: Host = Host {
        files_max: 20_000,
        ports: 28_232,
    };

    /// So many connections of a process that is alone.
    fn alone(connections: u64, shards: u64, sources: u64) -> Demand {
        Demand {
            own: connections,
            together: connections,
            shards,
            sources,
        }
    }

    #[test]
    fn counts_files() {
        assert_eq!(check(alone(19_952, 1, 1), HOST), Ok(()));
        let error = check(alone(20_000, 2, 1), HOST).unwrap_err();
        assert!(
            error.contains("20064 open files") && error.contains("may have 20000"),
            "{error}"
        );
    }

    #[test]
    fn counts_ports() {
        let host = || Host {
            files_max: 1 << 30,
            ..HOST
        };
        assert_eq!(check(alone(28_232, 1, 1), host()), Ok(()));
        assert_eq!(check(alone(28_233, 1, 2), host()), Ok(()));
        let worker = Demand {
            together: 1_000_000,
            ..alone(10_000, 1, 2)
        };
        let error = check(worker, host()).unwrap_err();
        assert!(
            error.ends_with("give at least 36 with --sources"),
            "{error}"
        );
    }

    #[test]
    fn reads_the_range() {
        assert_eq!(parse_ports("32768\t60999\n"), Some(28_232));
        assert_eq!(parse_ports("junk"), None);
    }
}
