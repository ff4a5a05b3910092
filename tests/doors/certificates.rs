//! Certificates: ours, the clients', and what happens when they change.

use crate::client::Client;
use crate::pki::{Authority, Issued};
use crate::wire::{Got, Over, Wire, trusting_config};
use crate::{House, await_that, folder, listener};
use ringmq::config::{ClientCertificates, Listener, Settings};
use ringmq::control::Node;
use rustls::ClientConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

fn der(path: &Path) -> CertificateDer<'static> {
    CertificateDer::from_pem_file(path).unwrap()
}

/// A client that takes any server, for TLS named `mqtt`.
fn config() -> ClientConfig {
    let mut config = trusting_config();
    config.alpn_protocols = vec![b"mqtt".to_vec()];
    config
}

fn config_with(client: &Issued) -> Arc<ClientConfig> {
    let mut config = config();
    let key = PrivateKeyDer::from_pem_file(&client.private_key).unwrap();
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    let chain = vec![der(&client.certificate)];
    let certified = rustls::sign::CertifiedKey::from_der(chain, key, &provider).unwrap();
    config.client_auth_cert_resolver = Arc::new(rustls::sign::SingleCertAndKey::from(certified));
    Arc::new(config)
}

/// The certificate that the broker shows to who asks for `name`.
fn shown(house: &House, name: &str) -> CertificateDer<'static> {
    let wire = Wire::open_tls(house.address(0), Arc::new(config()), name).unwrap();
    let tls = wire.tls().unwrap();
    tls.peer_certificates().unwrap()[0].clone()
}

fn tls_listener() -> Vec<Listener> {
    vec![listener("tls://127.0.0.1:0")]
}

fn use_files(settings: &mut Settings, files: &[&Issued]) {
    settings.tls.certificates = files.iter().map(|f| f.certificate.clone()).collect();
    settings.tls.private_keys = files.iter().map(|f| f.private_key.clone()).collect();
}

#[test]
fn a_broker_without_a_certificate_makes_one() {
    let house = House::open("own", tls_listener(), |_| {});
    let key = house.folder.join("certificates/own.key");
    assert_eq!(
        std::fs::metadata(key).unwrap().permissions().mode() & 0o777,
        0o600
    );
    let status = house.status();
    let told = &status.listeners[0].certificates[0];
    assert!(told.is_own && told.days_left > 800 && told.names.contains(&"localhost".to_owned()));
    assert_eq!(told.fingerprint.len(), 32 * 3 - 1);
    assert_eq!(
        shown(&house, "localhost"),
        der(&house.folder.join("certificates/own.pem"))
    );
    house.close();
}

#[test]
fn the_name_that_is_asked_for_chooses() {
    let folder = folder("sni-pki");
    let authority = Authority::new(&folder, "ca");
    let one = authority.issue("one", "one.example.org", 1, 90);
    let wild = authority.issue("wild", "*.devices.example.org", 2, 90);
    let house = House::open("sni", tls_listener(), |s| use_files(s, &[&one, &wild]));
    for (name, file) in [
        ("one.example.org", &one),
        ("a7.devices.example.org", &wild),
        ("else.example.org", &one),
    ] {
        assert_eq!(shown(&house, name), der(&file.certificate), "{name}");
    }
    house.close();
}

#[test]
fn sessions_are_resumed_and_counted() {
    let house = House::open("resume", tls_listener(), |_| {});
    for versions in [&[&rustls::version::TLS13], &[&rustls::version::TLS12]] {
        let before = house.status().handshakes;
        let mut config = ClientConfig::clone(&config());
        config.resumption = rustls::client::Resumption::in_memory_sessions(8);
        let config = Arc::new(only(config, versions));
        for round in 0..4 {
            let wire = Wire::open_tls(house.address(0), config.clone(), "localhost").unwrap();
            Client::begin(wire, "again", None).subscribe("t");
            await_that("the broker has counted", || {
                let now = house.status().handshakes;
                now.full == before.full + 1 && now.resumed == before.resumed + round
            });
        }
    }
    house.close();
}

