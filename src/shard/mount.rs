//! Mountpoints: the clients of a listener that has one live below a prefix that they do not see.
//! It goes before every topic name and filter that they send, and comes off what is delivered.

use super::Shard;
use crate::base::{ConnId, Peer};
use crate::codec::Filter;
use crate::limits::TOPIC_BYTES_MAX;
use std::sync::Arc;

impl Shard {
    /// The prefix of the listener that `peer` has come through.
    pub(super) fn mountpoint(&self, peer: &Peer) -> Option<Arc<str>> {
        let of_listener = self.options.mountpoints.get(usize::from(peer.listener))?;
        of_listener.clone()
    }

    /// What a client of `id` means by a topic name or filter; `None`: what it says.
    #[inline]
    pub(super) fn mounted(&self, id: ConnId, topic: &str) -> Option<String> {
        let conn = self.conns.get(id.0)?;
        let prefix = conn.mountpoint()?;
        Some([prefix, topic].concat())
    }

    /// Whether what a client of `id` means by a topic name or filter is one: with the prefix it may
    /// be longer than a text can be (MQTT-1.5.4).
    pub(super) fn can_mount(&self, id: ConnId, topic: &str) -> bool {
        let prefix = self.conns.get(id.0).and_then(|conn| conn.mountpoint());
        prefix.map_or(0, str::len) + topic.len() <= TOPIC_BYTES_MAX
    }

    /// As [`Shard::mounted`], for a filter: the prefix goes after the name of a share.
    pub(super) fn mounted_filter(&self, id: ConnId, text: &str) -> Option<String> {
        // What is no filter is refused as such.
        let filter = Filter::parse(text).ok()?;
        let share = text.strip_suffix(filter.levels)?;
        let mounted = self.mounted(id, filter.levels)?;
        Some([share, &mounted].concat())
    }

    /// The client's name for a topic or filter that is below its prefix.
    pub(super) fn unmounted(&self, id: ConnId, topic: &str) -> String {
        let conn = self.conns.get(id.0).expect("looked up by the caller");
        conn.unmounted(topic).to_owned()
    }
}
