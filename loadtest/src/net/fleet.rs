//! Many clients on one executor: connected in waves, kept alive, read and written a turn at a
//! time. What they say to the broker is the [`Handler`]'s business.

use super::client::{Client, Phase, Received};
use super::control::Control;
use super::dial::Dialer;
use super::fault::Fault;
use super::pings::Pings;
use super::ramp::Ramp;
use super::sleep::{Sleeper, TIMER_SLOT};
use super::stats::FleetStats;
use super::transport::{Room, Transport};
use crate::measure::busy::Stopwatch;
use crate::measure::clock::now_ns;
use ringmq::codec::frame::Frame;
use ringmq::codec::{ConnAck, Disconnect, PING_REQ, ReasonCode, Version};
use ringmq::net::poller::{self, Poller, Ready, Source, Watch};
use rustix::io::Errno;
use std::io;

/// Events of one wait.
const EVENTS_MAX: usize = 1024;
/// Connections begun in one turn, so that those under way are not kept waiting.
const DIALS_PER_TURN: usize = 64;
/// PINGREQs in one turn. Where the host is too slow for all that are due, each turn would otherwise
/// have more of them than the one before, and who is under way, with a step a turn, would get
/// nowhere.
const PINGS_PER_TURN: usize = 256;

/// What one kind of fleet says and hears.
pub trait Handler {
    /// Appends the client's CONNECT.
    fn connect(&mut self, client: u32, out: &mut Vec<u8>);

    /// The broker has accepted the client. Appends its SUBSCRIBEs and gives their number.
    fn greeted(&mut self, client: u32, ack: &ConnAck<'_>, out: &mut Vec<u8>) -> u16;

    /// PUBLISH, or an acknowledgement of one, which came at `at_ns`. Appends the answer.
    ///
    /// # Errors
    /// The packet must not come: the connection is given up.
    fn packet(
        &mut self,
        arrival: Arrived,
        frame: Frame<'_>,
        out: &mut Vec<u8>,
    ) -> Result<(), Fault>;

    /// The client is up, with its subscriptions; it was to begin at `began_ns`. Appends what it
    /// says first.
    fn ready(&mut self, _client: u32, _began_ns: u64, _out: &mut Vec<u8>) {}

    /// The client did not come up, and is not tried again.
    fn failed(&mut self, _client: u32) {}

    /// What waited to be written to this client is written.
    fn drained(&mut self, _client: u32) {}

    /// A client that was up is lost.
    fn lost(&mut self, _client: u32) {}
}

/// Where and when a packet came.
#[derive(Clone, Copy, Debug)]
pub struct Arrived {
    pub client: u32,
    pub at_ns: u64,
}

/// What all clients of a fleet have in common.
#[derive(Clone, Debug)]
pub struct FleetOptions {
    pub dialer: Dialer,
    pub transport: Transport,
    pub version: Version,
    pub keep_alive_s: u16,
    /// For TCP, TLS, WebSocket, CONNACK and SUBACK together.
    pub connect_timeout_ns: u64,
    /// Larger buffers are given back as soon as they are empty.
    pub buffer_keep_bytes: usize,
    /// Bytes of the largest packet that is understood.
    pub packet_bytes_max: usize,
    /// The first client's number over all executors, and the step to the next: they choose the
    /// source address.
    pub numbers: (usize, usize),
}

/// The clients of one executor.
pub struct Fleet {
    pub options: FleetOptions,
    pub clients: Vec<Client>,
    /// Refreshed at the start of each turn and when events have come.
    pub now_ns: u64,
    pub ramp: Ramp,
    pub stats: FleetStats,
    watch: Watch,
    poller: Poller,
    sleeper: Sleeper,
    pings: Pings,
    room: Room,
    dirty: Vec<u32>,
    unread: Vec<u32>,
    /// Runs while a wave of connections comes up.
    wave: Option<Stopwatch>,
}

impl Fleet {
    /// A fleet of `count` clients, none of them connected.
    ///
    /// # Errors
    /// No file descriptor is left.
    pub fn new(options: FleetOptions, count: usize) -> io::Result<Fleet> {
        let (watch, poller) = poller::set(EVENTS_MAX)?;
        let mut clients = Vec::new();
        clients.resize_with(count, Client::default);
        Ok(Fleet {
            now_ns: now_ns(),
            clients,
            ramp: Ramp::default(),
            stats: FleetStats::default(),
            sleeper: Sleeper::new(&watch)?,
            watch,
            poller,
            pings: Pings::new(options.keep_alive_s),
            room: Room::new(options.packet_bytes_max.max(256 * 1024)),
            dirty: Vec::new(),
            unread: Vec::new(),
            wave: None,
            options,
        })
    }

