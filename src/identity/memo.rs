//! Verified passwords, so that a client that comes back costs no hash and no query.
//!
//! One is good until its time is over. Where its source hears of what changes (see [`Ear`]), that
//! time begins only when it hears no more. Once it hears again nobody knows what it has missed:
//! what was remembered until then is *doubted*, which is to say that the source is asked, and that
//! it is good only where the source cannot say.
//!
//! A password is remembered as a keyed hash, under a key that never leaves the process and is made
//! anew with each: what lies here can be compared, and says nothing elsewhere. Shards look things
//! up on their own threads, so locks are many and held shortly.

use super::hearing::Ear;
use super::source::Scope;
use crate::auth::{AuthRequest, Grant, Whom};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU8, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

const STRIPES: usize = 64;

/// What was verified, until its time is over or something changes.
pub struct Memo {
    key: Hmac<Sha256>,
    stripes: Box<[Mutex<HashMap<Tag, Entry>>]>,
    entries_max: AtomicUsize,
    life_s: AtomicU32,
    /// Scopes that were ever used, a bit each: only these are looked for.
    scopes: AtomicU8,
}

/// A question's names and password under the key of the process.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Tag([u8; 16]);

struct Entry {
    /// When it was right.
    since: Instant,
    ear: Option<Arc<Ear>>,
    is_doubted: bool,
    scope: Scope,
    username: Tag,
    client_id: Tag,
    grant: Arc<Grant>,
}

/// What is known of a question.
pub struct Found {
    pub grant: Arc<Grant>,
    /// It may have changed since.
    pub is_doubted: bool,
}

impl Entry {
    fn is_good(&self, now: Instant, life: Duration) -> bool {
        let end = match &self.ear {
            Some(ear) => ear.good_until(self.since, life),
            None => self.since + life,
        };
        now < end
    }
}

impl Memo {
    /// Empty, under this key. `life`: how long a password is good; zero: nothing is remembered.
    pub fn new(key: &[u8; 32], entries_max: usize, life: Duration) -> Memo {
        let memo = Memo {
            key: Hmac::new_from_slice(key).expect("HMAC takes keys of any length"),
            stripes: (0..STRIPES).map(|_| Mutex::default()).collect(),
            entries_max: AtomicUsize::new(0),
            life_s: AtomicU32::new(0),
            scopes: AtomicU8::new(0),
        };
        memo.configure(entries_max, life);
        memo
    }

    /// Other bounds from now on.
    pub fn configure(&self, entries_max: usize, life: Duration) {
        let life_s = u32::try_from(life.as_secs()).unwrap_or(u32::MAX);
        self.entries_max.store(entries_max, Ordering::Relaxed);
        self.life_s.store(life_s, Ordering::Relaxed);
        if life_s == 0 {
            self.forget(&Whom::everybody());
        }
    }

    /// What was granted to this user with this password, if that is known and still holds.
    pub fn find(&self, question: &AuthRequest) -> Option<Arc<Grant>> {
        match self.look_up(question) {
            Some(found) if !found.is_doubted => Some(found.grant),
            _ => None,
        }
    }

    /// The same, whether or not it is doubted.
    pub fn look_up(&self, question: &AuthRequest) -> Option<Found> {
        let scopes = self.scopes.load(Ordering::Relaxed);
        if scopes == 0 || !is_password(question) {
            return None;
        }
        let (now, life) = (Instant::now(), self.life());
        Scope::ALL
            .into_iter()
            .filter(|scope| scopes & 1 << scope.index() != 0)
            .find_map(|scope| {
                let tag = self.tag(question, scope);
                let stripe = self.stripe(tag);
                let entry = stripe.get(&tag).filter(|entry| entry.is_good(now, life))?;
                let is_over = |end: u64| end <= unix_s();
                let grant = entry.grant.clone();
                let is_doubted = entry.is_doubted;
                let found = Found { grant, is_doubted };
                (!found.grant.expires_unix_s.is_some_and(is_over)).then_some(found)
            })
    }

