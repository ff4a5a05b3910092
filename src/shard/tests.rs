//! What rows in bytes cannot ask for: other settings while clients are connected, rules that cut,
//! quotas.

use super::*;
use crate::auth::acl::{self, Answer};
use crate::auth::{AuthRequest, Grant, Verdict};
use crate::base::Peer;
use crate::codec::{QoS, ReasonCode};

mod farewells;
mod limits;
mod refusals;

struct Everybody;

impl Authenticator for Everybody {
    fn ask(&mut self, _: &AuthRequest) -> Verdict {
        Verdict::Allow(Grant::anonymous())
    }
}

/// One shard and its clients, in bytes.
struct Broker {
    shard: Shard,
    fx: Effects,
    ms: u64,
}

impl Broker {
    fn new(options: Options) -> Broker {
        Broker {
            shard: Shard::new(options, Box::new(Everybody), None, 1),
            fx: Effects::default(),
            ms: 1_000_000,
        }
    }

    fn step(&mut self, input: Input<'_>) {
        let now = Now {
            ms: self.ms,
            unix_ms: 1_700_000_000_000,
        };
        self.shard.step(now, input, &mut self.fx);
        assert_eq!(self.shard.counters().ledger.imbalance(), 0);
    }

    /// Sends, and gives what comes back.
    fn say(&mut self, conn: u32, bytes: &[u8]) -> Vec<u8> {
        let conn = ConnId(conn);
        self.step(Input::Bytes { conn, bytes });
        self.told(conn.0)
    }

    fn told(&mut self, conn: u32) -> Vec<u8> {
        let told = self.fx.out.pending(ConnId(conn)).to_vec();
        if !told.is_empty() {
            self.fx.out.consume(ConnId(conn), told.len());
        }
        told
    }

    /// A v5 client named by a letter, with a session that stays, and these properties besides.
    fn connect(&mut self, conn: u32, name: u8, clean_start: bool, more: &[u8]) -> Vec<u8> {
        let peer = Peer::plain("127.0.0.1:1".parse().expect("an address"), 0);
        let id = ConnId(conn);
        self.step(Input::Closed { conn: id });
        self.step(Input::Opened { conn: id, peer });
        let mut packet = vec![0x10, 19 + more.len() as u8, 0, 4];
        packet.extend(b"MQTT\x05");
        packet.extend([u8::from(clean_start) << 1, 0, 0, 5 + more.len() as u8]);
        packet.extend([0x11, 0, 0, 0x03, 0xe8]);
        packet.extend(more);
        packet.extend([0, 1, name]);
        let connack = self.say(conn, &packet);
        assert_eq!(connack[0], 0x20);
        assert_eq!(connack[3], 0, "refused");
        connack
    }

    fn reload(&mut self, change: impl Fn(&mut Options)) {
        let mut options = self.shard.options.clone();
        change(&mut options);
        self.step(Input::Reload(Box::new(options)));
    }
}

/// Who has a letter from `m` on is refused.
struct HalfOfThem;

impl Authenticator for HalfOfThem {
    fn ask(&mut self, request: &AuthRequest) -> Verdict {
        match *request.client_id < *"m" {
            true => Verdict::Allow(Grant::anonymous()),
            false => Verdict::Refuse(ReasonCode::BadUserNameOrPassword),
        }
    }
}

