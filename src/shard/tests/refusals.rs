//! What is beyond a limit, who hears of it, and under which reason it is counted.

use super::*;

impl Broker {
    fn limited(change: impl Fn(&mut Options)) -> Broker {
        let mut options = Options {
            presence: false,
            ..Options::default()
        };
        change(&mut options);
        Broker::new(options)
    }

    /// All that was refused since the last time.
    fn refused(&mut self) -> Vec<(&'static str, u64)> {
        let refused = std::mem::take(&mut self.shard.counters.refused);
        let named = Refusal::ALL.map(|why| (why.name(), refused[why as usize]));
        named.into_iter().filter(|(_, n)| *n > 0).collect()
    }

    /// The reason in SUBACK.
    fn subscribe(&mut self, conn: u32, filter: &str) -> u8 {
        let told = self.say(conn, &subscribe(filter, 1));
        assert_eq!(told[0], 0x90);
        told[5]
    }

    /// CONNECT of a client that is named by a letter, with a session that stays; the whole CONNACK.
    fn try_connect(&mut self, conn: u32, name: u8, properties: &[u8]) -> Vec<u8> {
        let peer = Peer::plain("127.0.0.1:1".parse().expect("an address"), 0);
        let conn = ConnId(conn);
        self.step(Input::Closed { conn });
        self.step(Input::Opened { conn, peer });
        let mut packet = vec![0x10, 14 + properties.len() as u8, 0, 4];
        packet.extend(b"MQTT\x05\x00\x00\x0a");
        packet.push(properties.len() as u8);
        packet.extend(properties);
        packet.extend([0, 1, name]);
        self.say(conn.0, &packet)
    }
}

const STAYS: &[u8] = &[0x11, 0, 0, 0x03, 0xe8];

#[test]
fn filters_beyond_the_limits_are_refused_each_under_its_reason() {
    let mut broker = Broker::limited(|options| {
        options.mqtt.topic_levels_max = 3;
        options.mqtt.topic_bytes_max = 16;
    });
    broker.connect(1, b'a', true, &[]);
    for (filter, told, why) in [
        ("a/b/c", 1, None),
        ("a/b/c/d", 0x8f, Some("topic_levels")),
        ("/b/#", 1, None),
        ("0123456789abcdef", 1, None),
        ("0123456789abcdefg", 0x8f, Some("topic_length")),
        ("$share/0123456789abcdef/t", 1, None),
        ("$share/0123456789abcdefg/t", 0x8f, Some("topic_length")),
        ("$share/g/a/b/c/d", 0x8f, Some("topic_levels")),
        ("a/#/b", 0x8f, Some("filter_invalid")),
    ] {
        assert_eq!(broker.subscribe(1, filter), told, "{filter}");
        let counted: Vec<_> = why.map(|why| (why, 1)).into_iter().collect();
        assert_eq!(broker.refused(), counted, "{filter}");
    }
    broker.reload(|options| {
        options.mqtt.wildcard_available = false;
        options.mqtt.shared_available = false;
    });
    broker.connect(2, b'b', true, &[]);
    assert_eq!(broker.subscribe(2, "a/+"), 0xa2);
    assert_eq!(broker.subscribe(2, "$share/g/t"), 0x9e);
    assert_eq!(broker.refused(), [("not_available", 2)]);
}

#[test]
fn topic_names_beyond_the_limits_end_the_connection_each_under_its_reason() {
    let mut broker = Broker::limited(|options| {
        options.mqtt.topic_levels_max = 3;
        options.mqtt.topic_bytes_max = 16;
    });
    for (topic, why) in [
        ("a/b/c", None),
        ("a/b/c/d", Some("topic_levels")),
        ("0123456789abcdef", None),
        ("0123456789abcdefg", Some("topic_length")),
    ] {
        broker.connect(1, b'a', true, &[]);
        let told = broker.say(1, &qos1(topic, 1, false, b"x"));
        match why {
            None => assert_eq!(told, [0x40, 3, 0, 1, 0x10], "{topic}"),
            Some(_) => assert_eq!((told[0], told[2]), (0xe0, 0x90), "{topic}"),
        }
        let counted: Vec<_> = why.map(|why| (why, 1)).into_iter().collect();
        assert_eq!(broker.refused(), counted, "{topic}");
    }
}

