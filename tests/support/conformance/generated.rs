//! Rows made from a table: every property in every packet a client sends, where it is allowed,
//! where it is not, and twice.

use super::data::{Row, Settings};
use super::script::{self, Plays};
use super::wire;
use Packet::*;

/// Packets of clients that have properties.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Packet {
    Connect,
    Will,
    Publish,
    Puback,
    Pubrec,
    Pubrel,
    Pubcomp,
    Subscribe,
    Unsubscribe,
    Disconnect,
    Auth,
}

const PACKETS: [Packet; 11] = [
    Connect,
    Will,
    Publish,
    Puback,
    Pubrec,
    Pubrel,
    Pubcomp,
    Subscribe,
    Unsubscribe,
    Disconnect,
    Auth,
];

const PUBLISHED: &[Packet] = &[Publish, Will];
const REASONED: &[Packet] = &[Puback, Pubrec, Pubrel, Pubcomp, Disconnect, Auth];

/// Property, a value for it, and where a client may send it (MQTT 5, 2.2.2.2).
const PROPERTIES: &[(&str, &[u8], &[Packet])] = &[
    ("Payload Format Indicator", &[0x01, 1], PUBLISHED),
    ("Message Expiry Interval", &[0x02, 0, 0, 0, 5], PUBLISHED),
    ("Content Type", &[0x03, 0, 1, b'c'], PUBLISHED),
    ("Response Topic", &[0x08, 0, 1, b'r'], PUBLISHED),
    ("Correlation Data", &[0x09, 0, 1, 0], PUBLISHED),
    ("Subscription Identifier", &[0x0b, 1], &[Subscribe]),
    (
        "Session Expiry Interval",
        &[0x11, 0, 0, 0, 5],
        &[Connect, Disconnect],
    ),
    ("Assigned Client Identifier", &[0x12, 0, 1, b'c'], &[]),
    ("Server Keep Alive", &[0x13, 0, 5], &[]),
    (
        "Authentication Method",
        &[0x15, 0, 1, b'm'],
        &[Connect, Auth],
    ),
    ("Authentication Data", &[0x16, 0, 1, 0], &[Connect, Auth]),
    ("Request Problem Information", &[0x17, 1], &[Connect]),
    ("Will Delay Interval", &[0x18, 0, 0, 0, 5], &[Will]),
    ("Request Response Information", &[0x19, 1], &[Connect]),
    ("Response Information", &[0x1a, 0, 1, b'c'], &[]),
    // The standard does not say what a client's Server Reference in DISCONNECT is.
    ("Server Reference", &[0x1c, 0, 1, b'c'], &[Disconnect]),
    ("Reason String", &[0x1f, 0, 1, b'c'], REASONED),
    ("Receive Maximum", &[0x21, 0, 5], &[Connect]),
    ("Topic Alias Maximum", &[0x22, 0, 5], &[Connect]),
    ("Topic Alias", &[0x23, 0, 1], &[Publish]),
    ("Maximum QoS", &[0x24, 1], &[]),
    ("Retain Available", &[0x25, 1], &[]),
    ("User Property", &[0x26, 0, 1, b'k', 0, 1, b'v'], &PACKETS),
    ("Maximum Packet Size", &[0x27, 0, 1, 0, 0], &[Connect]),
    ("Wildcard Subscription Available", &[0x28, 1], &[]),
    ("Subscription Identifier Available", &[0x29, 1], &[]),
    ("Shared Subscription Available", &[0x2a, 1], &[]),
    ("property 0x00", &[0x00, 1], &[]),
    ("property 0x04", &[0x04, 1], &[]),
    ("property 0x14", &[0x14, 1], &[]),
    ("property 0x2b", &[0x2b, 1], &[]),
    ("property 0x7f", &[0x7f, 1], &[]),
    ("property 0x80 0x01 (of two bytes)", &[0x80, 0x01, 1], &[]),
    ("property 0x81 0x00 (over-long)", &[0x81, 0x00, 1], &[]),
];

