//! What must have happened by a quiet moment.

use super::{Incarnation, Message, Model};
use std::collections::BTreeSet;

impl Model {
    /// Nothing is under way any more; `here` are the clients that are connected, `cut` tells links
    /// that broke. Every promise to them is kept.
    pub fn check_promises(&mut self, here: &BTreeSet<usize>, now_ms: u64, step: u64) {
        self.settle_wills(now_ms, step);
        for message in &mut self.messages {
            // Who is away may send again when it is back.
            let over = here.contains(&message.publisher) || message.will.is_some();
            if over && message.sent < u64::MAX && !message.waits() {
                message.finished.get_or_insert(step);
            }
        }
        if self.lossy {
            return;
        }
        for &client in here {
            let Some(incarnation) = self.servers[client].incarnation else {
                continue;
            };
            self.check_session(incarnation);
        }
        if here.len() == self.servers.len() {
            self.check_groups();
        }
    }

    fn check_session(&mut self, incarnation: usize) {
        let session = &self.incarnations[incarnation];
        for (number, message) in self.messages.iter().enumerate() {
            if !message.is_owed() || session.too_large(message) {
                continue;
            }
            let Some(granted) = session.certain_qos(message) else {
                continue;
            };
            if granted.min(message.qos) == 0 {
                continue;
            }
            self.promises += 1;
            assert!(
                session.got(number as u32) > 0,
                "session {incarnation} of client {} never got message {number} {}; its \
                 subscriptions: {:?}",
                session.client,
                message.told(),
                session.matching(message),
            );
        }
    }

    /// One member of each group at least got each message.
    fn check_groups(&mut self) {
        let alive: Vec<usize> = self.servers.iter().filter_map(|s| s.incarnation).collect();
        for (number, message) in self.messages.iter().enumerate() {
            if !message.is_owed() || message.qos == 0 {
                continue;
            }
            let sure = alive
                .iter()
                .filter(|&&i| self.incarnations[i].is_member(message))
                .count();
            // Too large for the member that was chosen, the broker may drop it (MQTT-3.1.2-25).
            let too_large = |s: &Incarnation| s.shares(message.topic) && s.too_large(message);
            if self.incarnations.iter().any(too_large) {
                continue;
            }
            // Begun with a member whose session ended since: it ended with it (MQTT-4.8.2-5).
            let excused = |session: &Incarnation| {
                session.ended.is_some_and(|at| at >= message.sent)
                    && session.may_have_begun(message)
            };
            if sure == 0 || self.incarnations.iter().any(excused) {
                continue;
            }
            self.promises += 1;
            assert!(
                !message.dealt_to.is_empty(),
                "no member of the group got message {number} {}",
                message.told(),
            );
        }
    }

    /// The broker said that nobody subscribes: then nobody did for certain.
    pub fn check_unmatched(&self, number: u32) {
        let message = &self.messages[number as usize];
        if message.transmissions > 1 {
            return;
        }
        for incarnation in self.servers.iter().filter_map(|server| server.incarnation) {
            let session = &self.incarnations[incarnation];
            assert!(
                session.certain_qos(message).is_none() && !session.is_member(message),
                "no subscriber for message {number} {}, but session {incarnation} of client {}",
                message.told(),
                session.client,
            );
        }
    }

    /// After [`Model::check_registers`]: whoever asked for retained messages, or was there when
    /// they were published, has seen the present one, and it was the last to come.
    pub fn check_states(&mut self, here: &BTreeSet<usize>) {
        if self.lossy {
            return;
        }
        for (topic, register) in &self.registers {
            let Some(number) = register.value.filter(|_| register.foretold) else {
                continue;
            };
            let message = &self.messages[number as usize];
            for &client in here {
                let Some(incarnation) = self.servers[client].incarnation else {
                    continue;
                };
                let session = &self.incarnations[incarnation];
                if !session.sees_state(message) {
                    continue;
                }
                self.states_checked += 1;
                let last = session.state.get(topic);
                assert!(
                    session.got(number) > 0,
                    "session {incarnation} of client {client} never saw retained message \
                     {number} {} but {last:?}; its subscriptions: {:?}",
                    message.told(),
                    session.matching(message),
                );
                assert!(
                    last == Some(&number),
                    "session {incarnation} of client {client} saw retained message {last:?} \
                     {} after {number} {}",
                    last.map(|&n| self.messages[n as usize].told())
                        .unwrap_or_default(),
                    message.told(),
                );
            }
        }
    }
}

impl Message {
    /// Whether the broker owes it to anybody for certain.
    fn is_owed(&self) -> bool {
        self.accepted.is_some() && !self.expires && !self.empty
    }
}

impl Incarnation {
    fn too_large(&self, message: &Message) -> bool {
        message.bytes + message.topic.len() + 64 > self.packet_bytes_max
    }

    fn matching(&self, message: &Message) -> Vec<String> {
        let matching = self
            .subscriptions
            .iter()
            .filter(|s| s.matches(message.topic));
        matching
            .map(|s| format!("{} {:?} until {:?}", s.filter, s.grants, s.unsubscribed))
            .collect()
    }

    fn is_member(&self, message: &Message) -> bool {
        self.subscriptions
            .iter()
            .any(|s| s.group.is_some() && s.matches(message.topic) && s.is_certain(message.sent))
            && !self.too_large(message)
    }

    fn may_have_begun(&self, message: &Message) -> bool {
        message.qos == 2
            && self.subscriptions.iter().any(|s| {
                s.group.is_some()
                    && s.matches(message.topic)
                    && s.grants.iter().any(|grant| grant.qos == 2)
            })
    }

    /// Whether the present retained message must have come at QoS 1 or 2, in whatever way.
    fn sees_state(&self, message: &Message) -> bool {
        let own = self.client == message.publisher;
        let sees = |s: &super::Subscription| {
            let confirmed = s.grants.iter().all(|grant| grant.confirmed.is_some());
            let no_local = own && s.grants.iter().any(|grant| grant.no_local);
            let asked = s.grants.iter().any(|grant| grant.surely_retained);
            let asked = asked || s.is_certain(message.sent);
            let lowest = s.grants.iter().map(|grant| grant.qos).min().unwrap_or(0);
            s.group.is_none()
                && s.unsubscribed.is_none()
                && confirmed
                && asked
                && !no_local
                && lowest.min(message.qos) > 0
        };
        !self.too_large(message)
            && self.subscriptions.iter().any(|s| s.matches(message.topic) && sees(s))
            // Another subscription at QoS 0 would let an older one overtake.
            && self.subscriptions.iter().filter(|s| s.matches(message.topic)).all(|s| {
                s.grants.iter().all(|grant| grant.qos > 0)
            })
    }
}
