//! Threads that may block and that hash: beside the shards, never in front of them.

use rustix::process::{getpriority_process, setpriority_process};
use std::io;
use std::thread::Builder;

/// How much less a thread of identity counts than a shard where both want the same core: 1024 to
/// 110, by Linux's table. A storm of password hashes then takes what the shards leave.
const NICE: i32 = 10;

/// Runs `work` on a thread of this name that gives way to the shards.
///
/// # Errors
/// The system has no thread left.
pub fn spawn(name: String, work: impl FnOnce() + Send + 'static) -> io::Result<()> {
    let run = move || {
        // Linux has a priority for each thread, and 0 names the one that calls. One that cannot
        // give way works all the same.
        if getpriority_process(None).is_ok_and(|nice| nice < NICE) {
            let _ = setpriority_process(None, NICE);
        }
        work();
    };
    Builder::new().name(name).spawn(run).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    #[test]
    fn only_the_thread_itself_gives_way() {
        let before = getpriority_process(None).unwrap();
        let (tell, told) = mpsc::channel();
        let look = move || tell.send(getpriority_process(None).unwrap()).unwrap();
        spawn("nice".into(), look).unwrap();
        // More than 19 there is not.
        assert_eq!(told.recv().unwrap(), NICE.max(before));
        assert_eq!(getpriority_process(None).unwrap(), before);
    }
}