    /// Begins a wave of connections.
    pub fn begin_wave(&mut self, ramp: Ramp) {
        self.ramp = ramp;
        self.wave = Some(Stopwatch::start());
    }

    /// The wave that was begun is over: how the load tester kept up goes to the statistics.
    pub fn end_wave(&mut self) {
        if let Some(wave) = self.wave.take() {
            let pace = self.ramp.pace(wave.read(), wave.span_ns());
            self.stats.pace.merge(&pace);
        }
    }

    /// One turn: writes what waits, begins connections that are due, waits for events until
    /// `until_ns` at most, and handles them.
    ///
    /// # Errors
    /// The epoll set does not work.
    pub async fn turn(&mut self, handler: &mut impl Handler, until_ns: u64) -> io::Result<()> {
        self.now_ns = now_ns();
        self.begin_due(handler);
        self.ramp.look(self.now_ns);
        self.flush_dirty(handler);
        let until_ns = match self.unread.is_empty() {
            true => until_ns.min(self.next_due_ns().unwrap_or(u64::MAX)),
            false => 0,
        };
        let events = self.sleeper.wait(&mut self.poller, until_ns).await?;
        self.now_ns = now_ns();
        let unread = std::mem::take(&mut self.unread);
        for index in 0..events {
            let event = self.poller.event(index);
            if let Source::Connection(client) = event.source
                && client != TIMER_SLOT
            {
                self.notice(client, event, handler);
            }
        }
        for client in unread {
            self.clients[client as usize].is_unread = false;
            self.read(client, handler);
        }
        self.ping_due(handler);
        self.expire(handler);
        Ok(())
    }

    /// The client's outbox; what is appended is sent at the start of the next turn. Nothing if it
    /// is not up.
    #[inline]
    pub fn out(&mut self, client: u32) -> Option<&mut Vec<u8>> {
        let entry = &mut self.clients[client as usize];
        if entry.phase != Phase::Ready {
            return None;
        }
        if !entry.is_dirty {
            entry.is_dirty = true;
            self.dirty.push(client);
        }
        Some(&mut entry.outbox)
    }

    /// Says DISCONNECT, ends the session with it if `ends_session` (v5), and closes.
    pub fn leave(&mut self, client: u32, ends_session: bool) {
        let version = self.options.version;
        let entry = &mut self.clients[client as usize];
        if entry.phase == Phase::Ready {
            let mut disconnect = Disconnect::new(ReasonCode::Success);
            disconnect.session_expiry_s = ends_session.then_some(0);
            disconnect.encode(version, &mut entry.outbox);
            // If the socket is full the connection just ends without it.
            let _ = entry.flush();
            entry.finish();
        }
        self.drop_connection(client);
    }

    /// Closes without a word, as a network that fails.
    pub fn drop_connection(&mut self, client: u32) {
        let entry = &mut self.clients[client as usize];
        match entry.phase {
            Phase::Closed => return,
            Phase::Ready => self.stats.up -= 1,
            _ => self.ramp.succeeded(),
        }
        entry.close();
    }

    fn next_due_ns(&self) -> Option<u64> {
        let ramp = self.ramp.next_due_ns(self.now_ns);
        // Those under way are looked after ten times in the time that they have.
        let expiry =
            (!self.ramp.is_over()).then_some(self.now_ns + self.options.connect_timeout_ns / 10);
        [ramp, expiry, self.pings.next_due_ns()]
            .into_iter()
            .flatten()
            .min()
    }

