//! A whole broker in this process, over real sockets: what the pure core cannot show. Hand-over
//! between shards, pauses of accepting, slow readers, full mailboxes, the end.

mod client;
mod figures;
mod helm;
mod limits;

use client::*;
use ringmq::base::ShardId;
use ringmq::config::{ListenUrl, Listener, Settings};
use ringmq::control::Node;
use ringmq::runtime::Broker;
use ringmq::shard::owner_of;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Descriptors and limits belong to the process: one broker at a time.
static ALONE: Mutex<()> = Mutex::new(());

const PATIENCE: Duration = Duration::from_secs(20);
const CONNACK: u8 = 0x20;
const PUBLISH: u8 = 0x30;
const PUBACK: u8 = 0x40;
const PUBREL: u8 = 0x62;
const SUBACK: u8 = 0x90;
const PINGREQ: u8 = 0xc0;
const PINGRESP: u8 = 0xd0;
const DISCONNECT: u8 = 0xe0;

fn alone() -> MutexGuard<'static, ()> {
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn settings(shards: u16) -> Settings {
    let mut settings = Settings::default();
    settings.node.shards = shards;
    settings.listeners = vec![Listener::at("tcp://127.0.0.1:0".parse().unwrap())];
    settings.limits.connect_rate_max = 0;
    settings.sys.presence = false;
    settings.sys.interval_s = 0;
    settings
}

fn start(settings: Settings) -> (Broker, SocketAddr) {
    let broker = Broker::start(settings).unwrap();
    let address = broker.addresses()[0];
    (broker, address)
}

fn stop(broker: Broker) {
    let ended = broker.stop(Duration::from_secs(5));
    assert!(
        ended.is_complete && ended.connections_left == 0,
        "{ended:?}"
    );
}

/// Waits until `what` holds.
fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let until = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < until, "never: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn half_packets_have_a_budget_together() {
    const HALVES: usize = 40;
    let _alone = alone();
    let mut settings = settings(1);
    settings.limits.memory_budget_bytes = 1 << 20;
    let (broker, address) = start(settings);
    let mut behaved = Client::connect(address, 4, "behaved");
    behaved.subscribe("x", 1);
    let refused = || {
        let status = broker.status().unwrap();
        let mut rows = status.refusals.iter();
        rows.find(|row| row.reason == "memory_budget")
            .map_or(0, |row| row.count)
    };
    let half = {
        let whole = packet(PUBLISH, &[&string("half")[..], &[0; 100_000]].concat());
        whole[..64 * 1024].to_vec()
    };
    let mut halves = Vec::new();
    for n in 0..HALVES {
        let mut client = Client::connect(address, 5, &format!("half-{n}"));
        // Whoever is cut meanwhile is cut.
        let _ = client.stream.write_all(&half);
        halves.push(client);
    }
    // 16 of them fit.
    eventually("the others are cut", || refused() >= HALVES as u64 - 16);
    assert!(refused() < HALVES as u64, "some fit");
    eventually("`status` shows what is held to the budget", || {
        let memory = broker.status().unwrap().memory;
        let left = memory.budget_bytes.checked_sub(memory.queued_bytes);
        left.is_some_and(|left| left < 64 * 1024)
    });
    behaved.publish("x", 0, 0, b"small packets come and go");
    assert_eq!(behaved.receive(), b"small packets come and go");
    drop(halves);
    drop(behaved);
    stop(broker);
}

#[test]
fn wills_reach_everybody_before_the_end() {
    const CLIENTS: usize = 6;
    let _alone = alone();
    for shards in [1, 2, 3] {
        let (broker, address) = start(settings(shards));
        let mut subscribers: Vec<Client> = (0..CLIENTS)
            .map(|n| Client::connect(address, 4, &format!("subscriber-{n}")))
            .collect();
        for subscriber in &mut subscribers {
            subscriber.subscribe("will/#", 1);
        }
        let dying: Vec<Client> = (0..CLIENTS)
            .map(|n| {
                let mut client = Client::open(address, 4);
                let mut body = string("MQTT");
                body.extend([4, 0b110, 0, 60]);
                for text in [&format!("dying-{n}"), &format!("will/{n}"), "gone"] {
                    body.extend(string(text));
                }
                client.send(&packet(0x10, &body));
                assert_eq!(client.expect().0, CONNACK);
                client
            })
            .collect();
        stop(broker);
        for subscriber in &mut subscribers {
            for _ in 0..CLIENTS {
                assert_eq!(subscriber.receive(), b"gone");
            }
        }
        drop(dying);
    }
}

