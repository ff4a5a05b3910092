//! One connection to the database, for a thread that blocks: the driver with an end to every wait.

use std::time::{Duration, Instant};

use postgres::config::{SslMode, SslNegotiation};
use postgres::fallible_iterator::FallibleIterator;
use postgres::types::{ToSql, Type};
use postgres::{Client, Config, Row, Statement};
use r2d2::ManageConnection;
use r2d2_postgres::PostgresConnectionManager;

use super::cell::{Cell, Parameter};
use super::failure::Failure;
use super::options::Options;
use super::tls::Tls;
use super::wire::{Wire, until};

/// Statements that one connection keeps prepared.
const STATEMENTS_MAX: usize = 8;
/// Notifications taken in one go.
const NOTES_MAX: usize = 4096;
/// How much longer than for a notification a look at the socket may take.
const GLANCE: Duration = Duration::from_secs(1);

/// What is needed to make connections, checked once.
pub struct Connector {
    manager: PostgresConnectionManager<Wire>,
    timeout: Duration,
    is_prepared: bool,
}

/// A connection that is logged in.
pub struct Session {
    client: Client,
    statements: Vec<(String, Statement)>,
    is_prepared: bool,
    is_broken: bool,
}

/// The columns of a row, from the left; none is NULL.
pub type Cells = Vec<Option<String>>;

impl Connector {
    /// # Errors
    /// The files for TLS are not what they should be.
    pub fn new(options: &Options) -> Result<Self, String> {
        let mut config = Config::new();
        config
            .host(&options.server.host)
            .port(options.server.port)
            .user(&options.username)
            .dbname(&options.database)
            .application_name("ringmq")
            .connect_timeout(options.connect_timeout)
            .keepalives_idle(options.keepalive)
            .keepalives_interval(Duration::from_secs(2))
            .keepalives_retries(3)
            .tcp_user_timeout(options.query_timeout + Duration::from_secs(2))
            // Our own stream asks for TLS, where it is wanted: see `wire`.
            .ssl_mode(SslMode::Require)
            .ssl_negotiation(SslNegotiation::Direct);
        if !options.password.0.is_empty() {
            config.password(&options.password.0);
        }
        if options.prepared {
            // The server gives up by itself, and says so, before we lose the connection over it. A
            // pgbouncer does not let such an option pass.
            let limit_ms = options.query_timeout.as_millis();
            config.options(&format!("-c statement_timeout={limit_ms}"));
        }
        let tls = options.ssl.then(|| Tls::new(&options.tls)).transpose()?;
        Ok(Self {
            manager: PostgresConnectionManager::new(config, Wire(tls)),
            timeout: options.connect_timeout,
            is_prepared: options.prepared,
        })
    }

    /// Connects and logs in. What the system takes to look up the server's name comes on top of
    /// the time that this may take.
    ///
    /// # Errors
    /// Nobody is there, does not let us in, or says nothing in time.
    pub fn connect(&self) -> Result<Session, Failure> {
        let deadline = Instant::now() + self.timeout;
        let client = until(deadline, || self.manager.connect()).map_err(|error| {
            let seconds = self.timeout.as_secs_f64();
            Failure::new(error, &format!("no answer to a log-in within {seconds} s"))
        })?;
        Ok(Session {
            client,
            statements: Vec::new(),
            is_prepared: self.is_prepared,
            is_broken: false,
        })
    }
}

impl Session {
    /// Whether it can be asked no more.
    pub fn is_broken(&self) -> bool {
        self.is_broken || self.client.is_closed()
    }

    /// Asks, and hands each row to `take` until it says that it wants no more.
    ///
    /// # Errors
    /// As they are; after [`Failure::Overdue`] and [`Failure::Unreachable`] the connection is
    /// broken.
    pub fn query(
        &mut self,
        (sql, values): (&str, &[Option<&str>]),
        deadline: Instant,
        take: impl FnMut(Cells) -> bool,
    ) -> Result<(), Failure> {
        self.bounded(deadline, |session| session.ask((sql, values), take))
    }

