//! Passwords that were found to fit what a source has stored, so that the same comparison is not
//! made again: a slow hash is a function of what goes in, and nothing that changes elsewhere can
//! make its result wrong. Where the stored text is another, so is the question.
//!
//! What is kept is a keyed hash, under a key that never leaves the process.

use crate::auth::PasswordFormat;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use std::collections::HashSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// What was not asked for so long is forgotten, within twice this.
const LIFE: Duration = Duration::from_secs(24 * 3600);

/// The comparisons that came out well, of which those that were asked for last are kept.
pub struct Fits {
    key: Hmac<Sha256>,
    /// Comparisons that had to be made.
    made: AtomicU64,
    state: Mutex<State>,
}

/// A comparison, under the key of the process.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fit([u8; 16]);

struct State {
    entries_max: usize,
    /// Those that were asked for since the last turn, and between that and the one before.
    young: HashSet<Fit>,
    old: HashSet<Fit>,
    turned: Instant,
}

impl Fits {
    /// Empty, under this key. None is kept beyond `entries_max`.
    pub fn new(key: &[u8; 32], entries_max: usize) -> Fits {
        Fits {
            key: Hmac::new_from_slice(key).expect("HMAC takes keys of any length"),
            made: AtomicU64::new(0),
            state: Mutex::new(State {
                entries_max,
                young: HashSet::new(),
                old: HashSet::new(),
                turned: Instant::now(),
            }),
        }
    }

    /// Another bound from now on; zero: nothing is kept.
    pub fn configure(&self, entries_max: usize) {
        let mut state = self.lock();
        state.entries_max = entries_max;
        if entries_max == 0 {
            (state.young, state.old) = Default::default();
        }
    }

    /// The comparison of `shown` with what is stored.
    pub fn fit(
        &self,
        format: PasswordFormat,
        shown: &[u8],
        stored: &str,
        salt: Option<&str>,
    ) -> Fit {
        let mut mac = self.key.clone();
        let format = format.to_string();
        let fields = [
            Some(format.as_bytes()),
            Some(shown),
            Some(stored.as_bytes()),
        ];
        for field in fields.into_iter().chain([salt.map(str::as_bytes)]) {
            // Its length before each, so that no two lists of fields are the same bytes.
            let length = field.map_or(u64::MAX, |bytes| bytes.len() as u64);
            mac.update(&length.to_le_bytes());
            mac.update(field.unwrap_or_default());
        }
        let whole = mac.finalize().into_bytes();
        let mut fit = [0; 16];
        fit.copy_from_slice(&whole[..16]);
        Fit(fit)
    }

    /// Whether it is known to come out well.
    pub fn has(&self, fit: &Fit) -> bool {
        let mut state = self.lock();
        if state.young.contains(fit) {
            return true;
        }
        let is_known = state.old.remove(fit);
        if is_known {
            state.young.insert(*fit);
        }
        is_known
    }

    /// It is made.
    pub fn count(&self) {
        self.made.fetch_add(1, Ordering::Relaxed);
    }

    /// Comparisons that had to be made, over all time, however they came out.
    pub fn made(&self) -> u64 {
        self.made.load(Ordering::Relaxed)
    }

    /// It has come out well.
    pub fn keep(&self, fit: Fit) {
        let mut state = self.lock();
        if state.entries_max == 0 {
            return;
        }
        if state.young.len() >= state.entries_max.div_ceil(2) || state.turned.elapsed() >= LIFE {
            state.old = std::mem::take(&mut state.young);
            state.turned = Instant::now();
        }
        state.young.insert(fit);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic while it is locked cannot leave a set half written.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fit_of(fits: &Fits, shown: &str, stored: &str, salt: Option<&str>) -> Fit {
        fits.fit(PasswordFormat::Bcrypt, shown.as_bytes(), stored, salt)
    }

    #[test]
    fn the_same_comparison_and_no_other() {
        let fits = Fits::new(&[7; 32], 10);
        fits.keep(fit_of(&fits, "p", "stored", None));
        assert!(fits.has(&fit_of(&fits, "p", "stored", None)));
        for (shown, stored, salt) in [
            ("P", "stored", None),
            ("p", "Stored", None),
            ("p", "stored", Some("")),
            ("ps", "tored", None),
        ] {
            assert!(!fits.has(&fit_of(&fits, shown, stored, salt)));
        }
        let other = fits.fit(PasswordFormat::Argon2, b"p", "stored", None);
        assert!(!fits.has(&other));
        let elsewhere = Fits::new(&[8; 32], 10);
        assert!(fit_of(&elsewhere, "p", "stored", None) != fit_of(&fits, "p", "stored", None));
    }

    #[test]
    fn bounded_and_the_last_asked_for_stay() {
        let fits = Fits::new(&[7; 32], 100);
        let number = |i: usize| fit_of(&fits, "p", &i.to_string(), None);
        for i in 0..1000 {
            fits.keep(number(i));
            assert!(fits.has(&number(0)), "asked for all the time");
        }
        let kept = (0..1000).filter(|&i| fits.has(&number(i))).count();
        assert!((50..=101).contains(&kept), "{kept}");
        assert!(fits.has(&number(999)) && !fits.has(&number(1)));
        fits.configure(0);
        fits.keep(number(1));
        assert!(!fits.has(&number(1)) && !fits.has(&number(999)));
    }
}