/// The same client with only these versions.
fn only(
    config: ClientConfig,
    versions: &[&'static rustls::SupportedProtocolVersion],
) -> ClientConfig {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut narrow = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .unwrap()
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth();
    narrow
        .dangerous()
        .set_certificate_verifier(crate::wire::trusting());
    narrow.alpn_protocols = config.alpn_protocols;
    narrow.resumption = config.resumption;
    narrow
}

#[test]
fn clients_show_certificates_and_revoked_ones_do_not_get_in() {
    let folder = folder("mtls-pki");
    let authority = Authority::new(&folder, "ca");
    let good = authority.issue("good", "good", 10, 90);
    let revoked = authority.issue("revoked", "revoked", 11, 90);
    let stranger = Authority::new(&folder, "other").issue("stranger", "stranger", 12, 90);
    let house = House::open("mtls", tls_listener(), |settings| {
        settings.tls.client_certificates = ClientCertificates::Required;
        settings.tls.client_ca = folder.join("ca.pem");
        settings.tls.client_crl = authority.revoke("crl", &[]);
    });
    let try_in = |config: Arc<ClientConfig>| {
        let wire = Wire::open_tls(house.address(0), config, "localhost");
        // TLS 1.3: a client hears of the refusal only after its own side is done.
        wire.is_ok_and(|mut wire| {
            let connect = b"\x10\x0d\0\x04MQTT\x04\x02\0\x3c\0\x01a";
            if wire.send(connect).is_err() {
                return false;
            }
            loop {
                match wire.receive(Some(Duration::from_secs(10))) {
                    // A ticket.
                    Got::Bytes(bytes) if bytes.is_empty() => {}
                    Got::Bytes(bytes) => return bytes == [0x20, 2, 0, 0],
                    Got::Nothing | Got::End => return false,
                }
            }
        })
    };
    assert!(try_in(config_with(&good)));
    assert!(try_in(config_with(&revoked)), "not on the list yet");
    assert!(!try_in(config_with(&stranger)));
    assert!(!try_in(Arc::new(config())), "none shown");
    house.await_refused("tls_client_certificate", 2);
    // The same client may have a ticket from before: it does not help.
    let with_ticket = config_with(&revoked);
    assert!(try_in(with_ticket.clone()));
    authority.revoke("crl", &[11]);
    await_that("the list is taken", || !try_in(with_ticket.clone()));
    assert!(try_in(config_with(&good)));
    house.close();
}

/// Clients over TLS, each of which publishes to the next one.
struct Ring {
    clients: Vec<Client>,
    rounds: u32,
}

impl Ring {
    fn join(house: &House, count: usize) -> Ring {
        let address = house.address(0);
        let connect = |n| Client::connect(Over::Tls, address, &format!("c{n}"));
        let mut clients: Vec<Client> = (0..count).map(connect).collect();
        for (n, client) in clients.iter_mut().enumerate() {
            client.subscribe(&format!("ring/{n}"));
        }
        Ring { clients, rounds: 0 }
    }

    /// Everybody sends one message, and takes the one that is theirs: none is missing or twice.
    fn turn(&mut self) {
        let count = self.clients.len();
        let payload = self.rounds.to_be_bytes();
        for (n, client) in self.clients.iter_mut().enumerate() {
            client.publish(&format!("ring/{}", (n + 1) % count), &payload);
        }
        for (n, client) in self.clients.iter_mut().enumerate() {
            assert_eq!(client.receive(), (format!("ring/{n}"), payload.to_vec()));
        }
        self.rounds += 1;
    }

    /// Turns every 100 ms until `over`. Gives messages a second.
    fn run(&mut self, over: &AtomicBool) -> f64 {
        let (begun, first) = (Instant::now(), self.rounds);
        while !over.load(Ordering::Relaxed) {
            self.turn();
            let due = begun + Duration::from_millis(100) * (self.rounds - first);
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
        }
        let messages = f64::from(self.rounds - first) * self.clients.len() as f64;
        messages / begun.elapsed().as_secs_f64()
    }
}

#[test]
fn certificates_are_replaced_under_load_without_a_disconnect() {
    const CLIENTS: usize = 200;
    let folder = folder("replace-pki");
    let authority = Authority::new(&folder, "ca");
    let first = authority.issue("server", "localhost", 1, 90);
    let house = House::open("replace", tls_listener(), |s| use_files(s, &[&first]));
    let mut ring = Ring::join(&house, CLIENTS);
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let load = scope.spawn(|| ring.run(&over));
        for serial in 2..6 {
            let before = der(&first.certificate);
            // Rubbish: the old one stays.
            std::fs::write(&first.certificate, "rubbish").unwrap();
            let error = house.broker.reload(&house.settings).unwrap_err();
            assert!(error.contains("server.pem"), "{error}");
            assert_eq!(shown(&house, "localhost"), before);

            let after = der(&authority
                .issue("server", "localhost", serial, 90)
                .certificate);
            match serial % 2 {
                0 => house.broker.reload(&house.settings).unwrap(),
                _ => await_that("the change is noticed", || {
                    shown(&house, "localhost") == after
                }),
            }
            await_that("the new one is shown", || {
                shown(&house, "localhost") == after
            });
        }
        over.store(true, Ordering::Relaxed);
        let rate = load.join().unwrap();
        println!("{CLIENTS} clients, {rate:.0} messages a second, none lost");
    });
    assert!(ring.clients.iter_mut().all(Client::is_quiet));
    let status = house.status();
    assert_eq!(status.sessions, CLIENTS as u64);
    let sent = u64::from(ring.rounds) * CLIENTS as u64;
    assert_eq!(
        (status.ledger.received, status.ledger.delivered),
        (sent, sent)
    );
    // Nobody came back: each client has shaken hands once, and the rest only looked.
    let lookers = status.handshakes.full + status.handshakes.resumed - CLIENTS as u64;
    await_that("lookers are gone", || {
        house.status().connections == CLIENTS as u64
    });
    assert!(lookers > 0 && house.refused("connect_timeout") == 0);
    house.close();
}

