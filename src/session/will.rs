//! The will of a connected client.

use crate::message::Message;

/// Published when the connection ends without DISCONNECT 0x00 (MQTT-3.1.2-8).
#[derive(Clone)]
pub struct Will {
    /// QoS and RETAIN of the publication are the message's own.
    pub message: Message,
    /// Will Delay Interval.
    pub delay_s: u32,
    /// Message Expiry Interval, counted from the publication.
    pub message_expiry_s: Option<u32>,
}