#[test]
fn a_refused_connect_is_told_with_its_code() {
    let mut broker = Broker {
        shard: Shard::new(Options::default(), Box::new(HalfOfThem), None, 1),
        fx: Effects::default(),
        ms: 1_000_000,
    };
    broker.connect(1, b'a', true, &[]);
    let filter = b"$SYS/brokers/+/clients/#";
    let mut subscribe = vec![0x82, filter.len() as u8 + 6, 0, 9, 0, 0, filter.len() as u8];
    subscribe.extend(filter);
    subscribe.push(0);
    assert_eq!(broker.say(1, &subscribe)[0], 0x90);
    for (level, code) in [(4, 4), (5, 0x86)] {
        let peer = Peer::plain("127.0.0.1:1".parse().expect("an address"), 0);
        let conn = ConnId(2);
        broker.step(Input::Opened { conn, peer });
        let properties = &[0][..usize::from(level == 5)];
        let mut connect = vec![0x10, 13 + properties.len() as u8, 0, 4];
        connect.extend(b"MQTT");
        connect.extend([level, 2, 0, 0]);
        connect.extend(properties);
        connect.extend([0, 1, b'z']);
        assert_eq!(broker.say(2, &connect)[3], code);
        let told = String::from_utf8_lossy(&broker.told(1)).into_owned();
        assert!(told.contains("clients/z/connected"), "{told}");
        let presence: serde_json::Value =
            serde_json::from_str(&told[told.find('{').expect("JSON")..]).expect("JSON");
        assert_eq!(presence["connack"], code);
        assert_eq!(presence["protocol"], level);
        assert_eq!(presence["clientid"], "z");
        assert!(presence.get("epoch").is_none());
    }
}

/// PUBLISH with QoS 2 to `t`.
fn qos2(id: u8) -> [u8; 9] {
    [0x34, 7, 0, 1, b't', 0, id, 0, b'x']
}

#[test]
fn what_connack_announced_outlives_a_reload() {
    let mut broker = Broker::new(Options::default());
    broker.connect(1, b'a', true, &[]);
    for id in 1..=20 {
        assert_eq!(broker.say(1, &qos2(id))[0], 0x50);
    }
    let with_alias = [0x32, 9, 0, 1, b't', 0, 99, 3, 0x23, 0, 16];
    let retained = [0x31, 5, 0, 1, b'r', 0, b'x'];
    let large = [&[0x32, 0x86, 0x10, 0, 1, b't', 0, 98, 0][..], &[0; 2048]].concat();
    let wildcard = [0x82, 7, 0, 9, 0, 0, 1, b'#', 0];
    broker.reload(|options| {
        options.mqtt.topic_alias_maximum = 2;
        options.mqtt.receive_maximum = 10;
        options.mqtt.packet_bytes_max = 1024;
        options.mqtt.maximum_qos = QoS::AtLeastOnce;
        options.mqtt.retain_available = false;
        options.mqtt.wildcard_available = false;
    });
    assert_eq!(broker.say(1, &qos2(21)), [0x50, 3, 0, 21, 0x10]);
    assert_eq!(broker.say(1, &with_alias), [0x40, 3, 0, 99, 0x10]);
    assert_eq!(broker.say(1, &large), [0x40, 3, 0, 98, 0x10]);
    assert!(broker.say(1, &retained).is_empty());
    assert_eq!(broker.say(1, &wildcard)[..6], [0x90, 4, 0, 9, 0, 0]);

    // Whoever comes now hears of the new settings, and is held to them.
    for (name, packet, reason) in [
        (b'b', &with_alias[..], 0x94),
        (b'c', &large[..], 0x95),
        (b'd', &qos2(1)[..], 0x9b),
        (b'e', &retained[..], 0x9a),
    ] {
        broker.connect(2, name, true, &[]);
        let told = broker.say(2, packet);
        assert_eq!((told[0], told[2]), (0xe0, reason));
    }
    broker.connect(2, b'f', true, &[]);
    assert_eq!(broker.say(2, &wildcard), [0x90, 4, 0, 9, 0, 0xa2]);
    assert!(broker.say(1, &qos2(22)).ends_with(&[0x50, 2, 0, 22]));
}

#[test]
fn announcements_that_nobody_holds_the_broker_to_are_forgotten() {
    let mut broker = Broker::new(Options::default());
    broker.connect(1, b'a', true, &[]);
    for aliases in 100..1100 {
        broker.reload(|options| options.mqtt.topic_alias_maximum = aliases);
        broker.connect(2, b'b', true, &[]);
    }
    let of = |broker: &Broker, conn: u32| {
        let number = broker.shard.conns.get(conn).expect("up").announced;
        *broker.shard.promises.of(number)
    };
    assert_eq!(of(&broker, 1).topic_alias_maximum, 32);
    assert_eq!(of(&broker, 2).topic_alias_maximum, 1099);
}

