//! What a client receives, held against what it may receive.

use super::{Incarnation, Message, Model, Subscription};

/// How often a session got a message.
#[derive(Clone, Copy, Debug, Default)]
pub struct Got {
    /// Without RETAIN and without DUP (QoS 2: new packet ids).
    pub live: u32,
    /// With RETAIN.
    pub retained: u32,
    /// In any way.
    pub total: u32,
}

/// A PUBLISH that came to a client; QoS 2 only when its packet id is new.
#[derive(Clone, Debug)]
pub struct Delivered<'a> {
    pub topic: &'a str,
    pub payload: &'a [u8],
    pub qos: u8,
    pub retain: bool,
    pub dup: bool,
    pub identifiers: Vec<u32>,
}

/// The payload of a message: its number and padding.
pub fn payload_of(message: u32, bytes: usize) -> Vec<u8> {
    let mut payload = format!("m{message:08x}").into_bytes();
    payload.resize(bytes.max(payload.len()), b'.');
    payload
}

/// The number of the message with this payload.
pub fn number_of(payload: &[u8]) -> Option<u32> {
    let digits = payload.strip_prefix(b"m")?.get(..8)?;
    u32::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

impl Model {
    /// A session received something. Gives the number of the message, if it is one of the model's.
    pub fn deliver(&mut self, incarnation: usize, got: &Delivered<'_>, step: u64) -> Option<u32> {
        self.deliveries += 1;
        if got.topic.starts_with("$SYS/") {
            self.check_presence(incarnation, got);
            return None;
        }
        let Some(number) = number_of(got.payload) else {
            self.check_unnumbered(incarnation, got);
            return None;
        };
        let Some(message) = self.messages.get(number as usize) else {
            panic!("{got:?} was never published");
        };
        let session = &self.incarnations[incarnation];
        assert_eq!(
            message.topic, got.topic,
            "message {number} came under another topic"
        );
        assert_eq!(
            got.payload,
            payload_of(number, message.bytes),
            "message {number} was changed"
        );
        assert!(
            message.sent <= step,
            "will {number} came before it was due: {}",
            message.told()
        );
        if let Some(will) = &message.will {
            assert!(!will.is_cancelled(), "will {number} was cancelled and came");
        }
        let matching = matching(session, message);
        assert!(
            !matching.is_empty(),
            "session {incarnation} of client {} got message {number} without a subscription: \
             {got:?} {}",
            session.client,
            message.told(),
        );
        self.check_terms(incarnation, number, got);
        self.check_count(incarnation, number, got);
        self.check_order(incarnation, number, got);
        self.note_group(incarnation, number, got);
        if self.messages[number as usize].retain {
            let topic = self.messages[number as usize].topic;
            self.incarnations[incarnation].state.insert(topic, number);
        }
        Some(number)
    }

    /// QoS and identifiers follow from the subscriptions (MQTT-3.8.4-8, MQTT-3.3.4-2 to -5).
    fn check_terms(&self, incarnation: usize, number: u32, got: &Delivered<'_>) {
        let (session, message) = (
            &self.incarnations[incarnation],
            &self.messages[number as usize],
        );
        // What a subscription asked for may come late, when it was left and made anew since.
        let asked = || session.subscriptions.iter();
        let matching: Vec<&Subscription> = match got.retain {
            true => asked().filter(|s| s.matches(message.topic)).collect(),
            false => matching(session, message),
        };
        let told = || {
            format!(
                "message {number} {} at {incarnation}: {got:?}",
                message.told()
            )
        };
        // A retained message is sent as its SUBSCRIBE asked, whatever was asked since.
        let since = if got.retain { 0 } else { message.sent };
        let grants = || matching.iter().flat_map(|s| s.possible_grants(since));
        if !got.retain && message.will.is_none() {
            let foreign = |g: &super::Grant| !g.no_local || session.client != message.publisher;
            assert!(grants().any(foreign), "no local: {}", told());
        }
        let highest = grants().map(|grant| grant.qos).max().unwrap_or(0);
        assert!(
            got.qos <= highest.min(message.qos),
            "QoS too high: {}",
            told()
        );
        if !got.retain {
            let lowest = session.certain_qos(message).unwrap_or(0);
            assert!(
                got.qos >= lowest.min(message.qos),
                "QoS below {lowest}: {}",
                told()
            );
        }
        for id in &got.identifiers {
            assert!(
                grants().any(|g| g.identifier == Some(*id)),
                "identifier {id}: {}",
                told()
            );
        }
        let settled = |s: &&&Subscription| {
            s.is_certain(message.sent) && s.possible_grants(message.sent).len() == 1
        };
        let is_direct = message.topic.starts_with("s/") && matching.len() > 1;
        if got.retain || is_direct {
            return;
        }
        for subscription in matching.iter().filter(settled) {
            let grant = subscription.possible_grants(message.sent)[0];
            let own = grant.no_local && session.client == message.publisher;
            if let Some(id) = grant.identifier.filter(|_| !own) {
                assert!(
                    got.identifiers.contains(&id),
                    "identifier {id} lacks: {}",
                    told()
                );
            }
        }
    }

    /// Exactly once is at most once too; and a message without DUP is no repetition.
    fn check_count(&mut self, incarnation: usize, number: u32, got: &Delivered<'_>) {
        let message = &self.messages[number as usize];
        let session = &mut self.incarnations[incarnation];
        let client = session.client;
        let sendings = if message.qos == 2 {
            1
        } else {
            message.transmissions
        };
        let mut copies = 0;
        let mut as_published = false;
        for subscription in session
            .subscriptions
            .iter()
            .filter(|s| s.matches(message.topic))
        {
            copies += subscription
                .grants
                .iter()
                .filter(|g| g.wants_retained)
                .count() as u32;
            as_published |= subscription.grants.iter().any(|g| g.retain_as_published);
        }
        let shared = session.shares(message.topic);
        let entry = session.got.entry(number).or_default();
        entry.total += 1;
        // A group's message may come back to a member that did not acknowledge it.
        if got.qos == 1 && (got.dup || shared) {
            return;
        }
        if !got.retain {
            entry.live += 1;
            assert!(
                entry.live <= sendings,
                "session {incarnation} of client {client} got message {number} {} times for \
                 {sendings} sendings: {got:?} {}",
                entry.live,
                message.told(),
            );
            return;
        }
        assert!(
            message.retain,
            "RETAIN on a message without: {number} {got:?}"
        );
        entry.retained += 1;
        let most = copies * message.transmissions + if as_published { sendings } else { 0 };
        assert!(
            entry.retained <= most,
            "session {incarnation} got retained message {number} {} times, {most} were asked for",
            entry.retained,
        );
    }

    /// Topic by topic, publisher by publisher, in order (MQTT-4.6.0-5, -6).
    fn check_order(&mut self, incarnation: usize, number: u32, got: &Delivered<'_>) {
        let message = &self.messages[number as usize];
        let session = &self.incarnations[incarnation];
        let first = session.got.get(&number).is_some_and(|got| got.total == 1);
        let shared = session.shares(message.topic);
        // A repetition by its publisher may be the first that gets as far as here.
        let may_miss =
            self.lossy || got.qos == 0 || message.expires || session.certain_qos(message).is_none();
        let repeated = message.transmissions > 1 && message.qos == 1 && may_miss;
        if got.retain || shared || !first || repeated || message.will.is_some() {
            return;
        }
        let key = (message.publisher, message.topic, message.qos, got.qos);
        let client = session.client;
        let last = self.incarnations[incarnation]
            .last
            .entry(key)
            .or_insert(number);
        assert!(
            *last <= number,
            "session {incarnation} of client {client} got message {number} after {}: {got:?} {}",
            *last,
            message.told(),
        );
        *last = number;
    }

    /// A QoS 2 message once begun stays with its member (MQTT-4.8.2-4, -5).
    fn note_group(&mut self, incarnation: usize, number: u32, got: &Delivered<'_>) {
        let message = &mut self.messages[number as usize];
        let session = &self.incarnations[incarnation];
        let shared = session.shares(message.topic);
        if !shared {
            return;
        }
        if !message.dealt_to.contains(&incarnation) {
            message.dealt_to.push(incarnation);
        }
        if got.qos == 2 && !message.begun_by.contains(&incarnation) {
            message.begun_by.push(incarnation);
            assert!(
                message.begun_by.len() == 1,
                "message {number} was begun by sessions {:?} of one group: {}",
                message.begun_by,
                message.told(),
            );
        }
    }

    /// Messages of rogues, and those that clear what is retained.
    fn check_unnumbered(&self, incarnation: usize, got: &Delivered<'_>) {
        let session = &self.incarnations[incarnation];
        assert!(
            session.subscriptions.iter().any(|s| s.matches(got.topic)),
            "session {incarnation} of client {} got {got:?} without a subscription",
            session.client,
        );
    }
}

impl Incarnation {
    /// Whether a group of the session has ever matched the topic.
    pub(super) fn shares(&self, topic: &str) -> bool {
        self.subscriptions
            .iter()
            .any(|s| s.group.is_some() && s.matches(topic))
    }

    /// Whether and how often the session got a message.
    pub fn got(&self, number: u32) -> u32 {
        self.got.get(&number).map_or(0, |got| got.total)
    }

    /// The QoS that the session is sure to get a message with; `None`: not sure to get it.
    pub fn certain_qos(&self, message: &Message) -> Option<u8> {
        let own = self.client == message.publisher;
        let certain = self.subscriptions.iter().filter(|s| {
            s.group.is_none() && s.matches(message.topic) && s.is_certain(message.sent)
        });
        let lowest = |s: &Subscription| {
            let grants = s.possible_grants(message.sent);
            let left_out = own && grants.iter().any(|grant| grant.no_local);
            let lowest = grants.iter().map(|grant| grant.qos).min();
            lowest.filter(|_| !left_out)
        };
        certain.filter_map(lowest).max()
    }
}

impl Message {
    /// For people who read a failure.
    pub fn told(&self) -> String {
        format!(
            "[client {} topic {} QoS {} bytes {} retain {} sent {} accepted {:?} sendings {}]",
            self.publisher,
            self.topic,
            self.qos,
            self.bytes,
            self.retain,
            self.sent,
            self.accepted,
            self.transmissions
        )
    }
}

fn matching<'a>(session: &'a Incarnation, message: &Message) -> Vec<&'a Subscription> {
    let subscriptions = session.subscriptions.iter();
    subscriptions
        .filter(|s| s.matches(message.topic) && s.is_possible(message.sent))
        .collect()
}
