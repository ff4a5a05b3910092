//! One subscriber: alone, or one of a shared group.

use super::{Flow, Plan};
use crate::measure::sequence::Arrival;
use crate::scenario::inflight::InFlight;
use crate::scenario::talk::Unreleased;
use std::collections::VecDeque;

#[derive(Debug)]
pub struct Member {
    /// Its number over all executors.
    pub number: u32,
    /// Which of this executor's receivers it is, or belongs to.
    pub own_receiver: u32,
    /// In a shared group: one more than the last number that this member got of each stream.
    nexts: Box<[u64]>,
    pub unreleased: Unreleased,
    /// Replies that the broker has not taken over, and those that wait for one of them.
    pub in_flight: InFlight,
    pub waiting: VecDeque<Vec<u8>>,
}

impl Member {
    pub fn new(flow: &Flow, number: u32, own_receiver: u32) -> Member {
        let plan = &flow.options.plan;
        let receiver = number % plan.receivers().max(1);
        let nexts = match plan.groups {
            0 => 0,
            _ => plan.positions(receiver),
        };
        Member {
            number,
            own_receiver,
            nexts: vec![0; nexts].into_boxed_slice(),
            unreleased: Unreleased::default(),
            in_flight: InFlight::default(),
            waiting: VecDeque::new(),
        }
    }

    /// The number of its receiver over all executors.
    #[inline]
    pub fn receiver(&self, plan: &Plan) -> u32 {
        self.number % plan.receivers().max(1)
    }

    /// It is connected, to the session that it had if that `is_resumed`.
    pub fn begin(&mut self, flow: &Flow, window: u16, is_resumed: bool) {
        if flow.options.has_replies {
            self.in_flight = InFlight::new(window);
        }
        if !is_resumed {
            self.unreleased.clear();
        }
    }

    /// What an arrival is for this member. In a group others have the numbers between, and only
    /// what this member itself got is in an order.
    #[inline]
    pub fn in_its_order(&mut self, place: usize, number: u64, came: Arrival) -> Arrival {
        let Some(next) = self.nexts.get_mut(place) else {
            return came;
        };
        if came == Arrival::Duplicate {
            return came;
        }
        if number < *next {
            return Arrival::Reordered;
        }
        *next = number + 1;
        Arrival::InOrder
    }
}

/// The filter of a group's members.
pub fn group_filter(group: u32, filter: &str) -> String {
    format!("$share/g{group}/{filter}")
}