#[test]
fn what_a_denied_client_was_cut_for_is_judged_again() {
    let mut options = Options::default();
    options.access.cuts_denied = true;
    options.access.nomatch = Answer::Deny;
    options.access.common = Some(Arc::default());
    let mut broker = Broker::new(options);
    for _ in 0..2 {
        broker.connect(1, b'a', false, &[]);
        let told = broker.say(1, &qos2(7));
        assert_eq!((told[0], told[2]), (0xe0, 0x87));
    }
    // Once it may, what has this id is a new message.
    broker.connect(1, b'a', false, &[]);
    broker.reload(|options| options.access.common = None);
    broker.connect(2, b'b', true, &[]);
    broker.say(2, &[0x82, 7, 0, 9, 0, 0, 1, b't', 0]);
    assert_eq!(broker.say(1, &qos2(7)), [0x50, 2, 0, 7]);
    assert_eq!(broker.told(2), [0x30, 5, 0, 1, b't', 0, b'x']);
}

/// PUBLISH with QoS 1.
fn qos1(topic: &str, id: u8, retain: bool, payload: &[u8]) -> Vec<u8> {
    let len = topic.len() + payload.len() + 5;
    let mut packet = vec![0x32 | u8::from(retain), len as u8, 0, topic.len() as u8];
    packet.extend(topic.as_bytes());
    packet.extend([0, id, 0]);
    packet.extend(payload);
    packet
}

/// SUBSCRIBE with this QoS.
fn subscribe(filter: &str, qos: u8) -> Vec<u8> {
    let mut packet = vec![0x82, filter.len() as u8 + 6, 0, 9, 0, 0, filter.len() as u8];
    packet.extend(filter.as_bytes());
    packet.push(qos);
    packet
}

/// The PUBLISH packets in `bytes`, none longer than 129 bytes.
fn publishes(mut bytes: &[u8]) -> Vec<&[u8]> {
    let mut found = Vec::new();
    while let [kind, len, ..] = *bytes {
        let (packet, rest) = bytes.split_at(usize::from(len) + 2);
        bytes = rest;
        if kind >> 4 == 3 {
            found.push(packet);
        }
    }
    found
}

/// Topics and packet ids of the PUBLISH packets in `bytes`, which are of QoS 1.
fn published(bytes: &[u8]) -> Vec<(String, u8)> {
    let one = |packet: &[u8]| {
        let end = 4 + usize::from(packet[3]);
        let topic = String::from_utf8(packet[4..end].to_vec()).expect("a topic");
        (topic, packet[end + 1])
    };
    publishes(bytes).into_iter().map(one).collect()
}

/// What a client with Receive Maximum 1 gets, one after the other, `next` running before each
/// acknowledgement.
fn acknowledged(broker: &mut Broker, conn: u32, next: &[u8]) -> Vec<String> {
    let mut seen = Vec::new();
    let mut told = broker.told(conn);
    while let Some((topic, id)) = published(&told).pop() {
        let retain = publishes(&told).last().is_some_and(|p| p[0] & 1 == 1);
        seen.push(topic + if retain { " retained" } else { "" });
        if !next.is_empty() && seen.len() < 40 {
            broker.say(1, next);
        }
        told = broker.say(conn, &[0x40, 2, 0, id]);
    }
    seen
}

#[test]
fn retained_messages_come_through_live_ones_that_never_stop() {
    let mut broker = Broker::new(Options::default());
    broker.connect(1, b'a', true, &[]);
    for topic in ["r/0", "r/1", "r/2", "r/3", "r/4"] {
        broker.say(1, &qos1(topic, 1, true, b"R"));
    }
    broker.connect(2, b'b', true, &[0x21, 0, 1]);
    broker.say(2, &subscribe("live", 1));
    let live = qos1("live", 2, false, b"L");
    for _ in 0..20 {
        broker.say(1, &live);
    }
    let first = published(&broker.told(2));
    assert_eq!(first, [("live".to_owned(), 1)]);
    broker.step(Input::Bytes {
        conn: ConnId(2),
        bytes: &subscribe("r/#", 1),
    });
    broker.told(2);
    broker.step(Input::Bytes {
        conn: ConnId(2),
        bytes: &[0x40, 2, 0, 1],
    });
    let seen = acknowledged(&mut broker, 2, &live);
    let retained = |seen: &[String]| seen.iter().filter(|t| t.starts_with("r/")).count();
    assert_eq!(retained(&seen[..11]), 5, "{seen:?}");
    assert_eq!(seen.len(), 5 + 19 + 39, "{seen:?}");
}

