//! The doors of a broker in this process: TLS and its certificates, WebSocket, the PROXY protocol,
//! mountpoints, and strangers at each.

mod certificates;
mod client;
mod held;
mod pki;
mod proxies;
mod strangers;
mod websockets;
#[path = "../support/wire.rs"]
mod wire;

use client::Client;
use ringmq::config::{Listener, Settings};
use ringmq::control::{Node, NodeStatus};
use ringmq::runtime::Broker;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::{Duration, Instant};
use wire::Over;

const PATIENCE: Duration = Duration::from_secs(20);

/// A broker with these listeners, and a folder of its own.
pub struct House {
    pub broker: Broker,
    pub settings: Settings,
    pub folder: PathBuf,
}

/// An empty folder for a test.
pub fn folder(name: &str) -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("doors-{name}"));
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

pub fn listener(url: &str) -> Listener {
    Listener::at(url.parse().unwrap())
}

impl House {
    /// Starts it; `change` may say more.
    pub fn open(name: &str, listeners: Vec<Listener>, change: impl FnOnce(&mut Settings)) -> House {
        let folder = folder(name).join("data");
        let mut settings = Settings::default();
        settings.node.shards = 2;
        settings.node.data_dir = folder.clone();
        settings.listeners = listeners;
        settings.sys.interval_s = 0;
        change(&mut settings);
        House {
            broker: Broker::start(settings.clone()).unwrap(),
            settings,
            folder,
        }
    }

    pub fn address(&self, listener: usize) -> SocketAddr {
        self.broker.addresses()[listener]
    }

    pub fn status(&self) -> NodeStatus {
        self.broker.status().unwrap()
    }

    /// How often something was refused for this reason.
    pub fn refused(&self, reason: &str) -> u64 {
        let refusals = self.status().refusals;
        refusals
            .iter()
            .find(|count| count.reason == reason)
            .map_or(0, |count| count.count)
    }

    /// Waits until something was refused for this reason so often.
    pub fn await_refused(&self, reason: &str, count: u64) {
        await_that(&format!("{count} {reason}"), || {
            self.refused(reason) >= count
        });
    }

    pub fn close(self) {
        let ended = self.broker.stop(Duration::from_secs(5));
        assert!(
            ended.is_complete && ended.connections_left == 0,
            "{ended:?}"
        );
        let _ = std::fs::remove_dir_all(self.folder.parent().unwrap());
    }
}

/// Waits for what another thread brings about.
pub fn await_that(what: &str, mut is_so: impl FnMut() -> bool) {
    let until = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < until, "waited in vain for: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn one_message_to_clients_of_every_kind() {
    let path = folder("kinds-socket").join("mqtt.sock");
    let urls = ["tcp", "tls", "ws", "wss"].map(|scheme| format!("{scheme}://127.0.0.1:0"));
    let mut listeners: Vec<_> = urls.iter().map(|url| listener(url)).collect();
    listeners.push(listener(&format!("unix://{}", path.display())));
    let house = House::open("kinds", listeners, |_| {});
    let kinds = [Over::Tcp, Over::Tls, Over::Ws, Over::Wss];
    let mut clients: Vec<Client> = kinds
        .iter()
        .enumerate()
        .map(|(at, over)| Client::connect(*over, house.address(at), &format!("{over:?}")))
        .collect();
    clients.push(Client::connect_unix(&path, "unix"));
    clients
        .iter_mut()
        .for_each(|client| client.subscribe("t/#"));
    for at in 0..clients.len() {
        let payload = vec![at as u8; 100_000];
        clients[at].publish("t/x", &payload);
        for client in &mut clients {
            assert_eq!(client.receive(), ("t/x".to_owned(), payload.clone()));
        }
    }
    let found = house.broker.client("unix").unwrap().unwrap();
    assert_eq!(found.client.peer.as_deref(), Some("unix"));
    drop(clients);
    house.close();
    assert!(!path.exists(), "the socket goes with its broker");
}

#[test]
fn a_unix_socket_has_the_mode_that_is_configured() {
    let path = folder("mode-socket").join("mqtt.sock");
    let url = format!("unix://{}", path.display());
    for mode in [0o600, 0o666] {
        let mut configured = listener(&url);
        configured.unix_mode = mode;
        let house = House::open("mode", vec![configured], |_| {});
        let found = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(found & 0o777, mode);
        house.close();
    }
    assert_eq!(listener(&url).unix_mode, 0o660, "unless it says otherwise");
}

#[test]
fn an_outbox_larger_than_a_socket_takes_arrives_whole() {
    let urls = [
        "tls://127.0.0.1:0",
        "wss://127.0.0.1:0",
        "tcp://127.0.0.1:0",
    ];
    let house = House::open("outbox", urls.map(listener).into(), |settings| {
        settings.limits.outbox_bytes_max = 64 << 20;
        settings.mqtt.packet_bytes_max = 8 << 20;
    });
    let mut sender = Client::connect(Over::Tcp, house.address(2), "sender");
    let mut slow = [
        Client::connect(Over::Tls, house.address(0), "slow-tls"),
        Client::connect(Over::Wss, house.address(1), "slow-wss"),
    ];
    slow.iter_mut().for_each(|client| client.subscribe("big"));
    let payload: Vec<u8> = (0..4 << 20).map(|n: u32| (n / 251) as u8).collect();
    for _ in 0..4 {
        sender.publish("big", &payload);
    }
    for client in &mut slow {
        for _ in 0..4 {
            let (_, received) = client.receive();
            assert!(received == payload, "the bytes are those that were sent");
        }
    }
    house.close();
}

#[test]
fn clients_of_a_mountpoint_live_in_a_room_of_their_own() {
    let mut tenant = listener("tcp://127.0.0.1:0");
    tenant.mountpoint = "tenant/7/".into();
    let listeners = vec![listener("tcp://127.0.0.1:0"), tenant];
    let house = House::open("mount", listeners, |_| {});
    let mut outside = Client::connect(Over::Tcp, house.address(0), "outside");
    outside.subscribe("#");
    let mut one = Client::connect_with_will(house.address(1), "one", "gone");
    let mut other = Client::connect(Over::Tcp, house.address(1), "other");
    other.subscribe("a/+");
    one.subscribe("$share/group/b");
    one.publish("a/b", b"inside");
    assert_eq!(other.receive(), ("a/b".into(), b"inside".to_vec()));
    assert_eq!(
        outside.receive(),
        ("tenant/7/a/b".into(), b"inside".to_vec())
    );
    outside.publish("tenant/7/b", b"in");
    assert_eq!(one.receive(), ("b".into(), b"in".to_vec()));
    assert_eq!(outside.receive().0, "tenant/7/b");
    outside.publish("a/b", b"nobody's");
    assert_eq!(outside.receive().0, "a/b");
    one.cut();
    assert_eq!(outside.receive().0, "tenant/7/gone");
    other.unsubscribe("a/+");
    outside.publish("tenant/7/a/b", b"not subscribed any more");
    assert!(other.is_quiet());
    house.close();
}