fn open_files() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

#[test]
fn clients_live_on_their_owner_shard_wherever_they_come_in() {
    let _alone = alone();
    for shards in [1, 2, 3] {
        let (broker, address) = start(settings(shards));
        let mut clients: Vec<_> = (0..30)
            .map(|i| Client::connect(address, 4 + (i % 2) as u8, &format!("client-{i}")))
            .collect();
        for (i, client) in clients.iter_mut().enumerate() {
            client.subscribe(&format!("to/{i}"), 1);
            client.subscribe("to/all", 0);
        }
        let mut expected = vec![0u64; shards.into()];
        for i in 0..clients.len() {
            expected[usize::from(owner_of(&format!("client-{i}"), shards).0)] += 1;
            let to = (i * 7) % clients.len();
            clients[i].publish(&format!("to/{to}"), 1, 9, format!("from {i}").as_bytes());
        }
        for (to, client) in clients.iter_mut().enumerate() {
            let from = (0..30).find(|i| i * 7 % 30 == to).unwrap();
            // PUBACK and the message, in whatever order.
            let (acked, got) = (client.take_ack(), client.receive());
            assert_eq!(got, format!("from {from}").as_bytes());
            assert!(acked || client.take_ack());
        }
        clients[3].publish("to/all", 0, 0, b"everybody");
        clients
            .iter_mut()
            .for_each(|client| assert_eq!(client.receive(), b"everybody"));
        let status = broker.status().unwrap();
        let found: Vec<_> = status
            .shards
            .iter()
            .map(|shard| shard.connections)
            .collect();
        assert_eq!(found, expected);
        assert_eq!(
            (status.connections, status.listeners[0].connections),
            (30, 30)
        );
        assert_eq!(status.ledger.imbalance(), 0, "{:?}", status.ledger);
        if shards > 1 {
            let moved: u64 = broker
                .reports()
                .unwrap()
                .iter()
                .map(|r| r.stats.counters.moved)
                .sum();
            assert!(moved > 0, "some came in at another shard");
        }
        drop(clients);
        eventually("everybody has gone", || {
            broker.status().unwrap().connections == 0
        });
        stop(broker);
    }
}

#[test]
fn a_connect_and_what_follows_it_move_together() {
    let _alone = alone();
    let (broker, address) = start(settings(3));
    for i in 0..20 {
        let mut client = Client::open(address, 4);
        let mut bytes = client.connect_packet(&format!("eager-{i}"));
        let mut body = vec![0, 7];
        body.extend(string("x"));
        body.push(0);
        bytes.extend(packet(0x82, &body));
        bytes.extend(packet(
            PUBLISH,
            &[string("x"), b"at once".to_vec()].concat(),
        ));
        for piece in bytes.chunks(if i % 2 == 0 { bytes.len() } else { 3 }) {
            client.send(piece);
        }
        assert_eq!(client.expect().0, CONNACK);
        assert_eq!(client.expect().0, SUBACK);
        assert_eq!(client.receive(), b"at once");
    }
    stop(broker);
}

#[test]
fn a_take_over_reaches_the_old_connection_across_listeners_and_shards() {
    let _alone = alone();
    let mut settings = settings(2);
    settings
        .listeners
        .push(Listener::at("tcp://127.0.0.1:0".parse().unwrap()));
    let broker = Broker::start(settings).unwrap();
    let addresses = broker.addresses();
    assert_ne!(addresses[0], addresses[1]);
    for name in ["one", "two", "three", "four"] {
        let mut old = Client::connect(addresses[0], 5, name);
        for round in 1..6 {
            let new = Client::connect(addresses[round % 2], 5, name);
            let (first, body) = old.expect();
            assert_eq!((first, body[0]), (DISCONNECT, 0x8e));
            assert!(old.next().is_none());
            old = new;
        }
    }
    eventually("only the last are left", || {
        broker.status().unwrap().connections <= 4
    });
    stop(broker);
}

