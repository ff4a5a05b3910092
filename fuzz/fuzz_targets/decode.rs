//! Any bytes are packets or an error. A packet that is taken comes back the same after it was
//! encoded, and no larger than it may be.
//!
//! The first byte chooses version and role; the rest is a stream.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ringmq::codec::{Forwarded, Packet, Role, UserProperties, Version, decode, frame, topic};

const PACKET_BYTES_MAX: usize = 4096;

fuzz_target!(|input: &[u8]| {
    let Some((&choice, mut stream)) = input.split_first() else {
        return;
    };
    let version = match choice % 3 {
        0 => Version::V31,
        1 => Version::V311,
        _ => Version::V5,
    };
    let role = match choice & 0x80 {
        0 => Role::Server,
        _ => Role::Client,
    };
    stored(stream);
    while let Ok(Some(frame)) = frame::next(stream, PACKET_BYTES_MAX) {
        assert!(frame.len <= PACKET_BYTES_MAX);
        stream = &stream[frame.len..];
        match decode(frame, version, role) {
            Ok(packet) => check(&packet, version, role),
            Err(error) => assert!(error.reason().is_error() && !error.to_string().is_empty()),
        }
    }
});

fn check(packet: &Packet<'_>, version: Version, role: Role) {
    let mut bytes = vec![];
    packet.encode(version, &mut bytes);
    let frame = frame::next(&bytes, usize::MAX).unwrap().unwrap();
    assert_eq!(frame.len, bytes.len());
    assert_eq!(decode(frame, version, role).as_ref(), Ok(packet));
    match packet {
        Packet::Publish(publish) => {
            check_forwarded(&publish.properties);
            assert!(publish.topic_alias.is_some() || topic::validate_name(publish.topic).is_ok());
        }
        Packet::Connect(connect) => {
            if let Some(will) = &connect.will {
                check_forwarded(&will.properties);
                assert!(topic::validate_name(will.topic).is_ok());
            }
        }
        Packet::Subscribe(subscribe) => {
            for (filter, _) in subscribe.filters() {
                let _ = topic::Filter::parse(filter);
            }
        }
        _ => {}
    }
}

/// What is kept says as much as what came, in as many bytes as were promised.
fn check_forwarded(properties: &Forwarded<'_>) {
    let mut kept = vec![];
    properties.write_to(&mut kept);
    assert_eq!(kept.len(), properties.len());
    assert_eq!(Forwarded::from_stored(&kept), *properties);
}

/// Bytes that were never checked do no harm, wherever they came from.
fn stored(bytes: &[u8]) {
    let forwarded = Forwarded::from_stored(bytes);
    let _ = (
        forwarded.content_type(),
        forwarded.response_topic(),
        forwarded.correlation_data(),
    );
    let _ = UserProperties::from_stored(bytes).iter().count();
}
