//! A client's side of what may lie around MQTT, in bytes that our encoder did not write: PROXY,
//! TLS by rustls's buffered client, WebSocket.

// Each test program uses a part of it.
#![allow(dead_code)]

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, Error, SignatureScheme};
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// What MQTT goes over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Over {
    Tcp,
    Tls,
    Ws,
    Wss,
    Unix,
    /// A PROXY header of version 2 comes first.
    Proxy,
    /// And TLS after it.
    ProxyTls,
}

/// Where a broker listens.
#[derive(Clone, Debug)]
pub enum Address {
    Inet(SocketAddr),
    Unix(PathBuf),
}

/// One connection.
pub struct Wire {
    socket: Socket,
    tls: Option<ClientConnection>,
    /// Bytes of WebSocket frames that are not whole; none without WebSocket.
    frames: Option<Vec<u8>>,
    /// Size of the pieces in which bytes go into the socket, 0 for whole.
    cut: usize,
}

enum Socket {
    Inet(TcpStream),
    Unix(UnixStream),
}

/// What came of a read.
pub enum Got {
    Bytes(Vec<u8>),
    Nothing,
    End,
}

impl Wire {
    /// Connects, and goes through whatever comes before MQTT.
    pub fn open(over: Over, address: &Address, cut: usize) -> io::Result<Wire> {
        let socket = match address {
            Address::Inet(address) => Socket::Inet(TcpStream::connect(address)?),
            Address::Unix(path) => Socket::Unix(UnixStream::connect(path)?),
        };
        if let Socket::Inet(stream) = &socket {
            stream.set_nodelay(true)?;
        }
        let has_tls = matches!(over, Over::Tls | Over::Wss | Over::ProxyTls);
        let tls = has_tls.then(|| client_tls(over));
        Wire::open_with(over, socket, tls, cut)
    }

    /// With a TLS client of the caller's.
    pub fn open_tls(
        address: SocketAddr,
        config: Arc<ClientConfig>,
        name: &str,
    ) -> io::Result<Wire> {
        let socket = TcpStream::connect(address)?;
        socket.set_nodelay(true)?;
        let name = ServerName::try_from(name.to_owned()).expect("a name");
        let tls = ClientConnection::new(config, name).map_err(io::Error::other)?;
        let mut wire = Wire::open_with(Over::Tls, Socket::Inet(socket), Some(tls), 0)?;
        wire.write(b"")?;
        Ok(wire)
    }

    /// The TLS client.
    pub fn tls(&self) -> Option<&ClientConnection> {
        self.tls.as_ref()
    }

    fn open_with(
        over: Over,
        socket: Socket,
        tls: Option<ClientConnection>,
        cut: usize,
    ) -> io::Result<Wire> {
        let mut wire = Wire {
            socket,
            tls,
            frames: None,
            cut,
        };
        if matches!(over, Over::Proxy | Over::ProxyTls) {
            wire.write_raw(&proxy_header())?;
        }
        if matches!(over, Over::Ws | Over::Wss) {
            wire.upgrade()?;
        }
        Ok(wire)
    }

    /// Sends MQTT.
    pub fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self.frames {
            Some(_) => self.write(&masked(0x82, bytes)),
            None => self.write(bytes),
        }
    }

    /// Waits for MQTT for so long; without, takes what is there.
    pub fn receive(&mut self, within: Option<Duration>) -> Got {
        match self.read(within) {
            Got::Bytes(bytes) => match &mut self.frames {
                Some(pending) => {
                    pending.extend(bytes);
                    unframe(pending)
                }
                None => Got::Bytes(bytes),
            },
            other => other,
        }
    }

    /// Sends no more. False: it was over already.
    pub fn end(&mut self) -> bool {
        let ended = match &self.socket {
            Socket::Inet(stream) => stream.shutdown(Shutdown::Write),
            Socket::Unix(stream) => stream.shutdown(Shutdown::Write),
        };
        ended.is_ok()
    }

    fn upgrade(&mut self) -> io::Result<()> {
        self.write(
            b"GET /mqtt HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n\
              Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
              Sec-WebSocket-Protocol: mqtt\r\nSec-WebSocket-Version: 13\r\n\r\n",
        )?;
        let mut answer = Vec::new();
        loop {
            match self.read(Some(Duration::from_secs(10))) {
                Got::Bytes(bytes) => answer.extend(bytes),
                Got::Nothing | Got::End => return Err(ErrorKind::UnexpectedEof.into()),
            }
            if let Some(at) = answer.windows(4).position(|four| four == b"\r\n\r\n") {
                let rest = answer.split_off(at + 4);
                let text = String::from_utf8_lossy(&answer);
                assert!(text.starts_with("HTTP/1.1 101 "), "{text}");
                assert!(text.contains("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="), "{text}");
                self.frames = Some(rest);
                return Ok(());
            }
        }
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let Some(mut tls) = self.tls.take() else {
            return self.write_raw(bytes);
        };
        let written = self.write_tls(&mut tls, bytes);
        self.tls = Some(tls);
        written
    }

    fn write_tls(&mut self, tls: &mut ClientConnection, bytes: &[u8]) -> io::Result<()> {
        tls.writer().write_all(bytes)?;
        loop {
            let mut records = Vec::new();
            while tls.wants_write() {
                tls.write_tls(&mut records)?;
            }
            self.write_raw(&records)?;
            if !tls.is_handshaking() {
                return Ok(());
            }
            self.set_timeout(Some(Duration::from_secs(10)))?;
            if tls.read_tls(&mut self.socket)? == 0 {
                return Err(ErrorKind::UnexpectedEof.into());
            }
            tls.process_new_packets().map_err(io::Error::other)?;
        }
    }

    fn write_raw(&mut self, bytes: &[u8]) -> io::Result<()> {
        let size = if self.cut == 0 {
            bytes.len().max(1)
        } else {
            self.cut.max(bytes.len() / 500)
        };
        // Reading what is there leaves it without waiting. Many small pieces do not fit a busy
        // peer's socket, and what does not would be lost in the middle of a packet.
        self.wait_to_write()?;
        let mut pieces = bytes.chunks(size);
        pieces.try_for_each(|piece| self.socket.write_all(piece))
    }

    fn read(&mut self, within: Option<Duration>) -> Got {
        if self.set_timeout(within).is_err() {
            return Got::End;
        }
        let Some(tls) = &mut self.tls else {
            let mut buffer = [0; 16 * 1024];
            return match self.socket.read(&mut buffer) {
                Ok(0) => Got::End,
                Ok(count) => Got::Bytes(buffer[..count].to_vec()),
                Err(error) => failed(&error),
            };
        };
        match tls.read_tls(&mut self.socket) {
            Ok(0) => return Got::End,
            Ok(_) => {}
            Err(error) => return failed(&error),
        }
        let Ok(state) = tls.process_new_packets() else {
            return Got::End;
        };
        let mut plain = vec![0; state.plaintext_bytes_to_read()];
        match tls.reader().read_exact(&mut plain) {
            Ok(()) if plain.is_empty() && state.peer_has_closed() => Got::End,
            Ok(()) => Got::Bytes(plain),
            Err(error) => failed(&error),
        }
    }

    fn wait_to_write(&self) -> io::Result<()> {
        let within = Some(Duration::from_secs(10));
        match &self.socket {
            Socket::Inet(stream) => {
                stream.set_nonblocking(false)?;
                stream.set_write_timeout(within)
            }
            Socket::Unix(stream) => {
                stream.set_nonblocking(false)?;
                stream.set_write_timeout(within)
            }
        }
    }

    fn set_timeout(&self, within: Option<Duration>) -> io::Result<()> {
        match &self.socket {
            Socket::Inet(stream) => {
                stream.set_nonblocking(within.is_none())?;
                stream.set_read_timeout(within)
            }
            Socket::Unix(stream) => {
                stream.set_nonblocking(within.is_none())?;
                stream.set_read_timeout(within)
            }
        }
    }
}

