//! TLS sessions of all clients, to be resumed.
//!
//! A ticket of TLS 1.3 is good for one connection. rustls keeps eight for each server, which is
//! enough for one device; of a fleet that comes back at once all but eight clients would go through
//! a whole handshake. So here is room for one ticket a client.

use rustls::NamedGroup;
use rustls::client::{
    ClientSessionMemoryCache, ClientSessionStore, Tls12ClientSessionValue, Tls13ClientSessionValue,
};
use rustls::pki_types::ServerName;
use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Tickets kept; of more, the oldest go.
const TICKETS_MAX: usize = 100_000;

/// All clients of a process have one server, so there is one line of tickets.
#[derive(Debug)]
pub struct Tickets {
    tickets: Mutex<VecDeque<Tls13ClientSessionValue>>,
    /// Of TLS 1.2 one session does for everybody: it is not used up.
    others: ClientSessionMemoryCache,
}

impl Tickets {
    pub fn new() -> Tickets {
        Tickets {
            tickets: Mutex::default(),
            others: ClientSessionMemoryCache::new(1),
        }
    }

    fn tickets(&self) -> MutexGuard<'_, VecDeque<Tls13ClientSessionValue>> {
        self.tickets.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ClientSessionStore for Tickets {
    fn set_kx_hint(&self, server: ServerName<'static>, group: NamedGroup) {
        self.others.set_kx_hint(server, group);
    }

    fn kx_hint(&self, server: &ServerName<'_>) -> Option<NamedGroup> {
        self.others.kx_hint(server)
    }

    fn set_tls12_session(&self, server: ServerName<'static>, session: Tls12ClientSessionValue) {
        self.others.set_tls12_session(server, session);
    }

    fn tls12_session(&self, server: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        self.others.tls12_session(server)
    }

    fn remove_tls12_session(&self, server: &ServerName<'static>) {
        self.others.remove_tls12_session(server);
    }

    fn insert_tls13_ticket(&self, _: ServerName<'static>, ticket: Tls13ClientSessionValue) {
        let mut tickets = self.tickets();
        if tickets.len() == TICKETS_MAX {
            tickets.pop_front();
        }
        tickets.push_back(ticket);
    }

    fn take_tls13_ticket(&self, _: &ServerName<'static>) -> Option<Tls13ClientSessionValue> {
        self.tickets().pop_front()
    }
}
