//! `RINGMQ_SECTION_KEY` variables.

use super::error::{Error, Origin};
use super::file::Entry;
use super::keys::KEYS;
use super::nearest;

/// Names the file, as `--config` does.
pub const CONFIG: &str = "RINGMQ_CONFIG";
/// Listeners, as `--listen` gives them, with commas or spaces between.
pub const LISTEN: &str = "RINGMQ_LISTEN";

const PREFIX: &str = "RINGMQ_";
/// What the default data folder depends on.
const FOLDERS: [&str; 3] = ["STATE_DIRECTORY", "XDG_STATE_HOME", "HOME"];

/// Whether settings may depend on this variable.
pub fn counts(variable: &str) -> bool {
    variable.starts_with(PREFIX) || FOLDERS.contains(&variable)
}

/// Finds the keys that variables set. A variable that names none is an error, so that a typing
/// mistake does not pass.
pub fn entries(variables: &[(String, String)], errors: &mut Vec<Error>) -> Vec<Entry> {
    let mut entries = Vec::new();
    for (variable, text) in variables {
        if !variable.starts_with(PREFIX) || is_foreign(variable) {
            continue;
        }
        let origin = Origin::Environment(variable.clone());
        match KEYS.iter().find(|key| key.variable() == *variable) {
            Some(key) => entries.push(Entry {
                section: key.section.into(),
                name: key.name.into(),
                text: text.clone(),
                origin,
            }),
            None => {
                let known = KEYS.iter().map(|key| key.variable()).collect::<Vec<_>>();
                let nearest = nearest::nearest(variable, known.iter().map(String::as_str));
                let message = format!("no such variable; the nearest is {nearest}");
                errors.push(Error::new(origin, message));
            }
        }
    }
    entries
}

/// The listeners of `RINGMQ_LISTEN`; none when it is not set.
pub fn listen(variables: &[(String, String)]) -> Vec<String> {
    find(variables, LISTEN)
        .map(|text| {
            text.split([',', ' '])
                .filter(|url| !url.is_empty())
                .map(String::from)
                .collect()
        })
        .unwrap_or_default()
}

pub fn find<'a>(variables: &'a [(String, String)], name: &str) -> Option<&'a str> {
    variables
        .iter()
        .find(|(known, _)| known == name)
        .map(|(_, text)| text.as_str())
}

/// Variables with our prefix that are not keys: the two above, and those that Kubernetes sets in
/// every container of a namespace that has a service called `ringmq`.
fn is_foreign(variable: &str) -> bool {
    variable == CONFIG
        || variable == LISTEN
        || variable == "RINGMQ_PORT"
        || variable.starts_with("RINGMQ_PORT_")
        || variable.starts_with("RINGMQ_SERVICE_")
}
