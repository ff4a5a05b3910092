//! PostgreSQL as a source of identities and access rules: the tutorial's plug-in.
//!
//! Nothing in here runs on a shard's thread. Questions come on threads that may block, each takes a
//! connection from the pool, and every wait has an end.

mod cell;
mod failure;
mod health;
mod hearsay;
mod listener;
mod mirror;
mod notes;
mod options;
mod pool;
mod session;
mod source;
mod template;
mod tls;
mod wire;

pub use listener::Tell;
pub use options::Options;
pub use template::Template;

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::auth::AuthRequest;
use crate::identity::{Ear, Judgement, Reach, Source};
use failure::Failure;
use health::Health;
use listener::{Hearing, Listener};
use mirror::Mirror;
use pool::Pool;
use session::Connector;
use source::Pgsql;

/// How long [`Plugin::start`] waits for a first word of the server.
const FIRST_WORD: Duration = Duration::from_secs(2);

const NO_NOTIFY: &str = "auth.pgsql.prepared = false: a pooler passes no notifications on, so \
                         changes act when what is remembered is over; name the server itself as \
                         auth.pgsql.notify_server, or say auth.pgsql.notify = false";

/// The source with all that belongs to it; dropping this closes the connections.
pub struct Plugin {
    source: Pgsql,
    _listener: Listener,
}

impl Plugin {
    /// Begins to connect. Sentences say what is wrong with server or queries, so that nobody has to
    /// look into the log; it is a source all the same, which says that it is unavailable.
    ///
    /// # Errors
    /// The files for TLS are not what they should be, or there is no thread.
    pub fn start(options: Options, tell: Tell) -> Result<(Self, Vec<String>), String> {
        let options = Arc::new(options);
        let connector = Arc::new(Connector::new(&options)?);
        let name = format!("PostgreSQL at {}", options.server);
        let health = Arc::new(Health::new(name));
        let mirror = options.mirror.then(Arc::<Mirror>::default);
        let ear = Ear::deaf();
        let mut warnings = warnings(&options, &connector);
        if options.notify && !options.can_hear() {
            warnings.push(NO_NOTIFY.into());
        }
        let has_channel = options.notify && options.can_hear() || options.mirror;
        let listening = match options.notify_server {
            Some(_) => Arc::new(Connector::new(&options.for_listening())?),
            None => connector.clone(),
        };
        let pool = Pool::new(&options, connector, health.clone());
        let hearing = Hearing {
            options: options.clone(),
            connector: listening,
            health: health.clone(),
            mirror: mirror.clone(),
            ear: ear.clone(),
            tell,
            has_channel,
        };
        let listener = Listener::start(hearing).map_err(|error| error.to_string())?;
        let source = Pgsql::new(options, pool, (health, mirror), ear);
        let plugin = Self {
            source,
            _listener: listener,
        };
        Ok((plugin, warnings))
    }

    /// How it is, in a line.
    pub fn detail(&self) -> String {
        let health = self.source.health();
        let numbers = health.numbers();
        let mut text = format!(
            "{}: {} connections, {} queries, {} failed",
            health.name(),
            numbers.open,
            numbers.queries,
            numbers.failures
        );
        if let Some(mirror) = self.source.mirror() {
            let size = mirror.size();
            let state = if size.is_live { "live" } else { "not live" };
            text += &format!(
                "; mirror {state}: {} users in {} bytes, {} rules",
                size.users, size.bytes, size.rules
            );
        }
        if let Some(outage) = health.outage() {
            let seconds = outage.since.elapsed().unwrap_or_default().as_secs();
            text += &format!("; no answers for {seconds} s: {}", outage.reason);
        }
        text
    }
}

impl Source for Plugin {
    fn name(&self) -> &'static str {
        self.source.name()
    }

    fn judge(&self, question: &AuthRequest) -> Judgement {
        self.source.judge(question)
    }

    fn reach(&self, question: &AuthRequest) -> Reach {
        self.source.reach(question)
    }

    fn pretend(&self, question: &AuthRequest) -> bool {
        self.source.pretend(question)
    }

    fn looks_further(&self) -> bool {
        self.source.looks_further()
    }
}

/// Whether [`Plugin::start`] can read its files; nobody is asked.
///
/// # Errors
/// A file is not what it should be.
pub fn check(options: &Options) -> Result<(), String> {
    Connector::new(options).map(drop)
}

/// What the server says of log-in and queries.
fn warnings(options: &Options, connector: &Connector) -> Vec<String> {
    let mut session = match connector.connect() {
        Ok(session) => session,
        Err(failure) => return vec![format!("PostgreSQL at {}: {failure}", options.server)],
    };
    let deadline = Instant::now() + FIRST_WORD;
    let mut warnings: Vec<String> = options
        .queries()
        .filter_map(|(key, query)| {
            let told = session.check(query.sql(), deadline).err()?;
            Some(format!("auth.pgsql.{key}: {told}"))
        })
        .collect();
    if options.mirror {
        for (key, sql) in [
            ("mirror_query", options.mirror_query()),
            ("mirror_acl_query", options.mirror_acl_query()),
        ] {
            if let Err::<(), Failure>(told) = session.check(sql, deadline) {
                warnings.push(format!("auth.pgsql.{key}: {told}"));
            }
        }
    }
    warnings
}
