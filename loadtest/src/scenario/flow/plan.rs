//! Who publishes and who subscribes to what.

/// Publishers and subscribers over topics. The larger number wraps around the smaller: with more
/// publishers than topics publisher `i` has topic `i % topics`, with more topics than publishers
/// topic `t` has publisher `t % publishers`; the same for subscribers.
///
/// A *stream* is one publisher on one topic. Its messages are counted on their own.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    pub publishers: u32,
    pub subscribers: u32,
    pub topics: u32,
}

impl Plan {
    pub fn streams(&self) -> u32 {
        match self.publishers {
            0 => 0,
            publishers => publishers.max(self.topics),
        }
    }

    #[inline]
    pub fn publisher_of(&self, stream: u32) -> u32 {
        stream % self.publishers
    }

    #[inline]
    pub fn topic_of(&self, stream: u32) -> u32 {
        stream % self.topics
    }

    /// Streams of one publisher: itself, and every `publishers`-th after it.
    #[inline]
    pub fn streams_of(&self, publisher: u32) -> u32 {
        (self.streams() - publisher).div_ceil(self.publishers)
    }

    /// The stream of a publisher's message `number`: its streams take turns.
    #[inline]
    pub fn stream_at(&self, publisher: u32, number: u64) -> u32 {
        let turn = number % u64::from(self.streams_of(publisher));
        publisher + turn as u32 * self.publishers
    }

    /// How many of a publisher's first `sent` messages went to one of its streams.
    pub fn sent_of(&self, stream: u32, sent: u64) -> u64 {
        let streams = u64::from(self.streams_of(self.publisher_of(stream)));
        let turn = u64::from(stream / self.publishers);
        sent / streams + u64::from(turn < sent % streams)
    }

    pub fn topics_of(&self, subscriber: u32) -> impl Iterator<Item = u32> + use<> {
        let (first, step) = match self.subscribers >= self.topics {
            true => (subscriber % self.topics, self.topics),
            false => (subscriber, self.subscribers),
        };
        (first..self.topics).step_by(step as usize)
    }

    /// Subscribers of one topic.
    pub fn fanout(&self, topic: u32) -> u32 {
        match self.subscribers {
            0 => 0,
            few if few < self.topics => 1,
            many => (many - topic).div_ceil(self.topics),
        }
    }

    /// Streams that a subscriber may see: positions for [`Plan::position`].
    pub fn positions(&self, subscriber: u32) -> usize {
        self.topics_of(subscriber).count() * self.streams_per_topic() as usize
    }

    /// Where a subscriber counts a stream; `None` if it did not subscribe to its topic.
    #[inline]
    pub fn position(&self, subscriber: u32, stream: u32) -> Option<usize> {
        if stream >= self.streams() {
            return None;
        }
        let topic = self.topic_of(stream);
        let (is_own, nth) = match self.subscribers >= self.topics {
            true => (subscriber % self.topics == topic, 0),
            false => (
                topic % self.subscribers == subscriber,
                topic / self.subscribers,
            ),
        };
        let nth_stream = stream / self.topics;
        is_own.then(|| (nth * self.streams_per_topic() + nth_stream) as usize)
    }

    /// All streams that a subscriber sees.
    pub fn streams_seen(&self, subscriber: u32) -> impl Iterator<Item = u32> + use<'_> {
        let step = self.topics as usize;
        self.topics_of(subscriber)
            .flat_map(move |topic| (topic..self.streams()).step_by(step))
    }

    /// At most.
    #[inline]
    fn streams_per_topic(&self) -> u32 {
        self.streams().div_ceil(self.topics)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_delivery_has_a_place_of_its_own() {
        for publishers in 0..7 {
            for subscribers in 0..7 {
                for topics in 1..7 {
                    check(Plan {
                        publishers,
                        subscribers,
                        topics,
                    });
                }
            }
        }
    }

    fn check(plan: Plan) {
        let mut receivers = vec![0; plan.topics as usize];
        for subscriber in 0..plan.subscribers {
            for topic in plan.topics_of(subscriber) {
                receivers[topic as usize] += 1;
            }
            let seen: Vec<u32> = plan.streams_seen(subscriber).collect();
            let places: BTreeSet<_> = seen
                .iter()
                .map(|stream| plan.position(subscriber, *stream).unwrap())
                .collect();
            assert_eq!(places.len(), seen.len());
            assert!(
                places
                    .last()
                    .is_none_or(|last| *last < plan.positions(subscriber))
            );
            for stream in 0..plan.streams() + 2 {
                let is_seen = seen.contains(&stream);
                assert_eq!(plan.position(subscriber, stream).is_some(), is_seen);
            }
        }
        for topic in 0..plan.topics {
            assert_eq!(
                plan.fanout(topic),
                receivers[topic as usize],
                "{plan:?} {topic}"
            );
            assert!(plan.subscribers == 0 || plan.fanout(topic) > 0);
        }
        check_sending(plan);
    }

    fn check_sending(plan: Plan) {
        let mut publishing = BTreeSet::new();
        for publisher in 0..plan.publishers {
            let mut counts = vec![0; plan.streams() as usize];
            for number in 0..20 {
                let stream = plan.stream_at(publisher, number);
                assert_eq!(plan.publisher_of(stream), publisher);
                let count = &mut counts[stream as usize];
                *count += 1;
                assert_eq!(plan.sent_of(stream, number + 1), *count);
                assert_eq!(number / u64::from(plan.streams_of(publisher)) + 1, *count);
                publishing.insert(plan.topic_of(stream));
            }
        }
        assert!(plan.publishers == 0 || publishing.len() == plan.topics as usize);
    }
}
