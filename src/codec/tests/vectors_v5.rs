//! Bytes that MQTT 5.0 allows and forbids, by statement.

use super::{Row, check_allowed, check_forbidden, row};
use crate::codec::{DecodeError::*, Role, Version};

#[test]
fn allowed() {
    check_allowed(Version::V5, Role::Server, FROM_CLIENT);
    check_allowed(Version::V5, Role::Client, FROM_SERVER);
}

/// Each is also encoded again to the very same bytes.
pub const FROM_CLIENT: &[Row] = &[
    row("MQTT-3.1.3-6", 0x10, b"\0\x04MQTT\x05\x02\0\0\0\0\0"),
    row(
        "MQTT-1.5.4-3",
        0x10,
        b"\0\x04MQTT\x05\0\0\0\0\0\x04\xEF\xBB\xBFa",
    ),
    // Session expiry, receive maximum, packet size, aliases, the two requests, method, data, user.
    row(
        "section 3.1.2.11",
        0x10,
        b"\0\x04MQTT\x05\0\0\x0A\x28\x11\xFF\xFF\xFF\xFF\x21\0\x14\x27\0\0\x10\0\x22\0\x0A\
          \x19\x01\x17\0\x15\0\x05SCRAM\x16\0\x02\0\xFF\x26\0\x01k\0\x01v\0\x01c",
    ),
    // Delay, expiry, format, type, response topic, correlation, two user properties in order.
    row(
        "MQTT-3.1.3-1",
        0x10,
        b"\0\x04MQTT\x05\xEE\0\x0A\0\0\x02id\x29\x18\0\0\0\x05\x02\0\0\0\x09\x01\x01\
          \x03\0\x04text\x08\0\x01r\x09\0\x01\0\x26\0\x01k\0\x01b\x26\0\x01k\0\x01a\
          \0\x03w/t\0\x02\0\x01\0\x01u\0\x02\0p",
    ),
    row(
        "MQTT-3.1.2-19 without user name",
        0x10,
        b"\0\x04MQTT\x05\x42\0\0\0\0\0\0\x01p",
    ),
    row("MQTT-2.2.1-2", 0x30, b"\0\x01t\0payload"),
    row("empty payload", 0x31, b"\0\x01t\0"),
    row("MQTT-3.3.1-1", 0x3D, b"\0\x03a/b\xFF\xFF\0x"),
    row(
        "alias stands for the topic",
        0x32,
        b"\0\0\0\x01\x03\x23\0\x01x",
    ),
    row(
        "MQTT-3.3.2-4, -15 to -20",
        0x34,
        b"\0\x01t\0\x01\x27\x02\0\0\0\x01\x23\xFF\xFF\x26\0\x01a\0\x01b\x01\x01\x03\0\x01c\
          \x08\0\x03r/r\x09\0\x02\x01\0\x26\0\x01a\0\x01bx",
    ),
    row("section 3.4.2.1", 0x40, b"\0\x01"),
    row("MQTT-3.4.2-1", 0x40, b"\0\x01\x10"),
    row(
        "section 3.5",
        0x50,
        b"\0\x01\x97\x0B\x1F\0\x01r\x26\0\x01k\0\x01v",
    ),
    row("MQTT-3.6.1-1", 0x62, b"\0\x01"),
    row("MQTT-3.7.2-1", 0x70, b"\0\x01\x92"),
    row(
        "MQTT-3.8.3-5",
        0x82,
        b"\0\x01\0\0\x03a/b\x2E\0\x01#\x11\0\x01+\0",
    ),
    row(
        "greatest identifier",
        0x82,
        b"\0\x01\x05\x0B\xFF\xFF\xFF\x7F\0\x01a\x01",
    ),
    row(
        "a filter that is none",
        0x82,
        b"\0\x01\0\0\x05a/#/b\0\0\0\0",
    ),
    row(
        "user property",
        0x82,
        b"\0\x01\x07\x26\0\x01k\0\x01v\0\x09$share/g/\x02",
    ),
    row("MQTT-3.10.3-2", 0xA2, b"\0\x01\0\0\x01a\0\x02b/"),
    row(
        "user property",
        0xA2,
        b"\0\x01\x07\x26\0\x01k\0\x01v\0\x01a",
    ),
    row("section 3.12", 0xC0, b""),
    row("section 3.14.2.1", 0xE0, b""),
    row("MQTT-3.14.2-1", 0xE0, b"\x04"),
    row(
        "section 3.14.2.2",
        0xE0,
        b"\0\x10\x11\0\0\0\0\x1F\0\x01r\x26\0\x01k\0\x01v",
    ),
    row("MQTT-3.15.2-1", 0xF0, b"\x18\x06\x15\0\x03SHA"),
    row(
        "re-authentication",
        0xF0,
        b"\x19\x0B\x15\0\x03SHA\x16\0\x02\xFF\0",
    ),
];

