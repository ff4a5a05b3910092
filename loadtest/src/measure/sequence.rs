//! Which messages of one stream have reached one receiver: exact, whatever the order.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::ops::AddAssign;

/// The arrivals of one publisher's messages on one topic at one subscriber.
///
/// It takes 16 bytes as long as nothing is missing. Each run of missing numbers takes an entry in
/// a tree (about 24 bytes) until its messages arrive after all, so the memory grows with the
/// number of gaps, never with the number of messages, and the counts stay exact without a window.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Sequence {
    /// One more than the greatest number that came.
    next: u64,
    /// Missing numbers below `next`. Boxed to keep streams without any small.
    gaps: Option<Box<Gaps>>,
}

/// Runs of missing numbers: the first to one past the last.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Gaps(BTreeMap<u64, u64>);

const _: () = assert!(size_of::<Sequence>() == 16);

/// What one arrival was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrival {
    /// The next one, or one past a gap: later than all before it.
    InOrder,
    /// For the first time, but after a later one.
    Reordered,
    /// Not for the first time.
    Duplicate,
}

/// Arrivals and losses, added up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// Different messages that came.
    pub delivered: u64,
    /// Arrivals beyond the first of each message.
    pub duplicated: u64,
    /// Of these, those that came as repeated, with the DUP flag.
    pub redelivered: u64,
    /// First arrivals after a later message of the same stream.
    pub reordered: u64,
    /// Messages that were sent and did not come. Known at the end only.
    pub lost: u64,
}

impl Sequence {
    /// Takes note of an arrival.
    #[inline]
    pub fn arrive(&mut self, number: u64) -> Arrival {
        if number == self.next {
            self.next += 1;
            return Arrival::InOrder;
        }
        self.arrive_out_of_turn(number)
    }

    /// How many of the first `sent` messages of the stream have not come.
    pub fn missing(&self, sent: u64) -> u64 {
        let gaps = self.gaps.iter().flat_map(|gaps| gaps.0.iter());
        let within = gaps.map(|(&first, &end)| end.min(sent).saturating_sub(first));
        within.sum::<u64>() + sent.saturating_sub(self.next)
    }

    /// How many have not come of those before the last that has.
    pub fn gaps(&self) -> u64 {
        self.missing(self.next)
    }

    #[cold]
    fn arrive_out_of_turn(&mut self, number: u64) -> Arrival {
        if number > self.next {
            let gaps = self.gaps.get_or_insert_default();
            gaps.0.insert(self.next, number);
            self.next = number + 1;
            return Arrival::InOrder;
        }
        match self.fill(number) {
            true => Arrival::Reordered,
            false => Arrival::Duplicate,
        }
    }

    /// Takes `number` out of the missing ones, if it is one.
    fn fill(&mut self, number: u64) -> bool {
        let Some(Gaps(gaps)) = self.gaps.as_deref_mut() else {
            return false;
        };
        let Some((&first, &end)) = gaps.range(..=number).next_back() else {
            return false;
        };
        if number >= end {
            return false;
        }
        gaps.remove(&first);
        if first < number {
            gaps.insert(first, number);
        }
        if number + 1 < end {
            gaps.insert(number + 1, end);
        }
        if gaps.is_empty() {
            self.gaps = None;
        }
        true
    }
}

impl Tally {
    #[inline]
    pub fn count(&mut self, arrival: Arrival) {
        match arrival {
            Arrival::InOrder => self.delivered += 1,
            Arrival::Reordered => {
                self.delivered += 1;
                self.reordered += 1;
            }
            Arrival::Duplicate => self.duplicated += 1,
        }
    }

    /// The same for a message that says whether it is a repetition.
    #[inline]
    pub fn count_as(&mut self, arrival: Arrival, dup: bool) {
        self.count(arrival);
        self.redelivered += u64::from(dup && arrival == Arrival::Duplicate);
    }

