//! One connection: a socket, where it is on its way up, and what waits to be read or written.

use super::fault::Fault;
use super::transport::{Layers, Room, Transport};
use ringmq::codec::frame;
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, sockopt};
use std::os::fd::OwnedFd;

/// MQTT that is wrapped up at a time.
const PIECE_BYTES: usize = 64 * 1024;

/// How far a connection has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// There is none.
    #[default]
    Closed,
    /// TCP is being connected.
    Dialing,
    /// TLS and WebSocket are being agreed on.
    Opening,
    /// CONNECT is sent.
    Greeting,
    /// SUBSCRIBE is sent.
    Subscribing,
    /// In use.
    Ready,
}

/// A client's connection; about 100 bytes as long as nothing waits, and what TLS and WebSocket
/// keep.
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
    /// The other side has ended: it is read until nothing is left, as no other event comes.
    pub has_ended: bool,
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
    /// None over plain TCP.
    layers: Option<Box<Layers>>,
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

    /// TCP is there: begins what lies between it and MQTT. Says whether that is nothing.
    ///
    /// # Errors
    /// TLS cannot begin.
    pub fn open(&mut self, transport: &Transport) -> Result<bool, Fault> {
        if transport.is_plain() {
            return Ok(true);
        }
        self.layers = Some(Box::new(Layers::begin(transport)?));
        Ok(false)
    }

    /// Whether MQTT may be spoken.
    pub fn is_open(&self) -> bool {
        self.layers.as_ref().is_none_or(|layers| layers.is_open())
    }

    /// Receives once into `room` and moves the incomplete packet at its end aside. `f` is given
    /// each complete packet, and the outbox for its answers.
    ///
    /// # Errors
    /// The connection is over, a packet is larger than `room`, or what `f` says.
    #[inline]
    pub fn receive(
        &mut self,
        room: &mut Room,
        f: impl FnMut(&mut Client, frame::Frame<'_>) -> Result<(), Fault>,
    ) -> Result<Received, Fault> {
        if self.layers.is_some() {
            return self.receive_layered(room, f);
        }
        let kept = self.inbox.len();
        room.raw[..kept].copy_from_slice(&self.inbox);
        let (received, outcome) = self.receive_into(&mut room.raw[kept..])?;
        self.inbox.clear();
        self.take_packets(&room.raw[..kept + received], room.raw.len(), f)?;
        Ok(outcome)
    }

    fn receive_layered(
        &mut self,
        room: &mut Room,
        f: impl FnMut(&mut Client, frame::Frame<'_>) -> Result<(), Fault>,
    ) -> Result<Received, Fault> {
        let (received, outcome) = self.receive_into(&mut room.raw)?;
        room.mqtt.clear();
        room.mqtt.append(&mut self.inbox);
        let has_ended = match &mut self.layers {
            Some(layers) => layers.take(received, room)?,
            None => false,
        };
        self.take_packets(&room.mqtt, room.raw.len(), f)?;
        match has_ended {
            true => Err(Fault::Closed),
            false => Ok(outcome),
        }
    }

    /// The number of bytes that came.
    #[inline]
    fn receive_into(&self, buffer: &mut [u8]) -> Result<(usize, Received), Fault> {
        let Some(socket) = &self.socket else {
            return Ok((0, Received::All));
        };
        let len = buffer.len();
        match rustix::net::recv(socket, buffer, RecvFlags::DONTWAIT) {
            Ok((0, _)) => Err(Fault::Closed),
            Ok((count, _)) if count == len => Ok((count, Received::Part)),
            Ok((count, _)) => Ok((count, Received::All)),
            Err(Errno::AGAIN) => Ok((0, Received::All)),
            Err(Errno::INTR) => Ok((0, Received::Part)),
            Err(error) => Err(Fault::System(error)),
        }
    }

    #[inline]
    fn take_packets(
        &mut self,
        bytes: &[u8],
        bytes_max: usize,
        mut f: impl FnMut(&mut Client, frame::Frame<'_>) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        let mut at = 0;
        while let Some(frame) = frame::next(&bytes[at..], bytes_max)? {
            at += frame.len;
            f(self, frame)?;
        }
        self.inbox.extend_from_slice(&bytes[at..]);
        Ok(())
    }

    /// Writes what waits, as far as the socket takes it.
    ///
    /// # Errors
    /// The connection is over.
    #[inline]
    pub fn flush(&mut self) -> Result<(), Fault> {
        if self.layers.is_some() {
            return self.flush_layered();
        }
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

    /// Wraps up what waits a piece at a time, so that the outbox stays the queue.
    fn flush_layered(&mut self) -> Result<(), Fault> {
        let (Some(socket), Some(layers)) = (&self.socket, &mut self.layers) else {
            return Ok(());
        };
        let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
        while !self.is_blocked {
            let unsent = layers.unsent();
            if unsent.is_empty() {
                let waiting = &self.outbox[self.sent as usize..];
                if waiting.is_empty() {
                    self.outbox.clear();
                    self.sent = 0;
                    break;
                }
                let piece = &waiting[..waiting.len().min(PIECE_BYTES)];
                self.sent += piece.len() as u32;
                layers.wrap(piece)?;
                continue;
            }
            match rustix::net::send(socket, unsent, flags) {
                Ok(count) => layers.sent(count),
                Err(Errno::AGAIN) => self.is_blocked = true,
                Err(Errno::INTR) => {}
                Err(error) => return Err(Fault::System(error)),
            }
        }
        Ok(())
    }

    /// Says in the layers that no more comes, as far as the socket takes it.
    pub fn finish(&mut self) {
        if let Some(layers) = &mut self.layers {
            layers.finish();
            // If the socket is full the connection just ends without it.
            let _ = self.flush();
        }
    }

    /// Something waits to be written.
    #[inline]
    pub fn has_output(&self) -> bool {
        !self.outbox.is_empty()
            || self
                .layers
                .as_ref()
                .is_some_and(|layers| !layers.unsent().is_empty())
    }

    /// Gives back buffers that hold nothing and are larger than `keep_bytes`.
    #[inline]
    pub fn slim(&mut self, keep_bytes: usize) {
        for buffer in [&mut self.inbox, &mut self.outbox] {
            if buffer.is_empty() && buffer.capacity() > keep_bytes {
                *buffer = Vec::new();
            }
        }
        if let Some(layers) = &mut self.layers {
            layers.slim(keep_bytes);
        }
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
