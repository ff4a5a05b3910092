//! One connection to the database, for a thread that blocks.
//!
//! The driver is asynchronous inside; each connection has a small runtime of its own that runs on
//! the thread that asks, and only while it asks. The driver's own blocking client is the same, but
//! for one thing that cannot be done without: here every wait has an end, also the one for a
//! server that has accepted the connection and says nothing (stopped, or behind a dead network).

use std::future::poll_fn;
use std::pin::pin;
use std::time::{Duration, Instant};

use futures_core::Stream;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::error::Elapsed;
use tokio::time::timeout;
use tokio_postgres::config::SslMode;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{AsyncMessage, Client, Config, Connection, NoTls, Row, Statement};

use super::cell::{Cell, Parameter};
use super::failure::Failure;
use super::options::Options;
use super::tls::Tls;

/// Statements that one connection keeps prepared.
const STATEMENTS_MAX: usize = 8;
/// Notifications taken in one go.
const NOTES_MAX: usize = 4096;

/// What is needed to make connections, checked once.
pub struct Connector {
    config: Config,
    tls: Option<Tls>,
    timeout: Duration,
    is_prepared: bool,
}

/// A connection that is logged in.
pub struct Session {
    runtime: Runtime,
    client: Client,
    statements: Vec<(String, Statement)>,
    notes: UnboundedReceiver<String>,
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
            .ssl_mode(match options.ssl {
                true => SslMode::Require,
                false => SslMode::Disable,
            });
        if !options.password.0.is_empty() {
            config.password(&options.password.0);
        }
        if options.prepared {
            // The server gives up by itself, and says so, before we lose the connection over it. A
            // pgbouncer does not let such an option pass.
            let limit_ms = options.query_timeout.as_millis();
            config.options(format!("-c statement_timeout={limit_ms}"));
        }
        Ok(Self {
            config,
            tls: options.ssl.then(|| Tls::new(&options.tls)).transpose()?,
            timeout: options.connect_timeout,
            is_prepared: options.prepared,
        })
    }

    /// Connects and logs in.
    ///
    /// # Errors
    /// Nobody is there, does not let us in, or says nothing in time.
    pub fn connect(&self) -> Result<Session, Failure> {
        let runtime = Builder::new_current_thread()
            .enable_io()
            .enable_time()
            .build()
            .map_err(|error| Failure::Unreachable(format!("no runtime: {error}")))?;
        let (told, notes) = unbounded_channel();
        let connected = within(&runtime, self.timeout, self.begin(told));
        let client = match connected {
            Ok(client) => client?,
            Err(_) => {
                // A look-up of the name may hang in a thread that nobody can end.
                runtime.shutdown_background();
                let seconds = self.timeout.as_secs();
                return Err(Failure::Overdue(format!(
                    "no answer to a log-in within {seconds} s"
                )));
            }
        };
        Ok(Session {
            runtime,
            client,
            statements: Vec::new(),
            notes,
            is_prepared: self.is_prepared,
            is_broken: false,
        })
    }

    async fn begin(&self, told: UnboundedSender<String>) -> Result<Client, Failure> {
        match &self.tls {
            None => {
                let (client, connection) = self.config.connect(NoTls).await?;
                tokio::spawn(drive(connection, told));
                Ok(client)
            }
            Some(tls) => {
                let (client, connection) = self.config.connect(tls.clone()).await?;
                tokio::spawn(drive(connection, told));
                Ok(client)
            }
        }
    }
}

/// Moves the bytes of a connection until it ends, and hands on the payloads of notifications.
async fn drive<S, T>(mut connection: Connection<S, T>, told: UnboundedSender<String>)
where
    S: AsyncRead + AsyncWrite + Unpin,
    T: AsyncRead + AsyncWrite + Unpin,
{
    loop {
        match poll_fn(|context| connection.poll_message(context)).await {
            Some(Ok(AsyncMessage::Notification(note))) => {
                // Nobody listens on most connections.
                let _ = told.send(note.payload().into());
            }
            Some(Ok(_)) => {}
            Some(Err(_)) | None => return,
        }
    }
}

