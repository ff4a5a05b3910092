//! The thread of a shard: a glommio executor with one long-lived task.
//!
//! # How a shard sleeps
//!
//! In `epoll_wait` itself, which costs exactly what a bare epoll loop costs, and not in its ring. A
//! sleep in the ring is half a dozen system calls more; and glommio 0.9 has no public way to wait
//! there for some descriptor, so it took a stream made of one, with which brokers were seen to take
//! no connection for minutes, for a reason that was not found. So nothing else on this executor
//! runs while the shard sleeps: it yields to other tasks once a second, asleep or busy, and what
//! cannot wait that long has a thread of its own.
//!
//! A wake-up from another shard is an eventfd in the same set, and a deadline a timerfd. While it
//! waits the shard has let go of its helm (see [`super::helm`]).

use super::driver::{Driver, Rest, Seat};
use super::helm::Helm;
use crate::net::{Events, Poller};
use crossbeam_channel::Sender;
use glommio::{LocalExecutorBuilder, Placement};
use rustix::thread::{CpuSet, sched_setaffinity};
use std::io;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How often other tasks of the executor get a turn.
const YIELD_EVERY: Duration = Duration::from_secs(1);
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
                let seat = make_seat();
                let helms = seat.helms.clone();
                let helm = &helms[usize::from(shard)];
                match Driver::new(seat) {
                    Ok((driver, poller)) => {
                        *helm.take() = Some(driver);
                        report(&ready, Ok(()));
                        drive(helm, poller).await;
                    }
                    Err(error) => report(&ready, Err(error)),
                }
            });
        })
}

/// The life of a shard.
async fn drive(helm: &Helm, mut poller: Poller) {
    let mut yielded = Instant::now();
    loop {
        let rest = {
            let mut seat = helm.take();
            let driver = seat.as_mut().expect("it ends here and nowhere else");
            driver.rise();
            driver.turn(poller.events());
            if driver.ended() {
                *seat = None;
                return;
            }
            driver.rest()
        };
        let waited = match rest {
            Rest::None => poller.wait(Some(0)),
            Rest::Moment => poller.wait(Some(CONGESTED_MS)),
            Rest::Gather(time) => gather(helm, &mut poller, time),
            Rest::Sleep => poller.wait(None),
        };
        if let Err(error) = waited {
            panic!("a shard's epoll set is broken: {error}");
        }
        if yielded.elapsed() >= YIELD_EVERY {
            yielded = Instant::now();
            glommio::executor().yield_task_queue_now().await;
        }
    }
}

/// Lets input gather for a while, then waits for some as long as it takes.
fn gather<'a>(helm: &Helm, poller: &'a mut Poller, time: Duration) -> io::Result<Events<'a>> {
    std::thread::sleep(time);
    let found = poller.wait(Some(0))?.len();
    if let Some(driver) = helm.take().as_mut() {
        driver.gathered(found);
    }
    match found {
        0 => poller.wait(None),
        _ => Ok(poller.events()),
    }
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
