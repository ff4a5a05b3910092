//! MQTT inside WebSocket (RFC 6455; MQTT section 6.0).
//!
//! The frame codec is our own: what libraries have in this place keeps buffers of kilobytes for a
//! connection, to give whole messages. MQTT is a stream: here payload is unmasked where it lies
//! and passed on as it comes, so an idle connection keeps no buffer, and no frame is too long to be
//! held.

pub mod frame;
pub mod upgrade;

pub use frame::Frames;
pub use upgrade::{Upgrade, UpgradeRules};
