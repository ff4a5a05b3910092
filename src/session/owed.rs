//! Acknowledgements that wait for a store: owed to the client, and given in the order in which its
//! packets came, in whatever order the store answers (MQTT-4.6.0-2, -3).

use crate::codec::{AckKind, ReasonCode};
use std::collections::VecDeque;

/// An acknowledgement that is owed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owed {
    /// What is waited for: later ones have greater numbers.
    pub wait: u64,
    pub kind: AckKind,
    pub packet_id: u16,
    pub reason: ReasonCode,
    /// What it says is true by now.
    pub is_true: bool,
    /// The client, on its present connection, has sent the packet.
    pub is_asked: bool,
}

/// All that is owed to a client.
#[derive(Default)]
pub struct OwedAcks(VecDeque<Owed>);

impl OwedAcks {
    /// One more.
    pub fn push(&mut self, owed: Owed) {
        debug_assert!(self.0.back().is_none_or(|last| last.wait < owed.wait));
        self.0.push_back(owed);
    }

    /// What was waited for has come.
    pub fn settle(&mut self, wait: u64) {
        if let Ok(at) = self.0.binary_search_by_key(&wait, |owed| owed.wait) {
            self.0[at].is_true = true;
        }
    }

    /// The next that may be sent; those that nobody asks for any more are passed over.
    pub fn pop(&mut self) -> Option<Owed> {
        while self.0.front().is_some_and(|first| first.is_true) {
            let first = self.0.pop_front().expect("looked at just now");
            if first.is_asked {
                return Some(first);
            }
        }
        None
    }

    /// The connection is gone. PUBREC stays owed: should the message come again before a store has
    /// it, it is the same message and still not to be acknowledged.
    pub fn handle_disconnect(&mut self) {
        self.0.retain(|owed| owed.kind == AckKind::PubRec);
        for owed in &mut self.0 {
            owed.is_asked = false;
        }
    }

    /// The client sent the QoS 2 message with this id again. False: nothing is owed for it.
    pub fn ask_again(&mut self, packet_id: u16) -> bool {
        let is_it = |owed: &&mut Owed| owed.packet_id == packet_id && owed.kind == AckKind::PubRec;
        let found = self.0.iter_mut().find(is_it);
        found.map(|owed| owed.is_asked = true).is_some()
    }

    /// How many are owed.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owed(wait: u64, kind: AckKind, packet_id: u16) -> Owed {
        Owed {
            wait,
            kind,
            packet_id,
            reason: ReasonCode::Success,
            is_true: false,
            is_asked: true,
        }
    }

    #[test]
    fn order_is_that_of_the_packets_not_of_the_store() {
        let mut acks = OwedAcks::default();
        for (wait, id) in [(3, 1), (5, 2), (9, 3)] {
            acks.push(owed(wait, AckKind::PubAck, id));
        }
        acks.settle(5);
        acks.settle(4);
        assert_eq!(acks.pop(), None);
        acks.settle(3);
        let ids: Vec<u16> = std::iter::from_fn(|| acks.pop())
            .map(|owed| owed.packet_id)
            .collect();
        assert_eq!((ids, acks.len()), (vec![1, 2], 1));
    }

    #[test]
    fn a_message_that_comes_again_is_owed_once() {
        let mut acks = OwedAcks::default();
        acks.push(owed(1, AckKind::PubAck, 7));
        acks.push(owed(2, AckKind::PubRec, 7));
        acks.push(owed(3, AckKind::PubRec, 8));
        acks.handle_disconnect();
        assert!(acks.ask_again(7) && !acks.ask_again(9));
        acks.settle(2);
        acks.settle(3);
        assert_eq!(
            acks.pop().map(|owed| (owed.kind, owed.packet_id)),
            Some((AckKind::PubRec, 7))
        );
        assert_eq!((acks.pop(), acks.is_empty()), (None, true));
    }
}
