//! What a start would refuse, as far as it can be known without one: for `check`, and for
//! `restart`, which must not stop a broker that could not start again.

use super::doors::Doors;
use super::executor;
use super::written::Written;
use crate::config::{Address, ListenUrl, Settings, cpus};
use crate::identity::guard::Bans;
use crate::identity::plugin::Plugins;
use crate::identity::users::Users;
use crate::net::listener;
use std::io;

/// What came of it, in sentences.
#[derive(Debug, Default)]
pub struct Rehearsal {
    /// What is wrong with the settings, the files that they name, the data folder or the host.
    pub refusals: Vec<String>,
    /// Listeners whose address somebody else has at this moment.
    pub taken: Vec<String>,
}

/// Reads and checks all that a start would, changing nothing. `running` are the listeners of a
/// broker that would be stopped before; none: nothing runs.
pub fn rehearse(settings: &Settings, running: Option<&[ListenUrl]>) -> Rehearsal {
    let folder = &settings.node.data_dir;
    let place = cpus::place(&settings.node).map_err(|why| format!("node.cpus: {why}"));
    let checks = [
        place.map(drop),
        Written::read(settings).map(drop),
        Users::check(folder),
        Bans::check(folder),
    ];
    let mut found = Rehearsal::default();
    found
        .refusals
        .extend(checks.into_iter().filter_map(Result::err));
    found.refusals.extend(Doors::complaints(settings));
    let plugins = Plugins::complaints(&settings.auth.plugins_dir, folder);
    found.refusals.extend(plugins);
    match running {
        // What runs has shown that there are rings, and may hold all that there are.
        Some(running) => found.listeners(settings, running),
        None => {
            found.listeners(settings, &[]);
            let ring = executor::check().map_err(|error| error.to_string());
            found.refusals.extend(ring.err());
        }
    }
    found
}

impl Rehearsal {
    fn listeners(&mut self, settings: &Settings, running: &[ListenUrl]) {
        let held = |address: &Address| running.iter().any(|url| url.address == *address);
        let listeners = settings.listeners.iter().map(|listener| &listener.url);
        for url in listeners.filter(|url| !held(&url.address)) {
            let checked = match &url.address {
                Address::Inet(address) => listener::check_free(*address),
                Address::Path(path) => listener::check_unix(path),
            };
            match checked {
                Ok(()) => {}
                // Another address of the same port, which the one that runs gives back.
                Err(error) if is_taken(&error) && has_port(running, url) => {}
                Err(error) if is_taken(&error) => self.taken.push(format!("{url}: {error}")),
                Err(error) => self.refusals.push(format!("{url}: {error}")),
            }
        }
    }
}

fn is_taken(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::AddrInUse
}

fn has_port(running: &[ListenUrl], url: &ListenUrl) -> bool {
    let port = |url: &ListenUrl| url.inet().map(|address| address.port());
    port(url).is_some() && running.iter().any(|other| port(other) == port(url))
}