#[test]
fn the_end_is_told_and_the_door_is_shut() {
    let _alone = alone();
    let (broker, address) = start(settings(2));
    let mut told: Vec<_> = (0..10)
        .map(|i| Client::connect(address, 5, &format!("v5-{i}")))
        .collect();
    let mut cut: Vec<_> = (0..10)
        .map(|i| Client::connect(address, 4, &format!("v4-{i}")))
        .collect();
    let mut silent = Client::open(address, 4);
    std::thread::sleep(Duration::from_millis(50));
    let ending = std::thread::spawn(move || broker.stop(Duration::from_secs(10)));
    for client in &mut told {
        let (first, body) = client.expect();
        assert_eq!((first, body[0]), (DISCONNECT, 0x8b));
        assert!(client.next().is_none());
        client.stream.shutdown(Shutdown::Both).ok();
    }
    assert!(cut.iter_mut().all(|client| client.next().is_none()));
    assert!(silent.next().is_none());
    let ended = ending.join().unwrap();
    assert!(
        ended.is_complete && ended.connections_left == 0,
        "{ended:?}"
    );
    assert!(TcpStream::connect(address).is_err());
}

#[test]
fn one_who_does_not_take_the_end_does_not_hold_it_up() {
    let _alone = alone();
    let (broker, address) = start(settings(1));
    let _stubborn = Client::connect(address, 5, "stubborn");
    let began = Instant::now();
    let ended = broker.stop(Duration::from_millis(300));
    assert!(began.elapsed() < Duration::from_secs(3));
    assert_eq!(ended.connections_left, 1);
    assert!(!ended.is_complete);
}

#[test]
fn a_slow_reader_costs_nobody_else() {
    const COUNT: u16 = 2000;
    let _alone = alone();
    let (broker, address) = start(settings(2));
    let mut slow: Vec<_> = (0..3)
        .map(|i| {
            let mut client = Client::connect(address, 4, &format!("slow-{i}"));
            client.subscribe("flood", 0);
            client
        })
        .collect();
    let mut quick = Client::connect(address, 4, "quick");
    quick.subscribe("flood", 1);
    let mut publisher = Client::connect(address, 4, "publisher");
    let payload = vec![7u8; 16 * 1024];
    for id in 1..=COUNT {
        publisher.publish("flood", 1, id, &payload);
        assert_eq!(publisher.expect().0, PUBACK);
        assert_eq!(quick.receive().len(), payload.len());
    }
    let status = broker.status().unwrap();
    let dropped = status
        .ledger
        .dropped
        .iter()
        .find(|count| count.reason == "slow_consumer");
    assert!(
        dropped.is_some_and(|count| count.count > 100),
        "{:?}",
        status.ledger
    );
    assert_eq!(status.ledger.imbalance(), 0, "{:?}", status.ledger);
    // They were only slow: what was sent to them is whole, and what comes now arrives.
    for client in &mut slow {
        client
            .stream
            .set_read_timeout(Some(Duration::from_millis(300)))
            .unwrap();
        let mut got = 0;
        while !client.read.is_empty() || client.stream.peek(&mut [0]).is_ok() {
            assert!(client.receive() == payload, "whole");
            got += 1;
        }
        assert!(got > 10 && got < usize::from(COUNT), "{got}");
        client.stream.set_read_timeout(Some(PATIENCE)).unwrap();
    }
    publisher.publish("flood", 0, 0, b"again");
    slow.iter_mut()
        .for_each(|client| assert!(client.receive() == b"again"));
    drop((slow, quick, publisher));
    eventually("everybody has gone", || {
        broker.status().unwrap().connections == 0
    });
    stop(broker);
}

