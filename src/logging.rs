//! The log: lines on standard error, their level changed while running, and a limit on how many
//! lines one place in the code may write, so that a flood of bad clients is no flood of lines.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Filtered;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::reload::Handle;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, Registry, fmt, reload};

static LEVEL: OnceLock<Handle<LevelFilter, Registry>> = OnceLock::new();

/// Starts the log of this process at `level`; from then on only the level changes.
pub fn init(level: LevelFilter) {
    let (filter, handle) = reload::Layer::new(level);
    let lines = fmt::layer()
        .with_writer(std::io::stderr)
        .with_target(false)
        .with_ansi(false)
        .log_internal_errors(false);
    let layer: Filtered<_, _, Registry> = lines.with_filter(filter);
    // Refused when there is a log already, as in a test that starts two brokers: keep that one.
    if tracing_subscriber::registry()
        .with(layer)
        .try_init()
        .is_ok()
    {
        let _ = LEVEL.set(handle);
    }
}

/// Changes the level from now on.
pub fn set_level(level: LevelFilter) {
    if let Some(handle) = LEVEL.get() {
        // Refused only while the log itself is being torn down.
        let _ = handle.reload(level);
    }
}

/// Admits at most so many events a second. One stands behind each use of [`log_limited!`].
pub struct Limiter {
    lines_per_s: u32,
    /// The second in the upper half, the events in it in the lower.
    window: AtomicU64,
    suppressed: AtomicU64,
}

impl Limiter {
    pub const fn new(lines_per_s: u32) -> Self {
        Self {
            lines_per_s,
            window: AtomicU64::new(0),
            suppressed: AtomicU64::new(0),
        }
    }

    /// Whether this event may be logged now, and if so how many were not since the last one.
    pub fn admit(&self) -> Option<u64> {
        static START: OnceLock<Instant> = OnceLock::new();
        self.admit_at(START.get_or_init(Instant::now).elapsed().as_secs())
    }

    /// As [`Self::admit`], in a second of the caller's clock.
    pub fn admit_at(&self, second: u64) -> Option<u64> {
        // Second 0 is shifted so that a fresh limiter has no window yet.
        let second = (second + 1) & u64::from(u32::MAX);
        let count = |window: u64| {
            let events = if window >> 32 == second {
                window & u64::from(u32::MAX)
            } else {
                0
            };
            Some(second << 32 | (events + 1).min(u64::from(u32::MAX)))
        };
        let before = self
            .window
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, count);
        // The closure always gives a value, so both arms hold the window from before.
        let (Ok(before) | Err(before)) = before;
        let events = if before >> 32 == second {
            before & u64::from(u32::MAX)
        } else {
            0
        };
        if events < u64::from(self.lines_per_s) {
            return Some(self.suppressed.swap(0, Ordering::Relaxed));
        }
        self.suppressed.fetch_add(1, Ordering::Relaxed);
        None
    }
}

/// Logs like `tracing::warn!` and its kin, at most `$lines` lines a second from this place:
/// `log_limited!(warn, 5, "{peer}: not MQTT")`. The next line that passes says how many did not.
#[macro_export]
macro_rules! log_limited {
    ($level:ident, $lines:expr, $($words:tt)+) => {{
        static LIMITER: $crate::logging::Limiter = $crate::logging::Limiter::new($lines);
        match LIMITER.admit() {
            Some(0) => ::tracing::$level!("{}", ::std::format_args!($($words)+)),
            Some(left_out) => ::tracing::$level!(
                "{} ({left_out} lines like this were left out before it)",
                ::std::format_args!($($words)+)
            ),
            None => {}
        }
    }};
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_has_its_lines_and_the_next_says_what_was_left_out() {
        let limiter = Limiter::new(2);
        let admitted: Vec<_> = (0..5).map(|_| limiter.admit_at(0)).collect();
        assert_eq!(admitted, [Some(0), Some(0), None, None, None]);
        assert_eq!(limiter.admit_at(1), Some(3));
        assert_eq!(limiter.admit_at(1), Some(0));
        assert_eq!(limiter.admit_at(1), None);
        assert_eq!(limiter.admit_at(9), Some(1));
    }

    #[test]
    fn the_macro_takes_levels_and_formats() {
        let peer = "10.0.0.7";
        log_limited!(warn, 5, "{peer}: not MQTT");
        log_limited!(debug, 1, "{} {}", 1, peer);
    }
}