impl Read for Socket {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Socket::Inet(stream) => stream.read(buffer),
            Socket::Unix(stream) => stream.read(buffer),
        }
    }
}

impl Write for Socket {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Socket::Inet(stream) => stream.write(bytes),
            Socket::Unix(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn failed(error: &io::Error) -> Got {
    match error.kind() {
        ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted => Got::Nothing,
        _ => Got::End,
    }
}

/// The payloads of whole binary frames; Close is the end.
fn unframe(pending: &mut Vec<u8>) -> Got {
    let mut mqtt = Vec::new();
    while let [first, second, rest @ ..] = &pending[..] {
        let (len, head) = match (second, rest) {
            (126, [a, b, ..]) => (usize::from(u16::from_be_bytes([*a, *b])), 4),
            (127, [_, _, _, _, a, b, c, d, ..]) => {
                (u32::from_be_bytes([*a, *b, *c, *d]) as usize, 10)
            }
            (126 | 127, _) => break,
            (len, _) => (usize::from(*len), 2),
        };
        if pending.len() < head + len {
            break;
        }
        match first {
            0x82 => mqtt.extend(&pending[head..head + len]),
            0x88 if mqtt.is_empty() => return Got::End,
            0x88 => break,
            other => panic!("a frame that begins with {other:02x}"),
        }
        pending.drain(..head + len);
    }
    Got::Bytes(mqtt)
}

/// A frame as a client writes it.
pub fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
    const MASK: [u8; 4] = [0x5a, 0x01, 0xff, 0x80];
    let mut out = vec![first];
    match payload.len() {
        len @ 0..=125 => out.push(0x80 | len as u8),
        len @ 126..=0xffff => {
            out.push(0x80 | 126);
            out.extend((len as u16).to_be_bytes());
        }
        len => {
            out.push(0x80 | 127);
            out.extend((len as u64).to_be_bytes());
        }
    }
    out.extend(MASK);
    out.extend(payload.iter().zip(MASK.iter().cycle()).map(|(a, b)| a ^ b));
    out
}

/// From 127.0.0.9:4242, which a broker takes for this machine.
fn proxy_header() -> Vec<u8> {
    let mut out = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c".to_vec();
    out.extend([127, 0, 0, 9, 127, 0, 0, 1, 0x10, 0x92, 0x07, 0x5b]);
    out
}

fn client_tls(over: Over) -> ClientConnection {
    let protocol: &[u8] = if over == Over::Wss {
        b"http/1.1"
    } else {
        b"mqtt"
    };
    let name = ServerName::try_from("localhost").expect("a name");
    let mut config = trusting_config();
    config.alpn_protocols = vec![protocol.to_vec()];
    let mut client = ClientConnection::new(Arc::new(config), name).expect("a client");
    client.set_buffer_limit(None);
    client
}

/// A client that takes any certificate.
pub fn trusting_config() -> ClientConfig {
    let provider = Arc::new(aws_lc_rs::default_provider());
    ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions of the provider")
        .dangerous()
        .with_custom_certificate_verifier(trusting())
        .with_no_client_auth()
}

/// Takes any certificate.
pub fn trusting() -> Arc<dyn ServerCertVerifier> {
    Arc::new(Trusting(Arc::new(aws_lc_rs::default_provider())))
}

#[derive(Debug)]
struct Trusting(Arc<CryptoProvider>);

impl ServerCertVerifier for Trusting {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
