//! How fast one may be wrong, and how fast one may come and go.
//!
//! Failures are counted for a user at an address, and, with a higher bound, for the address: many
//! clients may stand behind one, and nobody may lock a user out who connects from elsewhere. Who
//! is held off longer after each hold, up to a bound. Connects are counted by client id.

use crate::auth::AuthRequest;
use crate::auth::scram::{self, First, Pending};
use crate::limits::GUARD_ENTRIES_MAX;
use std::borrow::Cow;
use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, Instant};

const STRIPES: usize = 16;
/// Failures of an address beyond those of one user at it.
const ADDRESS_FACTOR: u32 = 10;
/// Longest hold, in multiples of the first.
const HOLD_FACTOR_MAX: u32 = 32;

/// What is configured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PaceOptions {
    /// Failures of a user at an address within the window; 0: any.
    pub failures_max: u32,
    /// Connects of a client id within the window; 0: any.
    pub connects_max: u32,
    pub window: Duration,
    /// How long the first hold lasts.
    pub hold: Duration,
}

/// The counts of the process.
pub struct Pace {
    options: RwLock<PaceOptions>,
    stripes: Box<[Mutex<HashMap<u64, Count>>]>,
    hasher: RandomState,
}

#[derive(Clone, Copy)]
struct Count {
    since: Instant,
    times: u32,
    /// Holds in a row.
    holds: u32,
    held_until: Instant,
}

impl Pace {
    pub fn new(options: PaceOptions) -> Pace {
        Pace {
            options: RwLock::new(options),
            stripes: (0..STRIPES).map(|_| Mutex::default()).collect(),
            hasher: RandomState::new(),
        }
    }

    /// Other bounds from now on.
    pub fn configure(&self, options: PaceOptions) {
        *self.options.write().unwrap_or_else(PoisonError::into_inner) = options;
    }

    /// Whether this user, or everybody, is held off at this address because of failures.
    pub fn is_held(&self, request: &AuthRequest, now: Instant) -> bool {
        let held = |key: u64| {
            self.stripe(key)
                .get(&key)
                .is_some_and(|c| c.held_until > now)
        };
        self.options().failures_max > 0
            && (held(self.address(request.peer.ip())) || held(self.user(request)))
    }

    /// A connect of a client; true: it comes too often and is held off.
    pub fn connects(&self, request: &AuthRequest, now: Instant) -> bool {
        let options = self.options();
        if options.connects_max == 0 {
            return false;
        }
        let key = self.hasher.hash_one((2u8, &*request.client_id));
        self.count(key, options.connects_max, now)
    }

    /// A wrong password, or a name that nobody knows.
    pub fn failed(&self, request: &AuthRequest, now: Instant) {
        let max = self.options().failures_max;
        if max > 0 {
            self.count(self.user(request), max, now);
            self.count(
                self.address(request.peer.ip()),
                max.saturating_mul(ADDRESS_FACTOR),
                now,
            );
        }
    }

    /// A right password: what was wrong before is forgotten of this user at this address.
    pub fn succeeded(&self, request: &AuthRequest) {
        let key = self.user(request);
        self.stripe(key).remove(&key);
    }

    /// Counts one; true: held off, by this one or since earlier.
    fn count(&self, key: u64, max: u32, now: Instant) -> bool {
        let options = self.options();
        let mut stripe = self.stripe(key);
        if stripe.len() >= GUARD_ENTRIES_MAX / STRIPES && !stripe.contains_key(&key) {
            let over =
                |count: &Count| count.held_until <= now && now - count.since > options.window;
            stripe.retain(|_, count| !over(count));
            if stripe.len() >= GUARD_ENTRIES_MAX / STRIPES {
                // Whoever floods the table lets nobody out who is held off.
                stripe.retain(|_, count| count.held_until > now);
            }
            if stripe.len() >= GUARD_ENTRIES_MAX / STRIPES {
                stripe.clear();
            }
        }
        let count = stripe.entry(key).or_insert(Count {
            since: now,
            times: 0,
            holds: 0,
            held_until: now,
        });
        if count.held_until > now {
            return true;
        }
        if now.saturating_duration_since(count.since) > options.window {
            // A quiet window forgives one hold.
            count.holds = count.holds.saturating_sub(u32::from(count.times <= max));
            (count.since, count.times) = (now, 0);
        }
        count.times += 1;
        if count.times <= max {
            return false;
        }
        let factor = 2u32.saturating_pow(count.holds).min(HOLD_FACTOR_MAX);
        count.holds += 1;
        count.held_until = now + options.hold * factor;
        (count.since, count.times) = (count.held_until, 0);
        true
    }

    fn user(&self, request: &AuthRequest) -> u64 {
        let name = claimed(request);
        self.hasher
            .hash_one((1u8, request.peer.ip(), name.as_deref()))
    }

    fn address(&self, ip: IpAddr) -> u64 {
        // A host has a whole network of 64 bits to choose its IPv6 address from.
        let network = match ip {
            IpAddr::V4(ip) => u64::from(u32::from(ip)),
            IpAddr::V6(ip) => (u128::from(ip) >> 64) as u64,
        };
        self.hasher.hash_one((0u8, ip.is_ipv6(), network))
    }

