//! The built-in user store: the default that needs no database. Passwords are kept as argon2; who
//! is to authenticate by SCRAM has a second form of the password, which is made only where it is
//! asked for, since what lies on disk for SCRAM is quicker to guess than argon2.

mod record;

use super::hashing::verify;
use super::hearing::Ear;
use super::journal::Journal;
use super::source::{Judgement, Reach, Remember, Scope, Source};
use crate::auth::scram::{self, Credential, First, Pending};
use crate::auth::{AuthRequest, AuthStep, Grant, Identity, PasswordFormat};
use crate::codec::ReasonCode;
use crate::limits::{USER_NAME_BYTES_MAX, USER_PASSWORD_BYTES_MAX, USERS_MAX};
use record::{Record, User};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

/// Name of the file in the data folder.
const FILE: &str = "users.jsonl";

/// Users with their passwords.
pub struct Users {
    users: RwLock<BTreeMap<Box<str>, Arc<User>>>,
    journal: Mutex<Journal>,
    /// What makes the challenge for a name that nobody has.
    secret: [u8; 32],
    /// Nothing changes but through us.
    ear: Arc<Ear>,
}

/// A user as `ctl users list` shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    pub name: String,
    pub is_superuser: bool,
    pub has_scram: bool,
}

/// What a user is made of.
#[derive(Clone, Debug)]
pub struct NewUser<'a> {
    pub name: &'a str,
    pub password: &'a str,
    pub is_superuser: bool,
    /// Whether it may authenticate by SCRAM-SHA-256 too.
    pub scram: bool,
}

impl Users {
    /// Reads the users of a data folder.
    ///
    /// # Errors
    /// A sentence with the file and the line.
    pub fn open(folder: &Path) -> Result<Users, String> {
        let (journal, records) = Journal::open::<Record>(&folder.join(FILE))?;
        let mut users = BTreeMap::new();
        for record in records {
            let name = record.name.clone();
            match User::of(record) {
                Some(user) => drop(users.insert(name, Arc::new(user))),
                None => drop(users.remove(&name)),
            }
        }
        Ok(Users {
            users: RwLock::new(users),
            journal: Mutex::new(journal),
            secret: record::random(),
            ear: Ear::sharp(),
        })
    }

    /// Whether [`Self::open`] can read the users of a data folder, which another process may have
    /// open.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn check(folder: &Path) -> Result<(), String> {
        Journal::read::<Record>(&folder.join(FILE)).map(drop)
    }

    /// Makes a user.
    ///
    /// # Errors
    /// A sentence: there is such a user, or one of the two texts cannot be used.
    pub fn add(&self, new: &NewUser<'_>) -> Result<(), String> {
        check(new)?;
        let user = User::new(new)?;
        let mut journal = self.journal();
        if self.find(new.name).is_some() {
            return Err(format!("there is a user {} already", new.name));
        }
        if self.count() >= USERS_MAX {
            return Err(format!(
                "more than {USERS_MAX} users: keep them in a database"
            ));
        }
        self.write(&mut journal, new.name, Some(user))
    }

    /// Another password for a user, who keeps the rest.
    ///
    /// # Errors
    /// A sentence: there is no such user, or the password cannot be used.
    pub fn set_password(&self, name: &str, password: &str) -> Result<(), String> {
        let found = self.find(name).ok_or_else(|| no_such(name))?;
        let new = NewUser {
            name,
            password,
            is_superuser: found.is_superuser,
            scram: found.scram.is_some(),
        };
        check(&new)?;
        let user = User::new(&new)?;
        let mut journal = self.journal();
        self.find(name).ok_or_else(|| no_such(name))?;
        self.write(&mut journal, name, Some(user))
    }

    /// Removes a user.
    ///
    /// # Errors
    /// A sentence: there is no such user.
    pub fn remove(&self, name: &str) -> Result<(), String> {
        let mut journal = self.journal();
        self.find(name).ok_or_else(|| no_such(name))?;
        self.write(&mut journal, name, None)
    }

    /// Up to `limit` users after `from`, by name.
    pub fn list(&self, limit: usize, from: Option<&str>) -> Vec<Listed> {
        use std::ops::Bound::{Excluded, Unbounded};
        let users = self.users.read().unwrap_or_else(PoisonError::into_inner);
        let range = (from.map_or(Unbounded, Excluded), Unbounded);
        users
            .range::<str, _>(range)
            .take(limit)
            .map(|(name, user)| Listed {
                name: name.to_string(),
                is_superuser: user.is_superuser,
                has_scram: user.scram.is_some(),
            })
            .collect()
    }

    fn count(&self) -> usize {
        self.users
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .len()
    }

    fn find(&self, name: &str) -> Option<Arc<User>> {
        self.users
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .get(name)
            .cloned()
    }

    fn journal(&self) -> MutexGuard<'_, Journal> {
        self.journal.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// To disk first, so that what is obeyed also survives.
    fn write(&self, journal: &mut Journal, name: &str, user: Option<User>) -> Result<(), String> {
        journal.append(&Record::of(name, user.as_ref()))?;
        let mut users = self.users.write().unwrap_or_else(PoisonError::into_inner);
        match user {
            Some(user) => drop(users.insert(name.into(), Arc::new(user))),
            None => drop(users.remove(name)),
        }
        if journal.is_stale(users.len()) {
            journal.rewrite(
                users
                    .iter()
                    .map(|(name, user)| Record::of(name, Some(user))),
            )?;
        }
        Ok(())
    }

    /// Any user, for a comparison that nobody passes.
    fn any(&self) -> Option<Arc<User>> {
        let users = self.users.read().unwrap_or_else(PoisonError::into_inner);
        users.values().next().cloned()
    }

    fn judge_password(&self, question: &AuthRequest) -> Judgement {
        let Some(user) = question
            .username
            .as_deref()
            .and_then(|name| self.find(name))
        else {
            return Judgement::Next;
        };
        let shown = question.password.as_deref().unwrap_or_default();
        if !verify(PasswordFormat::Argon2, shown, &user.password, None) {
            return Judgement::Deny(ReasonCode::BadUserNameOrPassword);
        }
        Judgement::Allow(
            grant(&user, Identity::AsGiven),
            Remember::WhileHeard(Scope::default(), self.ear.clone()),
        )
    }

    /// The first step of SCRAM.
    fn challenge(&self, question: &AuthRequest) -> Judgement {
        let first = First::parse(question.data.as_deref().unwrap_or_default());
        let Ok(first) = first else {
            return Judgement::Deny(ReasonCode::NotAuthorized);
        };
        let is_another = question.username.as_deref() != Some(&first.name);
        if question.step == AuthStep::Reauthenticate && is_another {
            return Judgement::Deny(ReasonCode::NotAuthorized);
        }
        let nonce: String = record::random()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        let (data, pending) = first
            .clone()
            .challenge(&self.credential(&first.name), &nonce);
        Judgement::Challenge {
            data,
            state: Some(pending.keep()),
        }
    }

    /// The last step of SCRAM.
    fn finish(&self, question: &AuthRequest) -> Judgement {
        let refused = Judgement::Deny(ReasonCode::NotAuthorized);
        let pending = question.state.as_deref().and_then(Pending::restore);
        let Some(pending) = pending else {
            return refused;
        };
        let message = question.data.as_deref().unwrap_or_default();
        let proof = pending.finish(&self.credential(&pending.name), message);
        match (proof, self.find(&pending.name)) {
            (Ok(Some(data)), Some(user)) => {
                let mut grant = grant(&user, Identity::Named(pending.name.into()));
                grant.data = Some(data);
                Judgement::Allow(grant, Remember::No)
            }
            _ => refused,
        }
    }

    fn credential(&self, name: &str) -> Credential {
        let found = self.find(name).and_then(|user| user.scram.clone());
        found.unwrap_or_else(|| Credential::of_nobody(name, &self.secret))
    }
}