    /// The first row, if there is one.
    ///
    /// # Errors
    /// As above.
    pub fn first(
        &mut self,
        query: (&str, &[Option<&str>]),
        deadline: Instant,
    ) -> Result<Option<Cells>, Failure> {
        let mut first = None;
        self.query(query, deadline, |row| {
            first.get_or_insert(row);
            true
        })?;
        Ok(first)
    }

    /// Whether the server takes this statement: a message says why not.
    ///
    /// # Errors
    /// As above.
    pub fn check(&mut self, sql: &str, deadline: Instant) -> Result<(), Failure> {
        self.bounded(deadline, |session| session.client.prepare(sql).map(drop))
    }

    /// Waits for notifications; an empty list when none came in time.
    ///
    /// # Errors
    /// The connection has ended.
    pub fn notes(&mut self, patience: Duration) -> Result<Vec<String>, Failure> {
        let deadline = Instant::now() + patience + GLANCE;
        let notes = self.bounded(deadline, |session| {
            let mut notifications = session.client.notifications();
            let mut notes = Vec::new();
            if let Some(note) = notifications.timeout_iter(patience).next()? {
                notes.push(note.payload().into());
            }
            while !notifications.is_empty()
                && notes.len() < NOTES_MAX
                && let Some(note) = notifications.iter().next()?
            {
                notes.push(note.payload().into());
            }
            Ok(notes)
        })?;
        match notes.is_empty() && self.is_broken() {
            true => Err(Failure::Unreachable("connection closed".into())),
            false => Ok(notes),
        }
    }

    /// Does `work` with an end to its waits.
    fn bounded<T>(
        &mut self,
        deadline: Instant,
        work: impl FnOnce(&mut Self) -> Result<T, postgres::Error>,
    ) -> Result<T, Failure> {
        let began = Instant::now();
        let done = until(deadline, || work(self)).map_err(|error| {
            let ms = began.elapsed().as_millis();
            Failure::new(error, &format!("no answer within {ms} ms"))
        });
        match &done {
            Err(Failure::Overdue(_) | Failure::Unreachable(_)) => self.is_broken = true,
            // What a statement was prepared for may be gone.
            Err(Failure::Refused(_)) => self.statements.clear(),
            Err(Failure::Unfit(_)) | Ok(_) => {}
        }
        done
    }

    fn ask(
        &mut self,
        (sql, values): (&str, &[Option<&str>]),
        mut take: impl FnMut(Cells) -> bool,
    ) -> Result<(), postgres::Error> {
        let parameters: Vec<_> = values.iter().map(|value| Parameter(*value)).collect();
        let mut rows = if self.is_prepared {
            let statement = self.prepared(sql)?;
            let parameters = parameters.iter().map(|value| value as &(dyn ToSql + Sync));
            self.client.query_raw(&statement, parameters)?
        } else {
            // All in one go, without a name that the next server connection would not know.
            let parameters = parameters.iter().map(|value| (value, Type::UNKNOWN));
            self.client.query_typed_raw(sql, parameters)?
        };
        while let Some(row) = rows.next()? {
            if !take(cells(&row)?) {
                break;
            }
        }
        Ok(())
    }

    /// The statement for this text; known from before, or prepared now.
    fn prepared(&mut self, sql: &str) -> Result<Statement, postgres::Error> {
        if let Some((_, known)) = self.statements.iter().find(|(known, _)| known == sql) {
            return Ok(known.clone());
        }
        let statement = self.client.prepare(sql)?;
        if self.statements.len() >= STATEMENTS_MAX {
            self.statements.remove(0);
        }
        self.statements.push((sql.into(), statement.clone()));
        Ok(statement)
    }
}

fn cells(row: &Row) -> Result<Cells, postgres::Error> {
    let cell = |at| Ok(row.try_get::<_, Option<Cell>>(at)?.map(|cell| cell.0));
    (0..row.len()).map(cell).collect()
}
