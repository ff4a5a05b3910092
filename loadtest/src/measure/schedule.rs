//! Open-loop sending: every message has its time before the run begins, whatever the broker does.

use super::clock::SECOND;

/// When the messages of a run are to be sent: `rate_per_s` a second over all streams, which take
/// turns, in portions of one tick.
///
/// All messages of a tick share its beginning as their intended time, so that the sender needs to
/// wake once a tick only and the intended times are still exact.
#[derive(Clone, Copy, Debug)]
pub struct Schedule {
    pub start_ns: u64,
    pub rate_per_s: u64,
    /// 1 for sending each message at a time of its own.
    pub tick_ns: u64,
    /// Each message is up to this much later than its turn, by a random time of its own. Not
    /// longer than the time between two messages of one stream, whose order stays so.
    pub jitter_ns: u64,
}

impl Schedule {
    /// The intended time of message `index`, which counts over all streams from 0.
    #[inline]
    pub fn intended_ns(&self, index: u64) -> u64 {
        let (seconds, rest) = (index / self.rate_per_s, index % self.rate_per_s);
        let exact = seconds * SECOND + rest * SECOND / self.rate_per_s;
        self.start_ns + exact / self.tick_ns * self.tick_ns
    }

    /// How many messages have an intended time before `end_ns`.
    pub fn count_before(&self, end_ns: u64) -> u64 {
        let span = end_ns.saturating_sub(self.start_ns).div_ceil(self.tick_ns) * self.tick_ns;
        let whole = span / SECOND * self.rate_per_s;
        let rest = span % SECOND;
        // Message k is due at floor(k * SECOND / rate): before `rest` if k * SECOND < rest * rate.
        let part = u128::from(rest) * u128::from(self.rate_per_s);
        whole + part.div_ceil(u128::from(SECOND)) as u64
    }
}

/// The messages of some of the streams, in the order of their intended times.
#[derive(Debug)]
pub struct Cursor {
    schedule: Schedule,
    /// Streams of the whole run.
    streams: u64,
    /// Messages of the whole run.
    total: u64,
    round: u64,
    /// Which of the own streams is next.
    position: usize,
}

impl Cursor {
    /// At the first message. `total` messages over `streams` streams are sent in all.
    pub fn new(schedule: Schedule, streams: u64, total: u64) -> Cursor {
        Cursor {
            schedule,
            streams,
            total,
            round: 0,
            position: 0,
        }
    }

    /// Intended time of the next message of the `own` streams, which ascend; `None` after the
    /// last.
    #[inline]
    pub fn next_ns(&self, own: &[u32]) -> Option<u64> {
        let stream = *own.get(self.position)?;
        let index = self.round * self.streams + u64::from(stream);
        (index < self.total).then(|| self.schedule.intended_ns(index))
    }

    /// Position in `own` of the message that [`Cursor::next_ns`] told of; steps on to the next.
    #[inline]
    pub fn take(&mut self, own: &[u32]) -> usize {
        let position = self.position;
        self.position += 1;
        if self.position == own.len() {
            self.position = 0;
            self.round += 1;
        }
        position
    }

    /// Whether [`Cursor::next_ns`] gives the earliest time only, and [`Cursor::intended_ns`] the
    /// exact one.
    #[inline]
    pub fn has_jitter(&self) -> bool {
        self.schedule.jitter_ns > 0
    }

    /// Intended time of message `sequence` of one stream.
    #[inline]
    pub fn intended_ns(&self, stream: u32, sequence: u64) -> u64 {
        let index = sequence * self.streams + u64::from(stream);
        let turn_ns = self.schedule.intended_ns(index);
        match self.schedule.jitter_ns {
            0 => turn_ns,
            jitter_ns => {
                let later_ns = scatter(index) % jitter_ns;
                turn_ns + later_ns / self.schedule.tick_ns * self.schedule.tick_ns
            }
        }
    }
}

