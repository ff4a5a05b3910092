//! Connections with layers between the socket and MQTT: TLS, WebSocket, PROXY. They are known to
//! the shard only once all layers are up, so that it never hears of whoever just tries the door.

use super::close::Closing;
use super::{Driver, UNSENT_BYTES_MAX};
use crate::base::{ConnId, Peer};
use crate::log_limited;
use crate::net::connection::{Received, Sent, Stage, receive, send};
use crate::net::layer::{Layers, Why};
use crate::shard::Input;
use std::os::fd::OwnedFd;

/// MQTT that is wrapped at a time: what TLS has encrypted can only be sent.
const WRAP_BYTES: usize = 64 * 1024;
/// The wrapping buffer is given back when it has grown beyond this.
const WIRE_BYTES_KEPT: usize = 256 * 1024;
/// Lines a second about those who were turned away.
const LOG_LINES_PER_S: u32 = 5;

/// What a shard counts at its doors.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tallies {
    /// TLS handshakes that were completed, with all their cost.
    pub handshakes_full: u64,
    /// Those that resumed a session.
    pub handshakes_resumed: u64,
    /// Connections that were turned away, or cut, by [`Why`].
    pub refused: [u64; Why::ALL.len()],
}

impl Driver {
    /// A connection that needs layers before it is the shard's.
    pub(super) fn begin_layers(&mut self, socket: OwnedFd, peer: Peer) {
        let listener = peer.listener;
        let rules = &self.doors[usize::from(listener)];
        let layers = match Layers::new(rules, peer) {
            Ok(layers) => layers,
            Err(why) => {
                self.tallies.refused[why as usize] += 1;
                log_limited!(
                    info,
                    LOG_LINES_PER_S,
                    "listener {listener}: refused: {}",
                    why.name()
                );
                return self.crowd.leave(listener);
            }
        };
        let awaits_proxy = layers.awaits_proxy();
        let Some(slot) = self.watch_connection(socket, listener, Some(Box::new(layers))) else {
            return;
        };
        let serial = self.next_serial;
        let due = |ms: u64| Closing::at(self.now.ms + ms, slot, serial);
        let opening = due(self.reach.opening_ms_max);
        if awaits_proxy {
            let proxy = due(self.reach.proxy_ms_by_listener[usize::from(listener)]);
            self.proxies.push_back(proxy);
        }
        self.openings.push_back(opening);
    }

    /// Whether the layers of this connection let input in, which the caller has seen to be wanted.
    pub(super) fn has_room_back(layers: &Layers) -> bool {
        layers.unsent.len() <= UNSENT_BYTES_MAX
    }

    /// One receive, through the layers. Gives the number of bytes.
    pub(super) fn receive_layered(&mut self, slot: u32) -> usize {
        let Some(conn) = self.conns.get_mut(slot) else {
            return 0;
        };
        let (Some(socket), Some(layers)) = (&conn.socket, &mut conn.layers) else {
            return 0;
        };
        if layers.ended {
            self.line_up_to_leave(slot);
            return 0;
        }
        let count = match receive(socket, &mut self.scratch) {
            Received::Bytes(count) => count,
            Received::Nothing => return 0,
            Received::End => {
                self.line_up_to_leave(slot);
                return 0;
            }
        };
        let goes_on = count == self.scratch.len() || conn.ended;
        let conn = ConnId(slot);
        match layers.handle(&mut self.scratch[..count], &mut self.room) {
            Ok(taken) => {
                if let Some(opened) = taken.opened {
                    match opened.resumed {
                        None => {}
                        Some(false) => self.tallies.handshakes_full += 1,
                        Some(true) => self.tallies.handshakes_resumed += 1,
                    }
                    let peer = opened.peer;
                    let input = Input::Opened { conn, peer };
                    self.shard.step(self.now, input, &mut self.fx);
                }
                let bytes = taken.mqtt;
                if !bytes.is_empty() {
                    let input = Input::Bytes { conn, bytes };
                    self.shard.step(self.now, input, &mut self.fx);
                    self.spent += self.shard.spent();
                }
                if !layers.unsent.is_empty() {
                    self.dirty.push(conn);
                }
                let goes_on = goes_on || layers.ended;
                if layers.is_bare() {
                    // A PROXY header was all: from here on it is as any other.
                    self.conns.get_mut(slot).map(|conn| conn.layers.take());
                }
                if goes_on {
                    self.list(slot);
                }
            }
            Err(why) => self.turn_away(slot, why),
        }
        count
    }

    /// Ends a connection for what it has sent, with the answer that its layers have for it.
    pub(super) fn turn_away(&mut self, slot: u32, why: Why) {
        self.tallies.refused[why as usize] += 1;
        let Some(conn) = self.conns.get_mut(slot) else {
            return;
        };
        let Some(layers) = &conn.layers else { return };
        match layers.peer() {
            Some(peer) => {
                let (transport, why) = (peer.transport.word(), why.name());
                log_limited!(
                    info,
                    LOG_LINES_PER_S,
                    "{peer} refused on {transport}: {why}"
                );
            }
            None => {
                // The shard tells whose connection it was.
                log_limited!(info, LOG_LINES_PER_S, "a client is cut: {}", why.name());
            }
        }
        let (is_open, has_answer) = (layers.is_open(), !layers.unsent.is_empty());
        conn.stage = Stage::Closing;
        let id = ConnId(slot);
        self.fx.out.discard(id);
        if is_open {
            let input = Input::Closed { conn: id };
            self.shard.step(self.now, input, &mut self.fx);
        }
        if has_answer {
            self.dirty.push(id);
            self.close_by_deadline(slot);
        } else {
            self.release(slot);
        }
    }

