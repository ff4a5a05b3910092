//! What a store is told, what waits for its answer, and what is there again after a crash.

use ringmq::auth::{AuthRequest, Authenticator, Grant, Verdict};
use ringmq::base::{ConnId, Now, Peer};
use ringmq::codec::packet::{Packet, Role};
use ringmq::codec::{
    Ack, AckKind, Connect, ConnectProperties, Disconnect, Forwarded, Publish, QoS, ReasonCode,
    Subscribe, SubscribeOptions, SubscriptionIds, Unsubscribe, Version, decode, frame,
};
use ringmq::shard::{Effects, Input, Numbered, Options, Shard};
use std::fmt::Write;

struct Everybody;

impl Authenticator for Everybody {
    fn ask(&mut self, _request: &AuthRequest) -> Verdict {
        Verdict::Allow(Grant::anonymous())
    }
}

/// One shard, and a store that answers when it is told to.
struct Broker {
    shard: Shard,
    fx: Effects,
    now: Now,
    /// Durable.
    log: Vec<Numbered>,
    /// Handed over, and lost in a crash.
    unwritten: Vec<Numbered>,
}

impl Broker {
    fn start(log: Vec<Numbered>) -> Broker {
        Broker::start_with(Options::default(), log)
    }

    fn start_with(options: Options, log: Vec<Numbered>) -> Broker {
        let options = Options {
            durable: true,
            presence: false,
            ..options
        };
        let mut broker = Broker {
            shard: Shard::new(options, Box::new(Everybody), None, 1),
            fx: Effects::default(),
            now: Now {
                ms: 5_000,
                unix_ms: 1_700_000_000_000,
            },
            log: log.clone(),
            unwritten: Vec::new(),
        };
        for numbered in log {
            broker.step(Input::Restore(Box::new(numbered)));
        }
        broker.step(Input::Restored);
        assert_eq!(broker.shard.counters().ledger.imbalance(), 0);
        broker
    }

    fn step(&mut self, input: Input<'_>) {
        self.shard.step(self.now, input, &mut self.fx);
        self.unwritten.append(&mut self.fx.changes);
        let ledger = &self.shard.counters().ledger;
        assert_eq!(ledger.imbalance(), 0, "{ledger:?}");
        assert_eq!(ledger.held, self.shard.count_held() as u64);
    }

    /// The store has everything, and says so.
    fn commit(&mut self) {
        while !self.unwritten.is_empty() {
            let numbers: Vec<u64> = self.unwritten.iter().map(|n| n.number).collect();
            self.log.append(&mut self.unwritten);
            self.step(Input::Committed(&numbers));
        }
    }

    /// The process dies and is started again.
    fn crash(self) -> Broker {
        Broker::start(self.log)
    }

    fn connect(&mut self, conn: u32, id: &str, clean_start: bool) {
        let peer = Peer::plain("127.0.0.1:1".parse().expect("an address"), 0);
        let conn = ConnId(conn);
        self.step(Input::Opened { conn, peer });
        let connect = Connect {
            version: Version::V5,
            clean_start,
            keep_alive_s: 0,
            client_id: id,
            will: None,
            username: None,
            password: None,
            properties: ConnectProperties {
                session_expiry_s: Some(1_000),
                ..ConnectProperties::default()
            },
        };
        self.send(conn.0, |out| connect.encode(out));
    }

    /// A client with an empty session, and one filter.
    fn subscriber(&mut self, conn: u32, id: &str, filter: &str, qos: QoS) {
        self.connect(conn, id, true);
        self.subscribe(conn, filter, qos);
        self.commit();
        assert!(self.told(conn).ends_with("SUBACK;"));
    }

    fn subscribe(&mut self, conn: u32, filter: &str, qos: QoS) {
        let filters = [(filter, SubscribeOptions::with_qos(qos))];
        self.send(conn, |out| {
            Subscribe::new(9, &filters).encode(Version::V5, out)
        });
    }

    fn publish(&mut self, conn: u32, (topic, qos, id): (&str, QoS, u16), dup: bool) {
        let publish = Publish {
            dup,
            qos,
            retain: topic.starts_with("r/"),
            topic,
            packet_id: id,
            topic_alias: None,
            message_expiry_s: None,
            properties: Forwarded::default(),
            subscription_ids: SubscriptionIds::default(),
            payload: b"x",
        };
        self.send(conn, |out| publish.encode(Version::V5, out));
    }

    fn ack(&mut self, conn: u32, kind: AckKind, id: u16) {
        let ack = Ack::new(kind, id, ReasonCode::Success);
        self.send(conn, |out| ack.encode(Version::V5, out));
    }

    fn leave(&mut self, conn: u32) {
        let disconnect = Disconnect::new(ReasonCode::Success);
        self.send(conn, |out| disconnect.encode(Version::V5, out));
    }