    /// Remembers that this password was right: for a time, and as long as `ear` hears.
    pub fn keep(
        &self,
        question: &AuthRequest,
        (scope, ear): (Scope, Option<&Arc<Ear>>),
        grant: Grant,
    ) {
        let (now, life) = (Instant::now(), self.life());
        if life.is_zero() || !is_password(question) {
            return;
        }
        let tag = self.tag(question, scope);
        let entry = Entry {
            since: now,
            ear: ear.cloned(),
            is_doubted: false,
            scope,
            username: self.name(b'u', question.username.as_deref().unwrap_or("")),
            client_id: self.name(b'c', &question.client_id),
            grant: Arc::new(grant),
        };
        self.scopes.fetch_or(1 << scope.index(), Ordering::Relaxed);
        let max = self.entries_max.load(Ordering::Relaxed).div_ceil(STRIPES);
        let mut stripe = self.stripe(tag);
        if stripe.len() >= max && !stripe.contains_key(&tag) {
            stripe.retain(|_, entry| entry.is_good(now, life));
        }
        if stripe.len() >= max
            && let Some(&any) = stripe.keys().next()
        {
            stripe.remove(&any);
        }
        if max > 0 {
            stripe.insert(tag, entry);
        }
    }

    /// Whoever is asked now must be believed: what is doubted of this question is dropped.
    pub fn drop_doubted(&self, question: &AuthRequest) {
        for scope in Scope::ALL {
            let tag = self.tag(question, scope);
            let mut stripe = self.stripe(tag);
            if stripe.get(&tag).is_some_and(|entry| entry.is_doubted) {
                stripe.remove(&tag);
            }
        }
    }

    /// Doubts all that rests on this ear: it hears again, and nobody knows what it has missed.
    pub fn doubt(&self, ear: &Arc<Ear>) {
        for stripe in &self.stripes {
            for entry in lock(stripe).values_mut() {
                if entry.ear.as_ref() == Some(ear) {
                    entry.since = ear.last_right(entry.since);
                    entry.ear = None;
                    entry.is_doubted = true;
                }
            }
        }
    }

    /// Drops what may not hold for these any more.
    pub fn forget(&self, whom: &Whom) {
        let users: Vec<Tag> = whom
            .users
            .iter()
            .map(|name| self.name(b'u', name))
            .collect();
        let clients: Vec<Tag> = whom.clients.iter().map(|id| self.name(b'c', id)).collect();
        let by_address = !whom.addresses.is_empty();
        let meant = |entry: &Entry| {
            whom.everybody
                || users.contains(&entry.username)
                || entry.scope.client_id && clients.contains(&entry.client_id)
                || entry.scope.address && by_address
        };
        for stripe in &self.stripes {
            let mut stripe = lock(stripe);
            stripe.retain(|_, entry| !meant(entry));
            if stripe.capacity() > 1024 && stripe.capacity() > 4 * stripe.len() {
                stripe.shrink_to_fit();
            }
        }
    }

    /// How many passwords are remembered.
    pub fn len(&self) -> usize {
        self.stripes.iter().map(|stripe| lock(stripe).len()).sum()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// A question as others can be the same: with `scope`, those for which one answer holds.
    pub fn tag(&self, question: &AuthRequest, scope: Scope) -> Tag {
        let mut mac = self.key.clone();
        mac.update(&[b'p', scope.index() as u8]);
        let mut field = |bytes: Option<&[u8]>| {
            // Its length before each, so that no two lists of fields are the same bytes.
            mac.update(
                &bytes
                    .map_or(u64::MAX, |bytes| bytes.len() as u64)
                    .to_le_bytes(),
            );
            mac.update(bytes.unwrap_or_default());
        };
        field(question.username.as_deref().map(str::as_bytes));
        field(question.password.as_deref());
        field(scope.client_id.then_some(question.client_id.as_bytes()));
        let address = question.peer.ip().to_string();
        field(scope.address.then_some(address.as_bytes()));
        truncated(mac)
    }

    fn life(&self) -> Duration {
        Duration::from_secs(self.life_s.load(Ordering::Relaxed).into())
    }

    fn name(&self, kind: u8, name: &str) -> Tag {
        let mut mac = self.key.clone();
        mac.update(&[kind]);
        mac.update(name.as_bytes());
        truncated(mac)
    }

    fn stripe(&self, tag: Tag) -> MutexGuard<'_, HashMap<Tag, Entry>> {
        lock(&self.stripes[usize::from(tag.0[0]) % STRIPES])
    }
}

/// Whether a question is one that the same password answers again.
pub(super) fn is_password(question: &AuthRequest) -> bool {
    question.password.is_some()
        && question.method.is_none()
        && question.step == crate::auth::AuthStep::Connect
}

fn unix_s() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}

fn truncated(mac: Hmac<Sha256>) -> Tag {
    let whole = mac.finalize().into_bytes();
    let mut tag = [0; 16];
    tag.copy_from_slice(&whole[..16]);
    Tag(tag)
}

