//! Connections as the network sees them: two pipes, and what can happen to them.

use ringmq::base::{ConnId, Peer};
use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// Which end of the broker's world opened a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Who {
    Client(usize),
    /// A client without manners, to which nothing is promised.
    Rogue(usize),
    /// Looks at the retained messages at quiet moments.
    Probe,
}

/// Where the broker's end of a link is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Connected, not accepted yet, at a shard's listener.
    Backlog,
    Slot(u16, ConnId),
    /// Handed from one shard to another.
    Mail,
    Gone,
}

/// What CONNECT said, as far as the model has to know.
#[derive(Clone, Copy, Debug, Default)]
pub struct Terms {
    pub clean: bool,
    pub expiry_s: u32,
    /// Number of the will's message, its delay in seconds.
    pub will: Option<(u32, u32)>,
    pub keep_alive_s: u16,
    /// Authentication takes its time; and says no.
    pub slow: bool,
    pub denied: bool,
    /// What DISCONNECT said in place of `expiry_s`.
    pub expiry_at_end_s: Option<u32>,
}

/// One connection, from connect(2) to the end of both ends.
pub struct Link {
    pub who: Who,
    pub terms: Terms,
    pub to_server: VecDeque<u8>,
    pub to_client: VecDeque<u8>,
    pub place: Place,
    /// The client's end is closed: end of file after the last byte.
    pub client_ended: bool,
    /// Writes of the broker fail.
    pub reset: bool,
    /// Nothing moves any more, and nobody is told.
    pub vanished: bool,
    /// The broker closed: end of file after the last byte.
    pub server_ended: bool,
    /// CONNACK with success was made.
    pub established: bool,
    pub session_present: bool,
    /// Largest packet that the client takes.
    pub packet_bytes_max: usize,
    /// The session that it serves, once known.
    pub incarnation: Option<usize>,
    /// When bytes last reached the broker, in monotonic milliseconds.
    pub heard_ms: u64,
    /// When the last packet under way reached it whole.
    pub heard_whole_ms: u64,
    /// The broker told that it ended.
    pub over: bool,
}

impl Link {
    /// A new connection, waiting to be accepted.
    pub fn new(who: Who, terms: Terms) -> Link {
        Link {
            who,
            terms,
            to_server: VecDeque::new(),
            to_client: VecDeque::new(),
            place: Place::Backlog,
            client_ended: false,
            reset: false,
            vanished: false,
            server_ended: false,
            established: false,
            session_present: false,
            packet_bytes_max: usize::MAX,
            incarnation: None,
            heard_ms: 0,
            heard_whole_ms: 0,
            over: false,
        }
    }

    /// The client writes.
    pub fn send(&mut self, bytes: &[u8]) {
        if !self.vanished && !self.client_ended {
            self.to_server.extend(bytes);
        }
    }

    /// The connection breaks; `kept` bytes under way to the broker still arrive.
    pub fn cut(&mut self, kept: usize, reset: bool) {
        self.to_server.truncate(kept);
        self.to_client.clear();
        self.client_ended = true;
        self.reset = reset;
        self.vanished = false;
    }

    /// Takes bytes that came to the broker.
    pub fn receive(&mut self, count: usize) -> Vec<u8> {
        self.to_server.drain(..count).collect()
    }
}

/// The address by which events name a link.
pub fn peer_of(link: usize) -> Peer {
    let address = IpAddr::V4(Ipv4Addr::from(0x7f00_0000 | link as u32));
    Peer::plain(SocketAddr::new(address, 1), 0)
}

/// The link with this address.
pub fn link_of(peer: &Peer) -> usize {
    match peer.address.ip() {
        IpAddr::V4(address) => (u32::from(address) & 0x00ff_ffff) as usize,
        IpAddr::V6(_) => unreachable!("links have version 4 addresses"),
    }
}
