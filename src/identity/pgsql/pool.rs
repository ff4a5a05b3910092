//! The connections: as many as configured, made again by themselves.

use std::sync::Arc;
use std::time::{Duration, Instant};

use r2d2::ManageConnection;
use scheduled_thread_pool::ScheduledThreadPool;

use super::failure::Failure;
use super::health::Health;
use super::options::Options;
use super::session::{Connector, Session};

/// Threads that make connections, so that one that hangs does not keep the others waiting.
const MAKERS: usize = 2;
/// How much longer than the server's own limit on a statement its answer may take.
const GRACE: Duration = Duration::from_secs(1);

/// Connections that any thread may take for a question.
pub struct Pool {
    pool: r2d2::Pool<Manager>,
    health: Arc<Health>,
    patience: Duration,
}

struct Manager {
    connector: Arc<Connector>,
    health: Arc<Health>,
}

/// A session whose end is counted.
pub struct Counted {
    session: Session,
    health: Arc<Health>,
}

impl Pool {
    /// Begins to make connections and returns at once, whether or not there is a server.
    pub fn new(options: &Options, connector: Arc<Connector>, health: Arc<Health>) -> Self {
        let manager = Manager {
            connector,
            health: health.clone(),
        };
        let makers = ScheduledThreadPool::builder()
            .num_threads(MAKERS)
            .thread_name_pattern("pgsql-connect-{}")
            .build();
        let pool = r2d2::Pool::builder()
            .max_size(options.pool)
            .thread_pool(Arc::new(makers))
            // A look at the socket is done here, and costs no question.
            .test_on_check_out(false)
            .max_lifetime(None)
            .idle_timeout(None)
            .connection_timeout(options.query_timeout)
            // The health says it, once.
            .error_handler(Box::new(r2d2::NopErrorHandler))
            .build_unchecked(manager);
        let patience = options.query_timeout;
        Self {
            pool,
            health,
            patience,
        }
    }

    /// Does `work` with a connection, until a deadline; on another one, once, when the one that it
    /// got had died unnoticed.
    ///
    /// # Errors
    /// At once while the server is known to be away; else what `work` says, or that no connection
    /// was free in time.
    pub fn with<T>(
        &self,
        mut work: impl FnMut(&mut Session, Instant) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let mut is_second = false;
        loop {
            if let Some(outage) = self.health.outage() {
                return Err(Failure::Unreachable(outage.reason));
            }
            let mut session = self.take(Instant::now() + self.patience)?;
            // The server gives up first, and says so.
            let deadline = Instant::now() + self.patience + GRACE;
            let done = work(&mut session.session, deadline);
            match &done {
                Err(Failure::Unreachable(_)) if !is_second => {
                    is_second = true;
                    continue;
                }
                Ok(_) | Err(Failure::Unfit(_)) => self.health.answered(),
                Err(failure) => self.health.failed(failure),
            }
            return done;
        }
    }

    fn take(&self, deadline: Instant) -> Result<r2d2::PooledConnection<Manager>, Failure> {
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let taken = self.pool.get_timeout(left);
            let mut session = taken.map_err(|_| match self.health.outage() {
                Some(outage) => Failure::Unreachable(outage.reason),
                None => Failure::Refused("no connection was free in time".into()),
            })?;
            // One that is not is dropped, and another made in its place.
            if session.session.is_alive() {
                return Ok(session);
            }
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.health.close();
    }
}

impl ManageConnection for Manager {
    type Connection = Counted;
    type Error = Failure;

    fn connect(&self) -> Result<Counted, Failure> {
        self.health.wait_turn();
        match self.connector.connect() {
            Ok(session) => {
                self.health.opened();
                let health = self.health.clone();
                Ok(Counted { session, health })
            }
            Err(failure) => {
                self.health.refused(&failure);
                Err(failure)
            }
        }
    }

    fn is_valid(&self, connection: &mut Counted) -> Result<(), Failure> {
        match connection.session.is_alive() {
            true => Ok(()),
            false => Err(Failure::Unreachable("connection closed".into())),
        }
    }

    fn has_broken(&self, connection: &mut Counted) -> bool {
        connection.session.is_broken()
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.health.dropped();
    }
}