    fn begin_due(&mut self, handler: &mut impl Handler) {
        for _ in 0..DIALS_PER_TURN {
            let Some((client, began_ns)) = self.ramp.next(self.now_ns) else {
                return;
            };
            self.stats.attempts += 1;
            let (first, step) = self.options.numbers;
            let number = first + client as usize * step;
            let entry = &mut self.clients[client as usize];
            entry.began_ns = began_ns;
            entry.phase = Phase::Dialing;
            let dialed = self.options.dialer.dial(number).and_then(|socket| {
                let added = self.watch.add_connection(&socket, client);
                entry.socket = Some(socket);
                added.map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::NOMEM))
            });
            if let Err(error) = dialed {
                self.fail(client, Fault::System(error), handler);
            }
        }
    }

    fn notice(&mut self, client: u32, event: Ready, handler: &mut impl Handler) {
        let entry = &mut self.clients[client as usize];
        if entry.phase == Phase::Closed {
            return;
        }
        if entry.phase == Phase::Dialing {
            if let Err(fault) = entry.dialed() {
                return self.fail(client, fault, handler);
            }
            if !event.writable {
                return;
            }
            match entry.open(&self.options.transport) {
                Ok(true) => self.greet(client, handler),
                Ok(false) => {
                    entry.phase = Phase::Opening;
                    self.mark_dirty(client);
                }
                Err(fault) => return self.fail(client, fault, handler),
            }
        } else if event.writable && entry.is_blocked {
            entry.is_blocked = false;
            self.mark_dirty(client);
        }
        self.clients[client as usize].has_ended |= event.peer_ended || event.dead;
        if event.readable || event.dead {
            self.read(client, handler);
        }
    }

    /// MQTT begins.
    fn greet(&mut self, client: u32, handler: &mut impl Handler) {
        let entry = &mut self.clients[client as usize];
        entry.phase = Phase::Greeting;
        handler.connect(client, &mut entry.outbox);
        self.mark_dirty(client);
    }

    #[inline]
    fn read(&mut self, client: u32, handler: &mut impl Handler) {
        let entry = &mut self.clients[client as usize];
        let at = Arrived {
            client,
            at_ns: now_ns(),
        };
        let mut came_up = false;
        let result = entry.receive(&mut self.room, |entry, frame| {
            if is_about_messages(frame) && entry.phase >= Phase::Subscribing {
                return handler.packet(at, frame, &mut entry.outbox);
            }
            let control = Control {
                version: self.options.version,
                stats: &mut self.stats,
                pings: &mut self.pings,
            };
            came_up |= control.handle(entry, at, frame, handler)?;
            Ok(())
        });
        let waits = entry.has_output();
        let received = match result {
            Ok(received) => received,
            Err(fault) => return self.fail(client, fault, handler),
        };
        entry.slim(self.options.buffer_keep_bytes);
        if (received == Received::Part || entry.has_ended) && !entry.is_unread {
            entry.is_unread = true;
            self.unread.push(client);
        }
        if waits {
            self.mark_dirty(client);
        }
        let entry = &self.clients[client as usize];
        if entry.phase == Phase::Opening && entry.is_open() {
            self.greet(client, handler);
        }
        if came_up {
            self.stats.up += 1;
            self.ramp.succeeded();
            let entry = &mut self.clients[client as usize];
            entry.ping_due_ns = self.pings.push(client, self.now_ns);
            handler.ready(client, entry.began_ns, &mut entry.outbox);
            if !entry.outbox.is_empty() {
                self.mark_dirty(client);
            }
        }
    }

    #[inline]
    fn mark_dirty(&mut self, client: u32) {
        let entry = &mut self.clients[client as usize];
        if !entry.is_dirty {
            entry.is_dirty = true;
            self.dirty.push(client);
        }
    }

    fn flush_dirty(&mut self, handler: &mut impl Handler) {
        let mut dirty = std::mem::take(&mut self.dirty);
        for client in dirty.drain(..) {
            let entry = &mut self.clients[client as usize];
            entry.is_dirty = false;
            match entry.flush() {
                Ok(()) if !entry.has_output() => {
                    entry.slim(self.options.buffer_keep_bytes);
                    handler.drained(client);
                }
                Ok(()) => {}
                Err(fault) => self.fail(client, fault, handler),
            }
        }
        // A client that fails here is not made dirty again: the list was empty meanwhile.
        self.dirty = dirty;
    }

    fn fail(&mut self, client: u32, fault: Fault, handler: &mut impl Handler) {
        let entry = &mut self.clients[client as usize];
        let phase = entry.phase;
        entry.close();
        match phase {
            Phase::Closed => {}
            Phase::Ready => {
                self.stats.up -= 1;
                self.stats.lost.count(&fault);
                self.stats.lost_count += 1;
                self.stats.last_lost_ns = self.now_ns;
                if self.stats.first_lost_ns == 0 {
                    self.stats.first_lost_ns = self.now_ns;
                }
                handler.lost(client);
            }
            _ => {
                self.stats.refused.count(&fault);
                self.stats.refused_count += 1;
                if !self.ramp.failed(client, self.now_ns) {
                    self.stats.failed += 1;
                    handler.failed(client);
                }
            }
        }
    }

    fn expire(&mut self, handler: &mut impl Handler) {
        let before_ns = self.now_ns.saturating_sub(self.options.connect_timeout_ns);
        while let Some((client, began_ns)) = self.ramp.overdue(before_ns) {
            let entry = &self.clients[client as usize];
            let is_pending = !matches!(entry.phase, Phase::Closed | Phase::Ready);
            if is_pending && entry.began_ns == began_ns {
                self.fail(client, Fault::Timeout, handler);
            }
        }
    }

    fn ping_due(&mut self, handler: &mut impl Handler) {
        for _ in 0..PINGS_PER_TURN {
            let Some((due_ns, client)) = self.pings.pop(self.now_ns) else {
                return;
            };
            let entry = &mut self.clients[client as usize];
            if entry.ping_due_ns != due_ns {
                // An earlier connection's turn.
                continue;
            }
            if entry.is_pinged {
                self.fail(client, Fault::Silent, handler);
                continue;
            }
            entry.is_pinged = true;
            entry.ping_due_ns = self.pings.push(client, self.now_ns);
            entry.outbox.extend_from_slice(&PING_REQ);
            self.stats.pings += 1;
            self.mark_dirty(client);
        }
    }
}

