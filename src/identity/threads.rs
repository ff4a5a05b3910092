//! Threads that may block and that hash: beside the shards, never in front of them.

use rustix::process::{getpriority_process, setpriority_process};
use std::io;
use std::thread::Builder;

/// How much less a thread of identity counts than a shard where both want the same core: 1024 to
/// 110, by Linux's table.
const NICE: i32 = 10;
/// Where there is no idle class: 1024 to 15.
const NICEST: i32 = 19;

/// Runs `work` on a thread of this name that counts less than the shards.
///
/// # Errors
/// The system has no thread left.
pub fn spawn(name: String, work: impl FnOnce() + Send + 'static) -> io::Result<()> {
    let run = move || {
        give_way(NICE);
        work();
    };
    Builder::new().name(name).spawn(run).map(drop)
}

/// Runs `work` on a thread that gives way to every other as soon as that one wakes, and gets next
/// to nothing where the others never sleep: it must not hold what somebody else waits for.
///
/// # Errors
/// The system has no thread left.
pub fn spawn_idle(name: String, work: impl FnOnce() + Send + 'static) -> io::Result<()> {
    let run = move || {
        if !enter_idle_class() {
            give_way(NICEST);
        }
        work();
    };
    Builder::new().name(name).spawn(run).map(drop)
}

/// Linux has a priority for each thread, and 0 names the one that calls. One that cannot give way
/// works all the same.
fn give_way(nice: i32) {
    if getpriority_process(None).is_ok_and(|now| now < nice) {
        let _ = setpriority_process(None, nice);
    }
}

/// False: a filter of system calls does not allow it.
fn enter_idle_class() -> bool {
    // Not the C library's function: musl's only says that it is not there.
    let priority: libc::c_int = 0;
    // SAFETY: sched_setscheduler(2) for the calling thread (0) reads one `struct sched_param`,
    // which is one int, and writes nothing.
    let done = unsafe {
        libc::syscall(
            libc::SYS_sched_setscheduler,
            0,
            libc::SCHED_IDLE,
            std::ptr::from_ref(&priority),
        )
    };
    done == 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    /// The class of the thread that asks: field 41 of its line in /proc.
    fn class() -> libc::c_int {
        let line = std::fs::read_to_string("/proc/thread-self/stat").unwrap();
        let (_, fields) = line.rsplit_once(')').unwrap();
        fields
            .split_ascii_whitespace()
            .nth(38)
            .unwrap()
            .parse()
            .unwrap()
    }

    #[test]
    fn only_the_thread_itself_gives_way() {
        let before = (getpriority_process(None).unwrap(), class());
        let (tell, told) = mpsc::channel();
        let idle = tell.clone();
        let look = || (getpriority_process(None).unwrap(), class());
        spawn("nice".into(), move || tell.send(look()).unwrap()).unwrap();
        // More than 19 there is not.
        assert_eq!(told.recv().unwrap(), (NICE.max(before.0), before.1));
        spawn_idle("idle".into(), move || idle.send(look()).unwrap()).unwrap();
        assert_eq!(told.recv().unwrap().1, libc::SCHED_IDLE);
        assert_eq!((getpriority_process(None).unwrap(), class()), before);
    }
}
