//! Times of the packets that a broker handles most: `cargo bench --bench codec`.
//!
//! What each may cost is stated in instructions, which hold on any machine: `benches/instructions`.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use ringmq::codec::{Ack, AckKind, Forwarded, Publish, PublishHead, QoS, ReasonCode, Version};
use ringmq::codec::{frame, topic};
use std::hint::black_box;

const TOPIC: &str = "fleet/000123/telemetry";
const PAYLOAD: [u8; 64] = [b'x'; 64];
const PROPERTIES: &[u8] = b"\x01\x01\x03\0\x04json\x26\0\x03key\0\x05value";

criterion_group!(benches, publish, acks, topics);
criterion_main!(benches);

fn publish(c: &mut Criterion) {
    let mut group = c.benchmark_group("publish_64_bytes");
    group.throughput(Throughput::Elements(1));
    for (name, version, qos, forwarded) in [
        ("v311_qos0", Version::V311, QoS::AtMostOnce, &[][..]),
        ("v5_qos0", Version::V5, QoS::AtMostOnce, &[]),
        (
            "v5_qos1_properties",
            Version::V5,
            QoS::AtLeastOnce,
            PROPERTIES,
        ),
    ] {
        let head = head(qos, Forwarded::from_stored(forwarded));
        let mut packet = vec![];
        encode(&head, version, &mut packet);
        let mut out = Vec::with_capacity(4096);
        group.bench_function(format!("decode/{name}"), |b| {
            b.iter(|| decode(black_box(&packet), version).payload.len());
        });
        group.bench_function(format!("encode/{name}"), |b| {
            b.iter(|| {
                out.clear();
                encode(black_box(&head), version, &mut out);
                out.len()
            });
        });
        group.bench_function(format!("forward/{name}"), |b| {
            b.iter(|| {
                out.clear();
                forward(&decode(black_box(&packet), version), version, &mut out);
                out.len()
            });
        });
    }
    group.finish();
}

fn acks(c: &mut Criterion) {
    let mut out = Vec::with_capacity(64);
    c.bench_function("puback/encode", |b| {
        b.iter(|| {
            out.clear();
            let ack = Ack::new(AckKind::PubAck, black_box(7), ReasonCode::Success);
            ack.encode(Version::V5, &mut out);
            out.len()
        });
    });
    c.bench_function("puback/decode", |b| {
        b.iter(|| {
            let frame = frame::next(black_box(&[0x40, 2, 0, 7]), 1024)
                .unwrap()
                .unwrap();
            Ack::decode(frame.header, frame.body, Version::V5)
                .unwrap()
                .packet_id
        });
    });
}

fn topics(c: &mut Criterion) {
    let mut group = c.benchmark_group("validate_name");
    for name in [
        "t",
        TOPIC,
        "flotte/gerät/äöü/telemetrie",
        &"level/".repeat(20),
    ] {
        group.bench_function(format!("{}_bytes", name.len()), |b| {
            b.iter(|| topic::validate_name(black_box(name)).is_ok());
        });
    }
    group.finish();
}

fn head(qos: QoS, forwarded: Forwarded<'_>) -> PublishHead<'_> {
    PublishHead {
        topic: TOPIC,
        qos,
        retain: false,
        dup: false,
        packet_id: 7,
        message_expiry_s: None,
        topic_alias: None,
        subscription_ids: &[],
        forwarded,
        payload_len: PAYLOAD.len(),
    }
}

#[inline]
fn decode(packet: &[u8], version: Version) -> Publish<'_> {
    let frame = frame::next(packet, 1024 * 1024).unwrap().unwrap();
    Publish::decode(frame.header, frame.body, version).unwrap()
}

#[inline]
fn encode(head: &PublishHead<'_>, version: Version, out: &mut Vec<u8>) {
    head.encode(version, out);
    out.extend_from_slice(&PAYLOAD);
}

/// What a broker does for one receiver.
#[inline]
fn forward(publish: &Publish<'_>, version: Version, out: &mut Vec<u8>) {
    let head = PublishHead {
        topic: publish.topic,
        qos: publish.qos,
        retain: false,
        dup: false,
        packet_id: publish.packet_id,
        message_expiry_s: publish.message_expiry_s,
        topic_alias: None,
        subscription_ids: &[],
        forwarded: publish.properties,
        payload_len: publish.payload.len(),
    };
    head.encode(version, out);
    out.extend_from_slice(publish.payload);
}
