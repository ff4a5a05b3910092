//! Topic aliases of one connection, both ways (MQTT 5 section 3.3.2.3.4). They end with it.

use hashbrown::HashMap;

/// The alias tables: made when the first alias is used.
#[derive(Default)]
pub struct Aliases {
    inbound: Vec<Option<Box<str>>>,
    outbound: HashMap<Box<str>, u16>,
}

/// How an outgoing PUBLISH names its topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outgoing {
    /// In full, without an alias.
    Full,
    /// In full, and the client is to remember the alias.
    Define(u16),
    /// By the alias alone.
    Known(u16),
}

impl Aliases {
    /// The client says that `alias` stands for `topic` from now on (MQTT-3.3.2-12).
    pub fn define(&mut self, alias: u16, topic: &str) {
        let at = alias as usize;
        if self.inbound.len() <= at {
            self.inbound.resize(at + 1, None);
        }
        self.inbound[at] = Some(topic.into());
    }

    /// What the client said `alias` stands for.
    pub fn resolve(&self, alias: u16) -> Option<&str> {
        self.inbound.get(alias as usize)?.as_deref()
    }

    /// How to name `topic` to a client that takes aliases up to `maximum`. The first topics get
    /// one and keep it: a fleet's topics are few to a client, and replacing costs more than it
    /// saves.
    pub fn outgoing(&self, topic: &str, maximum: u16) -> Outgoing {
        match self.outbound.get(topic) {
            Some(&alias) => Outgoing::Known(alias),
            None if self.outbound.len() < maximum as usize => {
                Outgoing::Define(self.outbound.len() as u16 + 1)
            }
            None => Outgoing::Full,
        }
    }

    /// A PUBLISH that defined `alias` was sent.
    pub fn defined(&mut self, alias: u16, topic: &str) {
        self.outbound.insert(topic.into(), alias);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inbound_aliases_can_be_redefined() {
        let mut aliases = Aliases::default();
        assert_eq!(aliases.resolve(3), None);
        aliases.define(3, "a");
        aliases.define(3, "b");
        assert_eq!((aliases.resolve(3), aliases.resolve(2)), (Some("b"), None));
    }

    #[test]
    fn outbound_aliases_stop_at_the_clients_maximum() {
        let mut aliases = Aliases::default();
        assert_eq!(aliases.outgoing("a", 0), Outgoing::Full);
        assert_eq!(aliases.outgoing("a", 1), Outgoing::Define(1));
        assert_eq!(
            aliases.outgoing("a", 1),
            Outgoing::Define(1),
            "not sent, not defined"
        );
        aliases.defined(1, "a");
        assert_eq!(aliases.outgoing("a", 1), Outgoing::Known(1));
        assert_eq!(aliases.outgoing("b", 1), Outgoing::Full);
        assert_eq!(aliases.outgoing("b", 2), Outgoing::Define(2));
    }
}
