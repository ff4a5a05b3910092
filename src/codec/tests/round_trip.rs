//! Arbitrary packets come back as they were sent, and arbitrary bytes do no harm.

use super::*;
use proptest::collection::vec;
use proptest::option::of;
use proptest::prelude::*;
use std::num::{NonZeroU16, NonZeroU32};

const VERSIONS: [Version; 3] = [Version::V31, Version::V311, Version::V5];

fn text() -> impl Strategy<Value = String> {
    "[^\0]{0,12}"
}

fn topic() -> impl Strategy<Value = String> {
    "[^\0+#]{1,40}"
}

fn data() -> impl Strategy<Value = Vec<u8>> {
    vec(any::<u8>(), 0..20)
}

/// Up to three bytes of Remaining Length.
fn payload() -> impl Strategy<Value = Vec<u8>> {
    (any::<u8>(), 0..20_000usize).prop_map(|(byte, len)| vec![byte; len])
}

fn pairs() -> impl Strategy<Value = Vec<u8>> {
    vec((text(), text()), 0..12).prop_map(|pairs| {
        let mut encoded = vec![];
        for (name, value) in pairs {
            UserProperties::push(&mut encoded, &name, &value);
        }
        encoded
    })
}

fn qos() -> impl Strategy<Value = QoS> {
    (0..3u8).prop_map(|qos| QoS::try_from(qos).unwrap())
}

fn reasons(allowed: &'static [u8]) -> impl Strategy<Value = ReasonCode> {
    proptest::sample::select(allowed).prop_map(|code| ReasonCode::from_u8(code).unwrap())
}

/// Properties to forward, encoded by hand.
fn forwarded() -> impl Strategy<Value = Vec<u8>> {
    let field = |id: u8, value: &[u8]| {
        let len = (value.len() as u16).to_be_bytes();
        [&[id][..], &len, value].concat()
    };
    let properties = (
        of(any::<bool>()),
        of(text()),
        of(topic()),
        of(data()),
        pairs(),
    );
    properties.prop_map(
        move |(format, content_type, response, correlation, pairs)| {
            let mut encoded = pairs;
            encoded.extend(format.iter().flat_map(|format| [0x01, u8::from(*format)]));
            encoded.extend(
                content_type
                    .iter()
                    .flat_map(|text| field(0x03, text.as_bytes())),
            );
            encoded.extend(
                response
                    .iter()
                    .flat_map(|text| field(0x08, text.as_bytes())),
            );
            encoded.extend(correlation.iter().flat_map(|data| field(0x09, data)));
            encoded
        },
    )
}

/// Encodes, decodes and compares.
fn check(packet: Packet<'_>, version: Version, role: Role) -> Result<(), TestCaseError> {
    let mut out = vec![];
    packet.encode(version, &mut out);
    let frame = frame::next(&out, usize::MAX).unwrap().unwrap();
    prop_assert_eq!(frame.len, out.len());
    prop_assert_eq!(decode(frame, version, role), Ok(packet));
    Ok(())
}

