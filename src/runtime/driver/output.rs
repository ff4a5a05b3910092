//! From the shard to mailboxes and sockets, in the order that makes acknowledgements true.

use super::super::mail::{Mail, Passed};
use super::super::mesh::Outgoing;
use super::Driver;
use super::sleep::HELP_MESSAGES_MAX;
use crate::base::{ConnId, ShardId};
use crate::log_limited;
use crate::net::connection::{Sent, Stage, send};
use crate::shard::mail::{MailRoute, PostOffice};
use crate::shard::{Envelope, Event, Input, Move, Verdict};

/// Lines a second about clients that were refused, and about those that were cut.
const LOG_LINES_PER_S: u32 = 5;

impl PostOffice for Outgoing<Mail> {
    fn post(&mut self, to: ShardId, batch: Vec<Envelope>) {
        Outgoing::post(self, to.0, Mail::Batch(batch));
    }

    fn congested(&self) -> bool {
        self.is_congested()
    }
}

impl Driver {
    /// Does what the shard asked for.
    pub(super) fn carry_out(&mut self) {
        // Mail that is posted may make acknowledgements true, and what was held back behind them is
        // then read: there may be another question in it.
        loop {
            self.settle_questions();
            self.post_mail();
            if self.fx.auth.is_empty() {
                break;
            }
        }
        for moved in std::mem::take(&mut self.fx.moves) {
            self.pass_on(moved);
        }
        // Before the writing, so that it knows which flushes are a connection's last.
        for &conn in &self.fx.closes {
            if let Some(conn) = self.conns.get_mut(conn.0) {
                conn.stage = Stage::Closing;
            }
        }
        // Bytes may acknowledge what the waiting mail carries: they stay until it is posted.
        self.fx.out.take_dirty(&mut self.dirty);
        if !self.out.is_congested() {
            for at in 0..self.dirty.len() {
                self.write(self.dirty[at]);
            }
            self.dirty.clear();
        }
        self.begin_closes();
        for at in 0..self.fx.resumed.len() {
            self.unpark(self.fx.resumed[at].0);
        }
        self.fx.resumed.clear();
        for event in self.fx.events.drain(..) {
            log(&event);
        }
        for slot in self.freed.drain(..) {
            self.conns.remove(slot);
        }
    }

    fn post_mail(&mut self) {
        // What was found while posting may lead to more mail.
        while !self.fx.mail.is_empty() {
            let route = MailRoute {
                from: self.id,
                shards: self.shards,
                directory: &self.directory,
            };
            self.posted += self.fx.mail.len();
            let posted = self.fx.mail.drain(route, &mut self.out);
            self.shard.account_posted(self.now, posted, &mut self.fx);
        }
        if self.posted > HELP_MESSAGES_MAX {
            // Enough for two: the others begin while this shard writes.
            self.settle();
        }
    }

    /// One send of what waits for a connection.
    #[inline]
    pub(super) fn write(&mut self, id: ConnId) {
        let Some(conn) = self.conns.get_mut(id.0) else {
            return;
        };
        if conn.stage == Stage::Broken {
            return self.fx.out.discard(id);
        }
        if conn.layers.is_some() {
            return self.write_layered(id);
        }
        let pending = self.fx.out.pending(id);
        let Some(socket) = conn.socket.as_ref().filter(|_| !pending.is_empty()) else {
            return self.fx.out.drop_empty(id);
        };
        if conn.blocked {
            return;
        }
        let waiting = pending.len();
        let Sent::Bytes(sent) = send(socket, pending) else {
            return self.break_off(id);
        };
        self.fx.out.consume(id, sent);
        let left = waiting - sent;
        conn.blocked = left > 0;
        // With the budget for memory spent, a connection may be parked with less than that.
        conn.drain_due |= left > 0 || waiting > self.relieved_at || conn.parked;
        if conn.drain_due && left <= self.outbox_bytes_max / 2 {
            // With the budget for memory spent it takes no more before it is as good as empty.
            conn.drain_due = left > self.relieved_at;
            self.drained.push(id.0);
        }
        if left == 0 && conn.is_closing() {
            self.finish_sending(id.0);
        }
    }

    /// Hands a connection to its owner.
    fn pass_on(&mut self, moved: Move) {
        let Some(conn) = self.conns.get_mut(moved.conn.0) else {
            return;
        };
        let Some(socket) = conn.socket.take() else {
            return;
        };
        let (listener, layers) = (conn.listener, conn.layers.take());
        self.fx.out.discard(moved.conn);
        self.freed.push(moved.conn.0);
        if let Err(error) = self.watch.forget(&socket) {
            tracing::error!(peer = %moved.peer, %error, "a connection cannot be handed over");
            return self.crowd.leave(listener);
        }
        // One that was reset meanwhile is noticed by its owner.
        let passed = Passed {
            socket,
            peer: moved.peer,
            bytes: moved.bytes,
            layers,
        };
        self.out.post(moved.to.0, Mail::Socket(Box::new(passed)));
    }

    /// Puts what the shard could not decide at once to the sources; where there is no room for
    /// another question, the answer is there already, and carried out in this turn.
    fn settle_questions(&mut self) {
        for request in std::mem::take(&mut self.fx.auth) {
            let (conn, attempt) = (request.conn, request.attempt);
            let Err(reason) = self.gate.put(request) else {
                continue;
            };
            let verdict = Verdict::Refuse(reason);
            let input = Input::Verdict {
                conn,
                attempt,
                verdict,
            };
            self.shard.step(self.now, input, &mut self.fx);
            self.unpark(conn.0);
        }
    }
}

fn log(event: &Event) {
    match event {
        Event::Connected {
            client_id,
            peer,
            session_present,
        } => {
            tracing::debug!(%client_id, peer = %peer.known(), session_present, "connected");
        }
        Event::Disconnected {
            client_id,
            peer,
            reason,
        } => tracing::debug!(%client_id, peer = %peer.known(), reason, "disconnected"),
        Event::Refused { peer, reason } => {
            let peer = peer.known();
            log_limited!(info, LOG_LINES_PER_S, "{peer} refused: {reason}");
        }
        Event::Denied {
            client_id,
            peer,
            what,
            topic,
        } => {
            let peer = peer.known();
            log_limited!(
                info,
                LOG_LINES_PER_S,
                "{client_id:?} at {peer}: {what} {topic:?}"
            );
        }
        Event::Violation {
            client_id,
            peer,
            what,
        } => {
            let peer = peer.known();
            log_limited!(info, LOG_LINES_PER_S, "{client_id:?} at {peer} cut: {what}");
        }
    }
}
