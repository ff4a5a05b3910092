//! What leader and workers say to each other.

use crate::measure::latency::Latency;
use crate::run::{GATES, Totals};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::io::{self, BufRead, BufReader, ErrorKind, Write};
use std::net::TcpStream;

/// Both sides are of the same version, or do not talk.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The first line of a worker.
#[derive(Debug, Serialize, Deserialize)]
pub struct Hello {
    pub version: String,
    /// Processes that say the same have the same clock.
    pub clock: String,
    /// Its process id on its host.
    pub pid: u32,
}

/// The answer to it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Task {
    /// A kind of load and its options.
    pub words: Vec<String>,
    /// Tells this run's topics, clients and messages from those of others.
    pub run: u32,
    /// Which worker this is, counting from 0, and how many there are.
    pub worker: usize,
    pub workers: usize,
    /// Workers on the leader's host.
    pub own: usize,
    /// Leader and worker have the same clock.
    pub has_same_clock: bool,
}

/// Every other line of a worker.
#[derive(Debug, Serialize, Deserialize)]
pub enum Said<Outcomes> {
    Now(Box<Status>),
    /// The outcomes of its executors, and its last status.
    Done(Outcomes, Box<Status>),
    /// A sentence.
    Failed(String),
}

/// How things are with a worker.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Status {
    pub totals: Totals,
    /// Executors that have come to each gate.
    pub arrived: [usize; GATES],
    /// Latencies since it said some last.
    pub window: Option<Latency>,
    /// It knows the leader's clock, and by how much it may be wrong.
    pub is_aligned: bool,
    pub clock_error_ns: u64,
    /// It was told to end.
    pub is_stopping: bool,
}

/// The leader's answer to a status.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Answer {
    /// On the leader's clock.
    pub at_ns: u64,
    /// The other workers' counters.
    pub others: Totals,
    /// When the gates were opened, 0 for not yet.
    pub opened_ns: [u64; GATES],
    pub may_begin: bool,
    pub is_stopping: bool,
}

/// Lines over TCP.
#[derive(Debug)]
pub struct Lines {
    stream: BufReader<TcpStream>,
    line: Vec<u8>,
}

impl Lines {
    pub fn new(stream: TcpStream) -> io::Result<Lines> {
        stream.set_nodelay(true)?;
        Ok(Lines {
            stream: BufReader::new(stream),
            line: Vec::new(),
        })
    }

    /// # Errors
    /// The other side has gone.
    pub fn write(&mut self, words: &impl Serialize) -> io::Result<()> {
        self.line.clear();
        serde_json::to_writer(&mut self.line, words)?;
        self.line.push(b'\n');
        self.stream.get_mut().write_all(&self.line)
    }

    /// # Errors
    /// The other side has gone, or says something else.
    pub fn read<Words: DeserializeOwned>(&mut self) -> io::Result<Words> {
        self.line.clear();
        self.stream.read_until(b'\n', &mut self.line)?;
        if self.line.last() != Some(&b'\n') {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        Ok(serde_json::from_slice(&self.line)?)
    }
}