#[test]
fn a_reload_that_something_refuses_changes_no_certificate() {
    let folder = folder("refused-pki");
    let authority = Authority::new(&folder, "ca");
    let server = authority.issue("server", "localhost", 1, 90);
    let plugins = folder.join("plugins");
    std::fs::create_dir_all(&plugins).unwrap();
    let plugin = plugins.join("emq_auth_http.conf");
    let good = "auth.http.auth_req = http://127.0.0.1:9/auth\n\
                auth.http.auth_req.method = post\n\
                auth.http.auth_req.params = username=%u\n";
    std::fs::write(&plugin, good).unwrap();
    let house = House::open("refused", tls_listener(), |settings| {
        use_files(settings, &[&server]);
        settings.auth.plugins_dir = plugins.clone();
        std::fs::create_dir_all(&settings.node.data_dir).unwrap();
    });
    house.broker.load_plugin("emq_auth_http").unwrap();
    let before = shown(&house, "localhost");
    std::fs::write(&plugin, "auth.http.auth_req = nonsense\n").unwrap();
    authority.issue("server", "localhost", 2, 90);
    // Before the files are looked at by themselves.
    let error = house.broker.reload(&house.settings).unwrap_err();
    assert!(error.contains("auth_req"), "{error}");
    assert_eq!(shown(&house, "localhost"), before);
    // Rules that cannot be read, beside a plug-in and a certificate that are good.
    std::fs::write(&plugin, good.replace(":9/", ":10/")).unwrap();
    let mut settings = house.settings.clone();
    settings.auth.acl_file = folder.join("nowhere.conf");
    let error = house.broker.reload(&settings).unwrap_err();
    assert!(error.contains("auth.acl_file: "), "{error}");
    assert_eq!(shown(&house, "localhost"), before);
    let listed = house.broker.plugins().unwrap();
    assert!(listed.iter().any(|plugin| {
        plugin
            .detail
            .as_ref()
            .is_some_and(|detail| detail.contains(":9/"))
    }));
    std::fs::write(&plugin, good).unwrap();
    house.broker.reload(&house.settings).unwrap();
    assert_eq!(shown(&house, "localhost"), der(&server.certificate));
    house.close();
}

#[test]
fn one_that_has_ended_does_not_replace_one_that_has_not() {
    let folder = folder("ended-pki");
    let authority = Authority::new(&folder, "ca");
    let good = authority.issue("server", "localhost", 1, 90);
    let before = der(&good.certificate);
    let house = House::open("ended", tls_listener(), |s| use_files(s, &[&good]));
    authority.issue("server", "localhost", 2, -30);
    let error = house.broker.reload(&house.settings).unwrap_err();
    assert!(
        error.contains("the certificate of localhost ended"),
        "{error}"
    );
    assert_eq!(shown(&house, "localhost"), before);
    house.close();
}

#[test]
fn a_key_that_does_not_fit_stops_the_start() {
    let folder = folder("misfit-pki");
    let authority = Authority::new(&folder, "ca");
    let one = authority.issue("one", "localhost", 1, 90);
    let other = authority.issue("other", "localhost", 2, 90);
    let mut settings = Settings::default();
    settings.node.data_dir = folder.clone();
    settings.listeners = tls_listener();
    settings.tls.certificates = vec![one.certificate];
    settings.tls.private_keys = vec![other.private_key];
    let error = ringmq::runtime::Broker::start(settings)
        .err()
        .unwrap()
        .to_string();
    assert!(error.contains("do not go together"), "{error}");
}
