//! Presence events: in order per client, with an epoch that only grows.

use super::{Delivered, Model};

impl Model {
    pub(super) fn check_presence(&mut self, incarnation: usize, got: &Delivered<'_>) {
        let session = &mut self.incarnations[incarnation];
        let wanted = session
            .subscriptions
            .iter()
            .any(|s| s.filter == super::super::plan::PRESENCE);
        assert!(
            wanted,
            "session {incarnation} got {got:?} without a subscription"
        );
        let payload = std::str::from_utf8(got.payload).expect("presence is text");
        let Some((_, rest)) = payload.split_once("\"epoch\":") else {
            let (_, code) = payload
                .split_once("\"connack\":")
                .expect("presence has an epoch, unless it is of a refused connect");
            assert!(!code.starts_with('0'), "{payload} has no epoch");
            return;
        };
        let digits = rest.split(|c: char| !c.is_ascii_digit()).next();
        let epoch: u64 = digits
            .and_then(|d| d.parse().ok())
            .expect("an epoch is a number");
        let mut levels = got.topic.rsplit('/');
        let came = levels.next() == Some("connected");
        let client = levels.next().expect("presence names a client").to_owned();
        let event = (epoch, !came);
        let key = (client, got.qos);
        let last = session.presence.get(&key).copied();
        // QoS 1: what was seen before may come again, with DUP.
        if got.dup || last.is_some_and(|last| last == event) {
            return;
        }
        if let Some(last) = last {
            assert!(
                last < event,
                "presence of {key:?} went from {last:?} to {event:?}"
            );
        }
        session.presence.insert(key, event);
    }
}