/// PUBLISH, PUBACK, PUBREC, PUBREL or PUBCOMP.
#[inline]
fn is_about_messages(frame: Frame<'_>) -> bool {
    matches!(frame.header >> 4, 3..=7)
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Mute;

    impl Handler for Mute {
        fn connect(&mut self, _client: u32, _out: &mut Vec<u8>) {}

        fn greeted(&mut self, _client: u32, _ack: &ConnAck<'_>, _out: &mut Vec<u8>) -> u16 {
            0
        }

        fn packet(&mut self, _: Arrived, _: Frame<'_>, _: &mut Vec<u8>) -> Result<(), Fault> {
            Ok(())
        }
    }

    fn fleet(count: usize) -> Fleet {
        let options = FleetOptions {
            dialer: Dialer {
                broker: "127.0.0.1:1883".parse().unwrap(),
                sources: [].into(),
            },
            transport: Transport {
                tls: None,
                websocket: None,
            },
            version: Version::V311,
            keep_alive_s: 60,
            connect_timeout_ns: 0,
            buffer_keep_bytes: 0,
            packet_bytes_max: 1024,
            numbers: (0, 1),
        };
        Fleet::new(options, count).unwrap()
    }

    #[test]
    fn many_pings_at_once_are_spread_over_turns_without_a_wait() {
        let count = 2 * PINGS_PER_TURN + 1;
        let mut fleet = fleet(count);
        for client in 0..count {
            fleet.clients[client].phase = Phase::Ready;
            fleet.clients[client].ping_due_ns = fleet.pings.push(client as u32, 0);
        }
        fleet.now_ns = 45_000_000_000;
        for left in [PINGS_PER_TURN + 1, 1, 0] {
            fleet.ping_due(&mut Mute);
            assert_eq!(fleet.stats.pings as usize, count - left);
            let is_due = fleet.pings.next_due_ns() == Some(fleet.now_ns);
            assert_eq!(is_due, left > 0);
        }
        assert!(fleet.clients.iter().all(|client| client.is_pinged));
    }
}
