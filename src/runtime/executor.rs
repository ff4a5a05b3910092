//! The thread of a shard: a glommio executor with one long-lived task.
//!
//! # How a shard sleeps
//!
//! In two steps. As long as something came within the last moment it *lingers*: it waits in
//! `epoll_wait` itself, for at most a millisecond, which costs exactly what a bare epoll loop
//! costs. Only when a linger ends with nothing does it go to sleep in its ring, where other tasks
//! of the executor run and where a sleep costs several system calls more. While traffic lasts it
//! yields to those tasks every few milliseconds.
//!
//! A wake-up from another shard is an eventfd in the same set, so it needs no executor to notice.

use super::driver::{Driver, Pace, Seat};
use super::readiness::has_event;
use crossbeam_channel::Sender;
use glommio::{LocalExecutorBuilder, Placement};
use rustix::thread::{CpuSet, sched_setaffinity};
use std::io;
use std::os::fd::AsFd;
use std::thread::JoinHandle;
use std::time::Duration;

/// How long a shard waits outside its ring for what may come next, in milliseconds.
const LINGER_MS: u64 = 1;
/// How often a busy shard lets other tasks of its executor run, in milliseconds.
const YIELD_MS: u64 = 5;
/// A wait for room in another shard's mailbox, in milliseconds.
const CONGESTED_MS: u64 = 1;
/// Entries in a ring: sockets are not in it, so it holds a few sleeps and timers.
const RING_DEPTH: usize = 128;
/// Registered buffers, in bytes: no file is read through the ring.
const IO_MEMORY_BYTES: usize = 64 * 1024;

/// Starts the thread of a shard. `make_seat` is called in it, so that what it makes is allocated
/// there; `ready` hears whether the shard accepts connections.
///
/// # Errors
/// The system has no thread left for it.
pub fn spawn(
    shard: u16,
    cpu: Option<u16>,
    make_seat: impl FnOnce() -> Seat + Send + 'static,
    ready: Sender<io::Result<()>>,
) -> io::Result<JoinHandle<()>> {
    std::thread::Builder::new()
        .name(format!("shard-{shard}"))
        .spawn(move || {
            let _guard = EndProcess;
            let built = LocalExecutorBuilder::new(Placement::Unbound)
                .name("shard")
                .ring_depth(RING_DEPTH)
                .io_memory(IO_MEMORY_BYTES)
                .make();
            let executor = match built {
                Ok(executor) => executor,
                Err(error) => return report(&ready, Err(ring_error(&error.to_string()))),
            };
            // Pinned by hand: glommio's own placement needs the CPU topology in /sys, which
            // containers and small machines may not show, and it panics without.
            if let Some(cpu) = cpu {
                pin(shard, cpu);
            }
            executor.run(async move {
                match Driver::new(make_seat()) {
                    Ok(driver) => {
                        report(&ready, Ok(()));
                        drive(driver).await;
                    }
                    Err(error) => report(&ready, Err(error)),
                }
            });
        })
}

/// The life of a shard.
async fn drive(mut driver: Driver) {
    let mut yielded_ms = driver.now_ms();
    let mut events = 0;
    let mut quiet = false;
    loop {
        driver.turn(events);
        if driver.ended() {
            return;
        }
        let waited = match driver.pace() {
            Pace::Busy => driver.poller().wait(Some(0)),
            Pace::Congested => driver.poller().wait(Some(CONGESTED_MS)),
            Pace::Idle => wait(&mut driver, &mut quiet, &mut yielded_ms).await,
        };
        events = match waited {
            Ok(events) => events,
            Err(error) => panic!("a shard's epoll set is broken: {error}"),
        };
        if driver.now_ms() >= yielded_ms + YIELD_MS {
            yielded_ms = driver.now_ms();
            glommio::executor().yield_task_queue_now().await;
        }
    }
}

/// Waits for whatever comes first: events, whose number is given, mail, or the next deadline.
/// `quiet`: the wait before this one brought nothing.
async fn wait(driver: &mut Driver, quiet: &mut bool, yielded_ms: &mut u64) -> io::Result<usize> {
    let due_ms = driver.next_due_ms();
    driver.mailbox().bell().listen();
    let waited = if !driver.mailbox().is_empty() {
        *quiet = false;
        Ok(0)
    } else if !*quiet {
        let linger_ms = due_ms.map_or(LINGER_MS, |due_ms| due_ms.min(LINGER_MS));
        let waited = driver.poller().wait(Some(linger_ms));
        *quiet = matches!(waited, Ok(0));
        waited
    } else {
        *quiet = false;
        *yielded_ms = driver.now_ms();
        let due = due_ms.map(Duration::from_millis);
        match has_event(driver.poller().as_fd(), due).await {
            Ok(_) => driver.poller().wait(Some(0)),
            // No descriptor for the sleep in the ring: sleep here.
            Err(_) => driver.poller().wait(Some(due_ms.unwrap_or(1000))),
        }
    };
    driver.mailbox().bell().ignore();
    waited
}

fn report(ready: &Sender<io::Result<()>>, result: io::Result<()>) {
    // Whoever starts the broker waits for every shard, unless one has failed already.
    let _ = ready.send(result);
}

fn pin(shard: u16, cpu: u16) {
    let mut set = CpuSet::new();
    set.set(usize::from(cpu));
    if let Err(error) = sched_setaffinity(None, &set) {
        tracing::warn!(shard, cpu, %error, "not pinned to its CPU");
    }
}

fn ring_error(text: &str) -> io::Error {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Memlock).current;
    let needed = crate::limits::MEMLOCK_BYTES_MIN;
    match limit {
        Some(limit) if limit < needed => io::Error::other(format!(
            "no ring for a shard: only {} KiB of locked memory are allowed and {} KiB are needed; \
             raise with `ulimit -Hl {}` as root before the start, or LimitMEMLOCK={needed} in the \
             service",
            limit / 1024,
            needed / 1024,
            needed / 1024,
        )),
        _ => io::Error::other(format!("no ring for a shard: {text}")),
    }
}

/// A process that has lost a shard would go on refusing every client of that shard, silently. A
/// panic ends all of it, so that whoever watches the process starts it again.
struct EndProcess;

impl Drop for EndProcess {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("ringmq: a shard failed, the process ends");
            std::process::abort();
        }
    }
}