#[test]
fn a_retained_message_does_not_pass_older_ones_of_its_topic() {
    let mut broker = Broker::new(Options::default());
    broker.connect(1, b'a', true, &[]);
    broker.connect(2, b'b', true, &[0x21, 0, 1]);
    broker.say(2, &subscribe("r/0", 1));
    for topic in ["r/0", "r/0", "r/1"] {
        broker.say(1, &qos1(topic, 1, true, b"R"));
    }
    for bytes in [&subscribe("live", 1), &subscribe("r/+", 1)] {
        let conn = ConnId(2);
        broker.step(Input::Bytes { conn, bytes });
        broker.say(1, &qos1("live", 1, false, b"L"));
    }
    let seen = acknowledged(&mut broker, 2, &[]);
    let retained = seen.iter().position(|topic| topic == "r/0 retained");
    let live = seen.iter().rposition(|topic| topic == "r/0");
    assert!(retained > live, "{seen:?}");
    assert_eq!(seen.len(), 6, "{seen:?}");
}

/// How many retained messages a new subscriber gets.
fn retained(broker: &mut Broker, filter: &str) -> usize {
    broker.connect(3, b'z', true, &[]);
    let told = broker.say(3, &subscribe(filter, 0));
    let got = publishes(&told).iter().filter(|p| p[0] == 0x31).count();
    broker.step(Input::Closed { conn: ConnId(3) });
    got
}

#[test]
fn what_is_beyond_the_retained_limits_is_delivered_but_not_kept() {
    let mut options = Options::default();
    options.limits.retained_count_max = 2;
    options.limits.retained_payload_bytes_max = 4;
    let mut broker = Broker::new(options);
    for topic in ["$SYS/a", "$SYS/b", "$SYS/c", "$SYS/c"] {
        let content = crate::message::Content {
            topic,
            payload: b"large for a client",
            properties: crate::codec::Forwarded::from_stored(&[]),
            qos: QoS::AtMostOnce,
            retain: true,
            expires_ms: crate::message::NEVER_MS,
        };
        let message = Message::copy_of(&content, &mut Vec::new());
        broker.step(Input::Publish(message));
    }
    broker.connect(1, b'a', true, &[]);
    broker.connect(2, b'b', true, &[]);
    broker.say(2, &subscribe("r/#", 0));
    for (topic, payload, kept) in [
        ("r/0", &b"x"[..], 1),
        ("r/1", b"x", 2),
        ("r/2", b"x", 2),
        ("r/1", b"yy", 2),
        ("r/1", b"large", 1),
    ] {
        let ack = broker.say(1, &qos1(topic, 1, true, payload));
        assert_eq!(ack, [0x40, 2, 0, 1], "{topic}");
        assert!(broker.told(2).ends_with(payload), "{topic}");
        assert_eq!(retained(&mut broker, "r/#"), kept, "{topic}");
    }
    assert_eq!(retained(&mut broker, "$SYS/#"), 3);
    let refused = broker.shard.counters().refused[Refusal::RetainedQuota as usize];
    assert_eq!(refused, 2);
    broker.reload(|options| options.limits.retained_count_max = 0);
    broker.say(1, &qos1("r/0", 1, true, b"z"));
    assert!(broker.told(2).ends_with(b"z"));
    assert_eq!(retained(&mut broker, "r/#"), 0);
}

#[test]
fn presence_tells_the_clean_start_of_connect() {
    let mut broker = Broker::new(Options::default());
    broker.connect(1, b'a', true, &[]);
    broker.say(1, &subscribe("$SYS/brokers/+/clients/+/connected", 0));
    for (clean_start, said) in [
        (true, "\"clean_sess\":true"),
        (false, "\"clean_sess\":false"),
    ] {
        broker.connect(2, if clean_start { b'b' } else { b'c' }, clean_start, &[]);
        let told = String::from_utf8_lossy(&broker.told(1)).into_owned();
        assert!(told.contains(said), "{told}");
    }
}

