//! What a client is told besides the code when it is cut or not let in.

use super::*;

/// The Reason String of a packet that has no other property, if it has one.
fn reason_string(packet: &[u8], at: usize) -> Option<String> {
    let properties = packet
        .get(at + 1..)
        .filter(|rest| rest.first() == Some(&0x1f))?;
    Some(String::from_utf8(properties[3..].to_vec()).expect("a sentence"))
}

/// Brings about an end of client `a`, connection 1, and gives the code of its DISCONNECT.
type End = (u8, fn(&mut Broker));

const ENDS: [End; 6] = [
    (0x8d, |broker| {
        broker.ms += 16_000;
        broker.step(Input::Tick);
    }),
    (0x8e, |broker| {
        broker.connect(2, b'a', true, &[]);
    }),
    (0x98, |broker| broker.step(Input::Kick { client_id: "a" })),
    (0x8b, |broker| broker.step(Input::Shutdown)),
    (0x87, |broker| {
        broker.reload(|options| {
            options.access.cuts_denied = true;
            options.access.nomatch = Answer::Deny;
            options.access.common = Some(Arc::default());
        });
        let bytes = &publish("t");
        broker.step(Input::Bytes {
            conn: ConnId(1),
            bytes,
        });
    }),
    (0x97, |broker| {
        broker.reload(|options| options.limits.memory_budget_bytes = 0);
        let half = [&[0x30, 0xff, 0x7f][..], &[0; 8192]].concat();
        broker.step(Input::Bytes {
            conn: ConnId(1),
            bytes: &half,
        });
    }),
];

#[test]
fn whoever_is_cut_is_told_why_in_words() {
    // Request Problem Information 0; Maximum Packet Size 24.
    for (wants, properties) in [
        (true, &[][..]),
        (false, &[0x17, 0]),
        (false, &[0x27, 0, 0, 0, 24]),
    ] {
        for (code, end) in ENDS {
            let mut broker = Broker::new(Options::default());
            let peer = Peer::plain("127.0.0.1:1".parse().expect("an address"), 0);
            let conn = ConnId(1);
            broker.step(Input::Opened { conn, peer });
            let mut connect = vec![0x10, 14 + properties.len() as u8, 0, 4];
            connect.extend(b"MQTT\x05\x02\x00\x0a");
            connect.push(properties.len() as u8);
            connect.extend(properties);
            connect.extend([0, 1, b'a']);
            assert_eq!(broker.say(1, &connect)[3], 0);
            end(&mut broker);
            let told = broker.told(1);
            assert_eq!((told[0], told[2]), (0xe0, code));
            let said = reason_string(&told, 3);
            assert_eq!(
                said.is_some_and(|said| said.contains(' ')),
                wants,
                "{code:x}"
            );
        }
    }
}

#[test]
fn a_connack_names_the_rule_that_connect_breaks() {
    let mut broker = Broker::new(Options::default());
    for (flags, keep, rule) in [
        (0x03, 0, "the reserved flag of CONNECT is set"),
        (0x0a, 0, "Will QoS or Will Retain is set without Will Flag"),
        (0x02, 1, "there are bytes after the last field"),
    ] {
        let peer = Peer::plain("127.0.0.1:1".parse().expect("an address"), 0);
        let conn = ConnId(1);
        broker.step(Input::Closed { conn });
        broker.step(Input::Opened { conn, peer });
        let mut connect = vec![0x10, 14 + keep, 0, 4];
        connect.extend(b"MQTT\x05");
        connect.extend([flags, 0, 0, 0, 0, 1, b'a']);
        connect.resize(16 + usize::from(keep), 0);
        let told = broker.say(1, &connect);
        assert_eq!(told[0], 0x20);
        let said = reason_string(&told, 4).expect("a reason string");
        assert!(said.contains(rule), "{said}");
    }
}
