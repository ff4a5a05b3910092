//! How connections end.
//!
//! A connection that the shard lets go of is flushed first, and then closed from our side only:
//! its last packet (why it was refused, that another took over) would be destroyed on the way if
//! the socket were closed with input unread. Whoever does not take it within a few seconds is cut.

use super::{Crowd, Driver};
use crate::base::ConnId;
use crate::limits::{CLOSE_MS_MAX, CLOSE_WASTE_BYTES_MAX};
use crate::net::connection::{Stage, end_sending};
use crate::shard::Input;
use std::collections::VecDeque;
use std::sync::atomic::Ordering;

/// A connection that has to be gone by a deadline.
pub struct Closing {
    pub deadline_ms: u64,
    slot: u32,
    serial: u32,
}

impl Closing {
    pub(super) fn at(deadline_ms: u64, slot: u32, serial: u32) -> Closing {
        Closing {
            deadline_ms,
            slot,
            serial,
        }
    }

    /// Its slot and serial.
    pub(super) fn whose(&self) -> (u32, u32) {
        (self.slot, self.serial)
    }

    /// Whether the time of the first of the line has come.
    pub(super) fn is_due(line: &VecDeque<Closing>, now_ms: u64) -> bool {
        line.front()
            .is_some_and(|closing| closing.deadline_ms <= now_ms)
    }

    /// The first of the line if its time has come: its slot and serial.
    pub(super) fn take_due(line: &mut VecDeque<Closing>, now_ms: u64) -> Option<(u32, u32)> {
        let Some(first) = line.front() else {
            // Nobody is left of what was a crowd.
            line.shrink_to(1024);
            return None;
        };
        if first.deadline_ms > now_ms {
            return None;
        }
        let found = (first.slot, first.serial);
        line.pop_front();
        Some(found)
    }
}

impl Driver {
    /// The connection is over: the peer has gone, or it cannot be written any more.
    pub(super) fn line_up_to_leave(&mut self, slot: u32) {
        if let Some(conn) = self.conns.get(slot) {
            self.leavers.push_back((slot, conn.serial));
        }
    }

    /// It cannot be written any more: in its turn the shard is told. Nobody tries again before.
    pub(super) fn break_off(&mut self, id: ConnId) {
        self.fx.out.discard(id);
        if let Some(conn) = self.conns.get_mut(id.0)
            && !conn.is_closing()
        {
            conn.stage = Stage::Broken;
        }
        self.line_up_to_leave(id.0);
    }

    /// The connection is over: the shard is told.
    pub(super) fn lose(&mut self, slot: u32) {
        let conn = ConnId(slot);
        let Some(found) = self.conns.get(slot).filter(|conn| conn.socket.is_some()) else {
            return;
        };
        let is_known = found.layers.as_ref().is_none_or(|layers| layers.is_open());
        self.release(slot);
        if is_known {
            self.shard
                .step(self.now, Input::Closed { conn }, &mut self.fx);
        }
    }

    /// Closes a connection of which the shard knows nothing any more.
    pub(super) fn release(&mut self, slot: u32) {
        let Some(conn) = self.conns.get_mut(slot) else {
            return;
        };
        if conn.socket.take().is_some() {
            conn.layers = None;
            let listener = conn.listener;
            self.crowd.leave(listener);
            self.fx.out.discard(ConnId(slot));
            self.freed.push(slot);
            if !self.wasted.is_empty() {
                self.wasted.remove(&slot);
            }
        }
    }

    /// So many bytes of a connection that is let go of were thrown away: it is cut when it goes on.
    pub(super) fn waste(&mut self, slot: u32, count: usize) {
        let wasted = self.wasted.entry(slot).or_default();
        *wasted += count;
        if *wasted > CLOSE_WASTE_BYTES_MAX {
            self.release(slot);
        }
    }

    /// Those that the shard let go of in this turn and that are not written out yet, or had
    /// nothing to be written.
    pub(super) fn begin_closes(&mut self) {
        for at in 0..self.fx.closes.len() {
            let id = self.fx.closes[at];
            let Some(conn) = self.conns.get(id.0) else {
                continue;
            };
            // Flushed in this turn: it is on its way out already.
            if conn.stage == Stage::Finished || conn.socket.is_none() {
                continue;
            }
            let is_flushed = self.fx.out.backlog(id) == 0;
            if conn.layers.is_some() && is_flushed {
                // TLS and WebSocket have something to say at the end.
                self.close_by_deadline(id.0);
                self.write(id);
            } else if is_flushed {
                self.release(id.0);
            } else {
                self.close_by_deadline(id.0);
            }
        }
        self.fx.closes.clear();
    }

    /// The last byte was sent: no more comes from here.
    pub(super) fn finish_sending(&mut self, slot: u32) {
        let Some(conn) = self.conns.get_mut(slot) else {
            return;
        };
        if conn.ended {
            return self.release(slot);
        }
        if let Some(socket) = &conn.socket {
            end_sending(socket);
            conn.stage = Stage::Finished;
            conn.parked = false;
            self.close_by_deadline(slot);
            self.list(slot);
        }
    }

    /// Cuts one whose time is over. False: there is none.
    pub(super) fn close_overdue(&mut self) -> bool {
        let Some((slot, serial)) = Closing::take_due(&mut self.closings, self.now.ms) else {
            return false;
        };
        let conn = self.conns.get(slot);
        if conn.is_some_and(|conn| conn.serial == serial) {
            self.release(slot);
        }
        true
    }

    pub(super) fn close_by_deadline(&mut self, slot: u32) {
        if let Some(conn) = self.conns.get(slot) {
            let deadline_ms = self.now.ms + CLOSE_MS_MAX;
            let closing = Closing::at(deadline_ms, slot, conn.serial);
            self.closings.push_back(closing);
        }
    }
}

impl Crowd {
    /// One connection more.
    pub fn join(&self, listener: u16) {
        self.total.fetch_add(1, Ordering::Relaxed);
        self.by_listener[usize::from(listener)].fetch_add(1, Ordering::Relaxed);
    }

    /// One connection less.
    pub fn leave(&self, listener: u16) {
        self.total.fetch_sub(1, Ordering::Relaxed);
        self.by_listener[usize::from(listener)].fetch_sub(1, Ordering::Relaxed);
    }
}
