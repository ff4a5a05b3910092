//! From sockets and mail to the shard.

use super::super::mail::{Mail, Passed};
use super::Driver;
use super::crowd::Newcomer;
use crate::base::{ConnId, Peer};
use crate::net::Connection;
use crate::net::connection::{Received, Stage, discard, receive};
use crate::net::layer::Layers;
use crate::net::poller::Ready;
use crate::shard::Input;
use std::os::fd::OwnedFd;

/// Input that a turn takes in before it writes what came of it: more would only make the outboxes
/// longer than a slow receiver's may be.
const TURN_BYTES_MAX: usize = 256 * 1024;
/// Work that a turn does for mail, and again for what it reads, in deliveries (see
/// [`Shard::spent`](crate::shard::Shard::spent)), before what is left waits for the next.
const TURN_WORK_MAX: usize = 16 * 1024;
/// What a verdict counts of that when its client is told it: a packet is sent at once.
pub(super) const VERDICT_WORK: usize = TURN_WORK_MAX / 8;
/// Items of mail in a turn.
const TURN_MAIL_MAX: usize = 256;
/// With more outgoing items than this waiting for room, mail is taken one item a turn. Going on at
/// full speed would pile up without bound what the others have no room for; not going on at all
/// could make a ring of full shards wait for each other for ever.
const OVERFLOW_MAX: usize = 1024;

impl Driver {
    /// What other shards and the control plane sent.
    pub(super) fn take_mail(&mut self) {
        for taken in 0..TURN_MAIL_MAX {
            while let Some(envelope) = self.batch.next() {
                self.step(Input::Envelope(envelope));
                if self.spent >= TURN_WORK_MAX {
                    return;
                }
            }
            if taken > 0 && self.out.overflow_len() > OVERFLOW_MAX || self.spent >= TURN_WORK_MAX {
                return;
            }
            match self.mailbox.take() {
                None => return,
                Some(Mail::Batch(batch)) => self.batch = batch.into_iter(),
                Some(Mail::Socket(passed)) => self.newcomers.push_back(Newcomer::Passed(passed)),
                Some(Mail::Ask(ask)) => self.answer(*ask),
            }
        }
    }

    /// One step, which counts for the turn.
    #[inline]
    fn step(&mut self, input: Input<'_>) {
        self.shard.step(self.now, input, &mut self.fx);
        self.spent += self.shard.spent();
    }

    /// A connection from now on is this shard's. None: there was no room in the set.
    pub(super) fn open(
        &mut self,
        socket: OwnedFd,
        peer: Peer,
        layers: Option<Box<Layers>>,
    ) -> Option<ConnId> {
        let conn = ConnId(self.watch_connection(socket, peer.listener, layers)?);
        self.shard
            .step(self.now, Input::Opened { conn, peer }, &mut self.fx);
        Some(conn)
    }

    /// Gives a connection a slot, and watches it. None: there was no room in the set.
    pub(super) fn watch_connection(
        &mut self,
        socket: OwnedFd,
        listener: u16,
        layers: Option<Box<Layers>>,
    ) -> Option<u32> {
        self.next_serial = self.next_serial.wrapping_add(1);
        let mut conn = Connection::new(socket, listener, self.next_serial);
        conn.layers = layers;
        let slot = self.conns.insert(conn);
        let added = match self.conns.get(slot).and_then(|conn| conn.socket.as_ref()) {
            Some(socket) => self.watch.add_connection(socket, slot),
            None => Ok(()),
        };
        if let Err(error) = added {
            tracing::error!(%error, "a connection cannot be watched");
            self.release(slot);
            return None;
        }
        Some(slot)
    }

    /// An event of a connection.
    #[inline]
    pub(super) fn notice(&mut self, slot: u32, event: Ready) {
        let Some(conn) = self.conns.get_mut(slot) else {
            return;
        };
        if event.writable && conn.blocked {
            conn.blocked = false;
            self.dirty.push(ConnId(slot));
        }
        conn.ended |= event.peer_ended | event.dead;
        // What was read of it is worked on, and what was not is still to be.
        let waits = conn.parked && !self.shard.has_its_turn(ConnId(slot));
        let over = event.dead && (waits || conn.is_closing());
        let readable = event.readable || event.dead;
        if over {
            // Nothing can be sent any more, and what may still lie here nobody waits for.
            self.line_up_to_leave(slot);
        } else if readable {
            self.list(slot);
        }
    }