impl Source for Users {
    fn name(&self) -> &'static str {
        "users"
    }

    fn is_active(&self) -> bool {
        self.count() > 0
    }

    fn pretend(&self, question: &AuthRequest) -> bool {
        let shown = question.password.as_deref().unwrap_or_default();
        let any = self.any();
        any.is_some_and(|user| {
            verify(PasswordFormat::Argon2, shown, &user.password, None);
            true
        })
    }

    /// SCRAM has the client hash.
    fn reach(&self, question: &AuthRequest) -> Reach {
        match question.method.as_deref() {
            Some(scram::METHOD) => Reach::AtOnce,
            Some(_) => Reach::Beyond,
            None if question.username.is_none() => Reach::Beyond,
            None => Reach::Waits,
        }
    }

    fn judge(&self, question: &AuthRequest) -> Judgement {
        match (question.step, question.method.as_deref()) {
            (AuthStep::Recheck, _) => {
                let found = question
                    .username
                    .as_deref()
                    .and_then(|name| self.find(name));
                found.map_or(Judgement::Next, |user| {
                    Judgement::Allow(grant(&user, Identity::AsGiven), Remember::No)
                })
            }
            (_, None) => self.judge_password(question),
            (AuthStep::Continue, Some(scram::METHOD)) => self.finish(question),
            (_, Some(scram::METHOD)) => self.challenge(question),
            _ => Judgement::Next,
        }
    }
}

fn grant(user: &User, identity: Identity) -> Grant {
    Grant {
        identity,
        is_superuser: user.is_superuser,
        ..Grant::default()
    }
}

fn check(new: &NewUser<'_>) -> Result<(), String> {
    let name = new.name;
    if name.is_empty() || name.len() > USER_NAME_BYTES_MAX || name.chars().any(char::is_control) {
        return Err(format!(
            "a user name has 1 to {USER_NAME_BYTES_MAX} bytes and no control characters"
        ));
    }
    if new.password.is_empty() || new.password.len() > USER_PASSWORD_BYTES_MAX {
        return Err(format!(
            "a password has 1 to {USER_PASSWORD_BYTES_MAX} bytes"
        ));
    }
    if new.scram && stringprep::saslprep(name).is_ok_and(|prepared| prepared != name) {
        return Err("SCRAM clients would send this name in another form (SASLprep)".into());
    }
    Ok(())
}

fn no_such(name: &str) -> String {
    format!("there is no user {name}")
}

#[cfg(test)]
mod tests;
