//! Whole packets, both ways.

mod fragments;
mod round_trip;
mod vectors_v3;
mod vectors_v5;

use super::*;

const SERVER_V5: (Version, Role) = (Version::V5, Role::Server);

fn decode_all(bytes: &[u8], (version, role): (Version, Role)) -> Result<Packet<'_>, DecodeError> {
    let frame = frame::next(bytes, usize::MAX)?.expect("a whole packet");
    assert_eq!(frame.len, bytes.len());
    decode(frame, version, role)
}

/// A packet of less than 128 bytes, and what it shows.
#[derive(Clone, Copy)]
struct Row {
    id: &'static str,
    header: u8,
    body: &'static [u8],
}

const fn row(id: &'static str, header: u8, body: &'static [u8]) -> Row {
    assert!(body.len() < 128);
    Row { id, header, body }
}

impl Row {
    fn packet(&self) -> Vec<u8> {
        [&[self.header, self.body.len() as u8], self.body].concat()
    }
}

fn decode_row(row: &Row, version: Version, role: Role) -> Result<Packet<'static>, DecodeError> {
    let frame = Frame {
        header: row.header,
        body: row.body,
        len: row.body.len() + 2,
    };
    decode(frame, version, role)
}

/// All are decoded, and encoded to the same bytes again.
fn check_allowed(version: Version, role: Role, rows: &[Row]) {
    for row in rows {
        let packet = decode_row(row, version, role);
        let packet = packet.unwrap_or_else(|error| panic!("{}: {error}", row.id));
        let mut out = vec![0xAA];
        packet.encode(version, &mut out);
        assert_eq!(out[1..], row.packet(), "{}", row.id);
    }
}

fn check_forbidden(version: Version, role: Role, rows: &[(Row, DecodeError)]) {
    for (row, error) in rows {
        let result = decode_row(row, version, role);
        assert_eq!(result, Err(*error), "{} {:02X?}", row.id, row.body);
        assert!(error.reason().is_error());
        assert!(error.to_string().len() > 20);
    }
}

#[test]
fn acks_without_properties_take_four_or_five_bytes() {
    let mut out = vec![];
    Ack::new(AckKind::PubRel, 0x1234, ReasonCode::Success).encode(Version::V5, &mut out);
    assert_eq!(out, [0x62, 2, 0x12, 0x34]);
    out.clear();
    let missing = Ack::new(AckKind::PubRel, 1, ReasonCode::PacketIdentifierNotFound);
    missing.encode(Version::V5, &mut out);
    assert_eq!(out, [0x62, 3, 0, 1, 0x92]);
    assert_eq!(decode_all(&out, SERVER_V5), Ok(Packet::Ack(missing)));
    out.clear();
    missing.encode(Version::V311, &mut out);
    assert_eq!(out, [0x62, 2, 0, 1]);
}

#[test]
fn connect_of_every_version() {
    let v31 = b"\x10\x13\0\x06MQIsdp\x03\x02\0\x3C\0\x05ab-cd";
    let v311 = b"\x10\x11\0\x04MQTT\x04\x02\0\x3C\0\x05ab-cd";
    let v5 = b"\x10\x12\0\x04MQTT\x05\x02\0\x3C\0\0\x05ab-cd";
    for (bytes, version) in [
        (&v31[..], Version::V31),
        (&v311[..], Version::V311),
        (&v5[..], Version::V5),
    ] {
        // The version given is not looked at.
        let Ok(Packet::Connect(connect)) = decode_all(bytes, (Version::V311, Role::Server)) else {
            panic!("{version:?} is refused");
        };
        assert_eq!((connect.version, connect.client_id), (version, "ab-cd"));
        assert!(connect.clean_start && connect.keep_alive_s == 60 && connect.will.is_none());
        assert_eq!(connect_version(&bytes[2..]), Some(version));
        let mut out = vec![];
        connect.encode(&mut out);
        assert_eq!(out, bytes);
    }
}

#[test]
fn connect_says_what_kind_of_stranger_it_is() {
    let decode = |body: &[u8]| Connect::decode(0x10, body).map(|_| ());
    assert_eq!(decode(b"\0\x04HTTP\x04"), Err(DecodeError::NotMqtt));
    assert_eq!(decode(b"\0"), Err(DecodeError::NotMqtt));
    let level = |level| Err(DecodeError::UnsupportedVersion { level });
    assert_eq!(decode(b"\0\x04MQTT\x06"), level(6));
    assert_eq!(decode(b"\0\x06MQIsdp\x04"), level(4));
    assert_eq!(decode(b"\0\x04MQTT\x84"), level(0x84));
    assert_eq!(
        decode(b"\0\x04MQTT\x05\x03"),
        Err(DecodeError::ConnectFlagReserved)
    );
}
