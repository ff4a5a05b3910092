//! Who is to be connected, and when the next one may be.

use super::stats::Pace;
use crate::measure::busy::Busy;
use crate::measure::clock::SECOND;
use crate::measure::latency::Latency;
use std::collections::VecDeque;

/// A wave of connections: at most `parallel` at once, at most `rate_per_s` a second over all
/// executors, which take turns.
#[derive(Debug)]
pub struct Ramp {
    waiting: VecDeque<u32>,
    /// Those that failed, and when they are tried again.
    retries: VecDeque<(u64, u32)>,
    /// Those that are under way, oldest first, with the time when they began. Entries of
    /// connections that have come up stay until their time has passed.
    underway: VecDeque<(u64, u32)>,
    underway_count: usize,
    parallel: usize,
    /// 0: no limit.
    rate_per_s: u64,
    /// Which of those that begin over all executors is the first one here, and the step to the
    /// next one.
    first: u64,
    step: u64,
    /// No more than these are begun.
    most: u64,
    retry: Option<Retry>,
    start_ns: u64,
    started: u64,
    /// Time in which some waited because as many were under way as may be, and since when that is
    /// so.
    full_ns: u64,
    full_since_ns: Option<u64>,
    /// By how much connections began after their times; only at a rate.
    lag: Option<Box<Latency>>,
}

impl Default for Ramp {
    fn default() -> Ramp {
        Ramp::new(std::iter::empty(), 0, 0)
    }
}

/// Whether those that fail are tried again.
#[derive(Clone, Copy, Debug)]
pub struct Retry {
    pub after_ns: u64,
    /// Nobody is tried again after this time.
    pub until_ns: u64,
}

impl Ramp {
    pub fn new(clients: impl Iterator<Item = u32>, parallel: usize, rate_per_s: u64) -> Ramp {
        Ramp {
            waiting: clients.collect(),
            parallel,
            rate_per_s,
            retries: VecDeque::new(),
            underway: VecDeque::new(),
            underway_count: 0,
            first: 0,
            step: 1,
            most: u64::MAX,
            retry: None,
            start_ns: 0,
            started: 0,
            full_ns: 0,
            full_since_ns: None,
            lag: (rate_per_s > 0).then(Box::default),
        }
    }

    /// Executor `shard` of `shards` begins every `shards`-th one of those that the rate allows.
    pub fn in_turn(mut self, shard: usize, shards: usize) -> Ramp {
        (self.first, self.step) = (shard as u64, shards as u64);
        self
    }

    /// Begins exactly those that are due, by the rate, within so long.
    pub fn for_ns(mut self, span_ns: u64) -> Ramp {
        self.most = self.due_within(span_ns);
        self
    }

    pub fn with_retry(mut self, retry: Retry) -> Ramp {
        self.retry = Some(retry);
        self
    }

    /// One more is to be connected.
    pub fn add(&mut self, client: u32) {
        self.waiting.push_back(client);
    }

    /// The next client to be connected and the time when that was to happen, if there is one now.
    pub fn next(&mut self, now_ns: u64) -> Option<(u32, u64)> {
        if self.underway_count >= self.parallel || self.is_used_up() {
            return None;
        }
        if self.start_ns == 0 {
            self.start_ns = now_ns;
        }
        let began_ns = self.paced_ns(now_ns);
        if began_ns > now_ns {
            return None;
        }
        let client = self.take(now_ns)?;
        self.started += 1;
        if let Some(lag) = &mut self.lag {
            lag.record(now_ns.saturating_sub(began_ns));
        }
        self.underway_count += 1;
        self.underway.push_back((began_ns, client));
        Some((client, began_ns))
    }

    /// When [`Ramp::next`] may have one: a past time means that it waits for others to come up.
    pub fn next_due_ns(&self, now_ns: u64) -> Option<u64> {
        if self.underway_count >= self.parallel || self.is_used_up() {
            return None;
        }
        let paced_ns = self.paced_ns(now_ns);
        match (self.waiting.is_empty(), self.retries.front()) {
            (false, _) => Some(paced_ns),
            (true, Some((due_ns, _))) => Some(paced_ns.max(*due_ns)),
            (true, None) => None,
        }
    }

