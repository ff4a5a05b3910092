//! What an operator has to see: told once when it begins and once when it ends, in the log and
//! under `$SYS/brokers/{node}/alarms/`, as emqttd does.

use std::collections::BTreeSet;
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::json;

/// What is known of it at a moment.
pub struct Condition {
    /// A word for a topic.
    pub id: String,
    pub is_on: bool,
    pub title: &'static str,
    /// A sentence with figures.
    pub summary: String,
}

/// Those that have begun and not ended.
#[derive(Default)]
pub struct Alarms(BTreeSet<String>);

impl Alarms {
    /// What there is to tell: the topic below that of the node, and the payload.
    pub fn look(&mut self, condition: Condition) -> Option<(String, String)> {
        let Condition { id, is_on, .. } = &condition;
        let ts = unix_s();
        match *is_on {
            true if self.0.insert(id.clone()) => {
                let Condition { title, summary, .. } = &condition;
                tracing::warn!("alarm {id}: {title}: {summary}");
                let payload = json!({
                    "id": id, "severity": "warning", "title": title, "summary": summary, "ts": ts,
                });
                Some((format!("alarms/{id}/alert"), payload.to_string()))
            }
            false if self.0.remove(id) => {
                tracing::info!("alarm {id} is over");
                let payload = json!({ "id": id, "ts": ts });
                Some((format!("alarms/{id}/clear"), payload.to_string()))
            }
            _ => None,
        }
    }

    /// Whether it has begun and not ended.
    pub fn is_raised(&self, id: &str) -> bool {
        self.0.contains(id)
    }

    /// Those whose id begins so.
    pub fn raised(&self, prefix: &str) -> Vec<String> {
        let known = self.0.iter().filter(|id| id.starts_with(prefix));
        known.cloned().collect()
    }
}

fn unix_s() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.unwrap_or_default().as_secs()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_told_once_when_it_begins_and_once_when_it_ends() {
        let mut alarms = Alarms::default();
        let mut look = |is_on| {
            let told = alarms.look(Condition {
                id: "full".into(),
                is_on,
                title: "it is full",
                summary: "9 of 9".into(),
            });
            told.map(|(topic, payload)| {
                let payload: serde_json::Value = serde_json::from_str(&payload).unwrap();
                assert_eq!(payload["id"], "full");
                assert_eq!(payload.get("summary").is_some(), is_on);
                topic
            })
        };
        assert_eq!(look(false), None);
        assert_eq!(look(true).as_deref(), Some("alarms/full/alert"));
        assert_eq!(look(true), None);
        assert_eq!(look(false).as_deref(), Some("alarms/full/clear"));
        assert_eq!(look(false), None);
        assert_eq!(look(true).as_deref(), Some("alarms/full/alert"));
    }
}
