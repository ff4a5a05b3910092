//! The layers of one connection, put together.

use super::Transport;
use super::tls::Tls;
use super::websocket::WebSocket;
use crate::net::Fault;

/// What a connection has that is not plain. It keeps no buffer as long as nothing waits.
#[derive(Debug)]
pub struct Layers {
    tls: Option<Tls>,
    websocket: Option<WebSocket>,
    /// Bytes for the socket, of which the first `sent` are sent.
    wire: Vec<u8>,
    sent: usize,
    is_open: bool,
}

/// Buffers that all connections of an executor share: they hold nothing between two reads.
#[derive(Debug)]
pub struct Room {
    /// What the socket gave.
    pub raw: Box<[u8]>,
    /// What TLS has decrypted.
    plain: Vec<u8>,
    /// MQTT; an incomplete packet from before stands at its beginning.
    pub mqtt: Vec<u8>,
}

impl Room {
    pub fn new(bytes: usize) -> Room {
        Room {
            raw: vec![0; bytes].into_boxed_slice(),
            plain: Vec::new(),
            mqtt: Vec::new(),
        }
    }
}

impl Layers {
    /// Begins on a connection that is just there; what it says first waits to be sent.
    ///
    /// # Errors
    /// TLS cannot begin with this server's name.
    pub fn begin(transport: &Transport) -> Result<Layers, Fault> {
        let mut layers = Layers {
            tls: None,
            websocket: transport.websocket.as_ref().map(WebSocket::new),
            wire: Vec::new(),
            sent: 0,
            is_open: false,
        };
        match &transport.tls {
            Some(tls) => layers.tls = Some(Tls::begin(tls, &mut layers.wire)?),
            None => layers.upgrade()?,
        }
        Ok(layers)
    }

    /// Whether MQTT may be spoken.
    #[inline]
    pub fn is_open(&self) -> bool {
        self.is_open
    }

    /// Takes the first `len` bytes of `room.raw`, and appends the MQTT in them to `room.mqtt`.
    /// True: no more comes.
    ///
    /// # Errors
    /// What the broker says is not what it ought to be.
    pub fn take(&mut self, len: usize, room: &mut Room) -> Result<bool, Fault> {
        let Room { raw, plain, mqtt } = room;
        let raw = &mut raw[..len];
        let mut ended = false;
        let input: &[u8] = match &mut self.tls {
            None => raw,
            Some(tls) => {
                plain.clear();
                ended = tls.take(raw, plain, &mut self.wire)?;
                if !self.is_open && !tls.is_handshaking() && !self.has_upgraded() {
                    self.upgrade()?;
                }
                plain
            }
        };
        match &mut self.websocket {
            None => mqtt.extend_from_slice(input),
            Some(websocket) => {
                let mut answer = Vec::new();
                ended |= websocket.take(input, mqtt, &mut answer)?;
                self.is_open = websocket.is_open();
                if !answer.is_empty() {
                    put(self.tls.as_mut(), &answer, &mut self.wire)?;
                }
            }
        }
        Ok(ended)
    }

    /// Wraps up MQTT to be sent.
    ///
    /// # Errors
    /// TLS has failed.
    pub fn wrap(&mut self, mqtt: &[u8]) -> Result<(), Fault> {
        match &mut self.websocket {
            None => put(self.tls.as_mut(), mqtt, &mut self.wire),
            Some(websocket) if self.tls.is_none() => {
                websocket.put(mqtt, &mut self.wire);
                Ok(())
            }
            Some(websocket) => {
                let mut frame = Vec::with_capacity(mqtt.len() + 16);
                websocket.put(mqtt, &mut frame);
                put(self.tls.as_mut(), &frame, &mut self.wire)
            }
        }
    }

    /// Says that no more comes.
    pub fn finish(&mut self) {
        let mut close = Vec::new();
        if let Some(websocket) = &mut self.websocket {
            websocket.finish(&mut close);
        }
        // On a connection that has failed there is nobody to say it to.
        let _ = put(self.tls.as_mut(), &close, &mut self.wire);
        if let Some(tls) = &mut self.tls {
            tls.finish(&mut self.wire);
        }
    }

    /// What waits for the socket.
    #[inline]
    pub fn unsent(&self) -> &[u8] {
        &self.wire[self.sent..]
    }

    /// The socket has taken so much of it.
    #[inline]
    pub fn sent(&mut self, count: usize) {
        self.sent += count;
        if self.sent == self.wire.len() {
            self.wire.clear();
            self.sent = 0;
        }
    }

    /// Gives back what is empty and larger than `keep_bytes`.
    pub fn slim(&mut self, keep_bytes: usize) {
        if self.wire.is_empty() && self.wire.capacity() > keep_bytes {
            self.wire = Vec::new();
        }
    }

    fn has_upgraded(&self) -> bool {
        self.websocket.as_ref().is_some_and(WebSocket::has_asked)
    }

    /// The socket, or TLS, is there: asks for a WebSocket, or is ready.
    fn upgrade(&mut self) -> Result<(), Fault> {
        let Some(websocket) = &mut self.websocket else {
            self.is_open = true;
            return Ok(());
        };
        let request = websocket.ask();
        put(self.tls.as_mut(), request.as_bytes(), &mut self.wire)
    }
}

fn put(tls: Option<&mut Tls>, bytes: &[u8], wire: &mut Vec<u8>) -> Result<(), Fault> {
    match tls {
        Some(tls) if !bytes.is_empty() => tls.put(bytes, wire),
        Some(_) => Ok(()),
        None => {
            wire.extend_from_slice(bytes);
            Ok(())
        }
    }
}
