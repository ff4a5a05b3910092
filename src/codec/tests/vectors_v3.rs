//! Bytes that MQTT 3.1.1 and 3.1 allow and forbid, by statement.

use super::{Row, check_allowed, check_forbidden, decode_row, row};
use crate::codec::{DecodeError, DecodeError::*, Packet, QoS, ReasonCode, Role, Version};

#[test]
fn allowed() {
    check_allowed(Version::V311, Role::Server, FROM_CLIENT);
    check_allowed(Version::V311, Role::Client, FROM_SERVER);
    check_allowed(Version::V31, Role::Server, FROM_CLIENT_31);
}

pub const FROM_CLIENT: &[Row] = &[
    row("MQTT-3.1.3-6", 0x10, b"\0\x04MQTT\x04\x02\0\0\0\0"),
    row(
        "MQTT-1.5.3-3",
        0x10,
        b"\0\x04MQTT\x04\0\0\0\0\x04\xEF\xBB\xBFa",
    ),
    row(
        "MQTT-3.1.3-1",
        0x10,
        b"\0\x04MQTT\x04\xEE\0\x0A\0\x02id\0\x03w/t\0\x01m\0\x01u\0\x02\0p",
    ),
    row(
        "MQTT-3.1.3-10",
        0x10,
        b"\0\x04MQTT\x04\x34\0\x0A\0\x02id\0\x02\xC3\xBC\0\0",
    ),
    row("MQTT-2.3.1-5", 0x30, b"\0\x01tpayload"),
    row("MQTT-3.3.1-10", 0x31, b"\0\x01t"),
    row("MQTT-3.3.1-1", 0x3D, b"\0\x03a/b\xFF\xFFx"),
    row("section 3.4", 0x40, b"\0\x01"),
    row("section 3.5", 0x50, b"\0\x01"),
    row("MQTT-3.6.1-1", 0x62, b"\0\x01"),
    row("section 3.7", 0x70, b"\0\x01"),
    row(
        "MQTT-3.8.3-3",
        0x82,
        b"\0\x01\0\x03a/b\x02\0\x01#\x01\0\x01+\0",
    ),
    row("MQTT-3.10.3-2", 0xA2, b"\0\x01\0\x01a\0\x02b/"),
    row("section 3.12", 0xC0, b""),
    row("section 3.14", 0xE0, b""),
];

pub const FROM_SERVER: &[Row] = &[
    row("MQTT-3.1.4-4", 0x20, b"\0\0"),
    row("MQTT-3.2.2-2", 0x20, b"\x01\0"),
    row("MQTT-3.1.2-2", 0x20, b"\0\x01"),
    row("MQTT-3.1.3-9", 0x20, b"\0\x02"),
    row("section 3.2.2.3", 0x20, b"\0\x05"),
    row("MQTT-3.9.3-1", 0x90, b"\0\x01\0\x01\x02\x80"),
    row("section 3.11", 0xB0, b"\0\x01"),
    row("section 3.13", 0xD0, b""),
];

pub const FROM_CLIENT_31: &[Row] = &[
    row("section 3.1", 0x10, b"\0\x06MQIsdp\x03\x02\0\x0A\0\x01c"),
    row(
        "section 3.1",
        0x10,
        b"\0\x06MQIsdp\x03\xE6\0\x0A\0\x01c\0\x01w\0\x01m\0\x01u\0\x01p",
    ),
    row("section 3.3", 0x32, b"\0\x01t\0\x01m"),
    row("section 3.8", 0x82, b"\0\x01\0\x01a\x01"),
];

#[test]
fn version_3_1_tolerates_what_it_leaves_open() {
    let decode = |row: &Row| decode_row(row, Version::V31, Role::Server).map(|_| ());
    for row in [
        row("DUP in PUBREL", 0x6A, b"\0\x01"),
        row("DUP in SUBSCRIBE", 0x8A, b"\0\x01\0\x01a\x01"),
        row("DUP in UNSUBSCRIBE", 0xAA, b"\0\x01\0\x01a"),
        row("DUP at QoS 0", 0x38, b"\0\x01t"),
        row(
            "reserved CONNECT flag",
            0x10,
            b"\0\x06MQIsdp\x03\x03\0\0\0\x01c",
        ),
        row(
            "will bits without will",
            0x10,
            b"\0\x06MQIsdp\x03\x3A\0\0\0\x01c",
        ),
        row(
            "user name missing",
            0x10,
            b"\0\x06MQIsdp\x03\xC2\0\0\0\x01c",
        ),
        row(
            "password missing",
            0x10,
            b"\0\x06MQIsdp\x03\xC2\0\0\0\x01c\0\x01u",
        ),
    ] {
        assert_eq!(decode(&row), Ok(()), "{}", row.id);
    }
    let odd = row("DUP in PUBACK", 0x48, b"\0\x01");
    assert_eq!(decode(&odd), Err(HeaderFlags));
}