pub const FROM_SERVER: &[Row] = &[
    row("MQTT-3.1.4-5", 0x20, b"\0\0\0"),
    row("MQTT-3.2.2-3", 0x20, b"\x01\0\0"),
    row("MQTT-3.2.2-8", 0x20, b"\0\x9F\0"),
    row(
        "section 3.2.2.3",
        0x20,
        b"\0\0\x43\x11\0\0\0\x01\x21\0\x01\x24\x01\x25\0\x27\0\0\0\x01\x12\0\x01c\x22\0\x01\
          \x1F\0\x01r\x28\0\x29\0\x2A\0\x13\0\x0A\x1A\0\x01i\x1C\0\x01s\x15\0\x01m\x16\0\x01d\
          \x26\0\x01k\0\x01v\x26\0\x01k\0\x01v",
    ),
    row(
        "MQTT-3.3.4-4",
        0x32,
        b"\0\x01t\0\x01\x05\x0B\x01\x0B\xC8\x01x",
    ),
    row("MQTT-3.9.3-1", 0x90, b"\0\x01\0\0\x01\x02\x80\x8F\xA2"),
    row("reason string", 0x90, b"\0\x01\x04\x1F\0\x01r\0"),
    row("MQTT-3.11.3-1", 0xB0, b"\0\x01\0\0\x11\x87"),
    row("section 3.13", 0xD0, b""),
    row("MQTT-3.1.4-3", 0xE0, b"\x8E"),
    row("server reference", 0xE0, b"\x9C\x04\x1C\0\x01s"),
    row("section 3.15.2.1", 0xF0, b""),
    row(
        "MQTT-4.12.0-2",
        0xF0,
        b"\x18\x0C\x15\0\x01m\x16\0\x01d\x1F\0\x01r",
    ),
];

#[test]
fn forbidden_strings_and_headers() {
    #[rustfmt::skip]
    let rows = [
        (row("MQTT-1.5.4-1", 0x30, b"\0\x03\xED\xA0\x80\0"), NotUtf8),
        (row("MQTT-3.3.2-1", 0x30, b"\0\x02\xC0\x80\0"), NotUtf8),
        (row("MQTT-3.1.3-4", 0x10, b"\0\x04MQTT\x05\x02\0\0\0\0\x01\xFF"), NotUtf8),
        (row("MQTT-3.1.3-11", 0x10, b"\0\x04MQTT\x05\x06\0\0\0\0\0\0\0\x01\xFF\0\0"), NotUtf8),
        (row("MQTT-3.1.3-12", 0x10, b"\0\x04MQTT\x05\x82\0\0\0\0\0\0\x01\xFF"), NotUtf8),
        (row("MQTT-3.8.3-1", 0x82, b"\0\x01\0\0\x01\x80\0"), NotUtf8),
        (row("MQTT-3.10.3-1", 0xA2, b"\0\x01\0\0\x01\x80"), NotUtf8),
        (row("MQTT-3.3.2-13", 0x30, b"\0\x01t\x04\x08\0\x01\x80"), NotUtf8),
        (row("MQTT-3.3.2-19", 0x30, b"\0\x01t\x04\x03\0\x01\x80"), NotUtf8),
        (row("MQTT-1.5.7-1", 0x30, b"\0\x01t\x07\x26\0\x01\x80\0\x01v"), NotUtf8),
        (row("MQTT-1.5.7-1", 0x30, b"\0\x01t\x07\x26\0\x01k\0\x01\x80"), NotUtf8),
        (row("MQTT-1.5.4-2", 0x10, b"\0\x04MQTT\x05\x02\0\0\0\0\x01\0"), NulCharacter),
        (row("MQTT-4.7.3-2", 0x30, b"\0\x01\0\0"), NulCharacter),
        (row("MQTT-4.7.3-2", 0x82, b"\0\x01\0\0\x02a\0\0"), NulCharacter),
        (row("MQTT-1.5.5-1", 0x30, b"\0\x01t\xFF\xFF\xFF\xFF\x01"), LengthTooLong),
        (row("MQTT-2.1.3-1", 0x11, b"\0\x04MQTT\x05\x02\0\0\0\0\0"), HeaderFlags),
        (row("MQTT-2.1.3-1", 0x41, b"\0\x01"), HeaderFlags),
        (row("MQTT-2.1.3-1", 0x52, b"\0\x01"), HeaderFlags),
        (row("MQTT-3.6.1-1", 0x60, b"\0\x01"), HeaderFlags),
        (row("MQTT-3.6.1-1", 0x6A, b"\0\x01"), HeaderFlags),
        (row("MQTT-2.1.3-1", 0x72, b"\0\x01"), HeaderFlags),
        (row("MQTT-3.8.1-1", 0x80, b"\0\x01\0\0\x01a\0"), HeaderFlags),
        (row("MQTT-3.8.1-1", 0x8A, b"\0\x01\0\0\x01a\0"), HeaderFlags),
        (row("MQTT-3.10.1-1", 0xA0, b"\0\x01\0\0\x01a"), HeaderFlags),
        (row("MQTT-2.1.3-1", 0xC1, b""), HeaderFlags),
        (row("MQTT-3.14.1-1", 0xE1, b""), HeaderFlags),
        (row("MQTT-3.15.1-1", 0xF1, b"\x18\x06\x15\0\x03SHA"), HeaderFlags),
        (row("section 2.1.2", 0x20, b"\0\0\0"), WrongDirection),
        (row("section 2.1.2", 0x90, b"\0\x01\0\0"), WrongDirection),
        (row("section 2.1.2", 0xB0, b"\0\x01\0\0"), WrongDirection),
        (row("section 2.1.2", 0xD0, b""), WrongDirection),
        (row("section 3.12", 0xC0, b"x"), TrailingBytes),
        (row("MQTT-2.2.1-3", 0x32, b"\0\x01t\0\0\0"), PacketIdZero),
        (row("MQTT-2.2.1-3", 0x40, b"\0\0"), PacketIdZero),
        (row("MQTT-2.2.1-3", 0x82, b"\0\0\0\0\x01a\0"), PacketIdZero),
        (row("MQTT-2.2.1-3", 0xA2, b"\0\0\0\0\x01a"), PacketIdZero),
    ];
    check_forbidden(Version::V5, Role::Server, &rows);
}