/// A panic while a stripe is locked cannot leave an entry half written.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::super::source::tests::question;
    use super::*;

    const PLAIN: (Scope, Option<&Arc<Ear>>) = (Scope::of(false, false), None);

    fn memo(entries_max: usize) -> Memo {
        Memo::new(&[7; 32], entries_max, Duration::from_secs(60))
    }

    #[test]
    fn the_same_password_and_no_other() {
        let memo = memo(100);
        memo.keep(&question("u", "p", "c"), PLAIN, Grant::default());
        assert!(memo.find(&question("u", "p", "other")).is_some());
        assert!(memo.find(&question("u", "P", "c")).is_none());
        assert!(memo.find(&question("up", "", "c")).is_none());
        assert!(memo.find(&question("", "up", "c")).is_none());
        memo.configure(100, Duration::ZERO);
        assert!(memo.is_empty());
    }

    #[test]
    fn a_scope_is_part_of_the_question() {
        let memo = memo(100);
        let scope = (Scope::of(true, false), None);
        memo.keep(&question("u", "p", "c"), scope, Grant::default());
        assert!(memo.find(&question("u", "p", "c")).is_some());
        assert!(memo.find(&question("u", "p", "d")).is_none());
        memo.forget(&Whom::client("d"));
        assert_eq!(memo.len(), 1);
        memo.forget(&Whom::client("c"));
        assert_eq!(memo.len(), 0);
    }

    #[test]
    fn nothing_is_remembered_longer_than_it_was_granted() {
        let memo = memo(100);
        for (end, holds) in [(unix_s() + 60, true), (unix_s(), false), (0, false)] {
            let grant = Grant {
                expires_unix_s: Some(end),
                ..Grant::default()
            };
            memo.keep(&question("u", "p", "c"), PLAIN, grant);
            let found = memo.find(&question("u", "p", "c"));
            assert_eq!(found.is_some(), holds);
        }
    }

    #[test]
    fn users_are_forgotten_one_by_one() {
        let memo = memo(100);
        for user in ["a", "b"] {
            memo.keep(&question(user, "p", "c"), PLAIN, Grant::default());
        }
        memo.forget(&Whom::user("a"));
        assert!(memo.find(&question("a", "p", "c")).is_none());
        assert!(memo.find(&question("b", "p", "c")).is_some());
    }

    #[test]
    fn what_was_not_heard_of_is_doubted_and_goes_after_a_while() {
        let memo = memo(100);
        let (ear, other) = (Ear::sharp(), Ear::sharp());
        for (user, ear) in [("a", Some(&ear)), ("b", Some(&other)), ("c", None)] {
            let scope = Scope::default();
            memo.keep(&question(user, "p", "c"), (scope, ear), Grant::default());
        }
        let is_sure = |user| memo.find(&question(user, "p", "c")).is_some();
        ear.end();
        assert!(is_sure("a"), "nobody can be asked, or will say so");
        memo.doubt(&ear);
        ear.begin();
        assert!(!is_sure("a") && is_sure("b") && is_sure("c"));
        let found = memo.look_up(&question("a", "p", "c"));
        assert!(found.is_some_and(|found| found.is_doubted));
        for user in ["a", "b"] {
            memo.drop_doubted(&question(user, "p", "c"));
        }
        assert!(memo.look_up(&question("a", "p", "c")).is_none() && is_sure("b"));
        // Heard of or not, nothing is remembered where nothing is to be.
        memo.configure(100, Duration::ZERO);
        assert!(!is_sure("b"));
    }

    #[test]
    fn what_is_heard_of_outlives_its_time() {
        let memo = Memo::new(&[7; 32], 100, Duration::from_secs(1));
        let ear = Ear::sharp();
        for (user, ear) in [("a", Some(&ear)), ("b", None)] {
            let scope = Scope::default();
            memo.keep(&question(user, "p", "c"), (scope, ear), Grant::default());
        }
        let later = Instant::now() + Duration::from_secs(3600);
        let good = |user: &str| {
            let tag = memo.tag(&question(user, "p", "c"), Scope::default());
            memo.stripe(tag)[&tag].is_good(later, memo.life())
        };
        assert!(good("a") && !good("b"));
        ear.end();
        assert!(!good("a"));
    }

    #[test]
    fn bounded() {
        let memo = memo(128);
        for i in 0..10_000 {
            let user = i.to_string();
            memo.keep(&question(&user, "p", "c"), PLAIN, Grant::default());
        }
        assert!(memo.len() <= 128 + STRIPES, "{}", memo.len());
    }
}
