//! QoS 2 from the client: packet ids between PUBLISH and PUBREL.

use hashbrown::HashSet;

/// What an incoming QoS 2 PUBLISH is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrival {
    /// A new message: own it, then PUBREC.
    New,
    /// The same message again: PUBREC, deliver nothing (MQTT-4.3.3-10).
    Again,
    /// More than the Receive Maximum are open (MQTT-3.3.4-7).
    Excess,
}

/// Ids whose PUBREL has not come. Part of the session: it survives the connection.
#[derive(Default)]
pub struct Inbound {
    open: HashSet<u16>,
}

impl Inbound {
    /// Takes note of a PUBLISH with QoS 2.
    pub fn handle_publish(&mut self, id: u16, receive_maximum: u16) -> Arrival {
        if self.open.contains(&id) {
            return Arrival::Again;
        }
        if self.open.len() >= receive_maximum as usize {
            return Arrival::Excess;
        }
        self.open.insert(id);
        Arrival::New
    }

    /// PUBREL, or a refusal of the PUBLISH: the id is free (MQTT-4.3.3-9, -12). False when it was
    /// not open.
    pub fn release(&mut self, id: u16) -> bool {
        self.open.remove(&id)
    }

    /// How many messages are open.
    pub fn len(&self) -> usize {
        self.open.len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.open.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_the_same_message_until_released() {
        let mut inbound = Inbound::default();
        assert_eq!(inbound.handle_publish(7, 2), Arrival::New);
        assert_eq!(inbound.handle_publish(7, 2), Arrival::Again);
        assert_eq!(inbound.handle_publish(8, 2), Arrival::New);
        assert_eq!(inbound.handle_publish(9, 2), Arrival::Excess);
        assert_eq!(inbound.handle_publish(8, 2), Arrival::Again);
        assert!(inbound.release(7) && !inbound.release(7));
        assert_eq!(inbound.handle_publish(7, 2), Arrival::New);
        assert_eq!(inbound.len(), 2);
    }
}