    /// Without the repetitions that QoS 1 allows after a connection was lost (MQTT-4.4.0-1): those
    /// that say that they are some (MQTT-3.3.1-1).
    pub fn without_redelivered(mut self) -> Tally {
        self.duplicated -= self.redelivered;
        self
    }
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Tally) {
        self.delivered += other.delivered;
        self.duplicated += other.duplicated;
        self.redelivered += other.redelivered;
        self.reordered += other.reordered;
        self.lost += other.lost;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_repetitions_that_say_so_are_excused() {
        let (mut sequence, mut tally) = (Sequence::default(), Tally::default());
        // DUP alone, on what comes for the first time, excuses nothing.
        for (number, dup) in [(0, true), (1, false), (1, true), (0, false)] {
            tally.count_as(sequence.arrive(number), dup);
        }
        assert_eq!((tally.duplicated, tally.redelivered), (2, 1));
        assert_eq!(tally.without_redelivered().duplicated, 1);
    }

    fn tally(sent: u64, arrivals: &[u64]) -> Tally {
        let mut sequence = Sequence::default();
        let mut tally = Tally::default();
        for &number in arrivals {
            tally.count(sequence.arrive(number));
        }
        tally.lost = sequence.missing(sent);
        tally
    }

    fn counts(delivered: u64, duplicated: u64, reordered: u64, lost: u64) -> Tally {
        Tally {
            delivered,
            duplicated,
            reordered,
            lost,
            redelivered: 0,
        }
    }

    #[test]
    fn all_in_order() {
        assert_eq!(tally(4, &[0, 1, 2, 3]), counts(4, 0, 0, 0));
        assert_eq!(tally(0, &[]), counts(0, 0, 0, 0));
    }

    #[test]
    fn lost_at_the_start_within_and_at_the_end() {
        assert_eq!(tally(10, &[2, 3, 6, 7]), counts(4, 0, 0, 6));
        assert_eq!(tally(3, &[]), counts(0, 0, 0, 3));
        // What came after the last that was counted as sent is not negative loss.
        assert_eq!(tally(2, &[0, 1, 5]), counts(3, 0, 0, 0));
    }

    #[test]
    fn doubled_at_once_and_later() {
        assert_eq!(tally(3, &[0, 0, 1, 2, 1, 1]), counts(3, 3, 0, 0));
        assert_eq!(tally(4, &[3, 0, 3, 0]), counts(2, 2, 1, 2));
    }

    #[test]
    fn late_ones_are_reordered_once() {
        assert_eq!(tally(5, &[0, 4, 1, 2, 3]), counts(5, 0, 3, 0));
        assert_eq!(tally(5, &[4, 3, 2, 1, 0]), counts(5, 0, 4, 0));
        assert_eq!(tally(6, &[0, 5, 2, 2, 3]), counts(4, 1, 2, 2));
    }

    #[test]
    fn agrees_with_a_naive_count() {
        let mut state = 1u64;
        let mut random = move |below: u64| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state % below
        };
        for _ in 0..2000 {
            let sent = 1 + random(40);
            let arrivals: Vec<u64> = (0..random(60)).map(|_| random(sent)).collect();
            let mut expected = Tally::default();
            for (i, number) in arrivals.iter().enumerate() {
                let before = &arrivals[..i];
                if before.contains(number) {
                    expected.duplicated += 1;
                } else {
                    expected.delivered += 1;
                    expected.reordered += u64::from(before.iter().any(|b| b > number));
                }
            }
            expected.lost = sent - expected.delivered;
            assert_eq!(tally(sent, &arrivals), expected, "{arrivals:?} of {sent}");
        }
    }

    #[test]
    fn in_order_takes_no_memory_of_its_own() {
        let mut sequence = Sequence::default();
        for number in [0, 3, 1, 2, 4] {
            sequence.arrive(number);
        }
        assert!(sequence.gaps.is_none());
    }
}
