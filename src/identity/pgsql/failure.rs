//! What goes wrong between us and the database, and whose fault it is.

use std::error::Error;
use std::fmt;
use std::io;

use postgres::error::SqlState;

/// Why there is no answer. Never to be mistaken for an answer: whoever asks hears that the server
/// is unavailable, not that a password is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// There is no server to ask, or it does not let us in.
    Unreachable(String),
    /// The server has not answered in time, so that the connection cannot be used again.
    Overdue(String),
    /// The server answers, but not this question: no such table, a statement that took too long.
    Refused(String),
    /// The server cannot make sense of what the client is called, say of letters where a column
    /// holds numbers: nobody else is concerned.
    Unfit(String),
}

impl Failure {
    /// What the driver says; `overdue` is said of a wait that has come to its end.
    pub fn new(error: postgres::Error, overdue: &str) -> Self {
        if let Some(told) = error.as_db_error() {
            let code = told.code();
            let hint = match told.message().contains("startup parameter") {
                true => "; behind a pgbouncer it takes auth.pgsql.prepared = false",
                false => "",
            };
            let text = format!("{} ({}){hint}", told.message(), code.code());
            return match lets_us_in(code) {
                // 22: data exceptions.
                true if code.code().starts_with("22") => Self::Unfit(text),
                true => Self::Refused(text),
                false => Self::Unreachable(text),
            };
        }
        let cause = error.source().and_then(|cause| cause.downcast_ref());
        let kind = cause.map(io::Error::kind);
        match kind {
            Some(io::ErrorKind::TimedOut) => Self::Overdue(overdue.into()),
            None if !error.is_closed() => Self::Refused(chain(&error)),
            _ => Self::Unreachable(chain(&error)),
        }
    }

    /// Whether the server as a whole is away, so that asking again would only take time.
    pub fn is_outage(&self) -> bool {
        !matches!(self, Self::Refused(_) | Self::Unfit(_))
    }

    pub fn text(&self) -> &str {
        match self {
            Self::Unreachable(text) | Self::Overdue(text) => text,
            Self::Refused(text) | Self::Unfit(text) => text,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}

impl Error for Failure {}

/// Whether the server spoke of the question, rather than of us or of itself.
fn lets_us_in(code: &SqlState) -> bool {
    let of_itself = [
        SqlState::ADMIN_SHUTDOWN,
        SqlState::CRASH_SHUTDOWN,
        SqlState::CANNOT_CONNECT_NOW,
        SqlState::DATABASE_DROPPED,
        SqlState::TOO_MANY_CONNECTIONS,
        SqlState::INVALID_CATALOG_NAME,
    ];
    // 08: connection exceptions. 28: who we are.
    !(of_itself.contains(code) || code.code().starts_with("08") || code.code().starts_with("28"))
}

/// An error with its causes, each once.
fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text += ": ";
            text += &more;
        }
        cause = error.source();
    }
    text
}
