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

/// How often whoever waits for a connection looks whether there still is a server.
const GLANCE: Duration = Duration::from_millis(100);

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
            // A question that meets a dead connection goes to the next: see below.
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

    /// Does `work` with a connection, until a deadline. Connections that have died unnoticed, as
    /// all have once the server was restarted, are dropped one after the other; whatever is asked
    /// here may be asked twice.
    ///
    /// # Errors
    /// At once while the server is known to be away; else what `work` says, or that no connection
    /// was free in time.
    pub fn with<T>(
        &self,
        mut work: impl FnMut(&mut Session, Instant) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let free_by = Instant::now() + self.patience;
        let mut left = self.pool.max_size();
        loop {
            if let Some(outage) = self.health.outage() {
                return Err(Failure::Unreachable(outage.reason));
            }
            let mut session = self.take(free_by)?;
            // The server gives up first, and says so.
            let deadline = Instant::now() + self.patience + GRACE;
            let done = work(&mut session.session, deadline);
            match &done {
                Err(Failure::Unreachable(_)) if left > 0 => {
                    left -= 1;
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
            if let Ok(session) = self.pool.get_timeout(left.min(GLANCE)) {
                return Ok(session);
            }
            // Who waits is not woken when it turns out that there is nobody to connect to.
            if let Some(outage) = self.health.outage() {
                return Err(Failure::Unreachable(outage.reason));
            }
            if left <= GLANCE {
                return Err(Failure::Refused("no connection was free in time".into()));
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
        match connection.session.is_broken() {
            false => Ok(()),
            true => Err(Failure::Unreachable("connection closed".into())),
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
