//! What bounds a client beyond what bounds everybody.

use crate::auth::Rules;
use crate::limits::ACL_CACHE_TOPICS_MAX;
use std::sync::Arc;

/// Of a connected client that was given rules, an end, or that has many rules to go through.
#[derive(Debug)]
pub struct Access {
    pub rules: Option<Arc<Rules>>,
    /// The monotonic millisecond at which the connection ends; [`u64::MAX`]: never.
    pub ends_ms: u64,
    pub recent: Recent,
}

/// Topics that were decided lately, so that a client with many rules does not go through them for
/// each message. Bounded, and as old as the rules: a change of either makes it empty.
#[derive(Debug, Default)]
pub struct Recent {
    topics: Vec<(Box<str>, bool)>,
    /// Of the rules for everybody when these were decided.
    version: u32,
    next: u8,
}

impl Default for Access {
    fn default() -> Access {
        Access {
            rules: None,
            ends_ms: u64::MAX,
            recent: Recent::default(),
        }
    }
}

impl Recent {
    /// What was decided about `topic` while the rules for everybody were of this version.
    pub fn find(&self, topic: &str, version: u32) -> Option<bool> {
        if self.version != version {
            return None;
        }
        let known = self.topics.iter().find(|(known, _)| **known == *topic)?;
        Some(known.1)
    }

    /// Keeps a decision, in the place of the oldest when there is no room.
    pub fn keep(&mut self, topic: &str, allowed: bool, version: u32) {
        if self.version != version {
            self.topics.clear();
            self.version = version;
        }
        if self.topics.len() < ACL_CACHE_TOPICS_MAX {
            self.topics.push((topic.into(), allowed));
            return;
        }
        let at = usize::from(self.next) % ACL_CACHE_TOPICS_MAX;
        self.topics[at] = (topic.into(), allowed);
        self.next = self.next.wrapping_add(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounded_and_as_old_as_its_rules() {
        let mut recent = Recent::default();
        for i in 0..1000 {
            recent.keep(&i.to_string(), i % 2 == 0, 1);
        }
        assert_eq!(recent.topics.len(), ACL_CACHE_TOPICS_MAX);
        assert_eq!(recent.find("998", 1), Some(true));
        assert_eq!(recent.find("999", 1), Some(false));
        assert_eq!(recent.find("1", 1), None);
        assert_eq!(recent.find("999", 2), None);
        recent.keep("a", true, 2);
        assert_eq!(
            (recent.find("a", 2), recent.find("999", 2)),
            (Some(true), None)
        );
    }
}
