//! TLS by rustls, without its buffers: records are decrypted where they lie in the shard's scratch
//! buffer and what is sent is encrypted into another, so that a connection keeps its keys and,
//! only while a record has not come whole, that record's bytes.

use super::Why;
use crate::codec::stranger::{self, Stranger, status};
use crate::limits::TLS_HANDSHAKE_BYTES_MAX;
use crate::net::certificates::resolver::take_server_name;
use rustls::pki_types::CertificateDer;
use rustls::server::UnbufferedServerConnection;
use rustls::unbuffered::{ConnectionState, EncodeError, EncryptError, UnbufferedStatus};
use rustls::{AlertDescription, Error, HandshakeKind, ServerConfig};
use std::sync::Arc;

/// Room that a record needs around its payload, and the payload of the largest.
const RECORD_OVERHEAD: usize = 64;
const RECORD_PAYLOAD_MAX: usize = 16 * 1024;

/// One connection's TLS.
pub struct Tls {
    conn: UnbufferedServerConnection,
    /// A record that has not come whole.
    tail: Vec<u8>,
    /// It has failed: rustls must not see it again, since what it remembers of the input is gone.
    failed: bool,
    server_name: Option<Box<str>>,
}

/// What rustls wants to go on with.
enum Next {
    /// Nothing more to do with what there is.
    Wait,
    Again,
    /// The client sends no more.
    Ended,
    Failed(Why),
}

impl Tls {
    /// Begins with a client whose first byte is `first`.
    ///
    /// # Errors
    /// It does not look like TLS; an answer for people is in `back`.
    pub fn begin(config: Arc<ServerConfig>, first: u8, back: &mut Vec<u8>) -> Result<Tls, Why> {
        match stranger::of(first) {
            Stranger::Tls => {}
            Stranger::Http => {
                let text = "this port speaks TLS (mqtts, or wss): plain HTTP is not served here";
                stranger::http_answer(status::BAD_REQUEST, text, &[], back);
                return Err(Why::HttpOnTls);
            }
            Stranger::Mqtt => return Err(Why::MqttOnTls),
            Stranger::Unknown => return Err(Why::NotTls),
        }
        let conn = UnbufferedServerConnection::new(config).map_err(|error| why(&error))?;
        Ok(Tls {
            conn,
            tail: Vec::new(),
            failed: false,
            server_name: None,
        })
    }

    /// Takes what has come, which it overwrites; appends what was in it to `plain`, and what is to
    /// be answered to `back`. True: the client sends no more.
    ///
    /// # Errors
    /// The handshake has failed or the stream is broken; the alert that says so is in `back`.
    pub fn handle(
        &mut self,
        input: &mut [u8],
        plain: &mut Vec<u8>,
        back: &mut Vec<u8>,
    ) -> Result<bool, Why> {
        if self.failed {
            return Err(Why::TlsMalformed);
        }
        let taken = self.take(input, plain, back);
        self.failed = taken.is_err();
        taken
    }

    /// Appends `plain` as records to `wire`.
    ///
    /// # Errors
    /// The connection has failed before.
    pub fn put(&mut self, plain: &[u8], wire: &mut Vec<u8>) -> Result<(), Why> {
        if self.failed {
            return Err(Why::TlsMalformed);
        }
        // A key update or a ticket may have to go first; each turn of the loop takes one.
        for _ in 0..16 {
            let status = self.conn.process_tls_records(&mut self.tail);
            match status.state.map_err(|error| why(&error))? {
                ConnectionState::WriteTraffic(mut traffic) => {
                    let records = plain.len() / RECORD_PAYLOAD_MAX + 1;
                    let room = plain.len() + records * RECORD_OVERHEAD;
                    return append(wire, room, |out| traffic.encrypt(plain, out));
                }
                ConnectionState::EncodeTlsData(mut data) => encode(&mut data, wire)?,
                ConnectionState::TransmitTlsData(data) => data.done(),
                ConnectionState::PeerClosed => {}
                _ => return Err(Why::TlsMalformed),
            }
        }
        Err(Why::TlsMalformed)
    }

    /// Says that no more comes.
    pub fn finish(&mut self, wire: &mut Vec<u8>) {
        if self.failed {
            return;
        }
        for _ in 0..16 {
            let status = self.conn.process_tls_records(&mut self.tail);
            let said = match status.state {
                Ok(ConnectionState::WriteTraffic(mut traffic)) => {
                    let _ = append(wire, RECORD_OVERHEAD, |out| traffic.queue_close_notify(out));
                    return;
                }
                Ok(ConnectionState::EncodeTlsData(mut data)) => encode(&mut data, wire),
                Ok(ConnectionState::TransmitTlsData(data)) => {
                    data.done();
                    Ok(())
                }
                Ok(ConnectionState::PeerClosed) => Ok(()),
                // In the middle of a handshake, or broken: there is nothing to say it in.
                _ => return,
            };
            if said.is_err() {
                return;
            }
        }
    }

    /// Whether the handshake goes on.
    pub fn is_handshaking(&self) -> bool {
        self.conn.is_handshaking()
    }

