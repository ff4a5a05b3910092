//! Looking into a shard: for `status`, `ctl` and tests. Nothing here changes anything.

use super::{Counters, Shard};
use crate::base::Peer;
use crate::codec::Version;
use crate::session::Session;

/// What a shard holds now and has counted.
#[derive(Clone, Debug, Default)]
pub struct ShardStats {
    /// Connections, clients or not yet.
    pub connections: usize,
    pub sessions: usize,
    /// Of `sessions`, those with a connection.
    pub clients: usize,
    /// Of all sessions, shared ones too.
    pub subscriptions: usize,
    /// Different filters of `subscriptions` and of groups.
    pub filters: usize,
    pub retained: usize,
    pub retained_bytes: usize,
    /// What is held to the memory budget. The driver says so: it has the outboxes.
    pub budgeted_bytes: usize,
    pub counters: Counters,
}

/// A client as an operator sees it.
#[derive(Clone, Debug)]
pub struct ClientInfo {
    pub client_id: Box<str>,
    pub username: Option<Box<str>>,
    pub peer: Option<Peer>,
    pub version: Version,
    pub epoch: u64,
    pub session_expiry_s: u32,
    pub keep_alive_ms: u32,
    pub subscriptions: Vec<(String, u8)>,
    pub inflight: usize,
    pub queued: usize,
}

impl Shard {
    /// The shard's figures.
    pub fn stats(&self) -> ShardStats {
        let (mut clients, mut shared) = (0, 0);
        for (_, session) in self.sessions.iter_from(0) {
            clients += usize::from(session.conn.is_some());
            // Their groups may lie on other shards: each counts where its session is.
            shared += session.shared.as_ref().map_or(0, |shared| shared.len());
        }
        let routes = self.router.stats();
        ShardStats {
            connections: self.conns.len(),
            sessions: self.sessions_len(),
            clients,
            subscriptions: routes.subscriptions + shared,
            filters: routes.filters,
            retained: self.retained.len(),
            retained_bytes: self.retained.bytes(),
            budgeted_bytes: 0,
            counters: self.counters.clone(),
        }
    }

    /// About how many bytes clients and their messages make the shard hold: enough to notice when
    /// much of it has gone.
    #[inline]
    pub fn held_bytes(&self) -> usize {
        /// A connection, a session and a subscription with their share of tables.
        const CLIENT_BYTES: usize = 800;
        self.conns.len().max(self.sessions.len()) * CLIENT_BYTES
            + self.counters.queued_bytes
            + self.tail_bytes
            + self.retained.bytes()
    }

    /// Sessions, without those that are over.
    pub(super) fn sessions_len(&self) -> usize {
        self.sessions.len() - self.slices.leaving()
    }

    /// What the shard has counted.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Deliveries that sessions hold, counted one by one: what the ledger's `held` must say.
    pub fn count_held(&self) -> usize {
        let flows = self
            .sessions
            .iter_from(0)
            .filter_map(|(_, s)| s.flow.as_ref());
        flows.map(|flow| flow.held()).sum::<usize>() + self.groups.orphans_len()
    }

    /// Up to `max` clients from slot `from` on, and the slot to go on from.
    pub fn clients(&self, from: u32, max: usize) -> (Vec<ClientInfo>, Option<u32>) {
        let mut found = Vec::new();
        for (slot, session) in self.sessions.iter_from(from) {
            if found.len() == max {
                return (found, Some(slot));
            }
            if !session.is_over() {
                found.push(self.client_info(slot, session));
            }
        }
        (found, None)
    }

    /// The client with this id.
    pub fn client(&self, client_id: &str) -> Option<ClientInfo> {
        let slot = self.find_session(client_id)?;
        Some(self.client_info(slot, self.sessions.get(slot)?))
    }

    fn client_info(&self, slot: u32, session: &Session) -> ClientInfo {
        let conn = session.conn.and_then(|id| self.conns.get(id.0));
        let client = crate::routing::ClientKey(slot);
        let own = session.subscriptions.iter().filter_map(|&id| {
            let subscription = self.router.subscription(client, id)?;
            Some((self.router.filter(id).to_owned(), subscription.qos as u8))
        });
        let shared = session
            .shared
            .iter()
            .flat_map(|shared| shared.iter())
            .map(|s| {
                let name = match &*s.key.share {
                    "$queue" => format!("$queue/{}", s.key.filter),
                    share => format!("$share/{share}/{}", s.key.filter),
                };
                (name, s.subscription.qos as u8)
            });
        let flow = session.flow.as_ref();
        ClientInfo {
            client_id: session.client_id.clone(),
            username: session.username.clone(),
            peer: conn.map(|conn| conn.peer.clone()),
            version: session.version,
            epoch: session.epoch,
            session_expiry_s: session.expiry_s,
            keep_alive_ms: conn.map_or(0, |conn| conn.silence_ms_max),
            subscriptions: own.chain(shared).collect(),
            inflight: flow.map_or(0, |flow| flow.out.inflight().count()),
            queued: flow.map_or(0, |flow| flow.out.queue_len() + flow.retained.len()),
        }
    }
}
