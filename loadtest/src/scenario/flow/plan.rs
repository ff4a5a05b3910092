//! Who publishes and who subscribes to what.

/// Publishers and receivers over topics. A *receiver* is a subscriber, or a shared group of them.
///
/// The larger number wraps around the smaller: with more publishers than topics publisher `i` has
/// topic `i % topics`, with more topics than publishers topic `t` has publisher `t % publishers`;
/// the same for receivers, unless each of them has all topics.
///
/// A *stream* is one publisher on one topic. Its messages are counted on their own.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    pub publishers: u32,
    pub subscribers: u32,
    pub topics: u32,
    /// Subscriber `j` shares with the others of group `j % groups`; 0: they do not share.
    pub groups: u32,
    /// Every receiver has one wildcard subscription to all topics.
    pub is_wildcard: bool,
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

    /// Subscribers, or groups of them.
    #[inline]
    pub fn receivers(&self) -> u32 {
        match self.groups {
            0 => self.subscribers,
            groups => groups.min(self.subscribers),
        }
    }

    /// The subscribers of one receiver.
    pub fn members_of(&self, receiver: u32) -> impl Iterator<Item = u32> + use<> {
        (receiver..self.subscribers).step_by(self.receivers().max(1) as usize)
    }

    pub fn topics_of(&self, receiver: u32) -> impl Iterator<Item = u32> + use<> {
        let (first, step) = match (self.is_wildcard, self.receivers()) {
            (true, _) => (0, 1),
            (false, many) if many >= self.topics => (receiver % self.topics, self.topics),
            (false, few) => (receiver, few),
        };
        (first..self.topics).step_by(step as usize)
    }

    /// Receivers of one topic.
    pub fn fanout(&self, topic: u32) -> u32 {
        match self.receivers() {
            all if self.is_wildcard => all,
            0 => 0,
            few if few < self.topics => 1,
            many => (many - topic).div_ceil(self.topics),
        }
    }

    /// Streams that a receiver may see: positions for [`Plan::position`].
    pub fn positions(&self, receiver: u32) -> usize {
        self.topics_of(receiver).count() * self.streams_per_topic() as usize
    }

    /// Where a receiver counts a stream; `None` if it did not subscribe to its topic.
    #[inline]
    pub fn position(&self, receiver: u32, stream: u32) -> Option<usize> {
        if stream >= self.streams() {
            return None;
        }
        let topic = self.topic_of(stream);
        let receivers = self.receivers();
        let (is_own, nth) = match self.is_wildcard {
            true => (true, topic),
            false if receivers >= self.topics => (receiver % self.topics == topic, 0),
            false => (topic % receivers == receiver, topic / receivers),
        };
        let nth_stream = stream / self.topics;
        is_own.then(|| (nth * self.streams_per_topic() + nth_stream) as usize)
    }

    /// All streams that a receiver sees.
    pub fn streams_seen(&self, receiver: u32) -> impl Iterator<Item = u32> + use<'_> {
        let step = self.topics as usize;
        self.topics_of(receiver)
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
                    for (groups, is_wildcard) in [(0, false), (0, true), (2, true), (3, false)] {
                        check(Plan {
                            publishers,
                            subscribers,
                            topics,
                            groups,
                            is_wildcard,
                        });
                    }
                }
            }
        }
    }

    fn check(plan: Plan) {
        let mut receivers = vec![0; plan.topics as usize];
        for receiver in 0..plan.receivers() {
            for topic in plan.topics_of(receiver) {
                receivers[topic as usize] += 1;
            }
            let seen: Vec<u32> = plan.streams_seen(receiver).collect();
            let places: BTreeSet<_> = seen
                .iter()
                .map(|stream| plan.position(receiver, *stream).unwrap())
                .collect();
            assert_eq!(places.len(), seen.len());
            let last = places.last();
            assert!(last.is_none_or(|last| *last < plan.positions(receiver)));
            for stream in 0..plan.streams() + 2 {
                let is_seen = seen.contains(&stream);
                assert_eq!(plan.position(receiver, stream).is_some(), is_seen);
            }
        }
        for topic in 0..plan.topics {
            let counted = receivers[topic as usize];
            assert_eq!(plan.fanout(topic), counted, "{plan:?} {topic}");
            assert!(plan.subscribers == 0 || plan.fanout(topic) > 0);
        }
        let members = (0..plan.receivers()).flat_map(|receiver| plan.members_of(receiver));
        let members: BTreeSet<_> = members.collect();
        assert_eq!(members.len(), plan.subscribers as usize);
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
