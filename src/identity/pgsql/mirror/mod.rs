//! The tables in memory, so that whoever connects needs no query.

mod rules;
mod users;

pub use rules::{Stored, Table};
pub use users::{User, Users};

use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::{Duration, Instant};

use super::failure::Failure;
use super::options::Options;
use super::session::{Cells, Session};

/// Longest that reading a whole table may take.
pub const LOAD_MAX: Duration = Duration::from_secs(600);

/// What the database holds, as far as it was read.
#[derive(Default)]
pub struct Mirror(RwLock<State>);

#[derive(Default)]
struct State {
    users: Users,
    rules: Table,
    /// Whether the tables were read to their ends at least once.
    is_loaded: bool,
    /// Whether every change is told, so that what is not here is nowhere.
    is_live: bool,
}

/// What the mirror knows of a user.
#[derive(Debug, PartialEq, Eq)]
pub enum Known {
    User(User),
    /// There is no such user.
    Nobody,
    /// The database has to be asked.
    Unsure,
}

/// For `status`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Size {
    pub users: usize,
    pub bytes: usize,
    pub rules: usize,
    pub is_live: bool,
}

impl Mirror {
    pub fn user(&self, name: &str) -> Known {
        let state = self.read();
        match state.users.get(name) {
            Some(user) => Known::User(user),
            None if state.is_loaded && state.is_live => Known::Nobody,
            None => Known::Unsure,
        }
    }

    /// What `with` makes of the rules that may be about a client; `None` when they were not read.
    pub fn rules<T>(
        &self,
        (username, client_id): (&str, &str),
        with: impl FnOnce(Vec<crate::auth::acl::Row<'_>>) -> T,
    ) -> Option<T> {
        let state = self.read();
        state
            .is_loaded
            .then(|| with(state.rules.about(username, client_id)))
    }

    /// Whether the tables were read to their ends at least once.
    pub fn is_loaded(&self) -> bool {
        self.read().is_loaded
    }

    /// Whether what it knows is the database's own word now.
    pub fn is_live(&self) -> bool {
        self.read().is_live
    }

    pub fn size(&self) -> Size {
        let state = self.read();
        Size {
            users: state.users.len(),
            bytes: state.users.bytes(),
            rules: state.rules.len(),
            is_live: state.is_loaded && state.is_live,
        }
    }

    pub fn set_live(&self, is_live: bool) {
        self.write().is_live = is_live;
    }

    /// Reads all users anew.
    ///
    /// # Errors
    /// The database fails, or the query has other columns: what was known stays.
    pub fn load_users(&self, session: &mut Session, options: &Options) -> Result<(), Failure> {
        let mut users = Users::default();
        let mut wrong = None;
        let deadline = Instant::now() + LOAD_MAX;
        session.query((options.mirror_query(), &[]), deadline, |row| {
            let read = named(row).and_then(|(name, user)| match users.contains(&name) {
                // As with `limit 1`: one of them counts.
                true => Ok(()),
                false => users.put(&name, &user),
            });
            wrong = read.err();
            wrong.is_none()
        })?;
        if let Some(why) = wrong {
            return Err(Failure::Refused(format!("auth.pgsql.mirror_query: {why}")));
        }
        users.settle();
        let mut state = self.write();
        state.users = users;
        Ok(())
    }

    /// Reads all rules anew; from then on the mirror answers.
    ///
    /// # Errors
    /// As above.
    pub fn load_rules(&self, session: &mut Session, options: &Options) -> Result<(), Failure> {
        let mut rules = Table::default();
        let mut wrong = None;
        if options.acl_query.is_some() {
            let deadline = Instant::now() + LOAD_MAX;
            session.query((options.mirror_acl_query(), &[]), deadline, |row| {
                match Stored::new(row) {
                    Ok(stored) => rules.push(stored),
                    Err(why) => wrong = Some(why),
                }
                wrong.is_none()
            })?;
        }
        if let Some(why) = wrong {
            let why = format!("auth.pgsql.mirror_acl_query: {why}");
            return Err(Failure::Refused(why));
        }
        let mut state = self.write();
        state.rules = rules;
        state.is_loaded = true;
        Ok(())
    }

    /// Puts in what the database says of one user now.
    pub fn set_user(&self, name: &str, user: Option<&User>) {
        let mut state = self.write();
        match user {
            None => {
                state.users.remove(name);
            }
            Some(user) => {
                if let Err(why) = state.users.put(name, user) {
                    state.users.remove(name);
                    // So that nobody is told that there is no such user.
                    state.is_live = false;
                    crate::log_limited!(warn, 1, "a user is not mirrored: {why}");
                }
            }
        }
    }

    fn read(&self) -> RwLockReadGuard<'_, State> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, State> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A row `username, password, salt, is_superuser`.
fn named(row: Cells) -> Result<(String, User), String> {
    let count = row.len();
    let [name, password, salt, is_superuser]: [Option<String>; 4] =
        row.try_into().map_err(|_| {
            format!("four columns are wanted (username, password, salt, is_superuser), not {count}")
        })?;
    let user = User {
        password,
        salt,
        is_superuser: is_superuser.as_deref().is_some_and(is_true),
    };
    // A row without a name is nobody's: an empty name is never looked up.
    Ok((name.unwrap_or_default(), user))
}

/// Whether a column says yes: a boolean, or a number.
pub fn is_true(column: &str) -> bool {
    matches!(column, "true" | "t" | "1")
}
