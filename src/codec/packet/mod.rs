//! Control packets, one file each; SUBACK and UNSUBACK, and the four acknowledgements, share one.

mod ack;
mod auth;
mod connack;
mod connect;
mod disconnect;
mod publish;
mod suback;
mod subscribe;
mod unsubscribe;

pub use ack::{Ack, AckKind};
pub use auth::Auth;
pub use connack::{ConnAck, ConnAckProperties};
pub use connect::{Connect, ConnectProperties, Will, connect_version};
pub use disconnect::Disconnect;
pub use publish::{Publish, PublishHead};
pub use suback::{SubAck, UnsubAck};
pub use subscribe::{RetainHandling, Subscribe, SubscribeFilters, SubscribeOptions};
pub use unsubscribe::{Unsubscribe, UnsubscribeFilters};

use super::error::DecodeError;
use super::frame::{Frame, PacketType};
use super::version::Version;

/// Which end of the connection decodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// What a client sent is decoded.
    Server,
    /// What a server sent is decoded.
    Client,
}

/// PINGREQ as it is sent, and PINGRESP (sections 3.12 and 3.13).
pub const PING_REQ: [u8; 2] = [0xC0, 0];
pub const PING_RESP: [u8; 2] = [0xD0, 0];

/// Any packet.
// Packets live on the stack while they are handled; CONNECT, the largest, is as rare as it gets.
#[allow(clippy::large_enum_variant)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Packet<'a> {
    Connect(Connect<'a>),
    ConnAck(ConnAck<'a>),
    Publish(Publish<'a>),
    Ack(Ack<'a>),
    Subscribe(Subscribe<'a>),
    SubAck(SubAck<'a>),
    Unsubscribe(Unsubscribe<'a>),
    UnsubAck(UnsubAck<'a>),
    PingReq,
    PingResp,
    Disconnect(Disconnect<'a>),
    Auth(Auth<'a>),
}

/// Decodes a packet. `version` is what CONNECT agreed on; it is not looked at for CONNECT.
///
/// # Errors
/// Whatever the packet's own section forbids, a packet that only the other end sends, and AUTH
/// in 3.x.
pub fn decode<'a>(
    frame: Frame<'a>,
    version: Version,
    role: Role,
) -> Result<Packet<'a>, DecodeError> {
    let Frame { header, body, .. } = frame;
    let packet_type = PacketType::of(header).ok_or(DecodeError::UnknownPacketType)?;
    if packet_type == PacketType::Auth && version != Version::V5 {
        return Err(DecodeError::UnknownPacketType);
    }
    if sender_of(packet_type) == Some(role) {
        return Err(DecodeError::WrongDirection);
    }
    Ok(match packet_type {
        PacketType::Connect => Packet::Connect(Connect::decode(header, body)?),
        PacketType::ConnAck => Packet::ConnAck(ConnAck::decode(header, body, version)?),
        PacketType::Publish => Packet::Publish(Publish::decode_as(header, body, version, role)?),
        PacketType::PubAck | PacketType::PubRec | PacketType::PubRel | PacketType::PubComp => {
            Packet::Ack(Ack::decode(header, body, version)?)
        }
        PacketType::Subscribe => Packet::Subscribe(Subscribe::decode(header, body, version)?),
        PacketType::SubAck => Packet::SubAck(SubAck::decode(header, body, version)?),
        PacketType::Unsubscribe => Packet::Unsubscribe(Unsubscribe::decode(header, body, version)?),
        PacketType::UnsubAck => Packet::UnsubAck(UnsubAck::decode(header, body, version)?),
        PacketType::PingReq => ping(header, body).map(|()| Packet::PingReq)?,
        PacketType::PingResp => ping(header, body).map(|()| Packet::PingResp)?,
        PacketType::Disconnect => {
            Packet::Disconnect(Disconnect::decode(header, body, version, role)?)
        }
        PacketType::Auth => Packet::Auth(Auth::decode(header, body, role)?),
    })
}

impl Packet<'_> {
    /// Appends the packet; CONNECT in its own version, all others in `version`.
    ///
    /// # Panics
    /// If a field has more than 65,535 bytes.
    pub fn encode(&self, version: Version, out: &mut Vec<u8>) {
        match self {
            Packet::Connect(packet) => packet.encode(out),
            Packet::ConnAck(packet) => packet.encode(version, out),
            Packet::Publish(packet) => packet.encode(version, out),
            Packet::Ack(packet) => packet.encode(version, out),
            Packet::Subscribe(packet) => packet.encode(version, out),
            Packet::SubAck(packet) => packet.encode(version, out),
            Packet::Unsubscribe(packet) => packet.encode(version, out),
            Packet::UnsubAck(packet) => packet.encode(version, out),
            Packet::PingReq => out.extend_from_slice(&PING_REQ),
            Packet::PingResp => out.extend_from_slice(&PING_RESP),
            Packet::Disconnect(packet) => packet.encode(version, out),
            Packet::Auth(packet) => packet.encode(out),
        }
    }
}

/// The end that alone sends such packets, if only one does.
fn sender_of(packet_type: PacketType) -> Option<Role> {
    match packet_type {
        PacketType::Connect
        | PacketType::Subscribe
        | PacketType::Unsubscribe
        | PacketType::PingReq => Some(Role::Client),
        PacketType::ConnAck | PacketType::SubAck | PacketType::UnsubAck | PacketType::PingResp => {
            Some(Role::Server)
        }
        _ => None,
    }
}

fn ping(header: u8, body: &[u8]) -> Result<(), DecodeError> {
    match (header & 0x0F, body) {
        (0, []) => Ok(()),
        (0, _) => Err(DecodeError::TrailingBytes),
        _ => Err(DecodeError::HeaderFlags),
    }
}

/// The flags of SUBSCRIBE and UNSUBSCRIBE are 0010; 3.1 may set DUP.
fn flags_of_request(header: u8, version: Version) -> Result<(), DecodeError> {
    match header & 0x0F {
        0b0010 => Ok(()),
        0b1010 if version == Version::V31 => Ok(()),
        _ => Err(DecodeError::HeaderFlags),
    }
}
