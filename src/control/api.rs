//! What is said on the control socket. A field that the other side does not know is skipped, one
//! that it does not send is empty, so that `status` of one version reads another's answer.

use serde::{Deserialize, Serialize};

/// One line from a client.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "request", rename_all = "snake_case")]
pub enum Request {
    Status,
    /// Ends the process; the answer comes at once, the end when it is done.
    Stop,
    /// Reads the configuration again.
    Reload,
    Clients {
        limit: usize,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        from: Option<String>,
    },
    Client {
        client_id: String,
    },
    Kick {
        client_id: String,
    },
    Plugins,
    LoadPlugin {
        name: String,
    },
    UnloadPlugin {
        name: String,
    },
    /// Up to `limit` users after the one named, by name.
    Users {
        limit: usize,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        from: Option<String>,
    },
    AddUser(NewUser),
    DeleteUser {
        name: String,
    },
    SetPassword {
        name: String,
        password: String,
    },
    Bans,
    AddBan(Ban),
    LiftBan {
        kind: BanKind,
        value: String,
    },
}

/// One line to a client.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "reply", content = "value", rename_all = "snake_case")]
pub enum Reply {
    Status(Box<Status>),
    Stopping {
        deadline_s: u64,
    },
    Reloaded(ReloadReport),
    Clients(Page),
    /// None: there is no such session.
    Client(Option<Box<ClientDetail>>),
    /// Whether such a client was connected.
    Kicked(bool),
    Plugins(Vec<Plugin>),
    /// Sentences on what does not work yet.
    PluginLoaded(Vec<String>),
    PluginUnloaded,
    Users(Vec<User>),
    Bans(Vec<Ban>),
    /// Whether there was such a ban.
    Lifted(bool),
    /// What was asked for is done, and on disk.
    Done,
    /// A sentence.
    Error(String),
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Status {
    pub process: Process,
    pub node: NodeStatus,
}

/// The process around the node; the supervisor knows it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Process {
    /// Name of the node.
    pub node: String,
    pub version: String,
    pub state: State,
    pub pid: u32,
    pub uptime_s: u64,
    pub resident_bytes: u64,
    /// Processor time of the process since it began, user and system.
    pub cpu_us: u64,
    /// Where the configuration came from.
    pub config: String,
    pub data_dir: String,
    /// The flags of the command line, for a restart, and what else it needs to start the same:
    pub arguments: Vec<String>,
    /// the file that was read, from the root,
    pub config_file: Option<String>,
    /// the working directory, from which relative paths in the file are meant,
    pub directory: Option<String>,
    /// and the variables of the environment that the configuration is made from.
    pub variables: Vec<(String, String)>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    #[default]
    Running,
    Stopping,
}

/// The numbers of a node at one moment.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct NodeStatus {
    pub shards: Vec<ShardStatus>,
    pub listeners: Vec<ListenerStatus>,
    pub connections: u64,
    pub connections_max: u64,
    /// Connected or not.
    pub sessions: u64,
    pub subscriptions: u64,
    pub retained_messages: u64,
    pub retained_bytes: u64,
    pub memory: Memory,
    pub ledger: Ledger,
    pub handshakes: Handshakes,
    /// Refusals by reason, those that happened.
    pub refusals: Vec<Count>,
    pub identity: IdentityStatus,
}

/// How it stands with the question who somebody is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct IdentityStatus {
    /// In the order in which they are asked.
    pub sources: Vec<SourceStatus>,
    /// Clients that wait for a verdict.
    pub waiting: u64,
    /// Those that were told that nobody could say, because their turn came too late.
    pub late: u64,
    /// Passwords remembered as right.
    pub remembered: u64,
    /// Slow hashes (bcrypt, PBKDF2, Argon2, scrypt) calculated.
    pub hashed: u64,
    pub bans: u64,
}

/// A source of identities.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SourceStatus {
    pub name: String,
    /// Whether it knows anybody.
    pub is_active: bool,
    /// For how many seconds it cannot be asked; none: it can.
    pub down_s: Option<u64>,
    pub why: String,
    /// By kind, those that were given.
    pub answers: Vec<Count>,
}

/// A user of the built-in store.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct User {
    pub name: String,
    pub is_superuser: bool,
    pub has_scram: bool,
}

/// A user to be made.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewUser {
    pub name: String,
    pub password: String,
    #[serde(default)]
    pub is_superuser: bool,
    #[serde(default)]
    pub scram: bool,
}

impl std::fmt::Debug for NewUser {
    /// Without the password.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NewUser")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// What a ban names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BanKind {
    Client,
    User,
    Address,
}