#[test]
fn forbidden_connect() {
    let property = |id| PropertyNotAllowed { id };
    let code = |id| PropertyValue { id };
    let level = |level| UnsupportedVersion { level };
    let twice = PropertyRepeated { id: 0x21 };
    let data_alone = AuthenticationDataWithoutMethod;
    #[rustfmt::skip]
    let rows = [
        (row("MQTT-3.1.2-1", 0x10, b"\0\x04mqtt\x05\x02\0\0\0\0\0"), NotMqtt),
        (row("MQTT-3.1.2-2", 0x10, b"\0\x04MQTT\x07\x02\0\0\0\0\0"), level(7)),
        (row("MQTT-3.1.2-3", 0x10, b"\0\x04MQTT\x05\x03\0\0\0\0\0"), ConnectFlagReserved),
        (row("MQTT-3.1.2-9", 0x10, b"\0\x04MQTT\x05\x06\0\0\0\0\0"), Truncated),
        (row("MQTT-3.1.2-9", 0x10, b"\0\x04MQTT\x05\x06\0\0\0\0\0\0\0\x01w"), Truncated),
        (row("MQTT-3.1.2-11", 0x10, b"\0\x04MQTT\x05\x0A\0\0\0\0\0"), WillFlags),
        (row("MQTT-3.1.2-12", 0x10, b"\0\x04MQTT\x05\x1E\0\0\0\0\0\0\0\x01w\0\0"), WillQoS),
        (row("MQTT-3.1.2-13", 0x10, b"\0\x04MQTT\x05\x22\0\0\0\0\0"), WillFlags),
        (row("MQTT-3.1.2-16", 0x10, b"\0\x04MQTT\x05\x02\0\0\0\0\0\0\x01u"), TrailingBytes),
        (row("MQTT-3.1.2-17", 0x10, b"\0\x04MQTT\x05\x82\0\0\0\0\0"), Truncated),
        (row("MQTT-3.1.2-18", 0x10, b"\0\x04MQTT\x05\x82\0\0\0\0\0\0\x01u\0\x01p"), TrailingBytes),
        (row("MQTT-3.1.2-19", 0x10, b"\0\x04MQTT\x05\xC2\0\0\0\0\0\0\x01u"), Truncated),
        (row("MQTT-3.1.3-3", 0x10, b"\0\x04MQTT\x05\x02\0\0\0"), Truncated),
        (row("MQTT-2.2.2-1", 0x10, b"\0\x04MQTT\x05\x02\0\0"), Truncated),
        (row("will topic", 0x10, b"\0\x04MQTT\x05\x06\0\0\0\0\0\0\0\0\0\0"), TopicEmpty),
        (row("MQTT-4.7.0-1", 0x10, b"\0\x04MQTT\x05\x06\0\0\0\0\0\0\0\x01#\0\0"), TopicWildcard),
        (row("receive maximum 0", 0x10, b"\0\x04MQTT\x05\x02\0\0\x03\x21\0\0\0\0"), code(0x21)),
        (row("packet size 0", 0x10, b"\0\x04MQTT\x05\x02\0\0\x05\x27\0\0\0\0\0\0"), code(0x27)),
        (row("request 2", 0x10, b"\0\x04MQTT\x05\x02\0\0\x02\x19\x02\0\0"), code(0x19)),
        (row("data alone", 0x10, b"\0\x04MQTT\x05\x02\0\0\x04\x16\0\x01d\0\0"), data_alone),
        (row("alias", 0x10, b"\0\x04MQTT\x05\x02\0\0\x03\x23\0\x01\0\0"), property(0x23)),
        (row("delay", 0x10, b"\0\x04MQTT\x05\x02\0\0\x05\x18\0\0\0\0\0\0"), property(0x18)),
        (row("no such id", 0x10, b"\0\x04MQTT\x05\x02\0\0\x02\x04\0\0\0"), property(4)),
        (row("id of 66", 0x10, b"\0\x04MQTT\x05\x02\0\0\x02\x42\0\0\0"), property(0x42)),
        (
            row("alias", 0x10, b"\0\x04MQTT\x05\x06\0\0\0\0\0\x03\x23\0\x01\0\x01w\0\0"),
            property(0x23),
        ),
        (row("twice", 0x10, b"\0\x04MQTT\x05\x02\0\0\x06\x21\0\x01\x21\0\x01\0\0"), twice),
        (row("section too long", 0x10, b"\0\x04MQTT\x05\x02\0\0\x09\x21\0\x01\0\0"), Truncated),
        (row("section cut", 0x10, b"\0\x04MQTT\x05\x02\0\0\x02\x21\0\0\0"), Truncated),
    ];
    check_forbidden(Version::V5, Role::Server, &rows);
}

