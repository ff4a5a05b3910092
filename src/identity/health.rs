//! Whether a source can be asked. One question that has no answer may be the fault of who is asked
//! about; after some in a row it is the source's. While it cannot be asked, one question at a time
//! is let through to see whether it is back, and all others are answered at once: threads that wait
//! for a dead database are threads that others wait for.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Between two looks at a source that is down; the time grows from the first to the second.
const PROBE_FIRST: Duration = Duration::from_millis(250);
const PROBE_LAST: Duration = Duration::from_secs(2);

/// Questions in a row without an answer after which nobody else is kept waiting for one.
const FAILURES_MAX: u32 = 3;

/// A source as its questions found it.
#[derive(Default)]
pub struct Health(Mutex<Option<Down>>);

/// A source that cannot be asked.
#[derive(Clone, Debug)]
pub struct Down {
    pub since: Instant,
    pub why: String,
    failures: u32,
    probe_at: Instant,
    pause: Duration,
}

/// What a question does to the state that others see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    Unchanged,
    WentDown,
    /// After this long.
    CameBack(Duration),
}

impl Health {
    /// Whether a question may be put at `now`; while the source is down, it is the one that finds
    /// out.
    ///
    /// # Errors
    /// Why the source cannot be asked.
    pub fn admit(&self, now: Instant) -> Result<(), String> {
        let mut state = self.lock();
        let Some(down) = &mut *state else {
            return Ok(());
        };
        if down.failures < FAILURES_MAX {
            return Ok(());
        }
        if now < down.probe_at {
            return Err(down.why.clone());
        }
        down.pause = (down.pause * 2).min(PROBE_LAST);
        down.probe_at = now + down.pause;
        Ok(())
    }

    /// The source could not answer.
    pub fn fail(&self, now: Instant, why: &str) -> Turn {
        let mut state = self.lock();
        match &mut *state {
            Some(down) => {
                down.why = why.into();
                down.failures = down.failures.saturating_add(1);
                if down.failures == FAILURES_MAX {
                    down.probe_at = now + PROBE_FIRST;
                }
                Turn::Unchanged
            }
            None => {
                *state = Some(Down {
                    since: now,
                    why: why.into(),
                    failures: 1,
                    probe_at: now + PROBE_FIRST,
                    pause: PROBE_FIRST,
                });
                Turn::WentDown
            }
        }
    }

    /// The source has answered.
    pub fn succeed(&self, now: Instant) -> Turn {
        match self.lock().take() {
            Some(down) => Turn::CameBack(now.saturating_duration_since(down.since)),
            None => Turn::Unchanged,
        }
    }

    /// Since when and why it is down.
    pub fn down(&self) -> Option<Down> {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Option<Down>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_question_at_a_time_looks_whether_it_is_back() {
        let health = Health::default();
        let start = Instant::now();
        assert_eq!(health.admit(start), Ok(()));
        assert_eq!(health.fail(start, "gone"), Turn::WentDown);
        for _ in 1..FAILURES_MAX {
            assert!(health.admit(start).is_ok() && health.down().is_some());
            assert_eq!(health.fail(start, "gone"), Turn::Unchanged);
        }
        assert_eq!(health.admit(start), Err("gone".into()));
        let mut probes = 0;
        for ms in (0..10_000).step_by(10) {
            let now = start + Duration::from_millis(ms);
            if health.admit(now).is_ok() {
                probes += 1;
                assert_eq!(health.fail(now, "still gone"), Turn::Unchanged);
            }
        }
        assert!((4..=10).contains(&probes), "{probes}");
        let end = start + Duration::from_secs(10);
        assert_eq!(health.succeed(end), Turn::CameBack(Duration::from_secs(10)));
        assert!(health.admit(end).is_ok() && health.down().is_none());
    }

    #[test]
    fn nobody_is_kept_out_by_what_fails_for_others() {
        let health = Health::default();
        let now = Instant::now();
        for _ in 0..100 {
            for _ in 1..FAILURES_MAX {
                health.fail(now, "a name that it stumbles over");
            }
            assert_eq!(health.admit(now), Ok(()));
            health.succeed(now);
        }
    }
}