    /// Turns away one who took too long, or two. False: there is none.
    pub(super) fn turn_away_overdue(&mut self) -> bool {
        // Nearly all are in long before that: the line is as long as those who wait, not as those
        // who came.
        while let Some((slot, serial)) = self.openings.front().map(Closing::whose) {
            let conn = self.conns.get(slot).filter(|conn| conn.serial == serial);
            let layers = conn.and_then(|conn| conn.layers.as_deref());
            if layers.is_some_and(|layers| !layers.is_open()) {
                break;
            }
            self.openings.pop_front();
        }
        let proxy = Closing::take_due(&mut self.proxies, self.now.ms);
        if let Some((slot, serial)) = proxy {
            self.turn_away_if(slot, serial, Layers::awaits_proxy, Why::ProxyTimeout);
        }
        let opening = Closing::take_due(&mut self.openings, self.now.ms);
        if let Some((slot, serial)) = opening {
            self.turn_away_if(slot, serial, |l| !l.is_open(), Why::HandshakeTimeout);
        }
        proxy.is_some() || opening.is_some()
    }

    fn turn_away_if(&mut self, slot: u32, serial: u32, is_late: fn(&Layers) -> bool, why: Why) {
        let conn = self.conns.get(slot);
        let found = conn.filter(|conn| conn.serial == serial && !conn.is_closing());
        if found
            .and_then(|conn| conn.layers.as_deref())
            .is_some_and(is_late)
        {
            self.turn_away(slot, why);
        }
    }

    /// Closes those whose layers are not up: the shard does not know of them.
    pub(super) fn close_openings(&mut self) {
        while let Some((slot, serial)) = Closing::take_due(&mut self.openings, u64::MAX) {
            let conn = self.conns.get(slot).filter(|conn| conn.serial == serial);
            let layers = conn.and_then(|conn| conn.layers.as_deref());
            if layers.is_some_and(|layers| !layers.is_open()) {
                self.release(slot);
            }
        }
    }

    /// Wraps and sends what waits for a connection, as much as its socket takes.
    pub(super) fn write_layered(&mut self, id: ConnId) {
        let waiting = self.fx.out.backlog(id);
        let Some(conn) = self.conns.get_mut(id.0) else {
            return;
        };
        let (Some(socket), Some(layers)) = (&conn.socket, &mut conn.layers) else {
            return self.fx.out.discard(id);
        };
        if conn.blocked || conn.stage == Stage::Finished {
            return;
        }
        let had_unsent = layers.unsent.len();
        let is_flushed = loop {
            if !layers.unsent.is_empty() {
                match send_all(socket, &mut layers.unsent) {
                    Some(true) => {}
                    Some(false) => break false,
                    None => return self.break_off(id),
                }
            }
            let pending = self.fx.out.pending(id);
            if pending.is_empty() || !layers.is_open() {
                if conn.stage != Stage::Closing {
                    break true;
                }
                layers.finish(&mut self.room);
                if layers.unsent.is_empty() {
                    break true;
                }
                continue;
            }
            let chunk = &pending[..pending.len().min(WRAP_BYTES)];
            self.wire.clear();
            if layers.put(chunk, &mut self.room, &mut self.wire).is_err() {
                return self.break_off(id);
            }
            let count = chunk.len();
            self.fx.out.consume(id, count);
            let Sent::Bytes(sent) = send(socket, &self.wire) else {
                return self.break_off(id);
            };
            layers.unsent.extend_from_slice(&self.wire[sent..]);
        };
        self.wire.shrink_to(WIRE_BYTES_KEPT);
        let left = self.fx.out.backlog(id);
        conn.blocked = !is_flushed;
        conn.drain_due |= !is_flushed || waiting > self.relieved_at || conn.parked;
        let is_relieved = left <= self.outbox_bytes_max / 2 && Self::has_room_back(layers);
        if conn.drain_due && is_relieved {
            conn.drain_due = left > self.relieved_at;
            self.drained.push(id.0);
        } else if had_unsent > UNSENT_BYTES_MAX && is_relieved {
            self.unpark(id.0);
        }
        let is_closing = self.conns.get(id.0).is_some_and(|conn| conn.is_closing());
        if is_flushed && is_closing {
            self.finish_sending(id.0);
        }
    }
}

/// Sends what waits. Whether that was all; `None`: the connection broke.
fn send_all(socket: &OwnedFd, bytes: &mut Vec<u8>) -> Option<bool> {
    match send(socket, bytes) {
        Sent::Bytes(count) if count == bytes.len() => {
            // Given back: an idle connection holds none.
            *bytes = Vec::new();
            Some(true)
        }
        Sent::Bytes(count) => {
            bytes.drain(..count);
            Some(false)
        }
        Sent::Broken => None,
    }
}