#[test]
fn topic_limits_hold_at_once_and_what_connack_told_of_the_session_stays() {
    let mut broker = Broker::limited(|options| options.mqtt.session_expiry_max_s = 500);
    // Told 500, where it asked for 1000.
    let told = broker.try_connect(1, b'a', STAYS);
    assert!(told.windows(5).any(|w| w == [0x11, 0, 0, 0x01, 0xf4]));
    broker.reload(|options| {
        options.mqtt.session_expiry_max_s = 0;
        options.mqtt.topic_levels_max = 1;
    });
    assert_eq!(broker.subscribe(1, "a/b"), 0x8f);
    // DISCONNECT that asks for 400 seconds.
    broker.say(1, &[0xe0, 7, 0, 5, 0x11, 0, 0, 0x01, 0x90]);
    broker.step(Input::Closed { conn: ConnId(1) });
    let client = broker.shard.client("a").expect("its session stays");
    assert_eq!(client.session_expiry_s, 400);
}

#[test]
fn a_window_that_shrinks_holds_at_once() {
    let mut broker = Broker::limited(|_| {});
    broker.connect(1, b'a', true, &[]);
    assert_eq!(broker.subscribe(1, "t"), 1);
    broker.connect(2, b'b', true, &[]);
    broker.reload(|options| options.mqtt.inflight_max = 1);
    for id in [1, 2] {
        broker.say(2, &qos1("t", id, false, b"x"));
    }
    let told = broker.told(1);
    let first = published(&told);
    assert_eq!(first.len(), 1, "{first:?}");
    let told = broker.say(1, &[0x40, 2, 0, first[0].1]);
    assert_eq!(published(&told).len(), 1);
}

#[test]
fn what_is_granted_is_what_connack_announced() {
    let mut broker = Broker::limited(|_| {});
    broker.connect(1, b'a', true, &[]);
    broker.reload(|options| options.mqtt.maximum_qos = QoS::AtMostOnce);
    assert_eq!(broker.say(1, &subscribe("t", 2))[5], 2);
    broker.connect(2, b'b', true, &[]);
    assert_eq!(broker.say(2, &subscribe("t", 2))[5], 0);
}

#[test]
fn disconnect_may_set_an_expiry_where_connect_asked_for_one_whatever_was_granted() {
    let mut broker = Broker::limited(|options| options.mqtt.session_expiry_max_s = 0);
    let asks = [0xe0, 7, 0, 5, 0x11, 0, 0, 0x03, 0xe8];
    broker.try_connect(1, b'a', STAYS);
    assert!(broker.say(1, &asks).is_empty());
    broker.try_connect(1, b'b', &[]);
    let told = broker.say(1, &asks);
    assert_eq!((told[0], told[2]), (0xe0, 0x82));
}

#[test]
fn sessions_have_a_quota() {
    let mut broker = Broker::limited(|options| options.limits.sessions_max = 2);
    for (conn, name) in [(1, b'a'), (2, b'b')] {
        assert_eq!(broker.try_connect(conn, name, STAYS)[3], 0);
    }
    broker.say(2, &[0xe0, 0]);
    let told = broker.try_connect(3, b'c', STAYS);
    assert_eq!((told[0], told[3]), (0x20, 0x97));
    assert_eq!(broker.refused(), [("session_quota", 1)]);
    // Whoever has one comes back to it, and one that ends makes room.
    assert_eq!(broker.try_connect(2, b'b', STAYS)[2..4], [1, 0]);
    broker.say(2, &[0xe0, 7, 0, 5, 0x11, 0, 0, 0, 0]);
    assert_eq!(broker.try_connect(3, b'c', STAYS)[2..4], [0, 0]);
    assert_eq!(broker.refused(), []);
}

