//! What the layers of a connection hold on the heap while it is idle.

use crate::folder;
use crate::wire::{masked, trusting_config};
use ringmq::base::{Peer, Transport};
use ringmq::net::certificates::make::Own;
use ringmq::net::certificates::{ClientCertificates, Resumption, TlsOptions, load};
use ringmq::net::layer::{Layers, Room, Rules, UpgradeRules};
use rustls::ClientConnection;
use rustls::pki_types::ServerName;
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::io::{Read, Write};
use std::sync::Arc;

/// The system's allocator, with a count of what each thread has taken and not given back.
struct Counting;

#[global_allocator]
static COUNTING: Counting = Counting;

thread_local! {
    static HELD: Cell<isize> = const { Cell::new(0) };
}

fn count(bytes: isize) {
    // A thread that ends may free after its own variables are gone.
    let _ = HELD.try_with(|held| held.set(held.get() + bytes));
}

// SAFETY: everything is passed on to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    /// # Safety
    /// As the trait asks.
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        // SAFETY: the caller's promises are those that `System` asks for.
        unsafe { System.alloc(layout) }
    }

    /// # Safety
    /// As the trait asks.
    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        count(-(layout.size() as isize));
        // SAFETY: as above; `at` came from `System` by `alloc`.
        unsafe { System.dealloc(at, layout) }
    }
}

/// What this does to the count of this thread.
fn held_by<T>(work: impl FnOnce() -> T) -> (T, isize) {
    let before = HELD.get();
    let done = work();
    (done, HELD.get() - before)
}

fn rules(transport: Transport) -> Rules {
    let is_web = matches!(transport, Transport::Ws | Transport::Wss);
    let upgrade = || UpgradeRules {
        path: "/mqtt".into(),
        needs_sub_protocol: true,
        origins: vec![],
    };
    let own = Own::of(&folder(&format!("held-{}", transport.word())));
    own.ensure(1_800_000_000).unwrap();
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
    Rules {
        transport,
        proxy: false,
        trusted: Arc::new([]),
        tls: transport
            .is_encrypted()
            .then(|| load(&options, &Resumption::new().unwrap()).unwrap().config),
        websocket: is_web.then(|| Arc::new(upgrade())),
    }
}

/// One connection, seen from both sides.
struct Pair {
    client: Option<ClientConnection>,
    layers: Box<Layers>,
    room: Room,
    held: isize,
}

impl Pair {
    fn new(rules: &Rules) -> Pair {
        let peer = Peer {
            transport: rules.transport,
            ..Peer::plain("192.0.2.7:99".parse().unwrap(), 0)
        };
        let (layers, held) = held_by(|| Box::new(Layers::new(rules, peer).unwrap()));
        let client = rules.tls.as_ref().map(|_| {
            let name = ServerName::try_from("localhost").unwrap();
            ClientConnection::new(Arc::new(trusting_config()), name).unwrap()
        });
        Pair {
            client,
            layers,
            room: Room::default(),
            held,
        }
    }

    /// What the client says; then what both sides answer to each other. Gives the MQTT.
    fn say(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut mqtt = Vec::new();
        let mut flight = bytes.to_vec();
        if let Some(client) = &mut self.client {
            client.writer().write_all(bytes).unwrap();
            flight.clear();
            client.write_tls(&mut flight).unwrap();
        }
        while !flight.is_empty() {
            let (layers, room) = (&mut self.layers, &mut self.room);
            // The room is the shard's.
            room.reserve(32 * 1024);
            let (taken, held) = held_by(|| layers.handle(&mut flight, room).unwrap().mqtt);
            self.held += held;
            mqtt.extend(taken);
            flight = self.flush();
        }
        mqtt
    }

    /// The socket takes all that waits; gives what the client answers.
    fn flush(&mut self) -> Vec<u8> {
        let layers = &mut self.layers;
        let unsent = layers.unsent.clone();
        let ((), held) = held_by(|| layers.unsent = Vec::new());
        self.held += held;
        self.hear(&unsent)
    }

    fn answer(&mut self, mqtt: &[u8]) {
        let (layers, room) = (&mut self.layers, &mut self.room);
        let mut wire = Vec::with_capacity(4096);
        let (done, held) = held_by(|| layers.put(mqtt, room, &mut wire));
        done.unwrap();
        self.held += held;
        self.hear(&wire);
    }

    /// The client gets this; gives what it answers.
    fn hear(&mut self, mut bytes: &[u8]) -> Vec<u8> {
        let mut answers = Vec::new();
        if let Some(client) = &mut self.client {
            while !bytes.is_empty() {
                client.read_tls(&mut bytes).unwrap();
                client.process_new_packets().unwrap();
            }
            let _ = client.reader().read_to_end(&mut Vec::new());
            while client.wants_write() {
                client.write_tls(&mut answers).unwrap();
            }
        }
        answers
    }
}

const REQUEST: &[u8] = b"GET /mqtt HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n\
    Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
    Sec-WebSocket-Protocol: mqtt\r\nSec-WebSocket-Version: 13\r\n\r\n";
const CONNECT: &[u8] = b"\x10\x0d\0\x04MQTT\x04\x02\0\x3c\0\x01a";

/// Bytes that the layers of an idle connection hold, itself included.
fn held(transport: Transport) -> isize {
    let rules = rules(transport);
    let is_web = rules.websocket.is_some();
    let mut pair = Pair::new(&rules);
    if is_web {
        pair.say(REQUEST);
    }
    for _ in 0..3 {
        let said = if is_web {
            // A ping in pieces before it: nothing of that stays.
            [masked(0x89, b"there?"), masked(0x82, CONNECT)].concat()
        } else {
            CONNECT.to_vec()
        };
        assert_eq!(pair.say(&said), CONNECT);
        pair.answer(b"\x20\x02\0\0");
    }
    assert!(pair.layers.is_open());
    println!("{}: {} bytes", transport.word(), pair.held);
    pair.held
}

#[test]
fn an_idle_connection_holds_its_layers_and_keys_and_no_buffer() {
    assert!(held(Transport::Ws) <= 128);
    let tls = held(Transport::Tls);
    assert!(tls <= 3000, "{tls}");
    assert!(
        held(Transport::Wss) <= tls,
        "WebSocket has its place already"
    );
}