#[test]
fn presence_tells_who_comes_and_goes_in_order_and_with_epochs_that_grow() {
    let mut broker = Broker::new(Options::default());
    broker.connect(1, b'a', true, &[]);
    broker.say(1, &subscribe("$SYS/brokers/+/clients/b/+", 0));
    let mut last_epoch = 0;
    for how in [&[0xe0, 0][..], &[0xff]] {
        let mut epochs = Vec::new();
        broker.connect(2, b'b', true, &[]);
        let came = String::from_utf8_lossy(&broker.told(1)).into_owned();
        broker.say(2, how);
        broker.step(Input::Closed { conn: ConnId(2) });
        let went = String::from_utf8_lossy(&broker.told(1)).into_owned();
        for (told, event) in [(came, "/connected"), (went, "/disconnected")] {
            assert!(told.contains(&format!("clients/b{event}")), "{told}");
            let json = &told[told.find('{').expect("JSON")..];
            let presence: serde_json::Value = serde_json::from_str(json).expect("one message");
            epochs.push(presence["epoch"].as_u64().expect("an epoch"));
        }
        assert_eq!(epochs[0], epochs[1]);
        assert!(epochs[0] > last_epoch, "{epochs:?} after {last_epoch}");
        last_epoch = epochs[0];
    }
}

/// SUBSCRIBE (0x82) or UNSUBSCRIBE (0xa2) with this many filters, packet id 7.
fn filters(header: u8, count: usize) -> Vec<u8> {
    let mut body = vec![0, 7, 0];
    for at in 0..count {
        let filter = format!("f/{at:04}");
        body.extend([0, filter.len() as u8]);
        body.extend(filter.as_bytes());
        if header == 0x82 {
            // No retained messages.
            body.push(0x20);
        }
    }
    let len = body.len();
    assert!(len < 16_384);
    let mut packet = vec![header, len as u8 & 0x7f, (len >> 7) as u8];
    match len {
        0..128 => packet.truncate(2),
        _ => packet[1] |= 0x80,
    }
    packet.extend(body);
    packet
}

fn publish(topic: &str) -> Vec<u8> {
    let mut packet = vec![0x30, topic.len() as u8 + 3, 0, topic.len() as u8];
    packet.extend(topic.as_bytes());
    packet.push(0);
    packet
}

/// A broker that works on at most `filters` filters at a time.
fn in_slices_of(filters: usize) -> Broker {
    Broker::new(Options {
        slice: filters * slices::FILTER,
        presence: false,
        ..Options::default()
    })
}

impl Broker {
    fn ticks_due(&mut self) -> usize {
        let mut ticks = 0;
        while self.shard.next_deadline_ms() == Some(0) {
            self.step(Input::Tick);
            ticks += 1;
        }
        ticks
    }

    /// How many of the filters lead to a subscriber.
    fn subscribed(&mut self) -> usize {
        self.shard.stats().subscriptions
    }
}

#[test]
fn a_long_subscribe_lets_others_go_first() {
    let mut broker = in_slices_of(10);
    for (conn, name) in [(1, b'a'), (2, b'b')] {
        broker.connect(conn, name, true, &[]);
    }
    let packets = [filters(0x82, 100), vec![0xc0, 0]].concat();
    assert!(broker.say(1, &packets).is_empty());
    assert_eq!(broker.subscribed(), 10);
    assert!(!broker.shard.wants_input(ConnId(1), &broker.fx));
    assert_eq!(broker.say(2, &[0xc0, 0]), [0xd0, 0]);
    assert_eq!(broker.ticks_due(), 9);
    let told = broker.told(1);
    assert_eq!(told[..4], [0x90, 103, 0, 7]);
    assert_eq!(told[105..], [0xd0, 0]);
    assert_eq!(broker.subscribed(), 100);
    assert_eq!(broker.fx.resumed, [ConnId(1)]);
    assert!(broker.say(1, &filters(0xa2, 100)).is_empty());
    assert_eq!(broker.subscribed(), 90);
    assert_eq!(broker.ticks_due(), 9);
    assert_eq!(broker.told(1)[..4], [0xb0, 103, 0, 7]);
    assert_eq!(broker.subscribed(), 0);
    assert_eq!(broker.shard.tail_bytes, 0);
}