#[test]
fn a_client_has_a_quota_of_subscriptions_shared_ones_included() {
    let mut broker = Broker::limited(|options| options.limits.subscriptions_max = 2);
    broker.connect(1, b'a', true, &[]);
    assert_eq!(broker.subscribe(1, "a"), 1);
    assert_eq!(broker.subscribe(1, "$share/g/b"), 1);
    assert_eq!(broker.shard.stats().subscriptions, 2);
    for filter in ["c", "$share/g/c"] {
        assert_eq!(broker.subscribe(1, filter), 0x97, "{filter}");
        assert_eq!(broker.refused(), [("subscription_quota", 1)]);
    }
    // Those that it has may be changed, and one that is left makes room.
    assert_eq!(broker.subscribe(1, "a"), 1);
    assert_eq!(broker.subscribe(1, "$share/g/b"), 1);
    broker.say(1, &[0xa2, 6, 0, 1, 0, 0, 1, b'a']);
    assert_eq!(broker.shard.stats().subscriptions, 1);
    assert_eq!(broker.subscribe(1, "c"), 1);
    assert_eq!(broker.refused(), []);
}

#[test]
fn a_packet_that_is_too_large_is_counted_as_that() {
    let mut broker = Broker::limited(|options| options.mqtt.packet_bytes_max = 1024);
    broker.connect(1, b'a', true, &[]);
    let whole = |payload: usize| {
        // Remaining Length of two bytes.
        let len = payload + 3;
        let mut packet = vec![0x30, len as u8 | 0x80, (len >> 7) as u8, 0, 1, b't'];
        packet.resize(packet.len() + payload, 0);
        packet
    };
    assert!(broker.say(1, &whole(1024 - 6)).len() < 2);
    let told = broker.say(1, &whole(1024 - 5));
    assert_eq!((told[0], told[2]), (0xe0, 0x95));
    assert_eq!(broker.refused(), [("packet_too_large", 1)]);
}

#[test]
fn silence_is_cut_after_as_many_tenths_of_the_keep_alive() {
    for tenths in [15, 30] {
        let mut broker = Broker::limited(|options| options.mqtt.keep_alive_tenths = tenths);
        // A keep alive of ten seconds.
        broker.try_connect(1, b'a', &[]);
        let mut is_cut_at = |ms: u64| {
            broker.ms = 1_000_000 + ms;
            while broker
                .shard
                .next_deadline_ms()
                .is_some_and(|due| due <= broker.ms)
            {
                broker.step(Input::Tick);
            }
            broker.told(1).starts_with(&[0xe0])
        };
        let due = u64::from(tenths) * 1000;
        assert!(!is_cut_at(due - 1));
        assert!(is_cut_at(due + 500));
        assert_eq!(broker.refused(), [("keep_alive_timeout", 1)]);
    }
}

#[test]
fn retained_messages_have_a_budget_of_bytes() {
    let payload = [b'x'; 100];
    let mut broker = Broker::limited(|_| {});
    broker.connect(1, b'a', true, &[]);
    for topic in ["r/0", "r/1"] {
        broker.say(1, &qos1(topic, 1, true, &payload));
    }
    let of_two = broker.shard.stats().retained_bytes;
    let mut broker = Broker::limited(|options| options.limits.retained_bytes_max = of_two);
    broker.connect(1, b'a', true, &[]);
    for topic in ["r/0", "r/1", "r/2"] {
        broker.say(1, &qos1(topic, 1, true, &payload));
    }
    let stats = broker.shard.stats();
    assert_eq!((stats.retained, stats.retained_bytes), (2, of_two));
    assert_eq!(broker.refused(), [("retained_quota", 1)]);
    // One that takes no more than what it replaces.
    broker.say(1, &qos1("r/1", 1, true, &payload));
    assert_eq!(broker.refused(), []);
}