proptest! {
    #[test]
    fn publish_as_head_and_payload(
        (topic, payload, forwarded) in (topic(), payload(), forwarded()),
        (qos, retain, dup, packet_id) in (qos(), any::<bool>(), any::<bool>(), 1u16..),
        (message_expiry_s, topic_alias) in (of(any::<u32>()), of(1u16..)),
        subscription_ids in vec(1..268_435_456u32, 0..4),
    ) {
        let head = PublishHead {
            topic: &topic,
            qos,
            retain,
            dup,
            packet_id,
            message_expiry_s,
            topic_alias,
            subscription_ids: &subscription_ids,
            forwarded: Forwarded::from_stored(&forwarded),
            payload_len: payload.len(),
        };
        for version in VERSIONS {
            let mut out = vec![];
            head.encode(version, &mut out);
            out.extend_from_slice(&payload);
            let frame = frame::next(&out, usize::MAX).unwrap().unwrap();
            prop_assert_eq!(frame.len, out.len());
            let decoded = Publish::decode_as(frame.header, frame.body, version, Role::Client);
            let publish = decoded.unwrap();
            prop_assert_eq!(publish.topic, &topic);
            prop_assert_eq!(publish.payload, &payload);
            prop_assert_eq!((publish.qos, publish.retain), (qos, retain));
            let at_least_once = qos != QoS::AtMostOnce;
            prop_assert_eq!(publish.dup, dup && at_least_once);
            prop_assert_eq!(publish.packet_id, if at_least_once { packet_id } else { 0 });
            if version == Version::V5 {
                prop_assert_eq!(publish.topic_alias, topic_alias);
                prop_assert_eq!(publish.message_expiry_s, message_expiry_s);
                prop_assert_eq!(publish.properties, head.forwarded);
                prop_assert!(publish.subscription_ids.iter().eq(subscription_ids.iter().copied()));
                let mut stored = vec![];
                publish.properties.write_to(&mut stored);
                prop_assert_eq!(&stored, &forwarded);
            } else {
                prop_assert!(publish.properties.is_empty());
            }
            let mut again = vec![];
            publish.encode(version, &mut again);
            prop_assert_eq!(again, out);
        }
    }

    #[test]
    fn connect(
        version in proptest::sample::select(&VERSIONS[..]),
        (clean_start, keep_alive_s, client_id) in (any::<bool>(), any::<u16>(), text()),
        login in of((text(), of(data()))),
        will in of((topic(), data(), qos(), any::<bool>(), any::<u32>(), of(any::<u32>()))),
        will_properties in forwarded(),
        numbers in (of(any::<u32>()), of(1u16..), of(1u32..), any::<u16>()),
        (response, problem, pairs) in (any::<bool>(), any::<bool>(), pairs()),
        authentication in of((text(), of(data()))),
    ) {
        let is_v5 = version == Version::V5;
        let will = will.as_ref().map(|(topic, payload, qos, retain, delay_s, expiry_s)| Will {
            topic,
            payload,
            qos: *qos,
            retain: *retain,
            delay_s: if is_v5 { *delay_s } else { 0 },
            message_expiry_s: expiry_s.filter(|_| is_v5),
            properties: Forwarded::from_stored(if is_v5 { &will_properties } else { &[] }),
        });
        let properties = ConnectProperties {
            session_expiry_s: numbers.0,
            receive_maximum: numbers.1.and_then(NonZeroU16::new),
            packet_bytes_max: numbers.2.and_then(NonZeroU32::new),
            topic_alias_maximum: numbers.3,
            request_response_information: response,
            request_problem_information: problem,
            user_properties: UserProperties::from_stored(&pairs),
            authentication_method: authentication.as_ref().map(|(name, _)| &name[..]),
            authentication_data: authentication.as_ref().and_then(|(_, data)| data.as_deref()),
        };
        let connect = Connect {
            version,
            clean_start,
            keep_alive_s,
            client_id: &client_id,
            will,
            username: login.as_ref().map(|(name, _)| &name[..]),
            password: login.as_ref().and_then(|(_, password)| password.as_deref()),
            properties: if is_v5 { properties } else { Default::default() },
        };
        check(Packet::Connect(connect), version, Role::Server)?;
    }

    #[test]
    fn connack(
        (present, code) in (any::<bool>(), reasons(&[0, 0x80, 0x87, 0x8C, 0x95, 0x9F])),
        (session_expiry_s, receive_maximum) in (of(any::<u32>()), of(1u16..)),
        (maximum_qos, packet_bytes_max) in (of(0..2u8), of(1u32..)),
        (alias_maximum, keep_alive_s) in (any::<u16>(), of(any::<u16>())),
        texts in vec(of(text()), 5),
        flags in vec(of(any::<bool>()), 4),
        (authentication_data, pairs) in (of(data()), pairs()),
    ) {
        let properties = ConnAckProperties {
            session_expiry_s,
            receive_maximum,
            maximum_qos: maximum_qos.map(|qos| QoS::try_from(qos).unwrap()),
            retain_available: flags[0],
            packet_bytes_max,
            assigned_client_id: texts[0].as_deref(),
            topic_alias_maximum: alias_maximum,
            reason_string: texts[1].as_deref(),
            user_properties: UserProperties::from_stored(&pairs),
            wildcard_subscription_available: flags[1],
            subscription_identifiers_available: flags[2],
            shared_subscription_available: flags[3],
            server_keep_alive_s: keep_alive_s,
            response_information: texts[2].as_deref(),
            server_reference: texts[3].as_deref(),
            authentication_method: texts[4].as_deref(),
            authentication_data: authentication_data.as_deref(),
        };
        let session_present = present && code == ReasonCode::Success;
        let connack = ConnAck { session_present, reason: code, properties };
        check(Packet::ConnAck(connack), Version::V5, Role::Client)?;
    }

    #[test]
    fn acks(
        kind in proptest::sample::select(
            &[AckKind::PubAck, AckKind::PubRec, AckKind::PubRel, AckKind::PubComp][..],
        ),
        (packet_id, failed) in (1u16.., any::<bool>()),
        (reason_string, pairs) in (of(text()), pairs()),
    ) {
        let reason = match kind {
            _ if !failed => ReasonCode::Success,
            AckKind::PubAck | AckKind::PubRec => ReasonCode::QuotaExceeded,
            _ => ReasonCode::PacketIdentifierNotFound,
        };
        let plain = Ack::new(kind, packet_id, reason);
        let full = Ack {
            reason_string: reason_string.as_deref(),
            user_properties: UserProperties::from_stored(&pairs),
            ..plain
        };
        for role in [Role::Server, Role::Client] {
            check(Packet::Ack(plain), Version::V5, role)?;
            check(Packet::Ack(full), Version::V5, role)?;
            let success = Ack::new(kind, packet_id, ReasonCode::Success);
            check(Packet::Ack(success), Version::V311, role)?;
        }
    }
}

