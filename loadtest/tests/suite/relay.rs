//! A relay between load tester and broker that plants faults. What it hits follows from what a
//! message or a client is, not from when it comes, so that the counts are exact.

use loadtest::measure::stamp::Stamp;
use ringmq::codec::frame::Frame;
use ringmq::codec::{Connect, Publish, Role, Version, frame};
use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

/// A message on its way to a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// One publisher on one topic, one device, one retained message, or one place of churn.
    pub stream: u32,
    /// Counts from 0 within the stream; lives of churn count from 1.
    pub number: u64,
    /// An answer to a request.
    pub is_reply: bool,
    /// Which connection of its client it comes on, and the how manieth it is there of those that
    /// do not come again (DUP), both counted from 1.
    pub connection: u32,
    pub place: u32,
}

/// Which deliveries are hit.
pub type Which = fn(Delivery) -> bool;
/// Which clients are hit, by what their client id ends with: `s0`, `d3`.
pub type Whom = fn(&str) -> bool;

#[derive(Clone, Copy)]
pub enum Fault {
    /// They do not come, also when they are sent again.
    Drop(Which),
    /// They come twice.
    Double(Which),
    /// They come after the next one of their stream that is not hit.
    Swap(Which),
    /// The first delivery of each connection comes after the second.
    SwapFirst,
    /// They come so much later, and others pass them.
    Delay(Which, Duration),
    /// A byte of the number that says which stream it is has changed.
    Alter(Which),
    /// CONNACK does not come.
    Unanswered(Whom),
    /// The connection is closed right after the first SUBACK.
    Cut(Whom),
}

/// Who speaks on a connection, known from its CONNECT.
struct Speaker {
    version: Version,
    name: String,
    connection: u32,
}

/// How often each client has connected.
type Connections = Arc<Mutex<HashMap<String, u32>>>;

/// A relay in front of `broker`; its threads end with the process.
pub fn relay(broker: SocketAddr, fault: Fault) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let connections = Connections::default();
    std::thread::spawn(move || {
        for client in listener.incoming() {
            let client = client.unwrap();
            // The broker may have gone; then the client finds its connection closed.
            let Ok(upstream) = TcpStream::connect(broker) else {
                continue;
            };
            let speaker = Arc::new(OnceLock::new());
            let (from, mut to) = (client.try_clone().unwrap(), upstream.try_clone().unwrap());
            let (heard, connections) = (speaker.clone(), connections.clone());
            std::thread::spawn(move || {
                packets(from, |frame, packet| {
                    note(&heard, &connections, frame);
                    to.write_all(packet).is_ok()
                });
                let _ = to.shutdown(Shutdown::Both);
            });
            let planter = Planter {
                fault,
                speaker,
                client: Arc::new(Mutex::new(client)),
                held: Vec::new(),
                fresh: 0,
            };
            std::thread::spawn(move || planter.run(upstream));
        }
    });
    address
}

fn note(speaker: &OnceLock<Speaker>, connections: &Connections, frame: Frame<'_>) {
    if frame.header >> 4 != 1 {
        return;
    }
    let connect = Connect::decode(frame.header, frame.body).unwrap();
    let name = connect.client_id.splitn(3, '-').nth(2).unwrap_or_default();
    let mut connections = connections.lock().unwrap();
    let connection = connections.entry(name.to_owned()).or_default();
    *connection += 1;
    let _ = speaker.set(Speaker {
        version: connect.version,
        name: name.to_owned(),
        connection: *connection,
    });
}

/// Takes packets until the connection ends or `take` has enough.
fn packets(mut from: TcpStream, mut take: impl FnMut(Frame<'_>, &[u8]) -> bool) {
    let mut buffer = Vec::new();
    let mut scratch = [0; 65_536];
    while let Ok(count @ 1..) = from.read(&mut scratch) {
        buffer.extend_from_slice(&scratch[..count]);
        let mut at = 0;
        while let Some(frame) = frame::next(&buffer[at..], usize::MAX).unwrap() {
            let packet = &buffer[at..at + frame.len];
            at += frame.len;
            if !take(frame, packet) {
                return;
            }
        }
        buffer.drain(..at);
    }
}

/// What the broker says to one client.
struct Planter {
    fault: Fault,
    speaker: Arc<OnceLock<Speaker>>,
    client: Arc<Mutex<TcpStream>>,
    /// Deliveries that wait for one that passes them.
    held: Vec<(Delivery, Vec<u8>)>,
    /// Deliveries that do not come again.
    fresh: u32,
}

impl Planter {
    fn run(mut self, upstream: TcpStream) {
        let closing = upstream.try_clone().unwrap();
        packets(upstream, |frame, packet| match frame.header >> 4 {
            2 if matches!(self.fault, Fault::Unanswered(whom) if whom(self.name())) => true,
            3 => {
                let out = self.plant(frame, packet);
                self.write(&out)
            }
            9 if matches!(self.fault, Fault::Cut(whom) if whom(self.name())) => {
                self.write(packet);
                false
            }
            _ => self.write(packet),
        });
        for socket in [&closing, &self.client.lock().unwrap()] {
            let _ = socket.shutdown(Shutdown::Both);
        }
    }

    fn name(&self) -> &str {
        &self.speaker.get().unwrap().name
    }

    fn write(&self, bytes: &[u8]) -> bool {
        self.client.lock().unwrap().write_all(bytes).is_ok()
    }

    /// What comes instead of a delivery.
    fn plant(&mut self, frame: Frame<'_>, packet: &[u8]) -> Vec<u8> {
        let speaker = self.speaker.get().unwrap();
        let publish = Publish::decode_as(frame.header, frame.body, speaker.version, Role::Client);
        let publish = publish.unwrap();
        let Some(stamp) = Stamp::of(publish.payload) else {
            return packet.to_vec();
        };
        self.fresh += u32::from(!publish.dup);
        let delivery = Delivery {
            stream: stamp.stream,
            number: stamp.sequence,
            is_reply: publish.topic.contains("/reply/"),
            connection: speaker.connection,
            place: self.fresh,
        };
        match self.fault {
            Fault::Drop(which) if which(delivery) => Vec::new(),
            Fault::Double(which) if which(delivery) => [packet, packet].concat(),
            Fault::Alter(which) if which(delivery) => {
                let mut altered = packet.to_vec();
                let at = packet.len() - publish.payload.len() + 5;
                altered[at] ^= 1;
                altered
            }
            Fault::Delay(which, time) if which(delivery) => {
                let (client, packet) = (self.client.clone(), packet.to_vec());
                std::thread::spawn(move || {
                    std::thread::sleep(time);
                    let _ = client.lock().unwrap().write_all(&packet);
                });
                Vec::new()
            }
            Fault::Swap(which) if which(delivery) => {
                self.held.push((delivery, packet.to_vec()));
                Vec::new()
            }
            Fault::SwapFirst if self.fresh == 1 => {
                self.held.push((delivery, packet.to_vec()));
                Vec::new()
            }
            Fault::Swap(_) => self.with_held(packet, |held| {
                (held.stream, held.is_reply) == (delivery.stream, delivery.is_reply)
            }),
            Fault::SwapFirst => self.with_held(packet, |_| true),
            _ => packet.to_vec(),
        }
    }

    /// A delivery, and after it those that have waited for it.
    fn with_held(&mut self, packet: &[u8], waits: impl Fn(&Delivery) -> bool) -> Vec<u8> {
        let mut out = packet.to_vec();
        self.held.retain(|(held, packet)| {
            let is_passed = waits(held);
            if is_passed {
                out.extend_from_slice(packet);
            }
            !is_passed
        });
        out
    }
}