/// A number that looks random, and is the same for the same `index` in every executor (the
/// finalizer of SplitMix64).
fn scatter(index: u64) -> u64 {
    let mixed = index.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mixed = (mixed ^ mixed >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ mixed >> 31
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::clock::MS;

    fn even(rate_per_s: u64) -> Schedule {
        Schedule {
            start_ns: 1000,
            rate_per_s,
            tick_ns: 1,
            jitter_ns: 0,
        }
    }

    #[test]
    fn jitter_scatters_and_keeps_the_order_of_a_stream() {
        let schedule = Schedule {
            tick_ns: MS,
            jitter_ns: 100 * MS,
            ..even(100)
        };
        let cursor = Cursor::new(schedule, 10, 1000);
        let later = |stream: u32, sequence: u64| {
            let turn_ns = schedule.intended_ns(sequence * 10 + u64::from(stream));
            cursor.intended_ns(stream, sequence) - turn_ns
        };
        let all: Vec<u64> = (0..1000)
            .map(|i| later(i % 10, u64::from(i / 10)))
            .collect();
        assert!(all.iter().all(|later_ns| *later_ns < 100 * MS));
        let mean_ns = all.iter().sum::<u64>() / 1000;
        assert!((40 * MS..60 * MS).contains(&mean_ns), "{mean_ns}");
        for stream in 0..10 {
            let times = (0..100).map(|sequence| cursor.intended_ns(stream, sequence));
            assert!(times.is_sorted());
        }
    }

    #[test]
    fn spreads_evenly_and_without_drift() {
        let schedule = even(3);
        assert_eq!(schedule.intended_ns(0), 1000);
        assert_eq!(schedule.intended_ns(1), 1000 + 333_333_333);
        assert_eq!(schedule.intended_ns(2), 1000 + 666_666_666);
        let year = 3 * 365 * 86_400;
        assert_eq!(schedule.intended_ns(year), 1000 + year / 3 * SECOND);
    }

    #[test]
    fn counts_what_is_due() {
        for rate in [1, 3, 7, 1000, 999_983] {
            for tick_ns in [1, 1000, MS, 7 * MS] {
                let schedule = Schedule {
                    tick_ns,
                    ..even(rate)
                };
                for end_ns in [0, 1000, 1001, 34_000_017, 1000 + SECOND, 3_000_000_011] {
                    let count = schedule.count_before(end_ns);
                    assert!(schedule.intended_ns(count) >= end_ns);
                    assert!(count == 0 || schedule.intended_ns(count - 1) < end_ns);
                }
            }
        }
        assert_eq!(even(500).count_before(1000 + 10 * SECOND), 5000);
    }

    #[test]
    fn a_tick_is_a_portion_with_one_time() {
        let schedule = Schedule {
            tick_ns: MS,
            ..even(4000)
        };
        let times: Vec<u64> = (0..9).map(|i| schedule.intended_ns(i) - 1000).collect();
        assert_eq!(times, [0, 0, 0, 0, MS, MS, MS, MS, 2 * MS]);
    }

    #[test]
    fn two_shards_send_every_message_once_in_time_order() {
        let schedule = even(1_000_000);
        let total = 23;
        let mut sent = vec![];
        for own in [&[0u32, 2, 4][..], &[1, 3]] {
            let mut cursor = Cursor::new(schedule, 5, total);
            let mut numbers = vec![0u64; own.len()];
            let mut last_ns = 0;
            while let Some(intended_ns) = cursor.next_ns(own) {
                assert!(intended_ns > last_ns);
                last_ns = intended_ns;
                let position = cursor.take(own);
                assert_eq!(
                    cursor.intended_ns(own[position], numbers[position]),
                    intended_ns
                );
                numbers[position] += 1;
                sent.push(intended_ns);
            }
        }
        sent.sort_unstable();
        let all: Vec<u64> = (0..total).map(|i| schedule.intended_ns(i)).collect();
        assert_eq!(sent, all);
        assert_eq!(Cursor::new(schedule, 5, total).next_ns(&[]), None);
    }
}