    /// One that was under way is up.
    pub fn succeeded(&mut self) {
        self.underway_count -= 1;
    }

    /// One that was under way has failed. Says whether it is tried again.
    pub fn failed(&mut self, client: u32, now_ns: u64) -> bool {
        self.underway_count -= 1;
        match self.retry {
            Some(retry) if now_ns + retry.after_ns < retry.until_ns => {
                self.retries.push_back((now_ns + retry.after_ns, client));
                true
            }
            _ => false,
        }
    }

    /// The oldest of those that began before `began_before_ns`, one after the other. It may have
    /// come up long ago.
    pub fn overdue(&mut self, began_before_ns: u64) -> Option<(u32, u64)> {
        let &(began_ns, client) = self.underway.front()?;
        if self.underway_count == 0 || began_ns > began_before_ns {
            if self.underway_count == 0 {
                self.underway.clear();
            }
            return None;
        }
        self.underway.pop_front();
        Some((client, began_ns))
    }

    /// Those under way and those that wait.
    pub fn left(&self) -> u64 {
        (self.underway_count + self.waiting.len() + self.retries.len()) as u64
    }

    /// Notes once a turn, after those are begun that may be, whether others have to wait.
    pub fn look(&mut self, now_ns: u64) {
        if let Some(since_ns) = self.full_since_ns.take() {
            self.full_ns += now_ns.saturating_sub(since_ns);
        }
        let is_full = self.underway_count >= self.parallel && !self.waiting.is_empty();
        self.full_since_ns = is_full.then_some(now_ns);
    }

    /// How it kept up with what was asked for, over `span_ns`.
    pub fn pace(&mut self, busy: Busy, span_ns: u64) -> Pace {
        Pace {
            busy,
            full: self.full_ns as f64 / span_ns.max(1) as f64,
            lag: self.lag.take().map(|lag| *lag).unwrap_or_default(),
        }
    }

    /// All that may be begun have been.
    pub fn is_used_up(&self) -> bool {
        self.started >= self.most
    }

    /// How many are due by the rate and not begun.
    pub fn behind(&self, now_ns: u64) -> u64 {
        let due = match self.start_ns {
            0 => 0,
            start_ns => self.due_within(now_ns.saturating_sub(start_ns)),
        };
        due.min(self.most).saturating_sub(self.started)
    }

    /// Nobody is under way or waits.
    pub fn is_over(&self) -> bool {
        self.underway_count == 0 && self.waiting.is_empty() && self.retries.is_empty()
    }

    /// Starts nobody any more; gives the number of those that waited.
    pub fn give_up(&mut self) -> usize {
        let left = self.waiting.len() + self.retries.len();
        self.waiting.clear();
        self.retries.clear();
        self.retry = None;
        left
    }

    fn take(&mut self, now_ns: u64) -> Option<u32> {
        match self.retries.front() {
            Some(&(due_ns, client)) if due_ns <= now_ns => {
                self.retries.pop_front();
                Some(client)
            }
            _ => self.waiting.pop_front(),
        }
    }

    /// When the next one is to begin.
    fn paced_ns(&self, now_ns: u64) -> u64 {
        match self.rate_per_s {
            0 => now_ns,
            rate => {
                let number = self.first + self.started * self.step;
                let exact = u128::from(number) * u128::from(SECOND) / u128::from(rate);
                let start_ns = if self.start_ns == 0 {
                    now_ns
                } else {
                    self.start_ns
                };
                start_ns + exact as u64
            }
        }
    }

