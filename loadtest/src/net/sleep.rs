//! How an executor waits for its connections or a time, whichever comes first.

use crate::measure::clock::{MS, SECOND, now_ns};
use ringmq::net::Poller;
use ringmq::runtime::readiness::has_event;
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

/// The slot that the timer's events carry.
pub const TIMER_SLOT: u32 = u32::MAX;
/// How long a wait stays in `epoll_wait` itself before it goes to sleep in the ring, where other
/// tasks of the executor run and where it costs several system calls more.
const LINGER_MS: u64 = 2;
/// How often a busy executor lets its other tasks run.
const YIELD_NS: u64 = 10 * MS;

/// A timer in the epoll set (which by itself counts in milliseconds only).
#[derive(Debug)]
pub struct Sleeper {
    timer: OwnedFd,
    armed_ns: u64,
    yielded_ns: u64,
}

impl Sleeper {
    /// # Errors
    /// No file descriptor is left.
    pub fn new(poller: &Poller) -> io::Result<Sleeper> {
        let flags = TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK;
        let timer = timerfd_create(TimerfdClockId::Monotonic, flags)?;
        poller.add_connection(&timer, TIMER_SLOT)?;
        Ok(Sleeper {
            timer,
            armed_ns: 0,
            yielded_ns: 0,
        })
    }

    /// Gives the number of events in `poller`, waiting for the first one until `until_ns`.
    ///
    /// # Errors
    /// The set is broken or no file descriptor is left.
    pub async fn wait(&mut self, poller: &mut Poller, until_ns: u64) -> io::Result<usize> {
        let now_ns = now_ns();
        if now_ns > self.yielded_ns + YIELD_NS {
            self.yielded_ns = now_ns;
            glommio::executor().yield_task_queue_now().await;
        }
        if until_ns <= now_ns {
            return poller.wait(Some(0));
        }
        self.arm(until_ns)?;
        let events = poller.wait(Some(LINGER_MS))?;
        if events > 0 {
            return Ok(events);
        }
        has_event(poller.as_fd(), Some(Duration::from_secs(1))).await?;
        poller.wait(Some(0))
    }

    fn arm(&mut self, until_ns: u64) -> io::Result<()> {
        if self.armed_ns == until_ns {
            return Ok(());
        }
        self.armed_ns = until_ns;
        let spec = Itimerspec {
            it_interval: Timespec {
                tv_sec: 0,
                tv_nsec: 0,
            },
            it_value: Timespec {
                tv_sec: (until_ns / SECOND) as i64,
                tv_nsec: (until_ns % SECOND) as i64,
            },
        };
        timerfd_settime(&self.timer, TimerfdTimerFlags::ABSTIME, &spec)?;
        Ok(())
    }
}
