//! What differs between two settings, and when it acts.

use std::fmt;

use super::keys::{KEYS, LISTENER_KEYS, Reload};
use super::settings::{Listener, Settings};

/// One key with its old and new value as text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// `section.name`, or `listener`.
    pub path: String,
    pub reload: Reload,
    pub old: String,
    pub new: String,
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |text: &str| {
            if text.is_empty() {
                "(empty)".into()
            } else {
                text.to_string()
            }
        };
        write!(
            f,
            "{}: {} -> {}",
            self.path,
            shown(&self.old),
            shown(&self.new)
        )
    }
}

/// Every key that differs, in the order of the table. Listeners count as one.
pub fn changes(old: &Settings, new: &Settings) -> Vec<Change> {
    let mut changes: Vec<Change> = KEYS
        .iter()
        .map(|key| Change {
            path: key.path(),
            reload: key.reload,
            old: key.text(old),
            new: key.text(new),
        })
        .filter(|change| change.old != change.new)
        .collect();
    if old.listeners != new.listeners {
        changes.push(Change {
            path: "listener".into(),
            reload: Reload::Restart,
            old: describe(&old.listeners),
            new: describe(&new.listeners),
        });
    }
    changes
}

/// The new settings, but the running value for each key that only a restart changes: what a
/// running node may be told to obey.
pub fn keep_restart_keys(running: &Settings, new: &Settings) -> Settings {
    let mut kept = new.clone();
    kept.listeners.clone_from(&running.listeners);
    for key in KEYS.iter().filter(|key| key.reload == Reload::Restart) {
        (key.store)(&mut kept, (key.load)(running));
    }
    kept
}

fn describe(listeners: &[Listener]) -> String {
    let one = |listener: &Listener| {
        let set = LISTENER_KEYS
            .iter()
            .skip(1)
            .filter(|key| key.text(listener) != key.default_text());
        let mut text = listener.url.to_string();
        set.for_each(|key| text += &format!(" {}={}", key.name, key.text(listener)));
        text
    };
    listeners.iter().map(one).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the shards do with them is shown by `topic_limits_hold_at_once_...`,
    /// `a_window_that_shrinks_...` and `what_connack_announced_outlives_a_reload`.
    #[test]
    fn a_report_says_at_once_where_a_key_acts_at_once() {
        for (path, reload) in [
            ("mqtt.topic_levels_max", Reload::Live),
            ("mqtt.topic_bytes_max", Reload::Live),
            ("mqtt.connect_timeout_s", Reload::NewConnections),
            ("mqtt.inflight_max", Reload::Live),
            ("mqtt.session_expiry_max_s", Reload::NewConnections),
            ("mqtt.qos_max", Reload::NewConnections),
        ] {
            let key = KEYS.iter().find(|key| key.path() == path).expect(path);
            assert_eq!(key.reload, reload, "{path}");
        }
    }

    #[test]
    fn changes_name_keys_and_classes() {
        let old = Settings::default();
        let mut new = old.clone();
        new.mqtt.packet_bytes_max = 2 << 20;
        new.node.shards = 3;
        new.listeners
            .push(Listener::at("tcp://127.0.0.1:2000".parse().unwrap()));
        let found = changes(&old, &new);
        let brief: Vec<_> = found.iter().map(|c| (c.path.as_str(), c.reload)).collect();
        assert_eq!(
            brief,
            [
                ("node.shards", Reload::Restart),
                ("mqtt.packet_bytes_max", Reload::NewConnections),
                ("listener", Reload::Restart),
            ]
        );
        assert_eq!(
            (found[1].old.as_str(), found[1].new.as_str()),
            ("1MiB", "2MiB")
        );

        let kept = keep_restart_keys(&old, &new);
        assert_eq!(kept.node.shards, 0);
        assert_eq!(kept.listeners, old.listeners);
        assert_eq!(kept.mqtt.packet_bytes_max, 2 << 20);
        assert_eq!(changes(&old, &old), []);
    }
}
