//! How an executor waits for its connections or a time, whichever comes first.

use crate::measure::clock::{MS, SECOND, now_ns, offset_ns};
use ringmq::net::{Poller, Watch};
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};
use std::io;
use std::os::fd::OwnedFd;

/// The slot that the timer's events carry.
pub const TIMER_SLOT: u32 = u32::MAX;
/// How often an executor lets its other tasks run.
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
    pub fn new(watch: &Watch) -> io::Result<Sleeper> {
        let flags = TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK;
        let timer = timerfd_create(TimerfdClockId::Monotonic, flags)?;
        watch.add_connection(&timer, TIMER_SLOT)?;
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
            return Ok(poller.wait(Some(0))?.len());
        }
        self.arm(until_ns)?;
        Ok(poller.wait(None)?.len())
    }

    fn arm(&mut self, until_ns: u64) -> io::Result<()> {
        if self.armed_ns == until_ns {
            return Ok(());
        }
        self.armed_ns = until_ns;
        // The timer goes by this host's own clock.
        let until_ns = until_ns.saturating_add_signed(-offset_ns());
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