proptest! {
    #[test]
    fn subscribe_and_unsubscribe(
        packet_id in 1u16..,
        filters in vec((text(), qos(), any::<bool>(), any::<bool>(), 0..3), 1..20),
        (subscription_id, pairs) in (of(1..268_435_456u32), pairs()),
    ) {
        let options = |(text, qos, no_local, as_published, handling): &(_, _, bool, bool, i32)| {
            let handling = match handling {
                0 => RetainHandling::OnSubscribe,
                1 => RetainHandling::OnNewSubscription,
                _ => RetainHandling::Never,
            };
            let _: &String = text;
            let is_shared = text.starts_with("$share/") || text.starts_with("$queue/");
            SubscribeOptions {
                qos: *qos,
                no_local: *no_local && !is_shared,
                retain_as_published: *as_published,
                retain_handling: handling,
            }
        };
        let with_options: Vec<_> = filters.iter().map(|of| (&of.0[..], options(of))).collect();
        let mut subscribe = Subscribe::new(packet_id, &with_options);
        subscribe.subscription_id = subscription_id;
        subscribe.user_properties = UserProperties::from_stored(&pairs);
        check(Packet::Subscribe(subscribe), Version::V5, Role::Server)?;
        let with_qos: Vec<_> =
            filters.iter().map(|of| (&of.0[..], SubscribeOptions::with_qos(of.1))).collect();
        let subscribe = Subscribe::new(packet_id, &with_qos);
        check(Packet::Subscribe(subscribe), Version::V311, Role::Server)?;
        let plain: Vec<&str> = filters.iter().map(|of| &of.0[..]).collect();
        let mut unsubscribe = Unsubscribe::new(packet_id, &plain);
        check(Packet::Unsubscribe(unsubscribe), Version::V311, Role::Server)?;
        unsubscribe.user_properties = UserProperties::from_stored(&pairs);
        check(Packet::Unsubscribe(unsubscribe), Version::V5, Role::Server)?;
    }

    #[test]
    fn suback_and_unsuback(
        packet_id in 1u16..,
        granted in vec(reasons(&[0, 1, 2, 0x80, 0x83, 0x87, 0x8F, 0x91, 0x97, 0x9E, 0xA2]), 1..200),
        deleted in vec(reasons(&[0, 0x11, 0x80, 0x83, 0x87, 0x8F, 0x91]), 1..9),
        (reason_string, pairs) in (of(text()), pairs()),
    ) {
        let (reason_string, user_properties) =
            (reason_string.as_deref(), UserProperties::from_stored(&pairs));
        let suback = SubAck { reason_string, user_properties, ..SubAck::new(packet_id, &granted) };
        check(Packet::SubAck(suback), Version::V5, Role::Client)?;
        let unsuback =
            UnsubAck { reason_string, user_properties, ..UnsubAck::new(packet_id, &deleted) };
        check(Packet::UnsubAck(unsuback), Version::V5, Role::Client)?;
        check(Packet::UnsubAck(UnsubAck::new(packet_id, &[])), Version::V311, Role::Client)?;
    }

    #[test]
    fn disconnect_and_auth(
        (from_server, session_expiry_s) in (any::<bool>(), of(any::<u32>())),
        (reason_string, server_reference) in (of(text()), of(text())),
        (method, data, pairs) in (text(), of(data()), pairs()),
    ) {
        let role = if from_server { Role::Client } else { Role::Server };
        let user_properties = UserProperties::from_stored(&pairs);
        let disconnect = Disconnect {
            reason: ReasonCode::QuotaExceeded,
            session_expiry_s: session_expiry_s.filter(|_| !from_server),
            reason_string: reason_string.as_deref(),
            user_properties,
            server_reference: server_reference.as_deref(),
        };
        check(Packet::Disconnect(disconnect), Version::V5, role)?;
        let auth = Auth {
            reason: ReasonCode::ContinueAuthentication,
            method: Some(&method),
            data: data.as_deref(),
            reason_string: reason_string.as_deref(),
            user_properties,
        };
        check(Packet::Auth(auth), Version::V5, role)?;
    }

    #[test]
    fn names_are_judged_as_character_by_character(bytes in vec(any::<u8>(), 0..40)) {
        let text = std::str::from_utf8(&bytes).ok();
        let wanted = text.filter(|text| !text.contains(['\0', '+', '#']));
        prop_assert_eq!(topic::string_without_wildcards(&bytes).ok(), wanted);
        let wanted = text.filter(|text| !text.contains('\0'));
        prop_assert_eq!(topic::string(&bytes).ok(), wanted);
    }

    #[test]
    fn any_bytes_are_a_packet_or_an_error(
        header in 0x10u8..,
        body in vec(any::<u8>(), 0..200),
        version in proptest::sample::select(&VERSIONS[..]),
    ) {
        for role in [Role::Server, Role::Client] {
            let frame = Frame { header, body: &body, len: body.len() + 2 };
            let _ = decode(frame, version, role);
        }
        let _ = Forwarded::from_stored(&body).response_topic();
        let _ = UserProperties::from_stored(&body).iter().count();
    }
}
