//! A fresh subscriber to everything, at a quiet moment: it sees what is retained.

use super::env::Env;
use super::wire::{Terms, Who};
use ringmq::codec::packet::{Packet, Role};
use ringmq::codec::{
    Ack, AckKind, Connect, ConnectProperties, Disconnect, QoS, ReasonCode, Subscribe,
    SubscribeOptions, Version, frame,
};
use std::collections::BTreeMap;

pub struct Probe {
    link: usize,
    input: Vec<u8>,
    /// Message numbers by topic.
    pub seen: BTreeMap<String, u32>,
}

impl Probe {
    /// Connects and subscribes.
    pub fn start(env: &mut Env) -> Probe {
        let link = env.open(
            Who::Probe,
            Terms {
                clean: true,
                ..Terms::default()
            },
        );
        let id = format!("probe{link}");
        let mut out = Vec::new();
        let connect = Connect {
            version: Version::V5,
            clean_start: true,
            keep_alive_s: 0,
            client_id: &id,
            will: None,
            username: None,
            password: None,
            properties: ConnectProperties::default(),
        };
        connect.encode(&mut out);
        let filters = [("#", SubscribeOptions::with_qos(QoS::ExactlyOnce))];
        Subscribe::new(1, &filters).encode(Version::V5, &mut out);
        env.links[link].send(&out);
        Probe {
            link,
            input: Vec::new(),
            seen: BTreeMap::new(),
        }
    }

    /// Reads and acknowledges everything.
    pub fn settle(&mut self, env: &mut Env) {
        self.input.extend(env.links[self.link].to_client.drain(..));
        let mut used = 0;
        let mut out = Vec::new();
        while let Ok(Some(frame)) = frame::next(&self.input[used..], 1 << 28) {
            used += frame.len;
            let packet = ringmq::codec::decode(frame, Version::V5, Role::Client);
            let kind = match packet.expect("the broker's packets are well-formed") {
                Packet::Publish(publish) => {
                    assert!(publish.retain, "a fresh subscriber got {publish:?}");
                    let digits = std::str::from_utf8(&publish.payload[1..9]).expect("a number");
                    let number = u32::from_str_radix(digits, 16).expect("a number");
                    let again = self.seen.insert(publish.topic.to_owned(), number);
                    assert_eq!(again, None, "two retained messages of {}", publish.topic);
                    match publish.qos {
                        QoS::AtMostOnce => continue,
                        QoS::AtLeastOnce => (AckKind::PubAck, publish.packet_id),
                        QoS::ExactlyOnce => (AckKind::PubRec, publish.packet_id),
                    }
                }
                Packet::Ack(ack) => (AckKind::PubComp, ack.packet_id),
                _ => continue,
            };
            Ack::new(kind.0, kind.1, ReasonCode::Success).encode(Version::V5, &mut out);
        }
        self.input.drain(..used);
        env.links[self.link].send(&out);
    }

    /// Whether all that was sent is read.
    pub fn is_idle(&self, env: &Env) -> bool {
        env.links[self.link].to_client.is_empty()
    }

    /// Leaves.
    pub fn stop(self, env: &mut Env) {
        let mut out = Vec::new();
        Disconnect::new(ReasonCode::Success).encode(Version::V5, &mut out);
        env.links[self.link].send(&out);
        env.links[self.link].client_ended = true;
    }
}