    /// How many of those that begin here have their times within `span_ns` of the start; none
    /// without a rate.
    fn due_within(&self, span_ns: u64) -> u64 {
        let all = u128::from(span_ns) * u128::from(self.rate_per_s);
        let all = all.div_ceil(u128::from(SECOND)) as u64;
        all.saturating_sub(self.first).div_ceil(self.step)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_to_what_may_be_under_way() {
        let mut ramp = Ramp::new(0..4, 2, 0);
        assert_eq!(ramp.next(10), Some((0, 10)));
        assert_eq!(ramp.next(11), Some((1, 11)));
        assert_eq!((ramp.next(12), ramp.next_due_ns(12)), (None, None));
        ramp.succeeded();
        assert_eq!(ramp.next(13), Some((2, 13)));
        assert!(!ramp.failed(1, 14));
        assert_eq!(ramp.next(15), Some((3, 15)));
        ramp.succeeded();
        assert!(!ramp.is_over());
        ramp.succeeded();
        assert!(ramp.is_over());
    }

    #[test]
    fn keeps_to_the_rate_and_knows_the_intended_time() {
        let mut ramp = Ramp::new(0..3, 9, 1000);
        assert_eq!(ramp.next(5_000_000), Some((0, 5_000_000)));
        assert_eq!(ramp.next(5_500_000), None);
        assert_eq!(ramp.next_due_ns(5_500_000), Some(6_000_000));
        assert_eq!(ramp.next(7_300_000), Some((1, 6_000_000)));
        assert_eq!(ramp.next(7_300_000), Some((2, 7_000_000)));
    }

    #[test]
    fn knows_how_long_it_was_full_and_how_late_it_was() {
        let mut ramp = Ramp::new(0..3, 2, 1000);
        for now_ns in [10, 2_000_010] {
            ramp.next(now_ns);
            ramp.look(now_ns);
        }
        // Two are under way and one waits, for 3 ms.
        ramp.look(5_000_010);
        ramp.succeeded();
        ramp.look(5_000_010);
        ramp.look(10_000_010);
        let pace = ramp.pace(Busy::default(), 10_000_000);
        assert!((pace.full - 0.3).abs() < 1e-9, "{pace:?}");
        // The second was to begin at 1 ms and began at 2 ms.
        assert_eq!((pace.lag.count(), pace.lag.max_ns() / 10_000), (2, 100));
    }

    #[test]
    fn executors_take_turns_and_begin_what_is_due() {
        let rate = 3;
        let mut all = vec![];
        for shard in 0..2 {
            let mut ramp = Ramp::new(0..9, 9, rate)
                .in_turn(shard, 2)
                .for_ns(2 * SECOND);
            ramp.start_ns = 1;
            while let Some((_, began_ns)) = ramp.next(u64::MAX) {
                all.push(began_ns - 1);
            }
            assert!(ramp.is_used_up() && ramp.behind(u64::MAX) == 0);
        }
        all.sort_unstable();
        let due: Vec<u64> = (0..6).map(|number| number * SECOND / rate).collect();
        assert_eq!(all, due);
        let mut ramp = Ramp::new(0..1, 9, rate).for_ns(2 * SECOND);
        assert_eq!(ramp.next(1), Some((0, 1)));
        assert_eq!((ramp.behind(SECOND), ramp.behind(9 * SECOND)), (2, 5));
    }

    #[test]
    fn tries_again_until_it_is_too_late() {
        let retry = Retry {
            after_ns: 100,
            until_ns: 1000,
        };
        let mut ramp = Ramp::new(0..1, 1, 0).with_retry(retry);
        assert_eq!(ramp.next(1), Some((0, 1)));
        assert!(ramp.failed(0, 500));
        assert_eq!((ramp.next(550), ramp.next_due_ns(550)), (None, Some(600)));
        assert_eq!(ramp.next(600), Some((0, 600)));
        assert!(!ramp.failed(0, 900));
        assert!(ramp.is_over());
    }

    #[test]
    fn tells_who_is_overdue() {
        let mut ramp = Ramp::new(0..3, 3, 0);
        for now_ns in [10, 20, 30] {
            ramp.next(now_ns);
        }
        assert_eq!(ramp.overdue(20), Some((0, 10)));
        assert_eq!(ramp.overdue(20), Some((1, 20)));
        assert_eq!(ramp.overdue(20), None);
    }
}
