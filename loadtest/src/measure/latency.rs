//! Distributions of times.

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

/// Shorter times count as this one, in nanoseconds.
const MIN_NS: u64 = 1_000;
/// Longer times count as this one.
const MAX_NS: u64 = 600_000_000_000;

/// A distribution, exact to three digits (and half a microsecond) from 1 µs to 10 minutes. It
/// takes some 200 KB.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(from = "Buckets", into = "Buckets")]
pub struct Latency {
    histogram: Histogram<u64>,
}

/// A distribution in words: a time of each bucket that is not empty, and its count. Made again
/// from them it is the same, bucket for bucket.
#[derive(Serialize, Deserialize)]
struct Buckets(Vec<(u64, u64)>);

impl From<Latency> for Buckets {
    fn from(latency: Latency) -> Buckets {
        let recorded = latency.histogram.iter_recorded();
        let pairs = recorded.map(|at| (at.value_iterated_to(), at.count_at_value()));
        Buckets(pairs.collect())
    }
}

impl From<Buckets> for Latency {
    fn from(buckets: Buckets) -> Latency {
        let mut latency = Latency::default();
        for (ns, count) in buckets.0 {
            latency.histogram.saturating_record_n(ns, count);
        }
        latency
    }
}

impl Default for Latency {
    fn default() -> Latency {
        let histogram = Histogram::new_with_bounds(MIN_NS, MAX_NS, 3);
        Latency {
            histogram: histogram.expect("the bounds are valid"),
        }
    }
}

impl Latency {
    #[inline]
    pub fn record(&mut self, ns: u64) {
        self.histogram.saturating_record(ns.max(MIN_NS));
    }

    /// Takes in another distribution.
    pub fn merge(&mut self, other: &Latency) {
        self.histogram
            .add(&other.histogram)
            .expect("all distributions have the same bounds");
    }

    pub fn clear(&mut self) {
        self.histogram.reset();
    }

    /// The time that `quantile` (0 to 1) of all did not exceed, in nanoseconds; 0 if there is
    /// none.
    pub fn quantile_ns(&self, quantile: f64) -> u64 {
        match self.histogram.is_empty() {
            true => 0,
            false => self.histogram.value_at_quantile(quantile),
        }
    }

    pub fn mean_ns(&self) -> u64 {
        self.histogram.mean() as u64
    }

    /// The longest, 0 if there is none.
    pub fn max_ns(&self) -> u64 {
        self.histogram.max()
    }

    pub fn count(&self) -> u64 {
        self.histogram.len()
    }
}

/// A distribution and its latest part, which is for showing how things are now.
#[derive(Debug, Default)]
pub struct Windowed {
    now: Latency,
    before: Latency,
}

impl Windowed {
    #[inline]
    pub fn record(&mut self, ns: u64) {
        self.now.record(ns);
    }

    /// The latest part.
    pub fn now(&self) -> &Latency {
        &self.now
    }

    /// Ends the latest part: gives its 99th percentile in nanoseconds, and begins another.
    pub fn roll(&mut self) -> u64 {
        let p99_ns = self.now.quantile_ns(0.99);
        self.before.merge(&self.now);
        self.now.clear();
        p99_ns
    }

    /// The whole distribution.
    pub fn into_all(mut self) -> Latency {
        self.roll();
        self.before
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_add_up() {
        let mut latency = Windowed::default();
        for us in 1..=100 {
            latency.record(us * 1000);
        }
        let p99_ns = latency.roll();
        assert!((98_900..=99_600).contains(&p99_ns), "{p99_ns}");
        assert_eq!(latency.roll(), 0);
        latency.record(5_000_000_000);
        let all = latency.into_all();
        assert_eq!(all.count(), 101);
        assert!((49_900..=51_600).contains(&all.quantile_ns(0.5)));
        assert!((4_990_000_000..=5_010_000_000).contains(&all.max_ns()));
    }

    #[test]
    fn comes_back_from_words_as_it_was() {
        let mut latency = Latency::default();
        let mut state = 1u64;
        for _ in 0..5000 {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            latency.record(state >> (20 + state % 30));
        }
        let words = serde_json::to_string(&latency).unwrap();
        let back: Latency = serde_json::from_str(&words).unwrap();
        assert!(back.histogram == latency.histogram);
        assert_eq!(back.max_ns(), latency.max_ns());
    }

    #[test]
    fn extremes_are_kept_within_bounds() {
        let mut latency = Latency::default();
        latency.record(0);
        latency.record(u64::MAX);
        assert_eq!(latency.count(), 2);
        assert!(latency.quantile_ns(0.1) <= MIN_NS + 512);
    }
}