    /// Whether a session was resumed, once the handshake is over.
    pub fn is_resumed(&self) -> bool {
        self.conn.handshake_kind() == Some(HandshakeKind::Resumed)
    }

    /// The name that the client asked for.
    pub fn take_server_name(&mut self) -> Option<Box<str>> {
        self.server_name.take()
    }

    /// The client's certificate, verified, if it has one.
    pub fn certificate(&self) -> Option<&CertificateDer<'static>> {
        self.conn.peer_certificates()?.first()
    }

    fn take(
        &mut self,
        input: &mut [u8],
        plain: &mut Vec<u8>,
        back: &mut Vec<u8>,
    ) -> Result<bool, Why> {
        if self.tail.is_empty() {
            let (used, ended) = self.process(input, plain, back)?;
            if used < input.len() && !ended {
                self.tail = input[used..].to_vec();
            }
            return self.check_tail(ended);
        }
        let mut tail = std::mem::take(&mut self.tail);
        tail.extend_from_slice(input);
        let (used, ended) = self.process(&mut tail, plain, back)?;
        if used < tail.len() && !ended {
            tail.drain(..used);
            self.tail = tail;
        }
        self.check_tail(ended)
    }

    /// Works through `input`; how much of it is done with, and whether the client has ended.
    fn process(
        &mut self,
        input: &mut [u8],
        plain: &mut Vec<u8>,
        back: &mut Vec<u8>,
    ) -> Result<(usize, bool), Why> {
        let mut used = 0;
        loop {
            let UnbufferedStatus { discard, state } =
                self.conn.process_tls_records(&mut input[used..]);
            let next = match state {
                Ok(ConnectionState::ReadTraffic(mut traffic)) => {
                    while let Some(record) = traffic.next_record() {
                        let record = record.map_err(|error| why(&error))?;
                        plain.extend_from_slice(record.payload);
                    }
                    Next::Again
                }
                Ok(ConnectionState::EncodeTlsData(mut data)) => {
                    encode(&mut data, back)?;
                    Next::Again
                }
                Ok(ConnectionState::TransmitTlsData(data)) => {
                    data.done();
                    Next::Again
                }
                Ok(ConnectionState::PeerClosed | ConnectionState::Closed) => Next::Ended,
                Ok(ConnectionState::WriteTraffic(_) | ConnectionState::BlockedHandshake) => {
                    Next::Wait
                }
                // Early data is off; whatever else may come to be is not asked for.
                Ok(_) => return Err(Why::TlsMalformed),
                Err(error) => Next::Failed(why(&error)),
            };
            used += discard;
            if self.server_name.is_none() {
                self.server_name = take_server_name();
            }
            match next {
                Next::Again => {}
                Next::Wait => return Ok((used, false)),
                Next::Ended => return Ok((used, true)),
                Next::Failed(why) => {
                    self.put_alert(back);
                    return Err(why);
                }
            }
        }
    }

    /// What rustls has to say about an error.
    fn put_alert(&mut self, back: &mut Vec<u8>) {
        // While there is something to say it looks at no input, of which there is none any more.
        while self.conn.wants_write() {
            let state = self.conn.process_tls_records(&mut []).state;
            let Ok(ConnectionState::EncodeTlsData(mut data)) = state else {
                return;
            };
            if encode(&mut data, back).is_err() {
                return;
            }
        }
    }

    fn check_tail(&self, ended: bool) -> Result<bool, Why> {
        match self.tail.len() > TLS_HANDSHAKE_BYTES_MAX {
            true => Err(Why::TlsMalformed),
            false => Ok(ended),
        }
    }
}

type EncodeTlsData<'a> =
    rustls::unbuffered::EncodeTlsData<'a, rustls::server::ServerConnectionData>;

fn encode(data: &mut EncodeTlsData<'_>, out: &mut Vec<u8>) -> Result<(), Why> {
    let begin = out.len();
    loop {
        match data.encode(&mut out[begin..]) {
            Ok(count) => {
                out.truncate(begin + count);
                return Ok(());
            }
            Err(EncodeError::InsufficientSize(size)) => out.resize(begin + size.required_size, 0),
            Err(EncodeError::AlreadyEncoded) => return Err(Why::TlsMalformed),
        }
    }
}

/// Lets `write` fill the end of `out`, for which `room` bytes should be enough.
fn append(
    out: &mut Vec<u8>,
    room: usize,
    mut write: impl FnMut(&mut [u8]) -> Result<usize, EncryptError>,
) -> Result<(), Why> {
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
                out.truncate(begin);
                return Err(Why::TlsMalformed);
            }
        }
    }
}

/// Who is at fault.
fn why(error: &Error) -> Why {
    match error {
        Error::AlertReceived(AlertDescription::CloseNotify | AlertDescription::UserCanceled) => {
            Why::TlsMalformed
        }
        Error::AlertReceived(_) => Why::TlsAlert,
        Error::NoCertificatesPresented
        | Error::InvalidCertificate(_)
        | Error::InvalidCertRevocationList(_) => Why::TlsClientCertificate,
        Error::PeerIncompatible(_) | Error::NoApplicationProtocol => Why::TlsIncompatible,
        _ => Why::TlsMalformed,
    }
}
