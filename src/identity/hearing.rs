//! Whether a source hears of what changes.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// How long a verdict may rest on nothing having been heard. That nothing was heard says only as
/// much as what tells of changes is set up right, and nobody should find out after a year.
const HEARD_MAX: Duration = Duration::from_secs(24 * 3600);

/// A source's ear: as long as it hears, what was remembered of it is right until something else is
/// heard. Shards ask it on their threads.
#[derive(Debug)]
pub struct Ear {
    born: Instant,
    /// Since when it hears nothing, in milliseconds of its life, and one more; 0: it hears.
    silent_since: AtomicU64,
}

impl Ear {
    /// One that does not hear yet.
    pub fn deaf() -> Arc<Ear> {
        Arc::new(Ear {
            born: Instant::now(),
            silent_since: AtomicU64::new(1),
        })
    }

    /// One that hears all its life: whatever changes, changes through us.
    pub fn sharp() -> Arc<Ear> {
        let ear = Ear::deaf();
        ear.begin();
        ear
    }

    /// It hears from now on.
    pub fn begin(&self) {
        self.silent_since.store(0, Ordering::Release);
    }

    /// It hears nothing from now on. Once it has been silent it is since the first time.
    pub fn end(&self) {
        let life_ms = self.born.elapsed().as_millis() as u64;
        let silent = 1 + life_ms;
        // It may have been silent before.
        let _ = self
            .silent_since
            .compare_exchange(0, silent, Ordering::AcqRel, Ordering::Relaxed);
    }

    pub fn hears(&self) -> bool {
        self.silent_since().is_none()
    }

    /// Until when something is good that was right at `since`, where it would be for `life` without
    /// an ear.
    pub fn good_until(&self, since: Instant, life: Duration) -> Instant {
        match self.silent_since() {
            None => since + life.max(HEARD_MAX),
            Some(silent) => self.right_until(since, silent) + life,
        }
    }

    /// When it was last known that something was right that was at `since`.
    pub fn last_right(&self, since: Instant) -> Instant {
        self.silent_since()
            .map_or_else(Instant::now, |silent| self.right_until(since, silent))
    }

    fn right_until(&self, since: Instant, silent: Instant) -> Instant {
        since.max(silent.min(since + HEARD_MAX))
    }

    fn silent_since(&self) -> Option<Instant> {
        match self.silent_since.load(Ordering::Acquire) {
            0 => None,
            ms => Some(self.born + Duration::from_millis(ms - 1)),
        }
    }
}

/// Each is only what it is.
impl PartialEq for Ear {
    fn eq(&self, other: &Ear) -> bool {
        std::ptr::eq(self, other)
    }
}

impl Eq for Ear {}

#[cfg(test)]
mod tests {
    use super::*;

    const LIFE: Duration = Duration::from_secs(300);
    const HOUR: Duration = Duration::from_secs(3600);

    #[test]
    fn what_is_heard_of_lasts() {
        let (ear, now) = (Ear::deaf(), Instant::now());
        let before = now + HOUR;
        assert_eq!(ear.good_until(before, LIFE), before + LIFE);
        ear.begin();
        assert!(ear.hears());
        assert_eq!(ear.good_until(now, LIFE), now + HEARD_MAX);
        assert_eq!(ear.good_until(now, 2 * HEARD_MAX), now + 2 * HEARD_MAX);
        ear.end();
        let end = ear.good_until(now, LIFE);
        assert!(end >= now + LIFE && end <= Instant::now() + LIFE);
        // Silent is silent.
        ear.end();
        assert_eq!(ear.good_until(now, LIFE), end);
        assert_eq!(
            ear.good_until(before, LIFE),
            before + LIFE,
            "verified since"
        );
    }

    #[test]
    fn an_ear_is_itself_alone() {
        let (one, other) = (Ear::sharp(), Ear::sharp());
        assert_eq!(one, one);
        assert_ne!(one, other);
    }
}