#[test]
fn full_mailboxes_lose_nothing_and_keep_the_order() {
    const PUBLISHERS: u16 = 6;
    const COUNT: u32 = 1500;
    let _alone = alone();
    let mut settings = settings(3);
    settings.limits.mailbox_slots = 1;
    settings.limits.queue_length_max = 1_000_000;
    settings.limits.outbox_bytes_max = 64 << 20;
    let (broker, address) = start(settings);
    let subscribers: Vec<_> = (0..6)
        .map(|i| {
            let mut client = Client::connect(address, 4, &format!("subscriber-{i}"));
            client.subscribe("to/+", (i % 2) as u8);
            std::thread::spawn(move || {
                let mut next = [0; PUBLISHERS as usize];
                for _ in 0..u32::from(PUBLISHERS) * COUNT {
                    let payload = client.receive();
                    let from = usize::from(payload[0]);
                    let number = u32::from_be_bytes(payload[1..5].try_into().unwrap());
                    assert_eq!(number, next[from], "in the order of {from}");
                    next[from] += 1;
                }
                client
            })
        })
        .collect();
    let publishers: Vec<_> = (0..PUBLISHERS)
        .map(|from| {
            let mut client = Client::connect(address, 4, &format!("publisher-{from}"));
            std::thread::spawn(move || {
                for number in 0..COUNT {
                    let mut payload = vec![from as u8];
                    payload.extend(number.to_be_bytes());
                    client.publish(&format!("to/{from}"), 1, (number % 50 + 1) as u16, &payload);
                    if number % 50 == 49 {
                        (0..50).for_each(|_| assert_eq!(client.expect().0, PUBACK));
                    }
                }
                client
            })
        })
        .collect();
    let publishers: Vec<_> = publishers
        .into_iter()
        .map(|thread| thread.join().unwrap())
        .collect();
    let subscribers: Vec<_> = subscribers.into_iter().map(|t| t.join().unwrap()).collect();
    let status = broker.status().unwrap();
    assert_eq!(status.ledger.imbalance(), 0, "{:?}", status.ledger);
    assert_eq!(status.ledger.dropped, []);
    drop((publishers, subscribers));
    stop(broker);
}

#[test]
fn connections_beyond_the_rate_wait_and_are_not_refused() {
    let _alone = alone();
    let mut settings = settings(1);
    settings.limits.connect_rate_max = 100;
    let (broker, address) = start(settings);
    let began = Instant::now();
    let mut clients: Vec<_> = (0..116).map(|_| Client::open(address, 4)).collect();
    for (i, client) in clients.iter_mut().enumerate() {
        client.send(&client.connect_packet(&format!("crowd-{i}")));
    }
    for client in &mut clients {
        assert_eq!(client.expect().0, CONNACK);
    }
    let took = began.elapsed();
    // 16 at once, then 100 a second.
    assert!(
        took > Duration::from_millis(850) && took < Duration::from_secs(3),
        "{took:?}"
    );
    let refusals = broker.status().unwrap().refusals;
    assert!(
        refusals.iter().any(|count| count.reason == "connect_rate"),
        "{refusals:?}"
    );
    drop(clients);
    stop(broker);
}

/// A client that comes and goes, with a session that stays.
fn keeper(address: SocketAddr) -> Client {
    let mut client = Client::open(address, 4);
    let mut connect = client.connect_packet("keeper");
    // No clean session.
    connect[9] = 0;
    client.send(&connect);
    assert_eq!(client.expect().0, CONNACK);
    client
}

#[test]
fn one_connection_too_many_waits_for_another_to_leave() {
    let _alone = alone();
    let mut settings = settings(2);
    settings.limits.connections_max = 5;
    let mut narrow = Listener::at("tcp://127.0.0.1:0".parse::<ListenUrl>().unwrap());
    narrow.connections_max = 1;
    settings.listeners.push(narrow);
    let broker = Broker::start(settings).unwrap();
    let (wide, narrow) = (broker.addresses()[0], broker.addresses()[1]);
    let first = Client::connect(narrow, 4, "first");
    let mut second = Client::open(narrow, 4);
    second.send(&second.connect_packet("second"));
    let mut clients: Vec<_> = (0..4)
        .map(|i| Client::connect(wide, 4, &format!("wide-{i}")))
        .collect();
    let mut sixth = Client::open(wide, 4);
    sixth.send(&sixth.connect_packet("sixth"));
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(broker.status().unwrap().connections, 5);
    clients.pop();
    assert_eq!(sixth.expect().0, CONNACK);
    drop((first, clients));
    assert_eq!(second.expect().0, CONNACK);
    let refusals = broker.status().unwrap().refusals;
    assert!(
        refusals
            .iter()
            .any(|count| count.reason == "connections_max"),
        "{refusals:?}"
    );
    drop((second, sixth));
    stop(broker);
}