#[test]
fn who_waits_for_its_turn_is_not_silent() {
    let mut broker = in_slices_of(10);
    broker.reload(|options| options.mqtt.keep_alive_max_s = Some(10));
    broker.connect(1, b'a', true, &[]);
    broker.say(1, &filters(0x82, 40));
    for _ in 0..3 {
        // Longer than the keep alive, and there are alarms enough to fill a slice.
        broker.ms += 20_000;
        for _ in 0..1000 {
            let past_ms = broker.ms - 1_000;
            broker.shard.alarms.arm(past_ms, Alarm::AskAgain);
        }
        broker.step(Input::Tick);
    }
    assert_eq!(broker.told(1)[..4], [0x90, 43, 0, 7]);
    assert_eq!(broker.subscribed(), 40);
    // From here on it is.
    broker.ms += 20_000;
    let is_due = |broker: &Broker| {
        let due_ms = broker.shard.next_deadline_ms();
        due_ms.is_some_and(|due_ms| due_ms <= broker.ms)
    };
    while is_due(&broker) {
        broker.step(Input::Tick);
    }
    let told = broker.told(1);
    assert_eq!((told[0], told[2]), (0xe0, 0x8d));
}

#[test]
fn those_who_are_late_together_are_turned_away_a_few_at_a_time() {
    let mut broker = Broker::new(Options::default());
    broker.reload(|options| options.mqtt.keep_alive_max_s = Some(10));
    for name in b'a'..=b'z' {
        broker.connect(name.into(), name, true, &[]);
    }
    let count_told = |broker: &mut Broker| {
        let told = (b'a'..=b'z').filter(|&name| !broker.told(name.into()).is_empty());
        told.count()
    };
    // Nobody is late who has said something, and that is seen at once.
    broker.ms += 10_000;
    for name in b'a'..=b'z' {
        broker.say(name.into(), &[0xc0, 0]);
    }
    broker.ms += 6_000;
    broker.step(Input::Tick);
    assert_eq!(count_told(&mut broker), 0);
    assert!(broker.shard.next_deadline_ms() > Some(broker.ms));
    broker.ms += 10_000;
    let mut left = 26;
    while left > 0 {
        broker.step(Input::Tick);
        let told = count_told(&mut broker);
        assert_eq!(told, left.min(4));
        left -= told;
    }
}

#[test]
fn turns_go_round() {
    let mut broker = in_slices_of(10);
    for (conn, name) in [(1, b'a'), (2, b'b')] {
        broker.connect(conn, name, true, &[]);
        broker.say(conn, &filters(0x82, 40));
    }
    for subscribed in [30, 40, 50, 60, 70, 80] {
        broker.step(Input::Tick);
        assert_eq!(broker.subscribed(), subscribed);
    }
    assert_eq!(broker.told(1).len(), broker.told(2).len());
    assert_eq!(broker.ticks_due(), 0);
}

#[test]
fn who_leaves_in_the_middle_of_a_long_packet_leaves_nothing() {
    let mut broker = in_slices_of(10);
    broker.connect(1, b'a', true, &[]);
    let packets = [filters(0x82, 100), publish("x")].concat();
    broker.say(1, &packets);
    broker.step(Input::Closed { conn: ConnId(1) });
    assert_eq!(broker.ticks_due(), 1);
    assert_eq!(broker.shard.tail_bytes, 0);
    assert_eq!(broker.shard.counters().publish_in, [0, 0, 0]);
    // The session stays with what it had, and begins anew with the packet.
    assert_eq!(broker.subscribed(), 10);
    broker.connect(1, b'a', false, &[]);
    broker.say(1, &filters(0x82, 100));
    assert_eq!(broker.ticks_due(), 9);
    assert_eq!(broker.told(1)[..4], [0x90, 103, 0, 7]);
}

