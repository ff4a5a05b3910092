//! A whole shard: bytes in, bytes out; and the mail between shards.

use crate::codec::packet;
use crate::{PAYLOAD, TOPIC};
use ringmq::auth::Anonymous;
use ringmq::base::{ConnId, Now, Peer};
use ringmq::codec::{
    Ack, AckKind, Connect, ConnectProperties, QoS, ReasonCode, Subscribe, SubscribeOptions, Version,
};
use ringmq::runtime::mesh::{self, Outgoing};
use ringmq::shard::{Effects, Input, Options, Shard};
use std::hint::black_box;

pub fn mailbox(rounds: u64) {
    let (mailboxes, addresses) = mesh::mailboxes::<u64>(1, 1024).expect("a bell");
    let mut outgoing = Outgoing::new(addresses);
    for round in 0..rounds {
        outgoing.post(0, black_box(round));
        black_box(mailboxes[0].take());
    }
}

/// A shard with a publisher, connection 0, and subscribers.
pub struct Bench {
    shard: Shard,
    fx: Effects,
}

impl Bench {
    pub fn new(subscribers: u32, qos: QoS) -> Bench {
        let everybody = Box::new(Anonymous::Everywhere);
        let mut bench = Bench {
            shard: Shard::new(Options::default(), everybody, None, 1),
            fx: Effects::default(),
        };
        for conn in 0..=subscribers {
            let peer = Peer::plain("127.0.0.1:1".parse().expect("an address"), 0);
            bench.step(Input::Opened {
                conn: ConnId(conn),
                peer,
            });
            let mut bytes = Vec::new();
            let connect = Connect {
                version: Version::V311,
                clean_start: true,
                keep_alive_s: 0,
                client_id: &format!("c{conn}"),
                will: None,
                username: None,
                password: None,
                properties: ConnectProperties::default(),
            };
            connect.encode(&mut bytes);
            if conn > 0 {
                let filters = [(TOPIC, SubscribeOptions::with_qos(qos))];
                Subscribe::new(1, &filters).encode(Version::V311, &mut bytes);
            }
            bench.send(conn, &bytes);
        }
        bench
    }

    fn step(&mut self, input: Input<'_>) {
        let now = Now {
            ms: 5_000,
            unix_ms: 1_700_000_000_000,
        };
        self.shard.step(now, input, &mut self.fx);
    }

    /// One message at QoS 1 from connection 0 to connection 1, which acknowledges it.
    pub fn acknowledged(&mut self, round: u64) -> usize {
        let id = (round % 60_000) as u16 + 1;
        let written = self.send(0, black_box(&packet(QoS::AtLeastOnce, id)));
        let mut ack = Vec::new();
        // The shard counts its own packet ids from 1, and has one in flight at a time.
        Ack::new(AckKind::PubAck, id, ReasonCode::Success).encode(Version::V311, &mut ack);
        self.send(1, &ack);
        written
    }

    /// Gives bytes to the shard and takes what it writes, as a driver does; gives its number.
    pub fn send(&mut self, conn: u32, bytes: &[u8]) -> usize {
        let conn = ConnId(conn);
        self.step(Input::Bytes { conn, bytes });
        let mut dirty = Vec::new();
        self.fx.out.take_dirty(&mut dirty);
        let mut written = 0;
        for id in dirty {
            let pending = self.fx.out.pending(id).len();
            self.fx.out.consume(id, pending);
            written += pending;
        }
        written
    }
}

pub fn session_qos_0(rounds: u64) {
    publish_to(1, rounds);
}

pub fn fan_out(rounds: u64) {
    publish_to(100, rounds);
}

fn publish_to(subscribers: u32, rounds: u64) {
    let mut bench = Bench::new(subscribers, QoS::AtMostOnce);
    let packet = packet(QoS::AtMostOnce, 0);
    for _ in 0..rounds {
        let written = bench.send(0, black_box(&packet));
        assert_eq!(written, packet.len() * subscribers as usize);
    }
}

pub fn session_qos_1(rounds: u64) {
    let mut bench = Bench::new(1, QoS::AtLeastOnce);
    for round in 0..rounds {
        let written = bench.acknowledged(round);
        assert!(written > PAYLOAD.len());
    }
}
