//! What `check` and `restart` want to know of a start before there is one.

use super::{Failure, ask, unexpected};
use crate::config::{Host, ListenUrl, Loaded, raise_limits};
use crate::control::{Client, DataDir, Reply, Request, Status};
use crate::runtime::{Rehearsal, rehearse};

/// What a start with `loaded` would say and refuse here, where `running` would be stopped before.
pub fn look(loaded: &Loaded, host: &Host, running: Option<&Status>) -> Rehearsal {
    let mut resolved = host.resolve(&loaded.settings);
    resolved.auth.plugins_dir = loaded.plugins_dir();
    let listening = running.map(|status| {
        let urls = status.node.listeners.iter();
        urls.filter_map(|listener| listener.url.parse().ok())
            .collect::<Vec<ListenUrl>>()
    });
    let mut found = rehearse(&resolved, listening.as_deref());
    let folder = DataDir::new(&resolved.node.data_dir).check();
    found
        .refusals
        .extend(folder.err().map(|error| error.to_string()));
    found
}

/// This host, with the limits that a start would have.
pub fn host() -> Host {
    Host::probe(raise_limits())
}

/// What the broker says that runs.
pub fn status(client: &mut Client) -> Result<Status, Failure> {
    match ask(client, &Request::Status)? {
        Reply::Status(status) => Ok(*status),
        _ => Err(unexpected()),
    }
}