#[test]
fn forbidden_publish_and_acks() {
    let code = |code| ReasonCodeNotAllowed { code };
    #[rustfmt::skip]
    let rows = [
        (row("MQTT-3.3.1-2", 0x38, b"\0\x01t\0"), DupAtQoS0),
        (row("MQTT-3.3.1-4", 0x36, b"\0\x01t\0\x01\0"), PublishQoS),
        (row("MQTT-3.3.2-2", 0x30, b"\0\x03a/+\0"), TopicWildcard),
        (row("MQTT-3.3.2-2", 0x30, b"\0\x02a#\0"), TopicWildcard),
        (row("MQTT-4.7.3-1", 0x30, b"\0\0\0"), TopicEmpty),
        (row("MQTT-3.3.2-8", 0x30, b"\0\x01t\x03\x23\0\0"), TopicAliasZero),
        (row("MQTT-3.3.2-14", 0x30, b"\0\x01t\x04\x08\0\x01#"), ResponseTopicWildcard),
        (row("MQTT-3.3.4-6", 0x30, b"\0\x01t\x02\x0B\x01"), SubscriptionIdFromClient),
        (row("identifier 0", 0x30, b"\0\x01t\x02\x0B\0"), SubscriptionIdZero),
        (row("format 2", 0x30, b"\0\x01t\x02\x01\x02"), PropertyValue { id: 1 }),
        (row("twice", 0x30, b"\0\x01t\x04\x01\x01\x01\x01"), PropertyRepeated { id: 1 }),
        (row("reason string", 0x30, b"\0\x01t\x04\x1F\0\x01r"), PropertyNotAllowed { id: 0x1F }),
        (row("no properties", 0x30, b"\0\x01t"), Truncated),
        (row("no packet id", 0x32, b"\0\x01t\0"), Truncated),
        (row("MQTT-3.4.2-1", 0x40, b"\0\x01\x92"), code(0x92)),
        (row("MQTT-3.4.2-1", 0x40, b"\0\x01\x01"), code(1)),
        (row("MQTT-3.5.2-1", 0x50, b"\0\x01\x04"), code(4)),
        (row("MQTT-3.6.2-1", 0x62, b"\0\x01\x80"), code(0x80)),
        (row("MQTT-3.7.2-1", 0x70, b"\0\x01\x91"), code(0x91)),
        (row("no packet id", 0x40, b"\0"), Truncated),
        (row("after the properties", 0x40, b"\0\x01\0\0\0"), TrailingBytes),
        (row("alias", 0x40, b"\0\x01\0\x03\x23\0\x01"), PropertyNotAllowed { id: 0x23 }),
    ];
    check_forbidden(Version::V5, Role::Server, &rows);
}