    fn send(&mut self, conn: u32, encode: impl FnOnce(&mut Vec<u8>)) {
        let mut bytes = Vec::new();
        encode(&mut bytes);
        let conn = ConnId(conn);
        self.step(Input::Bytes {
            conn,
            bytes: &bytes,
        });
    }

    /// What the broker has sent on a connection since the last call.
    fn told(&mut self, conn: u32) -> String {
        let conn = ConnId(conn);
        let bytes = self.fx.out.pending(conn).to_vec();
        let mut told = String::new();
        let mut rest = &bytes[..];
        while let Ok(Some(frame)) = frame::next(rest, 1 << 20) {
            rest = &rest[frame.len..];
            let packet = decode(frame, Version::V5, Role::Client).expect("well-formed");
            match packet {
                Packet::ConnAck(ack) => write!(told, "CONNACK {};", ack.session_present),
                Packet::Publish(p) => {
                    let dup = if p.dup { " dup" } else { "" };
                    write!(told, "PUBLISH {} {}{dup};", p.topic, p.packet_id)
                }
                Packet::Ack(ack) => write!(told, "{:?} {};", ack.kind, ack.packet_id),
                Packet::SubAck(_) => write!(told, "SUBACK;"),
                Packet::UnsubAck(_) => write!(told, "UNSUBACK;"),
                other => write!(told, "{other:?};"),
            }
            .expect("a string takes everything");
        }
        if !bytes.is_empty() {
            self.fx.out.consume(conn, bytes.len());
        }
        told
    }
}

const Q1: QoS = QoS::AtLeastOnce;
const Q2: QoS = QoS::ExactlyOnce;

#[test]
fn an_acknowledgement_waits_for_every_kept_copy_and_its_turn() {
    let mut broker = Broker::start(Vec::new());
    broker.subscriber(0, "sub", "a/#", Q2);
    broker.connect(1, "pub", true);
    assert_eq!(
        broker.told(1),
        "",
        "CONNACK says that the old session is gone"
    );
    broker.commit();
    assert_eq!(broker.told(1), "CONNACK false;");
    broker.publish(1, ("a/1", Q1, 1), false);
    assert_eq!(
        broker.told(0),
        "PUBLISH a/1 1;",
        "at least once need not wait"
    );
    broker.publish(1, ("nobody", Q1, 2), false);
    broker.publish(1, ("a/2", Q2, 3), false);
    broker.publish(1, ("a/2", Q2, 3), true);
    assert_eq!(
        (broker.told(0), broker.told(1)),
        (String::new(), String::new())
    );
    // The last first: the order is that of the packets all the same.
    let late = broker.unwritten.remove(0);
    broker.commit();
    assert_eq!(broker.told(1), "");
    assert_eq!(broker.told(0), "PUBLISH a/2 2;");
    broker.unwritten.push(late);
    broker.commit();
    assert_eq!(broker.told(1), "PubAck 1;PubAck 2;PubRec 3;");
    broker.ack(1, AckKind::PubRel, 3);
    assert_eq!(broker.told(1), "");
    broker.commit();
    assert_eq!(broker.told(1), "PubComp 3;");
}

#[test]
fn what_was_acknowledged_is_there_after_a_crash() {
    let mut broker = Broker::start(Vec::new());
    broker.subscriber(0, "sub", "a/#", Q1);
    broker.subscribe(0, "b", Q1);
    broker.leave(0);
    broker.connect(1, "pub", true);
    broker.publish(1, ("r/state", Q1, 1), false);
    for (id, topic) in [(2, "a/1"), (3, "b"), (4, "a/2")] {
        broker.publish(1, (topic, Q1, id), false);
    }
    broker.commit();
    assert_eq!(
        broker.told(1),
        "CONNACK false;PubAck 1;PubAck 2;PubAck 3;PubAck 4;"
    );
    broker.publish(1, ("a/lost", Q1, 5), false);
    let mut broker = broker.crash();
    broker.connect(0, "sub", false);
    broker.commit();
    assert_eq!(
        broker.told(0),
        "CONNACK true;PUBLISH a/1 1;PUBLISH b 2;PUBLISH a/2 3;"
    );
    for id in 1..=3 {
        broker.ack(0, AckKind::PubAck, id);
    }
    broker.send(0, |out| {
        Unsubscribe::new(3, &["b"]).encode(Version::V5, out);
    });
    assert_eq!(broker.told(0), "", "UNSUBACK waits too");
    broker.commit();
    assert_eq!(broker.told(0), "UNSUBACK;");
    let mut broker = broker.crash();
    broker.connect(1, "late", true);
    broker.subscribe(1, "r/#", Q1);
    broker.connect(0, "sub", false);
    broker.publish(0, ("b", Q1, 1), false);
    broker.publish(0, ("a/3", Q1, 2), false);
    broker.commit();
    assert_eq!(
        broker.told(0),
        "CONNACK true;PubAck 1;PUBLISH a/3 1;PubAck 2;"
    );
    assert_eq!(broker.told(1), "CONNACK false;SUBACK;PUBLISH r/state 1;");
    assert_eq!(broker.shard.stats().sessions, 3);
}

