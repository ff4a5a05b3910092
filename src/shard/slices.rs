//! Work in slices. What one client asks for at once can be more than others may have to wait for:
//! ten thousand filters, messages with a thousand receivers each, the end of a session with all its
//! subscriptions. A step does a slice of it, and [`Input::Tick`](super::Input::Tick), which is due
//! at once then, goes on with it: one slice a turn for all together who have more, one after the
//! other, while everybody else is served as ever.
//!
//! Work is counted in deliveries, and so does not depend on the machine: what is bounded is a few
//! milliseconds on any.

use super::conn::{Conn, Pause};
use super::packets::Next;
use super::{Effects, Shard};
use crate::base::{ConnId, Now};
use crate::routing::ClientKey;
use std::collections::VecDeque;

/// What a filter counts, in deliveries, when it is subscribed to or not any more: the tables of all
/// levels change, and routes that were remembered are found anew.
pub(super) const FILTER: usize = 64;
/// What a look for retained messages counts.
pub(super) const LOOKUP: usize = 64;

/// How much the present step has done, and who has more.
pub(super) struct Slices {
    spent: usize,
    max: usize,
    unfinished: VecDeque<Unfinished>,
    /// Sessions that are over and still have subscriptions.
    leaving: usize,
}

/// What a step has left to do.
#[derive(Clone, Copy)]
pub(super) enum Unfinished {
    /// Packets of a connection, or the rest of one.
    Input(ConnId),
    /// Deliveries and retained messages that wait for a session.
    Deliveries { slot: u32, generation: u32 },
    /// Subscriptions of a session that is over. It keeps its slot so long, because routes lead
    /// there.
    Subscriptions { slot: u32 },
    /// Retained messages among which expired ones are looked for.
    Sweep { left: usize },
}

impl Slices {
    /// `max`: what a step may do, in deliveries.
    pub fn new(max: usize) -> Slices {
        Slices {
            spent: 0,
            max,
            unfinished: VecDeque::new(),
            leaving: 0,
        }
    }

    /// A step begins.
    #[inline]
    pub fn begin(&mut self) {
        self.spent = 0;
    }

    #[inline]
    pub fn spend(&mut self, work: usize) {
        self.spent += work;
    }

    /// This part of what a step may do was done.
    pub fn spend_part(&mut self, parts: usize) {
        self.spent += self.max.div_ceil(parts);
    }

    #[inline]
    pub fn spent(&self) -> usize {
        self.spent
    }

    /// Whether the step has done enough.
    #[inline]
    pub fn is_spent(&self) -> bool {
        self.spent >= self.max
    }

    pub fn put_off(&mut self, work: Unfinished) {
        self.unfinished.push_back(work);
    }

    /// Whether there is more to do at once.
    pub fn has_more(&self) -> bool {
        !self.unfinished.is_empty()
    }

    pub fn leaving(&self) -> usize {
        self.leaving
    }

    pub fn shrink(&mut self) {
        self.unfinished.shrink_to_fit();
    }
}

impl Shard {
    /// One slice of what was put off.
    pub(super) fn go_on(&mut self, now: Now, fx: &mut Effects) {
        // Who is put off again comes after all the others.
        for _ in 0..self.slices.unfinished.len() {
            if self.slices.is_spent() {
                return;
            }
            match self.slices.unfinished.pop_front() {
                None => return,
                Some(Unfinished::Input(id)) => self.go_on_with_input(now, id, fx),
                Some(Unfinished::Deliveries { slot, generation }) => {
                    let session = self.sessions.get(slot);
                    if session.is_some_and(|session| session.generation == generation) {
                        self.pump(now, slot, fx);
                    }
                }
                Some(Unfinished::Subscriptions { slot }) => self.dismantle(slot),
                Some(Unfinished::Sweep { left }) => self.sweep_retained(now, left),
            }
        }
    }

    /// Nothing more of this connection is handled in this step.
    pub(super) fn put_off_input(&mut self, id: ConnId) -> Next {
        if let Some(conn) = self.conns.get_mut(id.0) {
            conn.pause = Some(Pause::Turn);
            self.slices.put_off(Unfinished::Input(id));
        }
        Next::Stop
    }

    fn go_on_with_input(&mut self, now: Now, id: ConnId, fx: &mut Effects) {
        let Some(conn) = self.conns.get_mut(id.0) else {
            return;
        };
        // The slot may have another connection by now, which waits for something else.
        if conn.pause.take_if(|pause| *pause == Pause::Turn).is_none() {
            return;
        }
        conn.last_packet_ms = now.ms;
        match self.go_on_with_request(now, id, fx) {
            Ok(Next::Go) => {}
            Ok(Next::Stop) => return,
            Err(violation) => return self.handle_violation(now, id, violation, fx),
        }
        self.resume_input(now, id, fx);
        if self.conns.get(id.0).is_some_and(Conn::wants_input) {
            fx.resumed.push(id);
        }
    }

    /// Takes the subscriptions of a session that is over out of the routes, then the session.
    pub(super) fn leave_routes(&mut self, slot: u32) {
        self.slices.leaving += 1;
        self.next_generation = self.next_generation.wrapping_add(1);
        let session = self
            .sessions
            .get_mut(slot)
            .expect("looked up by the caller");
        // No alarm and no mail that was meant for it finds it any more.
        session.generation = self.next_generation;
        session.alarm_ms = u64::MAX;
        session.expiry_s = 0;
        self.dismantle(slot);
    }

    fn dismantle(&mut self, slot: u32) {
        let session = self
            .sessions
            .get_mut(slot)
            .expect("its slot is kept for it");
        while let Some(id) = session.subscriptions.pop() {
            self.router.remove(ClientKey(slot), id);
            self.slices.spend(FILTER);
            if self.slices.is_spent() && !session.subscriptions.is_empty() {
                return self.slices.put_off(Unfinished::Subscriptions { slot });
            }
        }
        self.sessions.remove(slot);
        self.slices.leaving -= 1;
    }
}
