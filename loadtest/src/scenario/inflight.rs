//! Packet identifiers of messages that a client has sent and the broker has not settled.

use crate::net::Fault;
use ringmq::codec::{Ack, AckKind, QoS, ReasonCode, Version};

/// At most so many messages of one client wait for their acknowledgement. Three bytes each.
#[derive(Debug, Default)]
pub struct InFlight {
    states: Box<[State]>,
    free: Vec<u16>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Free,
    AwaitsPubAck,
    AwaitsPubRec,
    AwaitsPubComp,
}

/// What an acknowledgement meant for the sender.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Settled {
    /// The next step of a QoS 2 message was taken.
    NotYet,
    /// The message is taken over by the broker.
    Accepted,
    /// The broker did not want it (v5).
    Rejected,
}

impl InFlight {
    pub fn new(window: u16) -> InFlight {
        InFlight {
            states: vec![State::Free; window.into()].into_boxed_slice(),
            free: (1..=window).rev().collect(),
        }
    }

    #[inline]
    pub fn is_full(&self) -> bool {
        self.free.is_empty()
    }

    /// An identifier for one more message; 0 at QoS 0, which needs none.
    ///
    /// # Panics
    /// If it [`is_full`](InFlight::is_full).
    #[inline]
    pub fn begin(&mut self, qos: QoS) -> u16 {
        let state = match qos {
            QoS::AtMostOnce => return 0,
            QoS::AtLeastOnce => State::AwaitsPubAck,
            QoS::ExactlyOnce => State::AwaitsPubRec,
        };
        let id = self
            .free
            .pop()
            .expect("the caller has seen that there is room");
        self.states[usize::from(id) - 1] = state;
        id
    }

    /// Takes PUBACK, PUBREC or PUBCOMP and appends the answer.
    ///
    /// # Errors
    /// It acknowledges nothing that waits for it.
    pub fn settle(
        &mut self,
        ack: &Ack<'_>,
        version: Version,
        out: &mut Vec<u8>,
    ) -> Result<Settled, Fault> {
        let state = self.states.get_mut(usize::from(ack.packet_id) - 1);
        let state = state.ok_or(Fault::Unexpected("acknowledgement"))?;
        match (ack.kind, *state) {
            (AckKind::PubRec, State::AwaitsPubRec) if !ack.reason.is_error() => {
                *state = State::AwaitsPubComp;
                Ack::new(AckKind::PubRel, ack.packet_id, ReasonCode::Success).encode(version, out);
                return Ok(Settled::NotYet);
            }
            (AckKind::PubAck, State::AwaitsPubAck)
            | (AckKind::PubRec, State::AwaitsPubRec)
            | (AckKind::PubComp, State::AwaitsPubComp) => *state = State::Free,
            _ => return Err(Fault::Unexpected("acknowledgement")),
        }
        self.free.push(ack.packet_id);
        Ok(match ack.reason.is_error() {
            true => Settled::Rejected,
            false => Settled::Accepted,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settle(in_flight: &mut InFlight, kind: AckKind, id: u16) -> Result<Settled, Fault> {
        let ack = Ack::new(kind, id, ReasonCode::Success);
        in_flight.settle(&ack, Version::V5, &mut Vec::new())
    }

    #[test]
    fn qos_1_takes_one_step_and_qos_2_two() {
        let mut in_flight = InFlight::new(2);
        let first = in_flight.begin(QoS::AtLeastOnce);
        let second = in_flight.begin(QoS::ExactlyOnce);
        assert!(in_flight.is_full() && first != second && in_flight.begin(QoS::AtMostOnce) == 0);
        assert_eq!(
            settle(&mut in_flight, AckKind::PubAck, first),
            Ok(Settled::Accepted)
        );
        let mut out = Vec::new();
        let received = Ack::new(AckKind::PubRec, second, ReasonCode::Success);
        let settled = in_flight.settle(&received, Version::V311, &mut out);
        assert_eq!(
            (settled, &out[..]),
            (Ok(Settled::NotYet), &[0x62, 2, 0, second as u8][..])
        );
        assert_eq!(
            settle(&mut in_flight, AckKind::PubComp, second),
            Ok(Settled::Accepted)
        );
        assert!(!in_flight.is_full());
    }

    #[test]
    fn a_refused_qos_2_message_is_over() {
        let mut in_flight = InFlight::new(1);
        let id = in_flight.begin(QoS::ExactlyOnce);
        let ack = Ack::new(AckKind::PubRec, id, ReasonCode::QuotaExceeded);
        let mut out = Vec::new();
        assert_eq!(
            in_flight.settle(&ack, Version::V5, &mut out),
            Ok(Settled::Rejected)
        );
        assert!(out.is_empty() && !in_flight.is_full());
    }

    #[test]
    fn acknowledgements_of_nothing_are_noticed() {
        let mut in_flight = InFlight::new(1);
        assert!(settle(&mut in_flight, AckKind::PubAck, 1).is_err());
        let id = in_flight.begin(QoS::ExactlyOnce);
        assert!(settle(&mut in_flight, AckKind::PubAck, id).is_err());
        assert!(settle(&mut in_flight, AckKind::PubAck, 9).is_err());
    }
}
