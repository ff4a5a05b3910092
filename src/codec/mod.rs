//! MQTT 3.1, 3.1.1 and 5.0 on the wire: frames, packets, topics, properties, reason codes.
//!
//! One type for a packet of all three versions, in both directions. Packets borrow from the read
//! buffer: nothing is allocated or copied to decode one. Nothing here knows a connection.

pub mod error;
pub mod forwarded;
pub mod frame;
pub mod packet;
mod property;
mod reader;
pub mod reason;
pub mod stranger;
pub mod topic;
pub mod version;
mod writer;

#[cfg(test)]
mod tests;

pub use error::DecodeError;
pub use forwarded::{Forwarded, SubscriptionIds, UserProperties};
pub use frame::{Frame, PacketType};
pub use packet::{
    Ack, AckKind, Auth, ConnAck, ConnAckProperties, Connect, ConnectProperties, Disconnect,
    PING_REQ, PING_RESP, Packet, Publish, PublishHead, RetainHandling, Role, SubAck, Subscribe,
    SubscribeFilters, SubscribeOptions, UnsubAck, Unsubscribe, UnsubscribeFilters, Will,
    connect_version, decode,
};
pub use reason::ReasonCode;
pub use topic::{Filter, FilterError};
pub use version::{QoS, Version};
