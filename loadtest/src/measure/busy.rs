//! What a thread got of the processors: how much it used, and how long it waited for one.

use super::clock::{now_ns, thread_cpu_ns};
use serde::{Deserialize, Serialize};

/// Shares of a span of time. What is left of it the thread slept, for want of work.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Busy {
    /// It ran.
    pub used: f64,
    /// It was to run and others did; 0 where the kernel does not say it.
    pub waited: f64,
}

/// Counts from when it is started, for the thread that starts it.
#[derive(Clone, Copy, Debug)]
pub struct Stopwatch {
    at_ns: u64,
    used_ns: u64,
    waited_ns: u64,
}

impl Stopwatch {
    pub fn start() -> Stopwatch {
        Stopwatch {
            at_ns: now_ns(),
            used_ns: thread_cpu_ns(),
            waited_ns: waited_ns(),
        }
    }

    pub fn read(&self) -> Busy {
        let now = Stopwatch::start();
        let span_ns = now.at_ns.saturating_sub(self.at_ns).max(1) as f64;
        Busy {
            used: now.used_ns.saturating_sub(self.used_ns) as f64 / span_ns,
            waited: now.waited_ns.saturating_sub(self.waited_ns) as f64 / span_ns,
        }
    }

    /// Nanoseconds since the start.
    pub fn span_ns(&self) -> u64 {
        now_ns().saturating_sub(self.at_ns)
    }
}

impl Busy {
    /// The share of the time in which there was work.
    pub fn all(&self) -> f64 {
        self.used + self.waited
    }

    /// That of the busier of two threads.
    pub fn max(self, other: Busy) -> Busy {
        match self.all() < other.all() {
            true => other,
            false => self,
        }
    }
}

/// The second field of /proc/thread-self/schedstat: nanoseconds in a run queue.
fn waited_ns() -> u64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let field = text.split_whitespace().nth(1);
    field.and_then(|field| field.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_used_and_waited_for_is_time() {
        let watch = Stopwatch::start();
        while thread_cpu_ns() < watch.used_ns + 20_000_000 {}
        let busy = watch.read();
        assert!(busy.used > 0.0 && busy.all() < 1.1, "{busy:?}");
        assert!(
            busy.used * watch.span_ns() as f64 >= 19_000_000.0,
            "{busy:?}"
        );
    }

    #[test]
    fn the_busier_counts() {
        let (a, b) = (
            Busy {
                used: 0.5,
                waited: 0.0,
            },
            Busy {
                used: 0.3,
                waited: 0.4,
            },
        );
        assert_eq!((a.max(b), b.max(a)), (b, b));
    }
}
