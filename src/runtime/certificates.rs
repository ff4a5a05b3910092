//! The thread that looks after certificates while a broker runs.

use super::broker::{ANSWER_WITHIN, ask, lock};
use super::doors::Doors;
use super::mail::{Ask, Mail};
use super::mesh::Address;
use crate::config::Settings;
use crossbeam_channel::{Receiver, RecvTimeoutError};
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// How often files are looked at. Two looks have to agree, so that no half of a pair is taken.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How often ends that are near are said.
const LOOK_AFTER_EVERY: Duration = Duration::from_secs(24 * 3600);

/// Watches until `end` is closed.
pub fn watch(
    doors: &Doors,
    settings: &Mutex<Settings>,
    addresses: &[Address<Mail>],
    end: &Receiver<()>,
) {
    let mut before = None;
    // What could not be taken is tried again only once it has changed again.
    let mut refused = None;
    let mut looked_after = Instant::now();
    while end.recv_timeout(LOOK_EVERY) == Err(RecvTimeoutError::Timeout) {
        if looked_after.elapsed() >= LOOK_AFTER_EVERY {
            looked_after = Instant::now();
            doors.look_after();
        }
        if !doors.have_changed() {
            before = None;
            continue;
        }
        let now = Some(doors.look());
        if before != now {
            before = now;
            continue;
        }
        if refused == now {
            continue;
        }
        let settings = lock(settings).clone();
        let taken = doors.prepare(&settings).and_then(|prepared| {
            doors.take(&settings, prepared);
            post_rules(doors, addresses)
        });
        if let Err(error) = taken {
            tracing::error!(
                "certificates have changed but are not taken, the old ones stay: {error}"
            );
            refused = now;
        }
    }
}

/// Tells the shards what holds for new connections.
///
/// # Errors
/// A shard does not answer.
pub fn post_rules(doors: &Doors, addresses: &[Address<Mail>]) -> Result<(), String> {
    let rules = doors.rules();
    for address in addresses {
        if !address.post_within(ask(Ask::Doors(rules.clone())), ANSWER_WITHIN) {
            return Err("a shard does not answer".into());
        }
    }
    Ok(())
}