    fn stripe(&self, key: u64) -> MutexGuard<'_, HashMap<u64, Count>> {
        let stripe = &self.stripes[key as usize % STRIPES];
        stripe.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn options(&self) -> PaceOptions {
        *self.options.read().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Who a client says it is. In SCRAM that stands in its first message, and user names of CONNECT
/// count for nothing: whoever gave another there each time would guess as often as it likes.
fn claimed(request: &AuthRequest) -> Option<Cow<'_, str>> {
    let given = request.username.as_deref().map(Cow::from);
    if request.method.as_deref() != Some(scram::METHOD) {
        return given;
    }
    let name = match (&request.state, &request.data) {
        (Some(state), _) => Pending::restore(state).map(|pending| pending.name),
        (None, Some(data)) => First::parse(data).ok().map(|first| first.name),
        (None, None) => None,
    };
    name.map(Cow::from).or(given)
}

#[cfg(test)]
mod tests {
    use super::super::super::source::tests::question;
    use super::*;
    use crate::auth::scram::Credential;

    fn pace() -> Pace {
        Pace::new(PaceOptions {
            failures_max: 3,
            connects_max: 3,
            window: Duration::from_secs(60),
            hold: Duration::from_secs(10),
        })
    }

    #[test]
    fn a_guesser_is_held_off_longer_each_time_and_nobody_else_is() {
        let pace = pace();
        let mut now = Instant::now();
        let asked = question("u", "wrong", "c");
        let mut elsewhere = asked.clone();
        elsewhere.peer.address = "10.9.9.9:1".parse().unwrap();
        for hold_s in [10, 20, 40] {
            for _ in 0..3 {
                pace.failed(&asked, now);
                assert!(!pace.is_held(&asked, now));
            }
            pace.failed(&asked, now);
            assert!(pace.is_held(&asked, now));
            assert!(!pace.is_held(&elsewhere, now));
            assert!(!pace.is_held(&question("v", "p", "c"), now));
            now += Duration::from_secs(hold_s - 1);
            assert!(pace.is_held(&asked, now));
            now += Duration::from_secs(1);
            assert!(!pace.is_held(&asked, now));
        }
        pace.failed(&asked, now);
        pace.succeeded(&asked);
        for _ in 0..3 {
            pace.failed(&asked, now);
        }
        assert!(!pace.is_held(&asked, now));
    }

    #[test]
    fn scram_counts_for_the_name_in_its_messages() {
        let pace = pace();
        let now = Instant::now();
        let mut first = question("claims another", "", "c");
        first.password = None;
        first.method = Some(scram::METHOD.into());
        first.data = Some(b"n,,n=u,r=nonce"[..].into());
        let parsed = First::parse(b"n,,n=u,r=nonce").expect("a first message");
        let (_, pending) = parsed.challenge(&Credential::of("p", b"salt", 1), "more");
        let mut last = first.clone();
        (last.data, last.state) = (Some(b"c=biws"[..].into()), Some(pending.keep()));
        for i in 0..4 {
            last.username = Some(i.to_string().into());
            assert!(!pace.is_held(&last, now) && !pace.is_held(&first, now));
            pace.failed(&last, now);
        }
        assert!(pace.is_held(&last, now) && pace.is_held(&first, now));
        assert!(pace.is_held(&question("u", "p", "c"), now), "by password");
        first.data = Some(b"n,,n=v,r=nonce"[..].into());
        assert!(!pace.is_held(&first, now));
        pace.succeeded(&last);
        assert!(!pace.is_held(&question("u", "p", "c"), now));
    }

    #[test]
    fn guessing_many_users_holds_the_address() {
        let pace = pace();
        let now = Instant::now();
        for i in 0..31 {
            pace.failed(&question(&format!("u{i}"), "x", "c"), now);
        }
        assert!(pace.is_held(&question("other", "x", "c"), now));
    }

    #[test]
    fn coming_and_going_is_counted_by_client() {
        let pace = pace();
        let now = Instant::now();
        let asked = question("u", "p", "c");
        let held: Vec<bool> = (0..5).map(|_| pace.connects(&asked, now)).collect();
        assert_eq!(held, [false, false, false, true, true]);
        assert!(!pace.connects(&question("u", "p", "d"), now));
        assert!(!pace.connects(&asked, now + Duration::from_secs(10)));
        let slow = question("u", "p", "slow");
        for minutes in 0..10 {
            assert!(!pace.connects(&slow, now + Duration::from_secs(60 * minutes)));
        }
    }

    #[test]
    fn a_flood_of_names_lets_nobody_out() {
        let pace = pace();
        let now = Instant::now();
        let guesser = question("u", "wrong", "c");
        for _ in 0..4 {
            pace.failed(&guesser, now);
        }
        assert!(pace.is_held(&guesser, now));
        for i in 0..2 * GUARD_ENTRIES_MAX {
            pace.connects(&question("u", "p", &i.to_string()), now);
        }
        assert!(pace.is_held(&guesser, now));
    }

    #[test]
    fn bounded() {
        let pace = pace();
        let now = Instant::now();
        for i in 0..2 * GUARD_ENTRIES_MAX {
            pace.connects(&question("u", "p", &i.to_string()), now);
        }
        let len: usize = pace
            .stripes
            .iter()
            .map(|stripe| stripe.lock().unwrap().len())
            .sum();
        assert!(len <= GUARD_ENTRIES_MAX, "{len}");
    }
}
