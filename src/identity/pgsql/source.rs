//! PostgreSQL as a source of identities: the questions that a client costs, and what comes of the
//! answers.

use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, LazyLock, OnceLock};
use std::time::Instant;

use super::failure::Failure;
use super::health::Health;
use super::mirror::{Known, Mirror, Stored, User, is_true};
use super::options::Options;
use super::pool::Pool;
use super::session::{Cells, Session};
use super::template::{Template, Variable};
use crate::auth::acl::row;
use crate::auth::{AuthRequest, AuthStep, Grant, Rules};
use crate::codec::ReasonCode;
use crate::identity::hashing::verify;
use crate::identity::{Ear, Judgement, Reach, Remember, Scope, Source};
use crate::limits::ACL_RULES_MAX;

/// Of the process, so that clients stay whose plug-in is loaded anew. Nobody who knows what is
/// stored can look for another text that has the same fingerprint.
static KEY: LazyLock<RandomState> = LazyLock::new(RandomState::new);

/// The source; shared by the threads that ask it.
pub struct Pgsql {
    options: Arc<Options>,
    pool: Pool,
    health: Arc<Health>,
    mirror: Option<Arc<Mirror>>,
    /// What a verdict depends on beside name and password: what the queries ask for.
    scope: Scope,
    ear: Arc<Ear>,
    /// A stored password that was seen, with its salt, where comparing with one takes its time.
    sample: OnceLock<(String, Option<String>)>,
}

/// What the place holders of a query stand for.
#[derive(Clone, Copy)]
struct Values<'a> {
    username: &'a str,
    client_id: &'a str,
    address: &'a str,
}

impl Pgsql {
    pub fn new(
        options: Arc<Options>,
        pool: Pool,
        (health, mirror): (Arc<Health>, Option<Arc<Mirror>>),
        ear: Arc<Ear>,
    ) -> Self {
        let queries = [
            &options.auth_query,
            &options.super_query,
            &options.acl_query,
        ];
        let asks = |variable: Variable| {
            let mut queries = queries.iter().copied().flatten();
            queries.any(|query| query.variables().contains(&variable))
        };
        let scope = Scope::of(asks(Variable::ClientId), asks(Variable::Address));
        Self {
            options,
            pool,
            health,
            mirror,
            scope,
            ear,
            sample: OnceLock::new(),
        }
    }

    pub fn health(&self) -> &Health {
        &self.health
    }

    pub fn mirror(&self) -> Option<&Mirror> {
        self.mirror.as_deref()
    }

    fn decide(&self, request: &AuthRequest) -> Result<Judgement, Failure> {
        let Some(query) = &self.options.auth_query else {
            return Ok(Judgement::Next);
        };
        // A client with another method, or without a name, is not one of ours.
        let username = request.username.as_deref().unwrap_or("");
        let names = [username, &request.client_id];
        if request.method.is_some()
            || username.is_empty()
            || names.iter().any(|name| name.contains('\0'))
        {
            return Ok(Judgement::Next);
        }
        let address = request.peer.address.ip().to_canonical().to_string();
        let values = Values {
            username,
            client_id: &request.client_id,
            address: &address,
        };
        if let Some(mirror) = &self.mirror {
            match mirror.user(username) {
                Known::Nobody => return Ok(Judgement::Next),
                // Where the mirror may be old, only what it confirms is sure.
                Known::User(user) if self.is_right(&user, request) || mirror.is_live() => {
                    return self.conclude(&user, request, values);
                }
                Known::User(_) | Known::Unsure => {}
            }
        }
        let found = self
            .pool
            .with(|session, deadline| first(session, query, values, deadline));
        match found {
            Ok(Some(row)) => self.conclude(&user_of(row), request, values),
            // Nobody in the table can be called like that.
            Ok(None) | Err(Failure::Unfit(_)) => Ok(Judgement::Next),
            Err(failure) => Err(failure),
        }
    }

    /// Whether it is the user's password; of a client that is in, whether what is stored is what
    /// it was let in by.
    fn is_right(&self, user: &User, request: &AuthRequest) -> bool {
        if request.step == AuthStep::Recheck {
            let stored = request.voucher.stored;
            return stored == <[u8; 3]>::default() || stored == self.fingerprint(user);
        }
        let (Some(shown), Some(stored)) = (&request.password, &user.password) else {
            return false;
        };
        if self.options.password_hash.is_slow() {
            let sample = || (stored.clone(), user.salt.clone());
            self.sample.get_or_init(sample);
        }
        let salt = user.salt.as_deref();
        let format = self.options.password_hash;
        let is_right = verify(format, shown, stored, salt);
        if !is_right && let Some(why) = format.mistake(stored) {
            let name = request.username.as_deref().unwrap_or_default();
            crate::log_limited!(
                warn,
                1,
                "{}: what is stored as the password of {name:?} is no {format}, so none is right: \
                 {why}",
                self.health.name()
            );
        }
        is_right
    }

