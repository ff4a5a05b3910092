//! Packets that are not about messages: CONNACK, SUBACK, PINGRESP, DISCONNECT.

use super::client::{Client, Phase};
use super::fault::Fault;
use super::fleet::{Arrived, Handler};
use super::pings::Pings;
use super::stats::FleetStats;
use ringmq::codec::frame::Frame;
use ringmq::codec::{ConnAck, Disconnect, PacketType, ReasonCode, Role, SubAck, Version};

/// What the packets that are not about messages touch.
pub struct Control<'a> {
    pub version: Version,
    pub stats: &'a mut FleetStats,
    pub pings: &'a mut Pings,
}

impl Control<'_> {
    /// Says whether the client has come up with this packet.
    ///
    /// # Errors
    /// The broker refuses, or the packet must not come: the connection is given up.
    pub fn handle(
        self,
        entry: &mut Client,
        at: Arrived,
        frame: Frame<'_>,
        handler: &mut impl Handler,
    ) -> Result<bool, Fault> {
        let Frame { header, body, .. } = frame;
        match (frame.packet_type(), entry.phase) {
            (PacketType::ConnAck, Phase::Greeting) => {
                let ack = ConnAck::decode(header, body, self.version)?;
                self.greet(entry, at, &ack, handler)
            }
            (PacketType::SubAck, Phase::Subscribing) => {
                let ack = SubAck::decode(header, body, self.version)?;
                if let Some(refusal) = ack.reasons.iter().find(|reason| reason.is_error()) {
                    return Err(Fault::SubscriptionRefused(*refusal));
                }
                entry.subacks -= 1;
                if entry.subacks == 0 {
                    entry.phase = Phase::Ready;
                }
                Ok(entry.subacks == 0)
            }
            (PacketType::PingResp, Phase::Ready) => {
                entry.is_pinged = false;
                Ok(false)
            }
            (PacketType::Disconnect, _) => {
                let packet = Disconnect::decode(header, body, self.version, Role::Client)?;
                Err(Fault::Disconnected(packet.reason))
            }
            (packet_type, _) => Err(Fault::Unexpected(name(packet_type))),
        }
    }

    fn greet(
        self,
        entry: &mut Client,
        at: Arrived,
        ack: &ConnAck<'_>,
        handler: &mut impl Handler,
    ) -> Result<bool, Fault> {
        if ack.reason != ReasonCode::Success {
            return Err(Fault::Refused(ack.reason));
        }
        self.stats
            .connect
            .record(at.at_ns.saturating_sub(entry.began_ns));
        self.stats.last_connack_ns = at.at_ns;
        if let Some(keep_alive_s) = ack.properties.server_keep_alive_s {
            self.pings.shorten(keep_alive_s);
        }
        entry.subacks = handler.greeted(at.client, ack, &mut entry.outbox);
        entry.phase = match entry.subacks {
            0 => Phase::Ready,
            _ => Phase::Subscribing,
        };
        Ok(entry.subacks == 0)
    }
}

fn name(packet_type: PacketType) -> &'static str {
    match packet_type {
        PacketType::Connect => "CONNECT",
        PacketType::ConnAck => "CONNACK",
        PacketType::Publish => "PUBLISH",
        PacketType::PubAck => "PUBACK",
        PacketType::PubRec => "PUBREC",
        PacketType::PubRel => "PUBREL",
        PacketType::PubComp => "PUBCOMP",
        PacketType::Subscribe => "SUBSCRIBE",
        PacketType::SubAck => "SUBACK",
        PacketType::Unsubscribe => "UNSUBSCRIBE",
        PacketType::UnsubAck => "UNSUBACK",
        PacketType::PingReq => "PINGREQ",
        PacketType::PingResp => "PINGRESP",
        PacketType::Disconnect => "DISCONNECT",
        PacketType::Auth => "AUTH",
    }
}