#[test]
fn exactly_once_goes_on_where_it_was() {
    let mut broker = Broker::start(Vec::new());
    broker.subscriber(0, "sub", "a/#", Q2);
    broker.connect(1, "pub", true);
    for id in 1..=3 {
        broker.publish(1, ("a/1", Q2, id), false);
    }
    broker.commit();
    assert_eq!(broker.told(0), "PUBLISH a/1 1;PUBLISH a/1 2;PUBLISH a/1 3;");
    broker.ack(0, AckKind::PubRec, 2);
    broker.ack(0, AckKind::PubRec, 1);
    broker.commit();
    broker.ack(0, AckKind::PubComp, 2);
    broker.commit();
    assert_eq!(broker.told(0), "PubRel 2;PubRel 1;");
    broker.ack(0, AckKind::PubRec, 3);
    let mut broker = broker.crash();
    broker.connect(0, "sub", false);
    broker.connect(1, "pub", false);
    // The last PUBREC was not kept, so PUBREL was not sent either.
    broker.publish(1, ("a/1", Q2, 1), true);
    broker.commit();
    assert_eq!(broker.told(0), "CONNACK true;PubRel 1;PUBLISH a/1 3 dup;");
    assert_eq!(broker.told(1), "CONNACK true;PubRec 1;");
    broker.ack(1, AckKind::PubRel, 1);
    broker.commit();
    let mut broker = broker.crash();
    broker.connect(1, "pub", false);
    broker.publish(1, ("a/1", Q2, 1), false);
    broker.commit();
    broker.connect(0, "sub", false);
    broker.commit();
    assert_eq!(
        broker.told(0),
        "CONNACK true;PubRel 1;PUBLISH a/1 3 dup;PUBLISH a/1 2;",
        "a released id is a new message"
    );
}

#[test]
fn an_ended_session_leaves_nothing_and_a_group_gets_what_it_had() {
    let mut broker = Broker::start(Vec::new());
    broker.subscriber(0, "one", "$share/g/a", Q1);
    broker.leave(0);
    broker.connect(1, "pub", true);
    broker.publish(1, ("a", Q1, 1), false);
    broker.commit();
    assert!(broker.told(1).ends_with("PubAck 1;"));
    // Another member comes; the first one's session ends, and the store hears only that.
    let mut broker = broker.crash();
    broker.subscriber(2, "two", "$share/g/a", Q1);
    broker.connect(0, "one", true);
    broker.commit();
    assert_eq!(broker.told(2), "PUBLISH a 1;");
    let mut broker = broker.crash();
    broker.connect(2, "two", false);
    broker.commit();
    assert_eq!(broker.told(2), "CONNACK true;PUBLISH a 1;");
    broker.ack(2, AckKind::PubAck, 1);
    broker.commit();
    let mut broker = broker.crash();
    for (conn, id) in [(0, "one"), (1, "pub"), (2, "two")] {
        broker.connect(conn, id, false);
    }
    broker.commit();
    assert_eq!(broker.told(2), "CONNACK true;");
    assert_eq!(broker.shard.counters().ledger.held, 0);
}

#[test]
fn a_long_unsubscribe_is_answered_when_all_its_changes_are_kept() {
    let options = Options {
        slice: 1,
        ..Options::default()
    };
    // The last one is no filter, so that the last slice changes nothing.
    let filters = ["a", "b", "c", "#/d"];
    for is_fast in [true, false] {
        let mut broker = Broker::start_with(options.clone(), Vec::new());
        broker.connect(0, "sub", true);
        for filter in &filters[..3] {
            broker.subscribe(0, filter, Q1);
            broker.commit();
        }
        broker.told(0);
        broker.send(0, |out| {
            Unsubscribe::new(7, &filters).encode(Version::V5, out)
        });
        assert_eq!(broker.told(0), "");
        while broker.shard.next_deadline_ms() == Some(0) {
            if is_fast {
                broker.commit();
            }
            broker.step(Input::Tick);
        }
        if !is_fast {
            assert_eq!(broker.told(0), "");
            broker.commit();
        }
        assert_eq!(broker.told(0), "UNSUBACK;");
    }
}

#[test]
fn more_than_may_be_owed_is_a_violation_or_waits() {
    let mut broker = Broker::start(Vec::new());
    broker.subscriber(0, "sub", "a", Q1);
    broker.connect(1, "pub", true);
    broker.commit();
    broker.told(1);
    for id in 1..=100 {
        broker.publish(1, ("a", Q1, id), false);
    }
    assert_eq!(broker.told(1), "");
    broker.publish(1, ("a", Q1, 101), false);
    let told = broker.told(1);
    assert!(told.contains("ReceiveMaximumExceeded"), "{told}");
    assert_eq!(broker.fx.closes, [ConnId(1)]);
    broker.commit();
    assert_eq!(broker.told(1), "");
}