#[test]
fn a_session_that_is_over_is_taken_apart_in_slices() {
    let mut broker = in_slices_of(10);
    broker.connect(1, b'a', true, &[]);
    broker.say(1, &filters(0x82, 100));
    broker.ticks_due();
    broker.connect(2, b'p', true, &[]);
    // With another connection for the client, and a clean start, the old session is over.
    broker.connect(3, b'a', true, &[]);
    assert_eq!(broker.subscribed(), 90);
    assert_eq!(broker.shard.stats().sessions, 2);
    assert_eq!(broker.shard.clients(0, 10).0.len(), 2);
    assert_eq!(broker.say(3, &filters(0x82, 10))[0], 0x90);
    // To those who are over nothing is delivered, to the new one what it has asked for.
    for at in 0..100 {
        broker.say(2, &publish(&format!("f/{at:04}")));
    }
    let told = broker.told(3);
    assert_eq!(told.len(), 10 * publish("f/0000").len());
    assert_eq!(broker.ticks_due(), 9);
    assert_eq!(broker.subscribed(), 10);
    assert_eq!(broker.shard.sessions.len(), 2);
}

#[test]
fn many_messages_at_once_wait_for_their_turn_and_keep_their_order() {
    let mut broker = Broker::new(Options {
        slice: 10,
        ..Options::default()
    });
    for (conn, name) in [(1, b'a'), (2, b'b')] {
        broker.connect(conn, name, true, &[]);
    }
    broker.say(2, &[0x82, 7, 0, 9, 0, 0, 1, b'#', 0]);
    broker.ticks_due();
    let topics: Vec<String> = (0..100).map(|at| format!("m/{at:02}")).collect();
    let packets: Vec<u8> = topics.iter().flat_map(|topic| publish(topic)).collect();
    broker.say(1, &packets);
    assert_eq!(broker.shard.counters().publish_in[0], 5);
    assert_eq!(broker.ticks_due(), 19);
    let told = broker.told(2);
    let expected: Vec<u8> = topics.iter().flat_map(|topic| publish(topic)).collect();
    assert!(told == expected, "all of them, in order");
}

/// Rules: what `denied` covers may not be subscribed to, by the client `whom` or by everybody.
fn denying(whom: Option<&str>, denied: &str) -> Option<Arc<acl::Rules>> {
    let rule = |answer, who, topics: &str| acl::Rule {
        answer,
        who,
        action: acl::Action::Both,
        topics: [acl::Topics::pattern(topics).expect("a filter")].into(),
    };
    let who = whom.map_or(acl::Who::Everybody, |id| acl::Who::Client(id.into()));
    let rules = vec![
        rule(Answer::Deny, who, denied),
        rule(Answer::Allow, acl::Who::Everybody, "#"),
    ];
    Some(Arc::new(acl::Rules::new(rules)))
}

impl Broker {
    fn deny(&mut self, whom: Option<&str>, denied: &str) {
        self.reload(|options| options.access.common = denying(whom, denied));
    }

    fn dropped(&self, why: Drop) -> u64 {
        self.shard.counters().ledger.dropped[why as usize]
    }
}

#[test]
fn what_waited_while_rules_changed_is_not_delivered() {
    let mut broker = Broker::new(Options {
        slice: 10,
        ..Options::default()
    });
    broker.connect(1, b'a', true, &[]);
    broker.connect(2, b'b', true, &[]);
    broker.say(2, &subscribe("s/#", 1));
    broker.say(2, &subscribe("t", 1));
    broker.ticks_due();
    broker.step(Input::Closed { conn: ConnId(2) });
    for at in 0..50 {
        let topic = format!("s/{at}");
        broker.say(1, &qos1(&topic, 1, false, b"x"));
        broker.say(1, &qos1("t", 1, false, b"x"));
        broker.ticks_due();
    }
    broker.deny(None, "s/#");
    let mut told = broker.connect(3, b'b', false, &[]);
    // However much waits, a step looks at a slice of it.
    assert!(broker.ticks_due() >= 9);
    told.extend(broker.told(3));
    let seen = published(&told);
    assert_eq!(seen.len(), 50);
    assert!(seen.iter().all(|(topic, _)| topic == "t"), "{seen:?}");
    assert_eq!(broker.dropped(Drop::Denied), 50);
    // What comes from now on is not looked at again, and not subscribed to any more.
    broker.say(1, &qos1("s/1", 1, false, b"x"));
    assert!(broker.told(3).is_empty());
    assert_eq!(broker.dropped(Drop::Denied), 50);
}