#[test]
fn forbidden_requests_and_ends() {
    let code = |code| ReasonCodeNotAllowed { code };
    #[rustfmt::skip]
    let rows = [
        (row("MQTT-3.8.3-2", 0x82, b"\0\x01\0"), NoFilters),
        (row("MQTT-3.8.3-4", 0x82, b"\0\x01\0\0\x0A$share/g/a\x04"), NoLocalOnShared),
        (row("MQTT-3.8.3-5", 0x82, b"\0\x01\0\0\x01a\x40"), SubscribeOptionsReserved),
        (row("MQTT-3.8.3-5", 0x82, b"\0\x01\0\0\x01a\0\0\x01b\x80"), SubscribeOptionsReserved),
        (row("QoS 3", 0x82, b"\0\x01\0\0\x01a\x03"), SubscribeQoS),
        (row("Retain Handling 3", 0x82, b"\0\x01\0\0\x01a\x30"), RetainHandling),
        (row("no options", 0x82, b"\0\x01\0\0\x01a"), Truncated),
        (row("identifier 0", 0x82, b"\0\x01\x02\x0B\0\0\x01a\0"), SubscriptionIdZero),
        (row("twice", 0x82, b"\0\x01\x04\x0B\x01\x0B\x01\0\x01a\0"), PropertyRepeated { id: 0x0B }),
        (row("MQTT-3.10.3-2", 0xA2, b"\0\x01\0"), NoFilters),
        (row("identifier", 0xA2, b"\0\x01\x02\x0B\x01\0\x01a"), PropertyNotAllowed { id: 0x0B }),
        (row("MQTT-3.14.2-1", 0xE0, b"\x8E"), code(0x8E)),
        (row("MQTT-3.14.2-1", 0xE0, b"\x01"), code(1)),
        (row("section 3.14.2.2", 0xE0, b"\0\x03\x21\0\x01"), PropertyNotAllowed { id: 0x21 }),
        (row("MQTT-3.15.2-1", 0xF0, b""), code(0)),
        (row("MQTT-3.15.2-1", 0xF0, b"\x80\0"), code(0x80)),
        (row("section 3.15.2.2.2", 0xF0, b"\x18\0"), AuthenticationMethodMissing),
        (row("section 3.15.2.2", 0xF0, b"\x18"), Truncated),
    ];
    check_forbidden(Version::V5, Role::Server, &rows);
}

#[test]
fn forbidden_to_servers() {
    let code = |code| ReasonCodeNotAllowed { code };
    #[rustfmt::skip]
    let rows = [
        (row("MQTT-3.2.2-1", 0x20, b"\x02\0\0"), ConnAckFlags),
        (row("MQTT-3.2.2-6", 0x20, b"\x01\x87\0"), ConnAckFlags),
        (row("MQTT-3.2.2-8", 0x20, b"\0\x8E\0"), code(0x8E)),
        (row("receive maximum 0", 0x20, b"\0\0\x03\x21\0\0"), PropertyValue { id: 0x21 }),
        (row("alias", 0x20, b"\0\0\x03\x23\0\x01"), PropertyNotAllowed { id: 0x23 }),
        (row("MQTT-3.9.3-2", 0x90, b"\0\x01\0\x11"), code(0x11)),
        (row("MQTT-3.11.3-2", 0xB0, b"\0\x01\0\x01"), code(1)),
        (row("MQTT-3.14.2-1", 0xE0, b"\x04"), code(4)),
        (row("MQTT-3.14.2-2", 0xE0, b"\0\x05\x11\0\0\0\0"), SessionExpiryFromServer),
        (row("MQTT-3.15.2-1", 0xF0, b"\x19\x06\x15\0\x03SHA"), code(0x19)),
        (row("section 2.1.2", 0x10, b"\0\x04MQTT\x05\x02\0\0\0\0\0"), WrongDirection),
        (row("section 2.1.2", 0xC0, b""), WrongDirection),
    ];
    check_forbidden(Version::V5, Role::Client, &rows);
}
