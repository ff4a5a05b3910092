//! TLS of one client by rustls without its buffers, so that an idle connection keeps its keys
//! only.

use super::TlsTransport;
use crate::net::Fault;
use rustls::client::{ClientConnectionData, UnbufferedClientConnection};
use rustls::unbuffered::{
    ConnectionState, EncodeError, EncodeTlsData, EncryptError, UnbufferedStatus,
};

/// Room that a record needs around its payload, and the payload of the largest.
const RECORD_OVERHEAD: usize = 64;
const RECORD_PAYLOAD_MAX: usize = 16 * 1024;
/// Steps without input after which something is wrong.
const STEPS_MAX: usize = 16;

pub struct Tls {
    // Boxed: it has some kilobytes, and the layers of a connection move.
    conn: Box<UnbufferedClientConnection>,
    /// A record that has not come whole.
    tail: Vec<u8>,
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let is_handshaking = self.conn.is_handshaking();
        f.debug_struct("Tls")
            .field("is_handshaking", &is_handshaking)
            .finish_non_exhaustive()
    }
}

impl Tls {
    /// Appends the client's hello to `wire`.
    ///
    /// # Errors
    /// The configuration does not allow a hello to this server.
    pub fn begin(transport: &TlsTransport, wire: &mut Vec<u8>) -> Result<Tls, Fault> {
        let server = transport.server.clone();
        let conn = UnbufferedClientConnection::new(transport.config.clone(), server);
        let mut tls = Tls {
            conn: Box::new(conn.map_err(|error| fault(&error))?),
            tail: Vec::new(),
        };
        tls.take(&mut [], &mut Vec::new(), wire)?;
        Ok(tls)
    }

    pub fn is_handshaking(&self) -> bool {
        self.conn.is_handshaking()
    }

    /// Takes what has come, which it overwrites; appends what was in it to `plain`, and what is
    /// to be answered to `wire`. True: the broker sends no more.
    ///
    /// # Errors
    /// The handshake has failed, or the stream is broken.
    pub fn take(
        &mut self,
        input: &mut [u8],
        plain: &mut Vec<u8>,
        wire: &mut Vec<u8>,
    ) -> Result<bool, Fault> {
        if self.tail.is_empty() {
            let (used, ended) = self.process(input, plain, wire)?;
            if used < input.len() {
                self.tail = input[used..].to_vec();
            }
            return Ok(ended);
        }
        let mut all = std::mem::take(&mut self.tail);
        all.extend_from_slice(input);
        let (used, ended) = self.process(&mut all, plain, wire)?;
        if used < all.len() {
            all.drain(..used);
            self.tail = all;
        }
        Ok(ended)
    }

    /// Appends `plain` as records to `wire`.
    ///
    /// # Errors
    /// The connection has failed.
    pub fn put(&mut self, plain: &[u8], wire: &mut Vec<u8>) -> Result<(), Fault> {
        // A key update may have to go first.
        for _ in 0..STEPS_MAX {
            let UnbufferedStatus { state, .. } = self.conn.process_tls_records(&mut self.tail);
            match state.map_err(|error| fault(&error))? {
                ConnectionState::WriteTraffic(mut traffic) => {
                    let records = plain.len() / RECORD_PAYLOAD_MAX + 1;
                    let room = plain.len() + records * RECORD_OVERHEAD;
                    return append(wire, room, |out| traffic.encrypt(plain, out));
                }
                ConnectionState::EncodeTlsData(mut data) => encode(&mut data, wire)?,
                ConnectionState::TransmitTlsData(data) => data.done(),
                ConnectionState::PeerClosed => {}
                _ => break,
            }
        }
        Err(Fault::Tls("nothing can be sent now".into()))
    }

    /// Says that no more comes.
    pub fn finish(&mut self, wire: &mut Vec<u8>) {
        let status = self.conn.process_tls_records(&mut self.tail);
        if let Ok(ConnectionState::WriteTraffic(mut traffic)) = status.state {
            let _ = append(wire, RECORD_OVERHEAD, |out| traffic.queue_close_notify(out));
        }
    }

    /// Works through `input`; how much of it is done with, and whether the broker has ended.
    fn process(
        &mut self,
        input: &mut [u8],
        plain: &mut Vec<u8>,
        wire: &mut Vec<u8>,
    ) -> Result<(usize, bool), Fault> {
        let mut used = 0;
        loop {
            let UnbufferedStatus { discard, state } =
                self.conn.process_tls_records(&mut input[used..]);
            let mut next = None;
            match state.map_err(|error| fault(&error))? {
                ConnectionState::ReadTraffic(mut traffic) => {
                    while let Some(record) = traffic.next_record() {
                        let record = record.map_err(|error| fault(&error))?;
                        plain.extend_from_slice(record.payload);
                    }
                }
                ConnectionState::EncodeTlsData(mut data) => encode(&mut data, wire)?,
                ConnectionState::TransmitTlsData(data) => data.done(),
                ConnectionState::PeerClosed | ConnectionState::Closed => next = Some(true),
                ConnectionState::WriteTraffic(_) | ConnectionState::BlockedHandshake => {
                    next = Some(false);
                }
                _ => return Err(Fault::Tls("early data, which was not asked for".into())),
            }
            used += discard;
            if let Some(ended) = next {
                return Ok((used, ended));
            }
        }
    }
}

fn encode(
    data: &mut EncodeTlsData<'_, ClientConnectionData>,
    out: &mut Vec<u8>,
) -> Result<(), Fault> {
    let begin = out.len();
    loop {
        match data.encode(&mut out[begin..]) {
            Ok(count) => {
                out.truncate(begin + count);
                return Ok(());
            }
            Err(EncodeError::InsufficientSize(size)) => out.resize(begin + size.required_size, 0),
            Err(EncodeError::AlreadyEncoded) => {
                return Err(Fault::Tls("a message was encoded twice".into()));
            }
        }
    }
}

/// Lets `write` fill the end of `out`, for which `room` bytes should be enough.
fn append(
    out: &mut Vec<u8>,
    room: usize,
    mut write: impl FnMut(&mut [u8]) -> Result<usize, EncryptError>,
) -> Result<(), Fault> {
    let begin = out.len();
    out.resize(begin + room, 0);
    loop {
        match write(&mut out[begin..]) {
            Ok(count) => {
                out.truncate(begin + count);
                return Ok(());
            }
            Err(EncryptError::InsufficientSize(size)) => out.resize(begin + size.required_size, 0),
            Err(EncryptError::EncryptExhausted) => {
                return Err(Fault::Tls("the keys are used up".into()));
            }
        }
    }
}

fn fault(error: &rustls::Error) -> Fault {
    Fault::Tls(error.to_string().into())
}