/// The rows of the table.
pub fn rows(plays: &Plays) -> Vec<Row> {
    let mut rows = Vec::new();
    for packet in PACKETS {
        for &(name, property, allowed_in) in PROPERTIES {
            let twice = [property, property].concat();
            if !allowed_in.contains(&packet) {
                let name = format!("{packet:?} with {name} is refused");
                rows.push(row(name, refused(packet, property), plays));
            } else if name == "User Property" {
                let name = format!("{packet:?} with {name} twice is taken");
                rows.extend(taken(packet, &twice).map(|steps| row(name, steps, plays)));
            } else if name != "Server Reference" {
                let refusal = format!("{packet:?} with {name} twice is refused");
                rows.push(row(refusal, refused(packet, &twice), plays));
                let name = format!("{packet:?} with {name} is taken");
                rows.extend(taken(packet, property).map(|steps| row(name, steps, plays)));
            }
        }
    }
    rows
}

fn row(name: String, steps: String, plays: &Plays) -> Row {
    Row {
        file: "properties (made from a table)".into(),
        ids: vec!["v5:MQTT-4.13.1-1".into()],
        malformed: false,
        only: None,
        needs_auth: steps.contains("auth("),
        settings: Settings::new(),
        steps: script::parse(&steps, plays).unwrap_or_else(|error| panic!("{name}: {error}")),
        name,
    }
}

fn refused(packet: Packet, properties: &[u8]) -> String {
    let sent = encode(packet, properties);
    match packet {
        Connect | Will => format!("a open\na > {sent}\na < connack(0, 81|82)\na closed"),
        Auth => {
            let connect =
                "10 1c 00 04 \"MQTT\" 05 02 00 00 0e 15 00 0b \"ringmq-test\" 00 01 \"a\"";
            format!(
                "a open\na > {connect}\na < auth(18)\na > {sent}\n\
                 a closed maybe connack(0, 81|82|8c)"
            )
        }
        _ => format!("play keep5 a\na > {sent}\na < disconnect(81|82)\na closed"),
    }
}

/// Steps that show that the packet is taken, where something shows it.
fn taken(packet: Packet, properties: &[u8]) -> Option<String> {
    let sent = encode(packet, properties);
    let answer = match packet {
        // A method has to be known.
        Connect if matches!(properties[0], 0x15 | 0x16) => return None,
        Connect | Will => return Some(format!("a open\na > {sent}\na < connack(0, 00)\na quiet")),
        Publish | Puback | Pubcomp => "a quiet",
        Pubrec => "a < pubrel(0001, 92)",
        Pubrel => "a < pubcomp(0001, 92)",
        Subscribe => "a < suback(0001, 00)",
        Unsubscribe => "a < unsuback(0001, 11)",
        Disconnect => "a closed",
        Auth => return None,
    };
    Some(format!("play keep5 a\na > {sent}\n{answer}"))
}

/// The packet as hex, with these properties.
fn encode(packet: Packet, properties: &[u8]) -> String {
    let mut section = Vec::new();
    wire::put_varint(properties.len(), &mut section);
    section.extend(properties);
    let (header, before, after): (u8, &[u8], &[u8]) = match packet {
        Connect => (0x10, b"\0\x04MQTT\x05\x02\0\0", b"\0\x01a"),
        Will => (0x10, b"\0\x04MQTT\x05\x06\0\0\0\0\x01a", b"\0\x01t\0\x01x"),
        Publish => (0x30, b"\0\x01u", b"x"),
        Puback => (0x40, b"\0\x01\0", b""),
        Pubrec => (0x50, b"\0\x01\0", b""),
        Pubrel => (0x62, b"\0\x01\0", b""),
        Pubcomp => (0x70, b"\0\x01\0", b""),
        Subscribe => (0x82, b"\0\x01", b"\0\x01u\0"),
        Unsubscribe => (0xa2, b"\0\x01", b"\0\x01u"),
        Disconnect => (0xe0, b"\0", b""),
        Auth => (0xf0, b"\x18", b""),
    };
    let mut out = vec![header];
    wire::put_varint(before.len() + section.len() + after.len(), &mut out);
    out.extend([before, &section, after].concat());
    out.iter().map(|byte| format!("{byte:02x} ")).collect()
}
