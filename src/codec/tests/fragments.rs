//! Streams that arrive in pieces, and packets that end too early.

use super::vectors_v3::{
    FROM_CLIENT as CLIENT_311, FROM_CLIENT_31 as CLIENT_31, FROM_SERVER as SERVER_311,
};
use super::vectors_v5::{FROM_CLIENT as CLIENT_5, FROM_SERVER as SERVER_5};
use super::*;

const STREAMS: [(Version, Role, &[Row]); 5] = [
    (Version::V5, Role::Server, CLIENT_5),
    (Version::V5, Role::Client, SERVER_5),
    (Version::V311, Role::Server, CLIENT_311),
    (Version::V311, Role::Client, SERVER_311),
    (Version::V31, Role::Server, CLIENT_31),
];

#[test]
fn every_fragment_size_gives_the_same_packets() {
    for (version, role, rows) in STREAMS {
        let stream: Vec<u8> = rows.iter().flat_map(Row::packet).collect();
        for size in 1..=stream.len() {
            let mut buffer = vec![];
            let mut again = vec![];
            let mut count = 0;
            for fragment in stream.chunks(size) {
                buffer.extend_from_slice(fragment);
                let mut taken = 0;
                while let Some(frame) = frame::next(&buffer[taken..], 128).unwrap() {
                    taken += frame.len;
                    count += 1;
                    decode(frame, version, role)
                        .unwrap()
                        .encode(version, &mut again);
                }
                buffer.drain(..taken);
            }
            assert!(buffer.is_empty());
            assert_eq!(
                (count, &again),
                (rows.len(), &stream),
                "fragments of {size}"
            );
        }
    }
}

/// A packet whose Remaining Length cuts it off is refused, or is one whose last field is as long
/// as the packet or may be left out.
#[test]
fn every_packet_cut_at_every_byte() {
    for (version, role, rows) in STREAMS {
        for row in rows {
            for end in 0..row.body.len() {
                let cut = Row {
                    body: &row.body[..end],
                    ..*row
                };
                let Ok(packet) = decode_row(&cut, version, role) else {
                    continue;
                };
                assert!(
                    may_end_early(&packet, version),
                    "{} at {end}: {packet:?}",
                    row.id
                );
            }
        }
    }
}

fn may_end_early(packet: &Packet<'_>, version: Version) -> bool {
    match packet {
        Packet::Publish(_) | Packet::Subscribe(_) | Packet::Unsubscribe(_) => true,
        Packet::SubAck(_) | Packet::UnsubAck(_) => true,
        Packet::Ack(_) | Packet::Disconnect(_) | Packet::Auth(_) => version == Version::V5,
        // 3.1: the Remaining Length takes precedence over the flags.
        Packet::Connect(connect) => version == Version::V31 && connect.password.is_none(),
        _ => false,
    }
}

/// Every byte of every row replaced by every value: an error or a packet, never a panic, and a
/// packet that is taken can be sent on.
#[test]
fn every_byte_changed_to_every_value() {
    let mut out = vec![];
    for (version, role, rows) in STREAMS {
        for row in rows {
            let mut bytes = row.packet();
            for at in 0..bytes.len() {
                let original = bytes[at];
                for value in 0..=255 {
                    bytes[at] = value;
                    let Ok(Some(frame)) = frame::next(&bytes, 128) else {
                        continue;
                    };
                    if let Ok(packet) = decode(frame, version, role) {
                        out.clear();
                        packet.encode(version, &mut out);
                        assert_decodes_to(&packet, &out, version, role);
                    }
                }
                bytes[at] = original;
            }
        }
    }
}

fn assert_decodes_to(packet: &Packet<'_>, bytes: &[u8], version: Version, role: Role) {
    let frame = frame::next(bytes, usize::MAX).unwrap().unwrap();
    let version = match packet {
        Packet::Connect(connect) => connect.version,
        _ => version,
    };
    assert_eq!(frame.len, bytes.len());
    assert_eq!(decode(frame, version, role).as_ref(), Ok(packet));
}