/// The limit belongs to the process, so it is a child that runs into it: this very test.
#[test]
fn without_a_file_descriptor_it_waits_and_goes_on() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    const CHILD: &str = "RINGMQ_TEST_FEW_FILES";
    let _alone = alone();
    if std::env::var_os(CHILD).is_none() {
        let name = "without_a_file_descriptor_it_waits_and_goes_on";
        let status = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", name, "--nocapture"])
            .env(CHILD, "1")
            .status()
            .unwrap();
        return assert!(status.success());
    }
    let (broker, address) = start(settings(2));
    let spare = std::fs::File::open("/dev/null").unwrap();
    let limit = getrlimit(Resource::Nofile);
    // Clients need descriptors of this process too: those already there are what the broker's
    // side will be short of.
    let clients: Vec<_> = (0..20).map(|_| Client::open(address, 4)).collect();
    eventually("all are accepted", || {
        broker.status().unwrap().connections == 20
    });
    let more: Vec<_> = (0..8).map(|_| socket()).collect();
    let current = Some(open_files() as u64 - 1);
    setrlimit(
        Resource::Nofile,
        Rlimit {
            current,
            maximum: limit.maximum,
        },
    )
    .unwrap();
    let mut waiting: Vec<_> = more
        .into_iter()
        .map(|socket| connect(socket, address))
        .collect();
    let cpu = || rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    let before = cpu();
    std::thread::sleep(Duration::from_millis(500));
    let used = cpu() - before;
    assert!(
        used.tv_sec == 0 && used.tv_nsec < 100_000_000,
        "it spins: {used:?}"
    );
    setrlimit(Resource::Nofile, limit).unwrap();
    for (i, client) in waiting.iter_mut().enumerate() {
        client.send(&client.connect_packet(&format!("late-{i}")));
        assert_eq!(client.expect().0, CONNACK);
    }
    let refusals = broker.status().unwrap().refusals;
    assert!(
        refusals.iter().any(|count| count.reason == "open_files"),
        "{refusals:?}"
    );
    drop((spare, clients, waiting));
    stop(broker);
}

fn socket() -> rustix::fd::OwnedFd {
    use rustix::net::{AddressFamily, SocketType};
    rustix::net::socket(AddressFamily::INET, SocketType::STREAM, None).unwrap()
}

fn connect(socket: rustix::fd::OwnedFd, address: SocketAddr) -> Client {
    rustix::net::connect(&socket, &address).unwrap();
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    Client {
        stream,
        version: 4,
        read: Vec::new(),
    }
}

#[test]
fn two_thousand_connects_leave_nothing_behind() {
    let _alone = alone();
    let (broker, address) = start(settings(2));
    let before = open_files();
    let round = |rounds: usize| {
        for i in 0..rounds {
            let mut client = Client::open(address, 4 + (i % 2) as u8);
            match i % 5 {
                // Goes without a word, in the middle of one, with garbage, politely, and not.
                0 => {}
                1 => client.send(&client.connect_packet("half")[..7]),
                2 => client.send(&[0xff; 40]),
                kind => {
                    client.send(&client.connect_packet(&format!("c{i}")));
                    assert_eq!(client.expect().0, CONNACK);
                    if kind == 3 {
                        client.send(&[DISCONNECT, 0]);
                        assert!(client.next().is_none());
                    }
                }
            }
        }
        // Those who said nothing may still wait to be accepted when the count is 0 already: they
        // are the broker's, with a file of its own, only from then on.
        eventually("all have gone with their files", || {
            broker.status().unwrap().connections == 0 && open_files() == before
        });
    };
    round(50);
    round(2000);
    assert_eq!(broker.status().unwrap().sessions, 0);
    stop(broker);
}

#[test]
fn garbage_is_answered_by_the_end_and_nothing_else() {
    let _alone = alone();
    let mut settings = settings(1);
    settings.mqtt.connect_timeout_s = 1;
    let (broker, address) = start(settings);
    for garbage in [
        &b"get / HTTP/1.1\r\n\r\n"[..],
        &[0x16, 3, 1, 2, 0, 1, 0, 1],
        &[0xff; 64],
    ] {
        let mut client = Client::open(address, 4);
        client.send(garbage);
        assert!(client.next().is_none());
    }
    // A refusal that explains itself arrives though there is unread input behind it.
    let mut client = Client::open(address, 5);
    let mut bytes = client.connect_packet("x");
    bytes[8] = 99;
    bytes.extend([0; 100_000]);
    client.send(&bytes);
    let mut all = Vec::new();
    client.stream.read_to_end(&mut all).unwrap();
    assert_eq!(all.first(), Some(&CONNACK), "{all:?}");
    drop(client);
    stop(broker);
}