#[test]
fn forbidden_connect() {
    #[rustfmt::skip]
    let rows = [
        (row("MQTT-3.1.2-1", 0x10, b"\0\x04MQTU\x04\x02\0\0\0\0"), NotMqtt),
        (row("MQTT-3.1.2-2", 0x10, b"\0\x04MQTT\x03\x02\0\0\0\0"), UnsupportedVersion { level: 3 }),
        (row("MQTT-3.1.2-3", 0x10, b"\0\x04MQTT\x04\x03\0\0\0\0"), ConnectFlagReserved),
        (row("MQTT-3.1.2-9", 0x10, b"\0\x04MQTT\x04\x06\0\0\0\0\0\x01w"), Truncated),
        (row("MQTT-3.1.2-11", 0x10, b"\0\x04MQTT\x04\x02\0\0\0\0\0\x01w\0\x01m"), TrailingBytes),
        (row("MQTT-3.1.2-13", 0x10, b"\0\x04MQTT\x04\x12\0\0\0\0"), WillFlags),
        (row("MQTT-3.1.2-14", 0x10, b"\0\x04MQTT\x04\x1E\0\0\0\0\0\x01w\0\0"), WillQoS),
        (row("MQTT-3.1.2-15", 0x10, b"\0\x04MQTT\x04\x22\0\0\0\0"), WillFlags),
        (row("MQTT-3.1.2-18", 0x10, b"\0\x04MQTT\x04\x02\0\0\0\0\0\x01u"), TrailingBytes),
        (row("MQTT-3.1.2-19", 0x10, b"\0\x04MQTT\x04\x82\0\0\0\0"), Truncated),
        (row("MQTT-3.1.2-20", 0x10, b"\0\x04MQTT\x04\x82\0\0\0\0\0\x01u\0\x01p"), TrailingBytes),
        (row("MQTT-3.1.2-21", 0x10, b"\0\x04MQTT\x04\xC2\0\0\0\0\0\x01u"), Truncated),
        (row("MQTT-3.1.2-22", 0x10, b"\0\x04MQTT\x04\x42\0\0\0\0\0\x01p"), PasswordWithoutUserName),
        (row("MQTT-3.1.3-3", 0x10, b"\0\x04MQTT\x04\x02\0\0"), Truncated),
        (row("MQTT-3.1.3-4", 0x10, b"\0\x04MQTT\x04\x02\0\0\0\x01\xFF"), NotUtf8),
        (row("MQTT-3.1.3-10", 0x10, b"\0\x04MQTT\x04\x06\0\0\0\0\0\x01\xFF\0\0"), NotUtf8),
        (row("MQTT-3.1.3-11", 0x10, b"\0\x04MQTT\x04\x82\0\0\0\0\0\x01\xFF"), NotUtf8),
        (row("MQTT-1.5.3-2", 0x10, b"\0\x04MQTT\x04\x02\0\0\0\x01\0"), NulCharacter),
    ];
    check_forbidden(Version::V311, Role::Server, &rows);
}

