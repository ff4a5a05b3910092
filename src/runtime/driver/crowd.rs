//! Who comes and who goes, of whom there may be thousands at once.
//!
//! Newcomers, whose next bytes may cost a TLS handshake or are a CONNECT, those whom another shard
//! has handed over, connections that are on their way out and those that are late wait in lines of
//! their own. A turn does no more for them than [`CROWD_TURN`] allows, with what is written to
//! them, and after it has written what others wait for: a storm takes its time from itself.

use super::super::mail::Passed;
use super::Driver;
use crate::net::connection::Stage;
use std::time::{Duration, Instant};

/// What those who come and go may take of a turn, accepting them included. What has begun is done,
/// so that a turn does one whole handshake (some 400 us) or a few CONNECTs and closes (some 10 us
/// each, and as much again for a packet to them), and then looks at who is connected.
const CROWD_TURN: Duration = Duration::from_micros(50);

/// Who waits to be let in, or to be let go of.
pub(super) enum Newcomer {
    /// A connection of this shard with something to read, or to throw away: its slot and serial.
    Here(u32, u32),
    /// One that another shard has read the CONNECT of.
    Passed(Box<Passed>),
}

impl Driver {
    /// Serves the lines in turn, within the budget.
    pub(super) fn serve_crowd(&mut self) {
        let budget = CROWD_TURN.saturating_sub(self.accepting);
        let begun = Instant::now();
        while !self.out.is_congested() {
            if !self.serve_one_of_each() {
                self.newcomers.shrink_to(1024);
                self.leavers.shrink_to(1024);
                return;
            }
            self.carry_out();
            if begun.elapsed() >= budget {
                return;
            }
        }
    }

    /// False: nobody is there.
    fn serve_one_of_each(&mut self) -> bool {
        let (newcomer, leaver) = (self.newcomers.pop_front(), self.leavers.pop_front());
        let mut is_any = newcomer.is_some() || leaver.is_some();
        if let Some(newcomer) = newcomer {
            self.serve_newcomer(newcomer);
        }
        if let Some((slot, serial)) = leaver {
            self.see_off(slot, serial);
        }
        is_any |= self.close_overdue();
        is_any |= self.turn_away_overdue();
        is_any
    }

    fn serve_newcomer(&mut self, newcomer: Newcomer) {
        let (slot, serial) = match newcomer {
            Newcomer::Here(slot, serial) => (slot, serial),
            // The shard has ended everybody, and would not end this one.
            Newcomer::Passed(passed) if self.stopping.is_some() => {
                return self.crowd.leave(passed.peer.listener);
            }
            Newcomer::Passed(passed) => return self.adopt(*passed),
        };
        let Some(conn) = self.conns.get_mut(slot).filter(|c| c.serial == serial) else {
            return;
        };
        let is_opening = conn.layers.as_deref().is_some_and(|l| !l.is_open());
        if is_opening && conn.listed && !conn.is_closing() {
            conn.listed = false;
            self.receive_layered(slot);
        } else {
            if conn.stage == Stage::New {
                conn.stage = Stage::Open;
            }
            self.read_now(slot);
        }
    }

    /// Closes a connection at whose end somebody has been.
    fn see_off(&mut self, slot: u32, serial: u32) {
        let conn = self.conns.get(slot).filter(|conn| conn.serial == serial);
        match conn.map(|conn| conn.is_closing()) {
            Some(true) => self.release(slot),
            Some(false) => self.lose(slot),
            None => {}
        }
    }
}