#[test]
fn clients_are_listed_found_and_kicked_on_every_shard() {
    let _alone = alone();
    let (broker, address) = start(settings(3));
    let mut clients: Vec<_> = (0..25)
        .map(|i| Client::connect(address, 5, &format!("c{i}")))
        .collect();
    clients[4].subscribe("some/filter", 1);
    let (mut names, mut after, mut pages) = (Vec::new(), None, 0);
    loop {
        let page = broker.clients(10, after.as_deref()).unwrap();
        assert!(page.clients.len() <= 10);
        names.extend(page.clients.into_iter().map(|client| client.client_id));
        pages += 1;
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    names.sort();
    names.dedup();
    assert_eq!((names.len(), pages), (25, 3));
    assert!(broker.clients(10, Some("nonsense")).is_err());
    let found = broker.client("c4").unwrap().unwrap();
    assert!(found.client.is_connected);
    assert_eq!(ShardId(found.client.shard), owner_of("c4", 3));
    assert_eq!(
        (
            found.subscriptions[0].filter.as_str(),
            found.subscriptions[0].qos
        ),
        ("some/filter", 1)
    );
    assert!(broker.client("nobody").unwrap().is_none());
    assert!(broker.kick("c4").unwrap());
    let (first, body) = clients[4].expect();
    assert_eq!((first, body[0]), (DISCONNECT, 0x98));
    assert!(!broker.kick("nobody").unwrap());
    drop(clients);
    stop(broker);
}

#[test]
fn a_reload_reaches_every_shard() {
    let _alone = alone();
    let mut settings = settings(2);
    let (broker, address) = start(settings.clone());
    drop(Client::connect(address, 5, "before"));
    settings.auth.allow_anonymous = ringmq::config::AllowAnonymous::Nobody;
    broker.reload(&settings).unwrap();
    for i in 0..6 {
        let mut client = Client::open(address, 5);
        client.send(&client.connect_packet(&format!("after-{i}")));
        let (first, body) = client.expect();
        assert_eq!((first, body[1]), (CONNACK, 0x87));
    }
    stop(broker);
}

#[test]
fn what_cannot_be_had_is_said() {
    let _alone = alone();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("tcp://{}", taken.local_addr().unwrap());
    let mut settings = settings(2);
    settings.listeners.push(Listener::at(url.parse().unwrap()));
    let before = open_files();
    let error = Broker::start(settings.clone()).err().unwrap();
    assert_eq!(error.kind(), ErrorKind::AddrInUse);
    assert!(error.to_string().contains(&url), "{error}");
    assert_eq!(open_files(), before);
    settings.listeners[1].url = "wss://127.0.0.1:0".parse().unwrap();
    settings.listeners[1].certificates = vec!["/no/such/file.pem".into()];
    let error = Broker::start(settings).err().unwrap().to_string();
    assert!(
        error.contains("wss://127.0.0.1:0: /no/such/file.pem: "),
        "{error}"
    );
}

#[test]
fn the_broker_tells_about_itself() {
    let _alone = alone();
    let mut settings = settings(2);
    settings.sys.interval_s = 1;
    let (broker, address) = start(settings);
    let mut client = Client::connect(address, 4, "curious");
    client.subscribe("$SYS/brokers/+/version", 0);
    assert_eq!(client.receive(), env!("CARGO_PKG_VERSION").as_bytes());
    client.subscribe("$SYS/brokers/+/stats/clients/count", 0);
    eventually("it counts one client", || client.receive() == b"1");
    client.subscribe("$SYS/brokers/+/metrics/bytes/sent", 0);
    eventually("it counts what it sends", || {
        let text = String::from_utf8(client.receive()).unwrap();
        text.parse::<u64>().is_ok_and(|bytes| bytes > 100)
    });
    drop(client);
    stop(broker);
}