impl Session {
    /// Whether it can be asked no more.
    pub fn is_broken(&self) -> bool {
        self.is_broken || self.client.is_closed()
    }

    /// Looks whether the server has closed this connection while it was idle; costs one look at
    /// the socket.
    pub fn is_alive(&mut self) -> bool {
        self.runtime.block_on(async {
            // The first lets the runtime see the socket, the second lets the driver act on it.
            tokio::task::yield_now().await;
            tokio::task::yield_now().await;
        });
        !self.is_broken()
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
        let left = deadline.saturating_duration_since(Instant::now());
        let asking = ask(
            &self.client,
            &mut self.statements,
            self.is_prepared,
            (sql, values),
            take,
        );
        let asked = within(&self.runtime, left, asking);
        let done = asked.unwrap_or_else(|_| {
            let ms = left.as_millis();
            Err(Failure::Overdue(format!("no answer within {ms} ms")))
        });
        match &done {
            Err(Failure::Overdue(_) | Failure::Unreachable(_)) => self.is_broken = true,
            // What a statement was prepared for may be gone.
            Err(Failure::Refused(_)) => self.statements.clear(),
            Err(Failure::Unfit(_)) | Ok(()) => {}
        }
        done
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
        let left = deadline.saturating_duration_since(Instant::now());
        let asked = within(&self.runtime, left, self.client.prepare(sql));
        match asked {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(error.into()),
            Err(_) => Err(Failure::Overdue("no answer in time".into())),
        }
    }

    /// Waits for notifications; an empty list when none came in time.
    ///
    /// # Errors
    /// The connection has ended.
    pub fn notes(&mut self, patience: Duration) -> Result<Vec<String>, Failure> {
        let waited = within(&self.runtime, patience, self.notes.recv());
        let mut notes = match waited {
            Err(_) => return Ok(Vec::new()),
            Ok(Some(note)) => vec![note],
            Ok(None) => {
                self.is_broken = true;
                return Err(Failure::Unreachable("connection closed".into()));
            }
        };
        while notes.len() < NOTES_MAX
            && let Ok(note) = self.notes.try_recv()
        {
            notes.push(note);
        }
        Ok(notes)
    }
}

/// Runs this on the calling thread, for so long at most; an error means that it was overdue.
fn within<F: Future>(runtime: &Runtime, limit: Duration, work: F) -> Result<F::Output, Elapsed> {
    // A timeout has to be made where the runtime's clock is known.
    runtime.block_on(async { timeout(limit, work).await })
}

async fn ask(
    client: &Client,
    statements: &mut Vec<(String, Statement)>,
    is_prepared: bool,
    (sql, values): (&str, &[Option<&str>]),
    mut take: impl FnMut(Cells) -> bool,
) -> Result<(), Failure> {
    let parameters: Vec<_> = values.iter().map(|value| Parameter(*value)).collect();
    let rows = if is_prepared {
        let known = statements.iter().position(|(known, _)| known == sql);
        let at = match known {
            Some(at) => at,
            None => {
                let statement = client.prepare(sql).await?;
                if statements.len() >= STATEMENTS_MAX {
                    statements.remove(0);
                }
                statements.push((sql.into(), statement));
                statements.len() - 1
            }
        };
        let parameters = parameters.iter().map(|value| value as &(dyn ToSql + Sync));
        client.query_raw(&statements[at].1, parameters).await?
    } else {
        // All in one go, without a name that the next server connection would not know.
        let parameters = parameters.iter().map(|value| (value, Type::UNKNOWN));
        client.query_typed_raw(sql, parameters).await?
    };
    let mut rows = pin!(rows);
    while let Some(row) = poll_fn(|context| rows.as_mut().poll_next(context)).await {
        if !take(cells(&row?)?) {
            break;
        }
    }
    Ok(())
}

fn cells(row: &Row) -> Result<Cells, Failure> {
    let columns = 0..row.len();
    let cell = |at| row.try_get::<_, Option<Cell>>(at);
    let read: Result<Cells, _> = columns
        .map(|at| cell(at).map(|cell| cell.map(|cell| cell.0)))
        .collect();
    Ok(read?)
}
