//! Whether the database answers, since when it does not, and when it is tried again.

use std::hash::{BuildHasher, RandomState};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use super::failure::Failure;

/// Wait after the first attempt that failed; each further one doubles it.
const DELAY_MIN: Duration = Duration::from_millis(100);
/// Longest wait between attempts: a server that is back is found within this.
const DELAY_MAX: Duration = Duration::from_secs(2);

/// The health of one server, shared by whoever uses it.
#[derive(Debug)]
pub struct Health {
    /// As the log calls the server.
    name: String,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    outage: Option<Outage>,
    /// Connections that are open.
    open: u32,
    delay: Duration,
    next_try: Option<Instant>,
    is_closed: bool,
    queries: u64,
    failures: u64,
}

/// A time without answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outage {
    pub since: SystemTime,
    pub reason: String,
}

/// The numbers of one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Numbers {
    pub open: u32,
    pub queries: u64,
    pub failures: u64,
}

impl Health {
    pub fn new(name: String) -> Self {
        Self {
            name,
            state: Mutex::default(),
            changed: Condvar::new(),
        }
    }

    /// As the log calls the server.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Since when there are no answers, and why; none when all is well.
    pub fn outage(&self) -> Option<Outage> {
        self.lock().outage.clone()
    }

    pub fn numbers(&self) -> Numbers {
        let state = self.lock();
        Numbers {
            open: state.open,
            queries: state.queries,
            failures: state.failures,
        }
    }

    /// Waits until it is time for another attempt to connect; not at all while the server answers.
    /// One attempt at a time goes to a server that does not.
    pub fn wait_turn(&self) {
        let mut state = self.lock();
        while let Some(at) = state.next_try.filter(|_| !state.is_closed) {
            let left = at.saturating_duration_since(Instant::now());
            if left.is_zero() {
                // Whoever waits besides waits for what comes of this attempt.
                let delay = state.delay.max(DELAY_MIN);
                state.next_try = Some(Instant::now() + delay);
                return;
            }
            let waited = self.changed.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// A connection was made.
    pub fn opened(&self) {
        let mut state = self.lock();
        state.open += 1;
        self.recover(&mut state);
    }

    /// A connection is no more.
    pub fn dropped(&self) {
        let mut state = self.lock();
        state.open = state.open.saturating_sub(1);
    }

    /// An attempt to connect failed. While other connections work, only the attempts slow down.
    pub fn refused(&self, failure: &Failure) {
        let mut state = self.lock();
        self.slow_down(&mut state);
        if state.open == 0 {
            self.fall(&mut state, failure);
        } else {
            crate::log_limited!(warn, 1, "{}: one connection less: {failure}", self.name);
        }
    }

    /// A question was answered.
    pub fn answered(&self) {
        self.lock().queries += 1;
    }

    /// A question was not answered.
    pub fn failed(&self, failure: &Failure) {
        let mut state = self.lock();
        state.queries += 1;
        state.failures += 1;
        match failure.is_outage() {
            true => {
                self.slow_down(&mut state);
                self.fall(&mut state, failure);
            }
            false => crate::log_limited!(error, 1, "{}: {failure}", self.name),
        }
    }

    /// Ends all waiting: nobody wants this server any more.
    pub fn close(&self) {
        self.lock().is_closed = true;
        self.changed.notify_all();
    }

    fn fall(&self, state: &mut State, failure: &Failure) {
        let reason = failure.text().to_owned();
        match &mut state.outage {
            Some(outage) if outage.reason == reason => {}
            Some(outage) => {
                tracing::warn!("{}: still no answers: {reason}", self.name);
                outage.reason = reason;
            }
            None => {
                tracing::error!(
                    "{}: no answers: {reason}. Clients that need it are told that the server is \
                     unavailable",
                    self.name
                );
                let since = SystemTime::now();
                state.outage = Some(Outage { since, reason });
            }
        }
    }

    fn recover(&self, state: &mut State) {
        state.delay = Duration::ZERO;
        state.next_try = None;
        self.changed.notify_all();
        if let Some(outage) = state.outage.take() {
            let ms = outage.since.elapsed().unwrap_or_default().as_millis();
            tracing::warn!("{}: answers again, after {ms} ms", self.name);
        }
    }

    /// Doubles the wait, and takes off up to half of it by chance, so that many brokers do not
    /// come back to a server at the same moment.
    fn slow_down(&self, state: &mut State) {
        state.delay = (state.delay * 2).clamp(DELAY_MIN, DELAY_MAX);
        let chance = RandomState::new().hash_one(0) % 512;
        let wait = state.delay - state.delay.mul_f64(chance as f64 / 1024.0);
        state.next_try = Some(Instant::now() + wait);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(text: &str) -> Failure {
        Failure::Unreachable(text.into())
    }

    #[test]
    fn an_outage_lasts_until_a_connection_is_made() {
        let health = Health::new("db".into());
        assert_eq!(health.outage(), None);
        health.refused(&failure("a"));
        let first = health.outage().unwrap();
        health.refused(&failure("b"));
        let second = health.outage().unwrap();
        assert_eq!((second.since, second.reason.as_str()), (first.since, "b"));
        health.opened();
        assert_eq!(health.outage(), None);
        // Before: at once.
        health.wait_turn();
    }

    #[test]
    fn one_connection_that_works_is_enough() {
        let health = Health::new("db".into());
        health.opened();
        health.refused(&failure("too many connections"));
        assert_eq!(health.outage(), None);
        health.failed(&Failure::Refused("no such table".into()));
        assert_eq!(health.outage(), None);
        health.failed(&Failure::Overdue("no answer".into()));
        assert_eq!(health.outage().unwrap().reason, "no answer");
        let numbers = health.numbers();
        assert_eq!((numbers.open, numbers.queries, numbers.failures), (1, 2, 2));
    }

    #[test]
    fn attempts_slow_down() {
        let health = Health::new("db".into());
        let waits: Vec<_> = (0..8)
            .map(|_| {
                health.refused(&failure("a"));
                let state = health.lock();
                let left = state.next_try.unwrap() - Instant::now();
                (state.delay, left)
            })
            .collect();
        assert_eq!(waits[0].0, DELAY_MIN);
        assert_eq!(waits[7].0, DELAY_MAX);
        assert!(waits.windows(2).all(|pair| pair[0].0 <= pair[1].0));
        let fair = |(delay, left): &(Duration, Duration)| *left <= *delay && *left * 3 >= *delay;
        assert!(waits.iter().all(fair), "{waits:?}");
    }

    #[test]
    fn whoever_waits_is_let_go_at_the_end() {
        let health = std::sync::Arc::new(Health::new("db".into()));
        for _ in 0..8 {
            health.refused(&failure("a"));
        }
        let waiting = health.clone();
        let thread = std::thread::spawn(move || waiting.wait_turn());
        health.close();
        thread.join().unwrap();
    }
}