#[test]
fn who_is_in_gets_what_was_begun_and_no_more_of_it() {
    let mut broker = Broker::new(Options::default());
    broker.connect(1, b'a', true, &[]);
    for topic in ["r/0", "r/1", "r/2"] {
        broker.say(1, &qos1(topic, 1, true, b"x"));
    }
    broker.connect(2, b'b', true, &[0x21, 0, 1]);
    for filter in ["r/#", "s/#", "t"] {
        let (conn, bytes) = (ConnId(2), &*subscribe(filter, 1));
        broker.step(Input::Bytes { conn, bytes });
    }
    for topic in ["s/0", "t", "s/1", "t"] {
        broker.say(1, &qos1(topic, 1, false, b"x"));
    }
    broker.deny(None, "s/#");
    broker.deny(None, "+/#");
    let seen = acknowledged(&mut broker, 2, &[]);
    assert_eq!(seen.len(), 1, "{seen:?}");
    assert!(seen[0].starts_with("r/"), "{seen:?}");
    assert_eq!(broker.dropped(Drop::Denied), 6);
    // The same for a rule that is lifted before it was the messages' turn.
    broker.deny(None, "u");
    broker.say(2, &subscribe("t", 1));
    for _ in 0..2 {
        broker.say(1, &qos1("t", 1, false, b"x"));
    }
    broker.deny(None, "t");
    broker.deny(None, "u");
    assert_eq!(acknowledged(&mut broker, 2, &[]).len(), 2);
    assert_eq!(broker.dropped(Drop::Denied), 6);
}

#[test]
fn what_a_filter_brings_that_is_allowed_itself_is_delivered() {
    let mut broker = Broker::new(Options::default());
    broker.connect(1, b'a', true, &[]);
    broker.connect(2, b'b', true, &[]);
    for filter in ["#", "+/1"] {
        broker.say(2, &subscribe(filter, 1));
    }
    broker.step(Input::Closed { conn: ConnId(2) });
    for topic in ["s/1", "s/2"] {
        broker.say(1, &qos1(topic, 1, false, b"x"));
    }
    // `eq`: this filter, and none of its topics by themselves.
    let allow = acl::Rule {
        answer: Answer::Allow,
        who: acl::Who::Everybody,
        action: acl::Action::Subscribe,
        topics: [acl::Topics::Literal("+/1".into())].into(),
    };
    let rules = Arc::new(acl::Rules::new(vec![allow]));
    broker.reload(|options| options.access.common = Some(rules.clone()));
    let connack = broker.connect(3, b'b', false, &[]);
    let seen = published(&connack);
    assert_eq!(seen.len(), 1, "{seen:?}");
    assert_eq!(seen[0].0, "s/1");
    assert_eq!(broker.dropped(Drop::Denied), 1);
}

#[test]
fn what_was_dealt_to_who_may_not_have_it_is_dealt_again() {
    let mut broker = Broker::new(Options::default());
    broker.connect(1, b'a', true, &[]);
    for (conn, name) in [(2, b'b'), (3, b'c')] {
        broker.connect(conn, name, true, &[0x21, 0, 1]);
        broker.say(conn, &subscribe("$share/g/s", 1));
    }
    // One under way and two that wait, for each.
    for _ in 0..6 {
        broker.say(1, &qos1("s", 1, false, b"x"));
    }
    broker.deny(Some("b"), "s");
    assert_eq!(acknowledged(&mut broker, 2, &[]).len(), 1);
    assert_eq!(acknowledged(&mut broker, 3, &[]).len(), 5);
    assert_eq!(broker.dropped(Drop::Denied), 0);
}