/// Who may not come in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ban {
    pub kind: BanKind,
    pub value: String,
    /// Seconds since the Unix epoch; none: for good.
    #[serde(default)]
    pub until_unix_s: Option<u64>,
    #[serde(default)]
    pub reason: String,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ShardStatus {
    pub shard: u16,
    /// Pinned to; none when the system chooses.
    pub cpu: Option<u16>,
    pub connections: u64,
    pub sessions: u64,
    pub subscriptions: u64,
    /// Turns that other shards' threads ran while this one's slept.
    pub turns_asleep: u64,
    /// In the last minute or two: what 99 of 100 turns took at most, about, and the longest, in
    /// microseconds.
    pub turn_p99_us: u64,
    pub turn_max_us: u64,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ListenerStatus {
    /// With the port that was picked, where 0 was asked for.
    pub url: String,
    pub connections: u64,
    /// 0: only the process-wide limit holds.
    pub connections_max: u64,
    /// Those with TLS have at least one.
    pub certificates: Vec<CertificateStatus>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct CertificateStatus {
    /// Names that it is for.
    pub names: Vec<String>,
    /// Negative once it has ended.
    pub days_left: i64,
    /// SHA-256, as openssl writes it.
    pub fingerprint: String,
    /// The broker has made it.
    pub is_own: bool,
}

/// TLS handshakes that were completed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Handshakes {
    pub full: u64,
    pub resumed: u64,
}

/// Memory that clients make the broker hold: in queues and windows, of packets that have not come
/// whole, and of what sockets do not take.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Memory {
    pub queued_bytes: u64,
    pub budget_bytes: u64,
}

/// Where every message went, over all shards. At any quiet moment
/// `received + internal + copies == delivered + queued + expired + dropped + in_transit`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Ledger {
    /// PUBLISH packets accepted from clients.
    pub received: u64,
    /// Wills and the broker's own messages.
    pub internal: u64,
    /// Deliveries beyond the first of a message, and those made from retained messages.
    pub copies: u64,
    pub delivered: u64,
    /// Waiting, or sent and not acknowledged.
    pub queued: u64,
    pub expired: u64,
    /// Under way between shards, as far as they were asked at the same moment.
    pub in_transit: u64,
    /// By reason, those that happened.
    pub dropped: Vec<Count>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Count {
    pub reason: String,
    pub count: u64,
}

/// What a reload did, each as `section.name: old -> new`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ReloadReport {
    pub live: Vec<String>,
    pub new_connections: Vec<String>,
    /// Not done: these wait for a restart.
    pub restart: Vec<String>,
}

/// How a stop went.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stopped {
    /// Connections that were still open when the deadline passed.
    pub connections_left: u64,
    /// Whether everything that had to be written was.
    pub is_complete: bool,
}

/// Some of the clients, in no promised order.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Page {
    pub clients: Vec<Client>,
    /// Where the next page begins, in the node's own terms; none when this was the last one.
    pub next: Option<String>,
}

/// One session, connected or not.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Client {
    pub client_id: String,
    pub is_connected: bool,
    pub username: Option<String>,
    /// Address as the operator knows it; none while away.
    pub peer: Option<String>,
    /// `tcp`, `tls`, `ws`, `wss` or `unix`; none while away.
    pub transport: Option<String>,
    /// Address of the load balancer that has told the other one.
    pub proxy: Option<String>,
    /// The name that the client asked for by TLS.
    pub server_name: Option<String>,
    /// Common name, or else subject, of the client certificate.
    pub certificate: Option<String>,
    /// The load balancer's name of the connection, in hexadecimal where it is not readable.
    pub unique_id: Option<String>,
    /// `3.1`, `3.1.1` or `5.0`.
    pub protocol: String,
    /// Silence after which it is cut; 0: never.
    pub silence_s_max: u64,
    /// After the connection's end; none: never expires.
    pub session_expiry_s: Option<u32>,
    pub shard: u16,
    /// Grows with each connection of this client, as in the presence messages.
    pub epoch: u64,
    pub subscriptions: u64,
    /// Messages that wait.
    pub queued: u64,
    /// Sent and not acknowledged.
    pub inflight: u64,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ClientDetail {
    pub client: Client,
    pub subscriptions: Vec<Subscription>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Subscription {
    pub filter: String,
    pub qos: u8,
}

/// A plug-in, loaded or not.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Plugin {
    pub name: String,
    pub description: String,
    pub is_loaded: bool,
    /// One line more about a loaded one.
    pub detail: Option<String>,
}

impl ReloadReport {
    /// For people, a line a key.
    pub fn lines(&self) -> Vec<String> {
        let marked = |lines: &[String], when: &str| -> Vec<String> {
            lines.iter().map(|line| format!("{line}{when}")).collect()
        };
        [
            marked(&self.live, ""),
            marked(&self.new_connections, " (for new connections)"),
            marked(&self.restart, " (needs a restart; not done)"),
        ]
        .concat()
    }
}

impl Ledger {
    /// Messages that came in less those accounted for; 0 at any quiet moment.
    pub fn imbalance(&self) -> i64 {
        let dropped: u64 = self.dropped.iter().map(|count| count.count).sum();
        let sources = self.received + self.internal + self.copies;
        let sinks = self.delivered + self.queued + self.expired + self.in_transit + dropped;
        sources as i64 - sinks as i64
    }
}
