//! The process's table of open files.

use crate::limits::FILES_RESERVED;
use rustix::io::fcntl_dupfd_cloexec;
use std::fs::File;

/// Makes room in the table for so many connections.
///
/// Linux doubles the table as it fills up, and where a process has threads it waits for an RCU
/// grace period each time: 10 to 20 ms in which a shard that was about to accept does nothing
/// else. Eight bytes a file, at once, spare everybody that in the middle of a storm.
pub fn reserve(connections: u32) {
    let last = u64::from(connections) + FILES_RESERVED - 1;
    let last = i32::try_from(last).unwrap_or(i32::MAX);
    // More than the limit allows, or no such file: the table grows as it did without this.
    if let Ok(file) = File::open("/dev/null") {
        let _ = fcntl_dupfd_cloexec(&file, last);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_has_room() {
        let size = || {
            let status = std::fs::read_to_string("/proc/self/status").unwrap();
            let line = status.lines().find_map(|line| line.strip_prefix("FDSize:"));
            line.unwrap().trim().parse::<u64>().unwrap()
        };
        let before = size();
        reserve(before as u32);
        assert!(size() >= before + FILES_RESERVED);
    }
}
