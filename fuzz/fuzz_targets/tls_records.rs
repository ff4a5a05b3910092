//! TLS at the edge of its layer: any bytes, and handshakes of a real client with bytes changed, in
//! any pieces. Nothing comes out that the client did not put in, and after an error nothing at all.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ringmq::net::certificates::make::Own;
use ringmq::net::certificates::{ClientCertificates, Resumption, TlsOptions, load};
use ringmq::net::layer::{Why, tls::Tls};
use ringmq_fuzz::take_cut;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, Error, SignatureScheme};
use rustls::{ServerConfig, SupportedProtocolVersion, version};
use std::io::{Read, Write};
use std::sync::{Arc, OnceLock};

const SECRET: &[u8] = b"\x10\x0d\0\x04MQTT\x04\x02\0\x3c\0\x01a";

fuzz_target!(|input: &[u8]| {
    let (cut, input) = take_cut(input);
    let Some((&choice, rest)) = input.split_first() else {
        return;
    };
    match choice & 3 {
        // Most inputs: a handshake costs a hundred times what a record costs that is no record.
        0 | 1 => any(rest, cut),
        2 => with_client(rest, cut, &version::TLS13),
        _ => with_client(rest, cut, &version::TLS12),
    }
});

fn any(bytes: &[u8], cut: usize) {
    let mut server = Server::default();
    for piece in bytes.chunks(cut) {
        if server.take(piece).is_err() {
            break;
        }
    }
    assert!(server.plain.is_empty(), "no handshake was ever done");
}

/// The bytes are changes to what the client sends, three each: how far from the last one, and what
/// is added to the byte there.
fn with_client(changes: &[u8], cut: usize, version: &'static SupportedProtocolVersion) {
    let name = ServerName::try_from("localhost").expect("a name");
    let mut client = ClientConnection::new(client_config(version), name).expect("a client");
    let mut changes = changes.chunks_exact(3);
    let mut to_go = next(&mut changes);
    let mut is_changed = false;
    let mut server = Server::default();
    client.writer().write_all(SECRET).expect("room");
    for _ in 0..8 {
        let mut flight = vec![];
        while client.wants_write() && client.write_tls(&mut flight).is_ok() {}
        let mut at = 0;
        while let Some((distance, added)) = to_go {
            if at + distance >= flight.len() {
                to_go = Some((at + distance - flight.len(), added));
                break;
            }
            at += distance;
            flight[at] = flight[at].wrapping_add(added);
            is_changed |= added != 0;
            to_go = next(&mut changes);
        }
        for piece in flight.chunks(cut) {
            if server.take(piece).is_err() {
                assert!(is_changed, "what a client wrote was refused");
                assert!(server.plain.is_empty() || SECRET.starts_with(&server.plain));
                assert!(server.take(b"more").is_err() && server.put(b"more").is_err());
                return;
            }
        }
        let answers = std::mem::take(&mut server.back);
        let mut answers = &answers[..];
        while !answers.is_empty() {
            if client.read_tls(&mut answers).is_err() || client.process_new_packets().is_err() {
                assert!(is_changed, "what the server wrote was refused");
                return;
            }
        }
    }
    assert!(SECRET.starts_with(&server.plain));
    if !is_changed {
        assert_eq!(server.plain, SECRET);
        server.put(b"an answer").expect("it is up");
        let mut records = &server.back[..];
        client.read_tls(&mut records).expect("in memory");
        client.process_new_packets().expect("whole records");
        let mut answer = [0; 9];
        client.reader().read_exact(&mut answer).expect("the answer");
        assert_eq!(&answer, b"an answer");
    }
}

fn next(changes: &mut std::slice::ChunksExact<'_, u8>) -> Option<(usize, u8)> {
    let change = changes.next()?;
    let distance = u16::from_be_bytes([change[0], change[1]]);
    Some((usize::from(distance) % 2048, change[2]))
}

#[derive(Default)]
struct Server {
    tls: Option<Tls>,
    plain: Vec<u8>,
    back: Vec<u8>,
}

impl Server {
    fn take(&mut self, bytes: &[u8]) -> Result<bool, Why> {
        if self.tls.is_none() {
            self.tls = Some(Tls::begin(server_config(), bytes[0], &mut self.back)?);
        }
        let tls = self.tls.as_mut().expect("just made");
        tls.handle(&mut bytes.to_vec(), &mut self.plain, &mut self.back)
    }

    fn put(&mut self, bytes: &[u8]) -> Result<(), Why> {
        let tls = self.tls.as_mut().ok_or(Why::NotTls)?;
        tls.put(bytes, &mut self.back)
    }
}

fn server_config() -> Arc<ServerConfig> {
    static CONFIG: OnceLock<Arc<ServerConfig>> = OnceLock::new();
    let make = || {
        let folder = std::env::temp_dir().join(format!("ringmq-fuzz-{}", std::process::id()));
        let own = Own::of(&folder);
        own.ensure(1_800_000_000).expect("a certificate");
        let options = TlsOptions {
            certificates: vec![own.certificate],
            private_keys: vec![own.private_key],
            clients: ClientCertificates::NotAsked,
            client_ca: None,
            client_crl: None,
            only_tls13: false,
            resumes: true,
            protocol: b"mqtt",
        };
        let loaded = load(&options, &Resumption::new().expect("random numbers")).expect("good");
        let _ = std::fs::remove_dir_all(folder);
        loaded.config
    };
    CONFIG.get_or_init(make).clone()
}

fn client_config(version: &'static SupportedProtocolVersion) -> Arc<ClientConfig> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[version])
        .expect("a version of the provider")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Trusting))
        .with_no_client_auth();
    config.alpn_protocols = vec![b"mqtt".to_vec()];
    Arc::new(config)
}

#[derive(Debug)]
struct Trusting;

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
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        let algorithms = aws_lc_rs::default_provider().signature_verification_algorithms;
        algorithms.supported_schemes()
    }
}
