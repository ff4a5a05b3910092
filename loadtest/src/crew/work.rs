//! A worker: it does what the leader says, and tells how it goes.

use super::aligned::{Aligned, clock_name};
use super::said::{Answer, Hello, Lines, Said, Status, VERSION};
use crate::host::process::usage;
use crate::measure::clock::{MS, own_now_ns, process_cpu_ns};
use crate::run::{Scenario, Setup, Shared, spawn};
use std::net::{TcpStream, ToSocketAddrs};
use std::sync::Arc;
use std::time::Duration;

pub use super::said::Task;

/// Between two talks with the leader. Executors of several workers see each other's counters so
/// late.
const TALK_EVERY: Duration = Duration::from_millis(2);
/// Between two looks at what is not needed that often.
const LOOK_EVERY_NS: u64 = 250 * MS;
/// How long a leader may take to be there.
const CONNECT_PATIENCE: Duration = Duration::from_secs(10);

/// A worker's end of its talk with the leader.
#[derive(Debug)]
pub struct Link {
    lines: Lines,
    aligned: Aligned,
}

impl Link {
    /// Finds the leader and is told what to do, which may be long after.
    ///
    /// # Errors
    /// A sentence: nobody is there, or it is of another version.
    pub fn join(leader: &str) -> Result<(Link, Task), String> {
        let gone = |error: &dyn std::fmt::Display| format!("the leader at {leader}: {error}");
        let address = leader
            .to_socket_addrs()
            .map_err(|error| gone(&error))?
            .next();
        let address = address.ok_or_else(|| gone(&"no address"))?;
        let stream = TcpStream::connect_timeout(&address, CONNECT_PATIENCE);
        let stream = stream.map_err(|error| gone(&error))?;
        let mut lines = Lines::new(stream).map_err(|error| gone(&error))?;
        let hello = Hello {
            version: VERSION.into(),
            clock: clock_name(),
            pid: std::process::id(),
        };
        lines.write(&hello).map_err(|error| gone(&error))?;
        let task: Result<Task, String> = lines.read().map_err(|error| gone(&error))?;
        let task = task?;
        let aligned = Aligned::new(task.has_same_clock);
        Ok((Link { lines, aligned }, task))
    }

    /// Says that the task cannot be done.
    pub fn fail(&mut self, sentence: &str) {
        // If the leader has gone there is nobody to say it to.
        let _ = self.lines.write(&Said::<()>::Failed(sentence.to_owned()));
    }

    fn talk(&mut self, mut status: Status) -> Result<Answer, String> {
        status.is_aligned = self.aligned.is_known();
        status.clock_error_ns = self.aligned.error_ns();
        let asked_ns = own_now_ns();
        let answer: std::io::Result<Answer> = self
            .lines
            .write(&Said::<()>::Now(Box::new(status)))
            .and_then(|()| self.lines.read());
        let answer = answer.map_err(|error| format!("the leader has gone: {error}"))?;
        self.aligned.look(asked_ns, answer.at_ns, own_now_ns());
        Ok(answer)
    }
}

/// Does the part of one worker.
///
/// # Errors
/// A sentence: the leader has gone, or something in this host does not work. The leader knows it.
pub fn work<S: Scenario>(
    scenario: S,
    setup: &Setup,
    task: &Task,
    link: &mut Link,
) -> Result<(), String> {
    let executors = setup.shards;
    let first = task.worker * executors;
    let shared = Arc::new(Shared::of_worker(first, executors, setup.interrupt.clone()));
    loop {
        let answer = link.talk(status(&shared, true))?;
        if answer.may_begin {
            break;
        }
        if answer.is_stopping {
            return Err("the leader has ended the run before it began".into());
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    let scenario = Arc::new(scenario);
    let threads: Result<Vec<_>, String> = (first..first + executors)
        .map(|shard| spawn(scenario.clone(), shared.clone(), shard))
        .collect();
    let threads = threads?;
    let mut looked_ns = own_now_ns();
    while !shared.is_ended() {
        let now_ns = own_now_ns();
        let is_look = now_ns > looked_ns + LOOK_EVERY_NS;
        if is_look {
            looked_ns = now_ns;
        }
        let answer = link.talk(status(&shared, is_look));
        let answer = answer.inspect_err(|_| shared.stop())?;
        shared.hear(&answer.others, &answer.opened_ns);
        if answer.is_stopping {
            shared.stop();
        }
        std::thread::sleep(TALK_EVERY);
    }
    let outcomes = threads
        .into_iter()
        .map(|thread| thread.join().map_err(|_| "an executor failed".to_owned())?);
    let outcomes = outcomes.collect::<Result<Vec<S::Outcome>, String>>()?;
    let said = Said::Done(outcomes, Box::new(status(&shared, true)));
    let written = link.lines.write(&said);
    written.map_err(|error| format!("the leader has gone: {error}"))
}

fn status(shared: &Shared, is_look: bool) -> Status {
    let mut totals = shared.own_totals();
    totals.cpu_ns = process_cpu_ns();
    // A file is read for it.
    if is_look && let Some(own) = usage(&[std::process::id()]) {
        shared.set_resident_bytes(own.resident_bytes);
    }
    totals.resident_bytes = shared.resident_bytes();
    Status {
        totals,
        arrived: shared.arrived(),
        window: is_look.then(|| shared.take_latency()),
        is_stopping: shared.is_stopping(),
        ..Status::default()
    }
}
