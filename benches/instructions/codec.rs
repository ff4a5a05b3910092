//! Packets, in and out.

use crate::{PAYLOAD, TOPIC};
use ringmq::codec::{
    Ack, AckKind, Forwarded, Publish, PublishHead, QoS, ReasonCode, Version, frame,
};
use std::hint::black_box;

fn head(qos: QoS, packet_id: u16) -> PublishHead<'static> {
    PublishHead {
        topic: TOPIC,
        qos,
        retain: false,
        dup: false,
        packet_id,
        message_expiry_s: None,
        topic_alias: None,
        subscription_ids: &[],
        forwarded: Forwarded::default(),
        payload_len: PAYLOAD.len(),
    }
}

pub fn packet(qos: QoS, packet_id: u16) -> Vec<u8> {
    let mut out = Vec::new();
    head(qos, packet_id).encode(Version::V311, &mut out);
    out.extend_from_slice(&PAYLOAD);
    out
}

pub fn decode(rounds: u64) {
    let packet = packet(QoS::AtMostOnce, 0);
    for _ in 0..rounds {
        let frame = frame::next(black_box(&packet), 4096)
            .expect("a packet")
            .expect("all of it");
        let publish = Publish::decode(frame.header, frame.body, Version::V311);
        black_box(publish.expect("a PUBLISH"));
    }
}

pub fn encode(rounds: u64) {
    let mut out = Vec::with_capacity(4096);
    for _ in 0..rounds {
        out.clear();
        black_box(head(QoS::AtMostOnce, 0)).encode(Version::V311, &mut out);
        out.extend_from_slice(&PAYLOAD);
    }
}

pub fn puback(rounds: u64) {
    let mut out = Vec::with_capacity(64);
    for _ in 0..rounds {
        out.clear();
        Ack::new(AckKind::PubAck, black_box(7), ReasonCode::Success).encode(Version::V5, &mut out);
        let frame = frame::next(black_box(&out), 1024)
            .expect("a packet")
            .expect("all of it");
        black_box(Ack::decode(frame.header, frame.body, Version::V5).expect("a PUBACK"));
    }
}
