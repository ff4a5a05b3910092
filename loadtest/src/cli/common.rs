//! Options of every kind of load.

use super::broker::BrokerArgs;
use super::crew::CrewArgs;
use super::values;
use crate::crew::Place;
use crate::host::limits;
use crate::host::node;
use crate::host::process::Watched;
use crate::measure::clock::{MS, now_ns};
use crate::net::sources;
use crate::scenario::{Common, Users};
use clap::Args;
use ringmq::codec::Version;
use std::net::IpAddr;
use std::num::NonZeroU16;
use std::path::PathBuf;

#[derive(Debug, Args)]
pub struct CommonArgs {
    #[command(flatten)]
    broker: BrokerArgs,
    /// Protocol: 3 for MQTT 3.1, 4 for 3.1.1, 5 for 5.0
    #[arg(long, value_name = "VERSION", default_value = "4", value_parser = values::version)]
    mqtt: Version,
    /// User name of all clients; {} stands for a client's number, {id} for its client id
    #[arg(short, long, value_name = "PATTERN")]
    username: Option<String>,
    /// Password of all clients, with the same patterns
    #[arg(short = 'P', long, value_name = "PATTERN", requires = "username")]
    password: Option<String>,
    /// A file with a line USER:PASSWORD for each client in turn
    #[arg(long, value_name = "FILE", conflicts_with = "username")]
    credentials: Option<PathBuf>,
    #[command(flatten)]
    pub crew: CrewArgs,
    /// Executors of a process, each on a thread of its own
    #[arg(long, default_value = "1", value_parser = values::count::<usize>)]
    shards: usize,
    /// Use this many loopback source addresses (default: as many as the ports need)
    #[arg(long, value_name = "COUNT", conflicts_with = "source",
        value_parser = values::count::<usize>)]
    sources: Option<usize>,
    /// Source addresses: a list of addresses, networks (10.0.3.0/24) and ranges (A-B)
    #[arg(long, value_name = "LIST")]
    source: Option<String>,
    /// Connections begun a second; 0: no limit
    #[arg(long, value_name = "PER_SECOND", default_value_t = 0)]
    connect_rate: u64,
    /// Connections under way at a time
    #[arg(long, value_name = "COUNT", default_value = "256", value_parser = values::count::<usize>)]
    parallel: usize,
    /// Seconds for TCP, TLS, WebSocket, CONNACK and SUBACK together
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = values::some_seconds)]
    connect_timeout: u64,
    /// Keep Alive in seconds; 0: off
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    keep_alive: u16,
    /// Receive Maximum of subscribers (MQTT 5)
    #[arg(long, value_name = "COUNT", default_value = "1000")]
    receive_maximum: NonZeroU16,
    /// Process ids of the broker, on this host, for its CPU time and memory
    #[arg(long, value_name = "PID", value_delimiter = ',')]
    pid: Vec<u32>,
    /// The data folder of a ringmq on this host, for the same: its control socket says it
    #[arg(long, value_name = "DIR", conflicts_with = "pid")]
    node: Option<PathBuf>,
    /// Count what came later than this: deliveries, replies, retained messages, lives
    #[arg(long, value_name = "MILLISECONDS")]
    late_ms: Option<u64>,
    /// One line of JSON on standard output, the table on standard error
    #[arg(long)]
    pub json: bool,
    /// Write the report as one page: charts over time and all figures
    #[arg(long, value_name = "FILE.html")]
    pub report: Option<PathBuf>,
}

impl CommonArgs {
    /// Of one process.
    pub fn shards(&self) -> usize {
        self.shards
    }

    /// Of all processes.
    pub fn executors(&self) -> usize {
        self.shards() * self.crew.processes()
    }

    /// Whose processor time and memory this process looks at: workers leave it to the leader.
    ///
    /// # Errors
    /// A sentence: it is not there.
    pub fn watched(&self, place: &Place<'_>) -> Result<Watched, String> {
        if matches!(place, Place::Worker(..)) {
            return Ok(Watched::Nobody);
        }
        if let Some(data_dir) = &self.node {
            return match node::usage(data_dir) {
                Ok(_) => Ok(Watched::Node(data_dir.clone())),
                Err(error) => Err(format!("the ringmq of {}: {error}", data_dir.display())),
            };
        }
        if self.pid.is_empty() {
            return Ok(Watched::Nobody);
        }
        for pid in &self.pid {
            if crate::host::process::usage(&[*pid]).is_none() {
                return Err(format!("there is no process {pid} on this host"));
            }
        }
        Ok(Watched::Processes(self.pid.clone()))
    }

    /// # Errors
    /// A sentence: what is not understood or not there.
    pub fn resolve(&self, connections: usize, run: u32) -> Result<Common, String> {
        let (broker, transport) = self.broker.resolve()?;
        Ok(Common {
            broker,
            version: self.mqtt,
            transport,
            users: self.users()?,
            shards: self.executors(),
            sources: self.sources(connections, broker.ip())?.into(),
            connect_rate_per_s: self.connect_rate,
            parallel: self.parallel,
            connect_timeout_ns: self.connect_timeout,
            keep_alive_s: self.keep_alive,
            receive_maximum: self.receive_maximum,
            late_ns: self.late_ms.map_or(u64::MAX, |ms| ms.saturating_mul(MS)),
            run,
        })
    }

    fn users(&self) -> Result<Users, String> {
        match &self.credentials {
            Some(path) => Users::read(path),
            None => Ok(Users::pattern(
                self.username.as_deref(),
                self.password.as_deref(),
            )),
        }
    }

    /// None at all leaves the choice to the system.
    fn sources(&self, connections: usize, broker: IpAddr) -> Result<Vec<IpAddr>, String> {
        if let Some(list) = &self.source {
            let sources = sources::parse(list)?;
            return match sources
                .iter()
                .all(|source| source.is_ipv4() == broker.is_ipv4())
            {
                true => Ok(sources),
                false => Err(format!(
                    "the broker's address {broker} is of another family"
                )),
            };
        }
        let is_loopback = broker.is_loopback() && broker.is_ipv4();
        match self.sources {
            Some(_) if !is_loopback => Err(
                "--sources is for a broker on 127.0.0.1; name the addresses with --source".into(),
            ),
            Some(count) => Ok(sources::loopback(count)),
            None if is_loopback => match limits::sources_needed(connections) {
                0 | 1 => Ok(Vec::new()),
                count => Ok(sources::loopback(count)),
            },
            None => Ok(Vec::new()),
        }
    }
}

/// Differs from that of other runs on this host, and most likely elsewhere.
pub fn run_id() -> u32 {
    let mixed = now_ns() ^ u64::from(std::process::id()) << 32;
    (mixed.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32) as u32
}
