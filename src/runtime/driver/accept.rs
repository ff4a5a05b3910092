//! Who comes in: at a bounded rate, up to a bounded number. Whoever is one too many waits in the
//! kernel's queue; accepting only to close would cost both sides more and make clients retry.

use super::Driver;
use crate::base::Peer;
use crate::log_limited;
use crate::net::listener::Accepted;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// Connections of one listener in a turn, and the time after which no more are taken in it, by all
/// listeners together.
const TURN_ACCEPTS_MAX: usize = 16;
const TURN_ACCEPTS: Duration = Duration::from_micros(50);
/// Newcomers in line above which nobody else is let in: whoever waits in the kernel's queue has not
/// begun to wait for an answer to what it said.
const NEWCOMERS_MAX: usize = 512;
const CROWDED_PAUSE_MS: u64 = 1;
/// Pause when there is no room: file descriptors and connections come back only as others leave.
const PAUSE_MS: u64 = 100;

impl Driver {
    /// Somebody waits at this listener.
    pub(super) fn accept(&mut self, at: u16) {
        let begun = Instant::now();
        let left = TURN_ACCEPTS.saturating_sub(self.accepting);
        self.accept_for(left, begun, at);
        self.accepting += begun.elapsed();
    }

    fn accept_for(&mut self, left: Duration, begun: Instant, at: u16) {
        if self.newcomers.len() >= NEWCOMERS_MAX {
            return self.stop_listening(at, CROWDED_PAUSE_MS);
        }
        for accepted in 0..TURN_ACCEPTS_MAX {
            // One in any case, so that no listener keeps another from being served. This one is
            // still ready, and the next wait says so.
            if accepted > 0 && begun.elapsed() >= left {
                return;
            }
            let Some(listener) = self.listeners.get(usize::from(at)) else {
                return;
            };
            let index = listener.index;
            if self.is_full(index) {
                self.pauses.connections_max += 1;
                return self.pause(at, PAUSE_MS, "as many connections as allowed");
            }
            if let Err(wait_ms) = self.bucket.check(self.now.ms) {
                self.pauses.connect_rate += 1;
                return self.pause(at, wait_ms, "connections come faster than allowed");
            }
            let is_strained = self.gate.is_strained(index);
            if is_strained && let Err(wait_ms) = self.strained.check(self.now.ms) {
                self.pauses.strained += 1;
                return self.pause(at, wait_ms, "who clients are cannot be decided so fast");
            }
            let Some(listener) = self.listeners.get(usize::from(at)) else {
                return;
            };
            match listener.accept() {
                Accepted::Connection(socket, address) => {
                    let listener = listener.index;
                    self.bucket.spend();
                    if is_strained {
                        self.strained.spend();
                    }
                    self.crowd.join(listener);
                    let rules = &self.doors[usize::from(listener)];
                    let peer = Peer {
                        transport: rules.transport,
                        ..Peer::plain(address.unwrap_or(Peer::LOCAL), listener)
                    };
                    if rules.is_plain() {
                        self.open(socket, peer, None);
                    } else {
                        self.begin_layers(socket, peer);
                    }
                }
                Accepted::Gone => {}
                Accepted::Nobody => return,
                Accepted::NoRoom(error) => {
                    self.pauses.no_files += 1;
                    tracing::debug!(%error, "accept");
                    return self.pause(at, PAUSE_MS, "no file descriptor for another connection");
                }
            }
        }
    }

    /// Listens again where a pause is over.
    pub(super) fn resume_listeners(&mut self) {
        for at in 0..self.listeners.len() {
            if self.listeners[at]
                .paused_until_ms
                .is_some_and(|until| until <= self.now.ms)
            {
                self.listeners[at].paused_until_ms = None;
                self.watch(at, true);
            }
        }
    }

    /// Stops listening for good.
    pub(super) fn close_listeners(&mut self) {
        self.listeners.clear();
    }

    fn is_full(&self, listener: u16) -> bool {
        let of = |count: &std::sync::atomic::AtomicU32| count.load(Ordering::Relaxed);
        let listener = usize::from(listener);
        let listener_max = self
            .reach
            .by_listener_max
            .get(listener)
            .copied()
            .unwrap_or(0);
        of(&self.crowd.total) >= self.reach.connections_max
            || listener_max > 0 && of(&self.crowd.by_listener[listener]) >= listener_max
    }

    fn pause(&mut self, at: u16, ms: u64, why: &'static str) {
        log_limited!(
            warn,
            1,
            "shard {} does not accept for {ms} ms: {why}",
            self.id.0
        );
        self.stop_listening(at, ms);
    }

    fn stop_listening(&mut self, at: u16, ms: u64) {
        let at = usize::from(at);
        if let Some(listener) = self.listeners.get_mut(at) {
            listener.paused_until_ms = Some(self.now.ms + ms.max(1));
            self.watch(at, false);
        }
    }

    fn watch(&self, at: usize, on: bool) {
        let socket = self.listeners[at].socket();
        if let Err(error) = self.watch.pause_listener(socket, at as u16, !on) {
            // It is in the set since the start, so this is a defect; accepting too much is the
            // harmless side of it.
            tracing::error!(%error, "a listener cannot be paused");
        }
    }
}
