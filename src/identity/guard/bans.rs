//! The ban list: client ids, user names and addresses that may not come in, each for a time or for
//! good. It survives restarts.

use super::super::journal::Journal;
use crate::auth::{AuthRequest, Cidr, Revision, Whom};
use crate::codec::ReasonCode;
use crate::limits::BANS_MAX;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError, RwLock};
use std::time::{SystemTime, UNIX_EPOCH};

/// Name of the file in the data folder.
const FILE: &str = "bans.jsonl";

/// Who is banned.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Target {
    Client(String),
    User(String),
    /// An address or a range.
    Address(String),
}

/// One ban.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ban {
    pub target: Target,
    /// Seconds since the Unix epoch; `None`: for good.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until_unix_s: Option<u64>,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
}

/// A line of the file: a ban, or that there is none any more.
#[derive(Serialize, Deserialize)]
struct Record {
    #[serde(flatten)]
    ban: Ban,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    lifted: bool,
}

/// All bans.
pub struct Bans {
    bans: RwLock<BTreeMap<Target, (Ban, Option<Cidr>)>>,
    /// Whether there is any, for the many times when there is none.
    any: AtomicBool,
    journal: Mutex<Journal>,
}

impl Bans {
    /// Reads the bans of a data folder.
    ///
    /// # Errors
    /// A sentence with the file and the line.
    pub fn open(folder: &Path) -> Result<Bans, String> {
        let (journal, records) = Journal::open::<Record>(&folder.join(FILE))?;
        let mut bans = BTreeMap::new();
        for Record { ban, lifted } in records {
            let range = range_of(&ban.target)?;
            match lifted {
                true => drop(bans.remove(&ban.target)),
                false => drop(bans.insert(ban.target.clone(), (ban, range))),
            }
        }
        Ok(Bans {
            any: AtomicBool::new(!bans.is_empty()),
            bans: RwLock::new(bans),
            journal: Mutex::new(journal),
        })
    }

    /// Whether [`Self::open`] can read the bans of a data folder, which another process may have
    /// open.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn check(folder: &Path) -> Result<(), String> {
        for record in Journal::read::<Record>(&folder.join(FILE))? {
            range_of(&record.ban.target)?;
        }
        Ok(())
    }

    /// Adds a ban, or replaces the one of the same target; what to do about live clients.
    ///
    /// # Errors
    /// A sentence: the address is none, or there are too many bans.
    pub fn add(&self, ban: Ban) -> Result<Revision, String> {
        let range = range_of(&ban.target)?;
        let whom = match (&ban.target, range) {
            (Target::Client(client_id), _) => Whom::client(client_id),
            (Target::User(name), _) => Whom::user(name),
            (Target::Address(_), Some(range)) => Whom::address(range),
            (Target::Address(_), None) => Whom::default(),
        };
        let mut journal = self.journal.lock().unwrap_or_else(PoisonError::into_inner);
        let mut bans = self.bans.write().unwrap_or_else(PoisonError::into_inner);
        bans.retain(|_, (ban, _)| !ban.is_over());
        if bans.len() >= BANS_MAX {
            return Err(format!("there are {BANS_MAX} bans already"));
        }
        let record = Record { ban, lifted: false };
        journal.append(&record)?;
        bans.insert(record.ban.target.clone(), (record.ban, range));
        self.any.store(true, Ordering::Relaxed);
        if journal.is_stale(bans.len()) {
            let holding = bans.values().map(|(ban, _)| Record {
                ban: ban.clone(),
                lifted: false,
            });
            journal.rewrite(holding)?;
        }
        Ok(Revision::Kick(whom, ReasonCode::Banned))
    }

    /// Lifts a ban; false: there was none.
    ///
    /// # Errors
    /// A sentence: the file cannot be written.
    pub fn remove(&self, target: &Target) -> Result<bool, String> {
        let mut journal = self.journal.lock().unwrap_or_else(PoisonError::into_inner);
        let mut bans = self.bans.write().unwrap_or_else(PoisonError::into_inner);
        let Some((ban, _)) = bans.get(target).cloned() else {
            return Ok(false);
        };
        journal.append(&Record { ban, lifted: true })?;
        bans.remove(target);
        self.any.store(!bans.is_empty(), Ordering::Relaxed);
        Ok(true)
    }

    /// Those that hold, clients first, then users, then addresses.
    pub fn list(&self) -> Vec<Ban> {
        let bans = self.bans.read().unwrap_or_else(PoisonError::into_inner);
        let holding = bans.values().filter(|(ban, _)| !ban.is_over());
        holding.map(|(ban, _)| ban.clone()).collect()
    }

    /// Whether a client is banned.
    pub fn has(&self, request: &AuthRequest, username: Option<&str>) -> bool {
        if !self.any.load(Ordering::Relaxed) {
            return false;
        }
        let bans = self.bans.read().unwrap_or_else(PoisonError::into_inner);
        let named = |target: Target| bans.get(&target).is_some_and(|(ban, _)| !ban.is_over());
        if named(Target::Client(request.client_id.to_string())) {
            return true;
        }
        if username.is_some_and(|name| named(Target::User(name.into()))) {
            return true;
        }
        let ip = request.peer.ip();
        bans.range(Target::Address(String::new())..)
            .any(|(_, (ban, range))| {
                range.is_some_and(|range| range.contains(ip)) && !ban.is_over()
            })
    }
}

impl Ban {
    fn is_over(&self) -> bool {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let now_s = now.map_or(0, |now| now.as_secs());
        self.until_unix_s.is_some_and(|until| until <= now_s)
    }
}

fn range_of(target: &Target) -> Result<Option<Cidr>, String> {
    match target {
        Target::Address(text) => text.parse().map(Some),
        _ => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::source::tests::question;
    use super::*;

    fn ban(target: Target, until_unix_s: Option<u64>) -> Ban {
        Ban {
            target,
            until_unix_s,
            reason: "tests".into(),
        }
    }

    #[test]
    fn bans_hold_until_they_are_over_or_lifted_and_survive() {
        let folder = std::env::temp_dir().join(format!("ringmq-bans-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let bans = Bans::open(&folder).unwrap();
        let asked = question("u", "p", "c");
        assert!(!bans.has(&asked, Some("u")));
        for (target, whom) in [
            (Target::Client("c".into()), Whom::client("c")),
            (Target::User("u".into()), Whom::user("u")),
            (
                Target::Address("10.0.0.0/8".into()),
                Whom::address("10.0.0.0/8".parse().unwrap()),
            ),
        ] {
            let revision = bans.add(ban(target.clone(), None)).unwrap();
            assert_eq!(revision, Revision::Kick(whom, ReasonCode::Banned));
            assert!(bans.has(&asked, Some("u")), "{target:?}");
            assert!(Bans::open(&folder).unwrap().has(&asked, Some("u")));
            assert!(bans.remove(&target).unwrap());
            assert!(!bans.remove(&target).unwrap());
            assert!(!bans.has(&asked, Some("u")), "{target:?}");
            assert!(!Bans::open(&folder).unwrap().has(&asked, Some("u")));
        }
        bans.add(ban(Target::User("u".into()), Some(1))).unwrap();
        assert!(!bans.has(&asked, Some("u")) && bans.list().is_empty());
        assert!(bans.add(ban(Target::Address("10".into()), None)).is_err());
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
