//! One connection: a socket, where it is on its way up, and what waits to be read or written.

use super::fault::Fault;
use ringmq::codec::frame;
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, sockopt};
use std::os::fd::OwnedFd;

/// How far a connection has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// There is none.
    #[default]
    Closed,
    /// TCP is being connected.
    Dialing,
    /// CONNECT is sent.
    Greeting,
    /// SUBSCRIBE is sent.
    Subscribing,
    /// In use.
    Ready,
}

/// A client's connection; about 90 bytes as long as nothing waits.
#[derive(Debug, Default)]
pub struct Client {
    pub socket: Option<OwnedFd>,
    pub phase: Phase,
    /// On the list of those to write.
    pub is_dirty: bool,
    /// On the list of those to read once more.
    pub is_unread: bool,
    /// The socket is full: what is written waits for its next event.
    pub is_blocked: bool,
    /// A PINGREQ is not answered yet.
    pub is_pinged: bool,
    /// SUBACKs to come.
    pub subacks: u16,
    /// Bytes of `outbox` that are sent.
    sent: u32,
    /// When the connection was to be opened.
    pub began_ns: u64,
    /// When the next PINGREQ is due, 0 for never.
    pub ping_due_ns: u64,
    /// The beginning of a packet whose rest has not come.
    inbox: Vec<u8>,
    pub outbox: Vec<u8>,
}

/// What one receive brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Received {
    /// All there was.
    All,
    /// As much as fits, there may be more.
    Part,
}

impl Client {
    /// Whether TCP connected.
    ///
    /// # Errors
    /// Why it did not.
    pub fn dialed(&self) -> Result<(), Fault> {
        let Some(socket) = &self.socket else {
            return Err(Fault::Closed);
        };
        match sockopt::socket_error(socket) {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) | Err(error) => Err(Fault::System(error)),
        }
    }

    /// Receives once into `scratch` and moves the incomplete packet at its end aside. `f` is
    /// given each complete packet, and the outbox for its answers.
    ///
    /// # Errors
    /// The connection is over, a packet is larger than `scratch`, or what `f` says.
    #[inline]
    pub fn receive(
        &mut self,
        scratch: &mut [u8],
        mut f: impl FnMut(&mut Client, frame::Frame<'_>) -> Result<(), Fault>,
    ) -> Result<Received, Fault> {
        let Some(socket) = &self.socket else {
            return Ok(Received::All);
        };
        let kept = self.inbox.len();
        scratch[..kept].copy_from_slice(&self.inbox);
        self.inbox.clear();
        let room = &mut scratch[kept..];
        let result = rustix::net::recv(socket, &mut *room, RecvFlags::DONTWAIT);
        let (received, outcome) = match result {
            Ok((0, _)) => return Err(Fault::Closed),
            Ok((count, _)) if count == room.len() => (count, Received::Part),
            Ok((count, _)) => (count, Received::All),
            Err(Errno::AGAIN) => (0, Received::All),
            Err(Errno::INTR) => (0, Received::Part),
            Err(error) => return Err(Fault::System(error)),
        };
        let filled = &scratch[..kept + received];
        let mut at = 0;
        while let Some(frame) = frame::next(&filled[at..], scratch.len())? {
            at += frame.len;
            f(self, frame)?;
        }
        self.inbox.extend_from_slice(&filled[at..]);
        Ok(outcome)
    }

    /// Writes what waits, as far as the socket takes it.
    ///
    /// # Errors
    /// The connection is over.
    #[inline]
    pub fn flush(&mut self) -> Result<(), Fault> {
        let Some(socket) = &self.socket else {
            return Ok(());
        };
        let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
        while !self.is_blocked && (self.sent as usize) < self.outbox.len() {
            match rustix::net::send(socket, &self.outbox[self.sent as usize..], flags) {
                Ok(count) => self.sent += count as u32,
                Err(Errno::AGAIN) => self.is_blocked = true,
                Err(Errno::INTR) => {}
                Err(error) => return Err(Fault::System(error)),
            }
        }
        if self.sent as usize == self.outbox.len() {
            self.outbox.clear();
            self.sent = 0;
        }
        Ok(())
    }

    /// Gives back buffers that hold nothing and are larger than `keep_bytes`.
    #[inline]
    pub fn slim(&mut self, keep_bytes: usize) {
        for buffer in [&mut self.inbox, &mut self.outbox] {
            if buffer.is_empty() && buffer.capacity() > keep_bytes {
                *buffer = Vec::new();
            }
        }
    }

    /// Bytes that wait to be written.
    #[inline]
    pub fn waiting_bytes(&self) -> usize {
        self.outbox.len() - self.sent as usize
    }

    /// Closes the socket and forgets what waited. The list marks stay: the lists do, too.
    pub fn close(&mut self) {
        *self = Client {
            is_dirty: self.is_dirty,
            is_unread: self.is_unread,
            ..Client::default()
        };
    }
}
