//! Who may come in, the same for all shards and changed while they run.

use crate::auth::{Anonymous, AuthRequest, Authenticator, Verdict};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

/// The rule for clients without an identity, shared by all shards.
#[derive(Clone)]
pub struct Door(Arc<AtomicU8>);

impl Door {
    /// A door with this rule.
    pub fn new(rule: Anonymous) -> Door {
        let door = Door(Arc::new(AtomicU8::new(0)));
        door.set(rule);
        door
    }

    /// Another rule for whoever comes from now on.
    pub fn set(&self, rule: Anonymous) {
        let number = match rule {
            Anonymous::Nowhere => 0,
            Anonymous::Loopback => 1,
            Anonymous::Everywhere => 2,
        };
        self.0.store(number, Ordering::Relaxed);
    }

    fn rule(&self) -> Anonymous {
        match self.0.load(Ordering::Relaxed) {
            1 => Anonymous::Loopback,
            2 => Anonymous::Everywhere,
            _ => Anonymous::Nowhere,
        }
    }
}

impl Authenticator for Door {
    fn ask(&mut self, request: &AuthRequest) -> Verdict {
        self.rule().ask(request)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_clone_has_the_new_rule() {
        let door = Door::new(Anonymous::Loopback);
        let of_shard = door.clone();
        for rule in [
            Anonymous::Everywhere,
            Anonymous::Nowhere,
            Anonymous::Loopback,
        ] {
            door.set(rule);
            assert_eq!(of_shard.rule(), rule);
        }
    }
}
