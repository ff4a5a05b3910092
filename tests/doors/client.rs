//! A client of MQTT 3.1.1 that speaks in bytes.

use crate::PATIENCE;
use crate::wire::{Address, Got, Over, Wire};
use std::net::SocketAddr;
use std::path::Path;
use std::time::Instant;

pub struct Client {
    pub wire: Wire,
    read: Vec<u8>,
}

impl Client {
    pub fn connect(over: Over, address: SocketAddr, client_id: &str) -> Client {
        let wire = Wire::open(over, &Address::Inet(address), 0).unwrap();
        Client::begin(wire, client_id, None)
    }

    pub fn connect_unix(path: &Path, client_id: &str) -> Client {
        let wire = Wire::open(Over::Unix, &Address::Unix(path.into()), 0).unwrap();
        Client::begin(wire, client_id, None)
    }

    pub fn connect_with_will(address: SocketAddr, client_id: &str, will: &str) -> Client {
        let wire = Wire::open(Over::Tcp, &Address::Inet(address), 0).unwrap();
        Client::begin(wire, client_id, Some(will))
    }

    /// CONNECT and CONNACK over a wire that is there.
    pub fn begin(wire: Wire, client_id: &str, will: Option<&str>) -> Client {
        let mut client = Client {
            wire,
            read: Vec::new(),
        };
        let mut body = string("MQTT");
        body.extend([4, if will.is_some() { 6 } else { 2 }, 0, 60]);
        body.extend(string(client_id));
        if let Some(topic) = will {
            body.extend(string(topic));
            body.extend(string("will"));
        }
        client.send(0x10, &body);
        let (first, body) = client.packet();
        assert_eq!((first, &body[..]), (0x20, &[0, 0][..]), "{client_id}");
        client
    }

    pub fn subscribe(&mut self, filter: &str) {
        self.send(0x82, &[&[0, 1][..], &string(filter), &[0]].concat());
        assert_eq!(self.packet(), (0x90, vec![0, 1, 0]));
    }

    pub fn unsubscribe(&mut self, filter: &str) {
        self.send(0xa2, &[&[0, 2][..], &string(filter)].concat());
        assert_eq!(self.packet(), (0xb0, vec![0, 2]));
    }

    pub fn publish(&mut self, topic: &str, payload: &[u8]) {
        self.send(0x30, &[&string(topic), payload].concat());
    }

    /// Topic and payload of the next message.
    pub fn receive(&mut self) -> (String, Vec<u8>) {
        let (first, body) = self.packet();
        assert_eq!(first, 0x30);
        let len = usize::from(u16::from_be_bytes([body[0], body[1]]));
        let topic = String::from_utf8(body[2..2 + len].to_vec()).unwrap();
        (topic, body[2 + len..].to_vec())
    }

    /// Whether what was sent until now brings nothing.
    pub fn is_quiet(&mut self) -> bool {
        self.send(0xc0, &[]);
        self.packet().0 == 0xd0
    }

    /// Ends without DISCONNECT.
    pub fn cut(self) {}

    fn send(&mut self, first: u8, body: &[u8]) {
        let mut bytes = vec![first];
        let mut left = body.len();
        loop {
            let digit = (left % 128) as u8;
            left /= 128;
            bytes.push(digit | if left > 0 { 128 } else { 0 });
            if left == 0 {
                break;
            }
        }
        bytes.extend(body);
        self.wire.send(&bytes).unwrap();
    }

    fn packet(&mut self) -> (u8, Vec<u8>) {
        let until = Instant::now() + PATIENCE;
        loop {
            if let Some((head, len)) = frame(&self.read) {
                let rest = self.read.split_off(head + len);
                let packet = std::mem::replace(&mut self.read, rest);
                return (packet[0], packet[head..].to_vec());
            }
            let left = until.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "nothing came");
            match self.wire.receive(Some(left)) {
                Got::Bytes(bytes) => self.read.extend(bytes),
                Got::Nothing => {}
                Got::End => panic!("the broker has closed"),
            }
        }
    }
}

fn string(text: &str) -> Vec<u8> {
    let mut bytes = (text.len() as u16).to_be_bytes().to_vec();
    bytes.extend(text.as_bytes());
    bytes
}

/// Bytes of head and body of the packet that begins, once it is whole.
fn frame(bytes: &[u8]) -> Option<(usize, usize)> {
    let mut len = 0;
    for at in 1..5 {
        let digit = *bytes.get(at)?;
        len |= usize::from(digit & 0x7f) << (7 * (at - 1));
        if digit & 0x80 == 0 {
            return (bytes.len() > at + len).then_some((at + 1, len));
        }
    }
    None
}