#[test]
fn forbidden_from_clients() {
    #[rustfmt::skip]
    let rows = [
        (row("MQTT-1.5.3-1", 0x30, b"\0\x03\xED\xA0\x80"), NotUtf8),
        (row("MQTT-1.5.3-2", 0x30, b"\0\x02t\0"), NulCharacter),
        (row("MQTT-2.2.2-2", 0x13, b"\0\x04MQTT\x04\x02\0\0\0\0"), HeaderFlags),
        (row("MQTT-2.2.2-2", 0x42, b"\0\x01"), HeaderFlags),
        (row("MQTT-2.2.2-2", 0xC2, b""), HeaderFlags),
        (row("MQTT-2.3.1-1", 0x32, b"\0\x01t\0\0"), PacketIdZero),
        (row("MQTT-2.3.1-1", 0x82, b"\0\0\0\x01a\0"), PacketIdZero),
        (row("MQTT-2.3.1-1", 0xA2, b"\0\0\0\x01a"), PacketIdZero),
        (row("MQTT-3.3.1-2", 0x38, b"\0\x01t"), DupAtQoS0),
        (row("MQTT-3.3.1-4", 0x36, b"\0\x01t\0\x01"), PublishQoS),
        (row("MQTT-3.3.2-1", 0x30, b"\0\x01\xFF"), NotUtf8),
        (row("MQTT-3.3.2-2", 0x30, b"\0\x03a/#"), TopicWildcard),
        (row("MQTT-4.7.3-1", 0x30, b"\0\0m"), TopicEmpty),
        (row("MQTT-3.6.1-1", 0x60, b"\0\x01"), HeaderFlags),
        (row("MQTT-3.6.1-1", 0x6A, b"\0\x01"), HeaderFlags),
        (row("MQTT-3.8.1-1", 0x8A, b"\0\x01\0\x01a\0"), HeaderFlags),
        (row("MQTT-3.8.3-1", 0x82, b"\0\x01\0\x01\xFF\0"), NotUtf8),
        (row("MQTT-3.8.3-3", 0x82, b"\0\x01"), NoFilters),
        (row("MQTT-3-8.3-4", 0x82, b"\0\x01\0\x01a\x04"), SubscribeOptionsReserved),
        (row("MQTT-3-8.3-4", 0x82, b"\0\x01\0\x01a\x03"), SubscribeQoS),
        (row("MQTT-3.10.1-1", 0xA0, b"\0\x01\0\x01a"), HeaderFlags),
        (row("MQTT-3.10.3-1", 0xA2, b"\0\x01\0\x01\xFF"), NotUtf8),
        (row("MQTT-3.10.3-2", 0xA2, b"\0\x01"), NoFilters),
        (row("MQTT-3.14.1-1", 0xE2, b""), HeaderFlags),
        (row("section 3.14", 0xE0, b"\0"), TrailingBytes),
        (row("section 3.4", 0x40, b"\0\x01\0"), TrailingBytes),
        (row("section 2.2.1", 0xF0, b""), UnknownPacketType),
        (row("section 2.2.1", 0x20, b"\0\0"), WrongDirection),
    ];
    check_forbidden(Version::V311, Role::Server, &rows);
}

#[test]
fn forbidden_from_servers() {
    let code = |code| ReasonCodeNotAllowed { code };
    #[rustfmt::skip]
    let rows = [
        (row("MQTT-3.2.2-4", 0x20, b"\x01\x05"), ConnAckFlags),
        (row("section 3.2.2.2", 0x20, b"\x02\0"), ConnAckFlags),
        (row("section 3.2.2.3", 0x20, b"\0\x06"), code(6)),
        (row("MQTT-3.9.3-2", 0x90, b"\0\x01\x81"), code(0x81)),
        (row("section 3.11", 0xB0, b"\0\x01\0"), TrailingBytes),
        (row("section 3.14", 0xE0, b""), WrongDirection),
    ];
    check_forbidden(Version::V311, Role::Client, &rows);
}

#[test]
fn what_version_5_says_is_put_into_version_3_terms() {
    let encode = |packet: Packet<'_>, version| {
        let mut out = vec![];
        packet.encode(version, &mut out);
        out
    };
    let refused = crate::codec::ConnAck {
        session_present: true,
        reason: ReasonCode::ServerBusy,
        properties: Default::default(),
    };
    assert_eq!(
        encode(Packet::ConnAck(refused), Version::V311),
        [0x20, 2, 0, 3]
    );
    let present = crate::codec::ConnAck {
        reason: ReasonCode::Success,
        ..refused
    };
    assert_eq!(
        encode(Packet::ConnAck(present), Version::V311),
        [0x20, 2, 1, 0]
    );
    assert_eq!(
        encode(Packet::ConnAck(present), Version::V31),
        [0x20, 2, 0, 0]
    );
    let reasons = [ReasonCode::GrantedQoS1, ReasonCode::TopicFilterInvalid];
    let suback = Packet::SubAck(crate::codec::SubAck::new(1, &reasons));
    assert_eq!(encode(suback, Version::V311), [0x90, 4, 0, 1, 1, 0x80]);
    let unsuback = Packet::UnsubAck(crate::codec::UnsubAck::new(1, &reasons));
    assert_eq!(encode(unsuback, Version::V311), [0xB0, 2, 0, 1]);
    let options = crate::codec::SubscribeOptions {
        qos: QoS::AtLeastOnce,
        no_local: true,
        retain_as_published: true,
        retain_handling: crate::codec::RetainHandling::Never,
    };
    let filters = [("a", options)];
    let subscribe = Packet::Subscribe(crate::codec::Subscribe::new(1, &filters));
    assert_eq!(
        encode(subscribe, Version::V311),
        [0x82, 6, 0, 1, 0, 1, b'a', 1]
    );
    let error: DecodeError = NotUtf8;
    assert_eq!(error.reason(), ReasonCode::MalformedPacket);
}
