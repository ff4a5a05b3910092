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
use super::host::{HOST, House};
use super::prompt;
use crate::net::Poller;
use crossbeam_channel::Sender;
use glommio::{LocalExecutor, LocalExecutorBuilder, Placement};
use rustix::thread::{CpuSet, sched_setaffinity};
use std::io;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How often other tasks of the executor get a turn.
const YIELD_EVERY: Duration = Duration::from_secs(1);
/// How often it is looked at how busy the host is.
const MEASURE_EVERY: Duration = Duration::from_millis(50);
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
            // Pinned by hand: glommio's own placement needs the CPU topology in /sys, which
            // containers and small machines may not show, and it panics without. Before there is
            // an executor, so that the threads that it makes for itself stay there too.
            if let Some(cpu) = cpu {
                pin(shard, cpu);
            }
            prompt::ask_for_short_slices();
            let executor = match make_executor() {
                Ok(executor) => executor,
                Err(error) => return report(&ready, Err(error)),
            };
            executor.run(async move {
                let seat = make_seat();
                let (helms, house) = (seat.helms.clone(), seat.house.clone());
                match Driver::new(seat) {
                    Ok((driver, poller)) => {
                        *helms[usize::from(shard)].take() = Some(driver);
                        report(&ready, Ok(()));
                        Pilot::new(shard, &helms, &house, poller).drive().await;
                    }
                    Err(error) => report(&ready, Err(error)),
                }
            });
        })
}

/// Whether this host gives a shard its ring.
///
/// # Errors
/// A sentence: it does not.
pub fn check() -> io::Result<()> {
    let tried = std::thread::Builder::new().spawn(|| make_executor().map(drop))?;
    let panicked = |_| Err(ring_error("the executor cannot be made"));
    tried.join().unwrap_or_else(panicked)
}

fn make_executor() -> io::Result<LocalExecutor> {
    LocalExecutorBuilder::new(Placement::Unbound)
        .name("shard")
        .ring_depth(RING_DEPTH)
        .io_memory(IO_MEMORY_BYTES)
        .make()
        .map_err(|error| ring_error(&error.to_string()))
}

/// A shard's own thread.
struct Pilot<'a> {
    shard: u16,
    helms: &'a [Helm],
    house: &'a House,
    poller: Poller,
    /// Where the host takes its guests' events. None: this is not the host.
    room: Option<Poller>,
    yielded: Instant,
    awake: Awake,
}

/// How much of the time a thread is not waiting. Not what it uses of a core: on a machine that is
/// short of them a thread may use little and still be late with everything.
struct Awake {
    since: Instant,
    measured: Instant,
    total: Duration,
}

impl<'a> Pilot<'a> {
    fn new(shard: u16, helms: &'a [Helm], house: &'a House, poller: Poller) -> Pilot<'a> {
        Pilot {
            shard,
            helms,
            house,
            room: (shard == HOST && helms.len() > 1).then(|| house.open(&poller)),
            poller,
            yielded: Instant::now(),
            awake: Awake::default(),
        }
    }

    /// The life of a shard.
    async fn drive(mut self) {
        while let Some(rest) = self.turn() {
            self.tell_how_busy();
            let waited = match rest {
                Rest::None => self.poller.wait(Some(0)).map(|_| ()),
                Rest::Moment => self.poller.wait(Some(CONGESTED_MS)).map(|_| ()),
                Rest::Gather(time) => self.gather(time),
                Rest::Sleep => self.poller.wait(None).map(|_| ()),
                Rest::Enter(per_cent) => self.stay_as_guest(per_cent).await,
            };
            waited.unwrap_or_else(|error| broken(&error));
            if self.room.is_some() {
                self.awake.begin();
            }
            if self.yielded.elapsed() >= YIELD_EVERY {
                self.yielded = Instant::now();
                glommio::executor().yield_task_queue_now().await;
            }
        }
        if self.shard == HOST {
            self.house.close();
        }
    }

    /// One turn, and how to wait for the next one. None: the shard has ended.
    fn turn(&mut self) -> Option<Rest> {
        let helm = &self.helms[usize::from(self.shard)];
        if let Some(room) = &mut self.room {
            // Awake already: what the guests have for this shard is found below.
            helm.take().as_ref()?.rise();
            let served = self.house.serve(&self.poller, room, self.helms);
            served.unwrap_or_else(|error| broken(&error));
        }
        let mut seat = helm.take();
        let driver = seat.as_mut()?;
        driver.rise();
        driver.turn(self.poller.events());
        if driver.ended() {
            *seat = None;
            return None;
        }
        Some(driver.rest())
    }

    /// The host's guests depend on it.
    fn tell_how_busy(&mut self) {
        if self.room.is_some()
            && let Some(per_cent) = self.awake.end()
        {
            self.house.set_busy(per_cent);
        }
    }

    /// Lets input gather for a while, then waits for some as long as it takes.
    fn gather(&mut self, time: Duration) -> io::Result<()> {
        std::thread::sleep(time);
        let found = self.poller.wait(Some(0))?.len();
        if let Some(driver) = self.helms[usize::from(self.shard)].take().as_mut() {
            driver.gathered(found);
        }
        if found == 0 {
            self.poller.wait(None)?;
        }
        Ok(())
    }

    /// The host waits, and runs what turns there are, until it has too much to do.
    async fn stay_as_guest(&mut self, per_cent: u64) -> io::Result<()> {
        let helm = &self.helms[usize::from(self.shard)];
        let mut timeout_ms = Some(0);
        if self.house.enter(self.shard, &self.poller, per_cent) {
            while self.house.stay(self.shard, YIELD_EVERY) {
                if let Some(driver) = helm.take().as_mut() {
                    driver.keep_house();
                }
                glommio::executor().yield_task_queue_now().await;
            }
        } else {
            timeout_ms = None;
        }
        if let Some(driver) = helm.take().as_mut() {
            driver.come_home();
        }
        self.poller.wait(timeout_ms)?;
        Ok(())
    }
}

impl Default for Awake {
    fn default() -> Awake {
        let now = Instant::now();
        Awake {
            since: now,
            measured: now,
            total: Duration::ZERO,
        }
    }
}

impl Awake {
    /// A wait is over.
    fn begin(&mut self) {
        self.since = Instant::now();
    }

    /// A wait begins. Now and then: the share of the time since the last answer, in per cent.
    fn end(&mut self) -> Option<u64> {
        let now = Instant::now();
        self.total += now - self.since;
        let passed = now - self.measured;
        if passed < MEASURE_EVERY {
            return None;
        }
        let per_cent = self.total.as_micros() * 100 / passed.as_micros();
        (self.measured, self.total) = (now, Duration::ZERO);
        Some(per_cent as u64)
    }
}

fn broken(error: &io::Error) -> ! {
    panic!("a shard's epoll set is broken: {error}")
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