    /// Reads each listed connection once, until the turn has enough.
    pub(super) fn read_listed(&mut self) {
        if self.out.is_congested() || self.to_read.is_empty() {
            return;
        }
        std::mem::swap(&mut self.to_read, &mut self.reading);
        let mut bytes = 0;
        // Mail has a share of its own: a flood of it keeps nobody from being read.
        let before = self.spent;
        for at in 0..self.reading.len() {
            if bytes >= TURN_BYTES_MAX || self.spent - before >= TURN_WORK_MAX {
                // The rest comes first next time.
                self.to_read.splice(0..0, self.reading.drain(at..));
                break;
            }
            bytes += self.read(self.reading[at]);
        }
        self.reading.clear();
    }

    /// One read, unless the connection has to wait in the line of those who come and go. Gives the
    /// number of bytes.
    #[inline]
    fn read(&mut self, slot: u32) -> usize {
        let Some(conn) = self.conns.get(slot).filter(|conn| conn.listed) else {
            return 0;
        };
        if conn.stage == Stage::Broken {
            return 0;
        }
        let is_costly = || conn.layers.as_deref().is_some_and(Layers::is_costly);
        if conn.stage != Stage::Open || is_costly() {
            // It stays listed, so that it stands in the line once.
            self.newcomers.push_back(Newcomer::Here(slot, conn.serial));
            return 0;
        }
        self.read_now(slot)
    }

    /// One read. Gives the number of bytes.
    #[inline]
    pub(super) fn read_now(&mut self, slot: u32) -> usize {
        let Some(conn) = self.conns.get_mut(slot) else {
            return 0;
        };
        let Some(socket) = conn.socket.as_ref().filter(|_| conn.listed) else {
            return 0;
        };
        let id = ConnId(slot);
        let closing = conn.is_closing();
        let layers = conn.layers.as_deref().filter(|_| !closing);
        if let Some(layers) = layers {
            conn.listed = false;
            let wanted = !layers.is_open() || self.shard.wants_input(id, &self.fx);
            if wanted && Self::has_room_back(layers) {
                return self.receive_layered(slot);
            }
            conn.parked = true;
            return 0;
        }
        conn.listed = false;
        let received = if closing {
            discard(socket, &mut self.scratch)
        } else if self.shard.wants_input(id, &self.fx) {
            receive(socket, &mut self.scratch)
        } else {
            conn.parked = true;
            return 0;
        };
        let ended = conn.ended;
        match received {
            Received::Bytes(count) => {
                // After a receive that was not filled the poller reports what comes next, but the
                // end it has reported already.
                if count == self.scratch.len() || ended {
                    self.list(slot);
                }
                if closing {
                    self.waste(slot, count);
                } else {
                    let bytes = &self.scratch[..count];
                    self.shard
                        .step(self.now, Input::Bytes { conn: id, bytes }, &mut self.fx);
                    self.spent += self.shard.spent();
                }
                count
            }
            Received::Nothing => 0,
            Received::End => {
                match closing {
                    true => self.release(slot),
                    false => self.line_up_to_leave(slot),
                }
                0
            }
        }
    }

    /// Something has changed for which input may have been refused: looks again.
    pub(super) fn unpark(&mut self, slot: u32) {
        if let Some(conn) = self.conns.get_mut(slot)
            && std::mem::take(&mut conn.parked)
        {
            self.list(slot);
        }
    }

    /// Outboxes that were full have been written out.
    pub(super) fn tell_drained(&mut self) {
        for at in 0..self.drained.len() {
            let slot = self.drained[at];
            let alive = self
                .conns
                .get(slot)
                .is_some_and(|c| c.socket.is_some() && !c.is_closing());
            if alive {
                let conn = ConnId(slot);
                self.shard
                    .step(self.now, Input::Drained { conn }, &mut self.fx);
                self.unpark(slot);
            }
        }
        self.drained.clear();
    }

    /// Takes a connection that another shard has handed over.
    pub(super) fn adopt(&mut self, passed: Passed) {
        let layers = passed.layers.as_deref();
        let is_unsent = layers.is_some_and(|layers| !layers.unsent.is_empty());
        let is_ended = layers.is_some_and(|layers| layers.ended);
        let Some(conn) = self.open(passed.socket, passed.peer, passed.layers) else {
            return;
        };
        if let Some(conn) = self.conns.get_mut(conn.0) {
            conn.stage = Stage::Open;
        }
        let bytes = passed.bytes.as_slice();
        self.step(Input::Bytes { conn, bytes });
        if is_unsent {
            self.dirty.push(conn);
        }
        if is_ended {
            self.list(conn.0);
        }
    }
}
