//! Distributions of times.

use hdrhistogram::Histogram;

/// Shorter times count as this one, in nanoseconds.
const MIN_NS: u64 = 1_000;
/// Longer times count as this one.
const MAX_NS: u64 = 600_000_000_000;

/// A distribution, exact to three digits (and half a microsecond) from 1 µs to 10 minutes. It
/// takes some 200 KB.
#[derive(Clone, Debug)]
pub struct Latency {
    histogram: Histogram<u64>,
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
    fn extremes_are_kept_within_bounds() {
        let mut latency = Latency::default();
        latency.record(0);
        latency.record(u64::MAX);
        assert_eq!(latency.count(), 2);
        assert!(latency.quantile_ns(0.1) <= MIN_NS + 512);
    }
}