    fn conclude(
        &self,
        user: &User,
        request: &AuthRequest,
        values: Values<'_>,
    ) -> Result<Judgement, Failure> {
        if !self.is_right(user, request) {
            return Ok(Judgement::Deny(match request.step {
                AuthStep::Recheck => ReasonCode::NotAuthorized,
                _ => ReasonCode::BadUserNameOrPassword,
            }));
        }
        let mut grant = match self.mirrored(user, values) {
            Some(grant) => grant,
            None => self.pool.with(|session, deadline| {
                let is_superuser = match &self.options.super_query {
                    None => false,
                    Some(query) => first(session, query, values, deadline)?
                        .and_then(|row| row.into_iter().next().flatten())
                        .is_some_and(|column| is_true(&column)),
                };
                let rules = match &self.options.acl_query {
                    // Nobody looks at the rules of a superuser.
                    Some(query) if !is_superuser => Some(rules(session, query, values, deadline)?),
                    _ => None,
                };
                Ok(Grant {
                    is_superuser,
                    rules: rules.map(Arc::new),
                    ..Grant::default()
                })
            })?,
        };
        grant.voucher.stored = self.fingerprint(user);
        let remember = Remember::WhileHeard(self.scope, self.ear.clone());
        Ok(Judgement::Allow(grant, remember))
    }

    /// What is stored of a user, and is looked at when it connects, in three bytes; never zeros.
    fn fingerprint(&self, user: &User) -> [u8; 3] {
        let salt = user.salt.as_deref().unwrap_or_default();
        let salt = self.options.password_hash.has_salt().then_some(salt);
        let [a, b, c, ..] = KEY.hash_one((&user.password, salt)).to_le_bytes();
        [a | u8::from((a, b, c) == (0, 0, 0)), b, c]
    }

    fn mirrored(&self, user: &User, values: Values<'_>) -> Option<Grant> {
        let mirror = self.mirror.as_ref()?;
        let is_superuser = user.is_superuser && self.options.super_query.is_some();
        let names = (values.username, values.client_id);
        let rules = mirror.rules(names, |rows| rules_of(row::rules(rows)))?;
        let wanted = self.options.acl_query.is_some() && !is_superuser;
        Some(Grant {
            is_superuser,
            rules: wanted.then(|| Arc::new(rules)),
            ..Grant::default()
        })
    }
}

impl Source for Pgsql {
    fn name(&self) -> &'static str {
        "postgres"
    }

    fn pretend(&self, request: &AuthRequest) -> bool {
        let shown = request.password.as_deref().unwrap_or_default();
        self.sample.get().is_some_and(|(stored, salt)| {
            let salt = salt.as_deref();
            verify(self.options.password_hash, shown, stored, salt);
            true
        })
    }

    fn looks_further(&self) -> bool {
        self.scope.client_id || self.scope.address
    }

    fn reach(&self, request: &AuthRequest) -> Reach {
        let has_name = request
            .username
            .as_deref()
            .is_some_and(|name| !name.is_empty());
        match has_name && request.method.is_none() && self.options.auth_query.is_some() {
            true => Reach::Waits,
            false => Reach::Beyond,
        }
    }

    fn judge(&self, request: &AuthRequest) -> Judgement {
        self.decide(request)
            .unwrap_or_else(|failure| Judgement::Unavailable(failure.text().into()))
    }
}

/// What the database says of a user now, for the mirror.
///
/// # Errors
/// The database fails.
pub fn look_up(
    session: &mut Session,
    options: &Options,
    username: &str,
    deadline: Instant,
) -> Result<Option<User>, Failure> {
    let Some(query) = &options.auth_query else {
        return Ok(None);
    };
    let values = Values {
        username,
        client_id: "",
        address: "",
    };
    let Some(row) = first(session, query, values, deadline)? else {
        return Ok(None);
    };
    let mut user = user_of(row);
    if let Some(query) = &options.super_query {
        user.is_superuser = first(session, query, values, deadline)?
            .and_then(|row| row.into_iter().next().flatten())
            .is_some_and(|column| is_true(&column));
    }
    Ok(Some(user))
}

/// A row `password, salt`, of which the salt may be missing.
fn user_of(row: Cells) -> User {
    let mut columns = row.into_iter();
    User {
        password: columns.next().flatten(),
        salt: columns.next().flatten(),
        is_superuser: false,
    }
}

fn first(
    session: &mut Session,
    query: &Template,
    values: Values<'_>,
    deadline: Instant,
) -> Result<Option<Cells>, Failure> {
    session.first((query.sql(), &bound(query, values)), deadline)
}

fn bound<'a>(query: &Template, values: Values<'a>) -> Vec<Option<&'a str>> {
    let variables = query.variables().iter();
    variables
        .map(|variable| {
            Some(match variable {
                Variable::Username => values.username,
                Variable::ClientId => values.client_id,
                Variable::Address => values.address,
            })
        })
        .collect()
}

fn rules(
    session: &mut Session,
    query: &Template,
    values: Values<'_>,
    deadline: Instant,
) -> Result<Rules, Failure> {
    let mut stored = Vec::new();
    session.query((query.sql(), &bound(query, values)), deadline, |row| {
        stored.push(Stored::new(row));
        stored.len() <= ACL_RULES_MAX
    })?;
    if stored.len() > ACL_RULES_MAX {
        let why = format!("auth.pgsql.acl_query: more than {ACL_RULES_MAX} rules for one client");
        return Err(Failure::Refused(why));
    }
    let stored: Result<Vec<_>, String> = stored.into_iter().collect();
    let stored = stored.map_err(|why| Failure::Refused(format!("auth.pgsql.acl_query: {why}")))?;
    Ok(rules_of(row::rules(stored.iter().map(Stored::row))))
}

/// The rules; where one cannot be read, that nothing is allowed: it might have denied something.
fn rules_of(rules: Result<Rules, String>) -> Rules {
    rules.unwrap_or_else(|why| {
        crate::log_limited!(
            error,
            1,
            "auth.pgsql.acl_query: {why}; its client may do nothing"
        );
        Rules::deny_all()
    })
}
