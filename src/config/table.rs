//! The keys, in the order of `etc/ringmq.toml`. A declared table: to add a key, add a line here
//! and its field in `settings.rs`; everything else follows, and `UPDATE_DOCUMENTS=1` with
//! the test `documents` writes `etc/ringmq.toml` and `docs/configuration.md` anew.

use super::keys::{
    ACL_NOMATCH, ALLOW_ANONYMOUS, AUTHENTICATION, CERTIFICATE_NAMES, CHAIN, CLIENT_CERTIFICATES,
    DENIED_PUBLISH, LISTENER_CLIENT_CERTIFICATES, LOG_LEVELS, QUEUE_DROPS, TLS_VERSIONS,
};
use super::keys::{Key, Kind, Preset, Range, Reload, load, store};
use super::settings::{Listener, Settings};
use crate::limits::*;

/// One line: where it is, what it takes, default, when a change acts, unit, words.
macro_rules! keys {
    (
        $target:ty,
        $( $section:ident . $name:ident : $kind:expr, $preset:ident($default:expr), $reload:ident,
           $unit:literal, $doc:literal; )+
    ) => {
        &[ $( Key {
            section: stringify!($section),
            name: stringify!($name),
            kind: $kind,
            default: Preset::$preset($default),
            reload: Reload::$reload,
            unit: $unit,
            doc: $doc,
            store: |target: &mut $target, value| store(keys!(@field target $section $name), value),
            load: |source: &$target| load(keys!(@shared source $section $name)),
        }, )+ ]
    };
    (@field $target:ident listener $name:ident) => { &mut $target.$name };
    (@field $target:ident $section:ident $name:ident) => { &mut $target.$section.$name };
    (@shared $target:ident listener $name:ident) => { &$target.$name };
    (@shared $target:ident $section:ident $name:ident) => { &$target.$section.$name };
}

/// Each section with what it is about, in order. `listener` is a list: `[[listener]]`.
pub static SECTIONS: &[(&str, &str)] = &[
    (
        "node",
        "This process: its name, its folder, the CPUs it uses.",
    ),
    (
        "listener",
        "Where clients connect. Write `[[listener]]` once for each; none written: \
         tcp://0.0.0.0:1883, tls://0.0.0.0:8883, ws://0.0.0.0:8083 and wss://0.0.0.0:8084.",
    ),
    (
        "tls",
        "Certificates of the listeners with TLS. Files are looked at again when they change and \
         after SIGHUP; connections that are up keep what they have.",
    ),
    (
        "mqtt",
        "The protocol: what clients may ask for, and what they get.",
    ),
    (
        "limits",
        "How much of everything. Each refusal is counted by reason in `ringmq status`.",
    ),
    ("auth", "Who gets in."),
    (
        "sys",
        "What the broker publishes about itself, below `$SYS/brokers/{node}/`.",
    ),
];

/// Every key but those of listeners.
pub static KEYS: &[Key<Settings>] = keys! { Settings,
    node.name: Kind::NodeName, Text("ringmq@127.0.0.1"), Restart, "",
        "Name of this node, `name@host`; it stands in `$SYS` topics and in `ringmq status`.";
    node.data_dir: Kind::Path, Text(""), Restart, "",
        "Folder for the control socket, the log of a daemon, and what must survive a restart. \
         Empty: `STATE_DIRECTORY` where a service manager gives one, `/var/lib/ringmq` for root, \
         else `XDG_STATE_HOME`/ringmq or `~/.local/state/ringmq`. One broker runs in one folder.";
    node.shards: Kind::Number(Range::or_zero(SHARDS_MAX as u64, "one for each CPU")), Number(0),
        Restart, "shards",
        "Threads that serve clients, each on a core of its own. The number of CPUs is what \
         affinity and the CPU quota of a control group leave to this process.";
    node.cpus: Kind::Cpus, Text(""), Restart, "",
        "CPUs to pin the shards to. Empty: all that this process may use; shards are then pinned \
         only when there is one for each.";
    node.log_level: LOG_LEVELS, Text("info"), Live, "",
        "How much is logged.";
    node.stop_deadline_s: Kind::Duration(Range::of(1, 3600)), Number(STOP_DEADLINE_S_DEFAULT),
        Live, "s",
        "How long a stop may take to tell clients, publish wills and write out what waits. What \
         is not done by then is left.";

    tls.certificates: Kind::Paths, Text(""), NewConnections, "",
        "Certificate chains in PEM, the server's own certificate first in each file. Clients get \
         the one for the name that they ask for (SNI), others the first. Empty: the broker makes \
         one for this host's names in `certificates/` of the data folder and renews it.";
    tls.private_keys: Kind::Paths, Text(""), NewConnections, "",
        "Private keys in PEM, in the order of the certificates. Empty: each is in the file of its \
         certificate.";
    tls.client_certificates: CLIENT_CERTIFICATES, Text("none"), NewConnections, "",
        "Whether clients show a certificate that one of `tls.client_ca` has issued.";
    tls.client_ca: Kind::Path, Text(""), NewConnections, "",
        "Certificates, in PEM, of those who issue the clients'.";
    tls.client_crl: Kind::Path, Text(""), NewConnections, "",
        "Revocation lists in PEM, one of each issuer: with it, a client whose certificate is on a \
         list, or whose issuer has none, is refused. Empty: none is looked at.";
    tls.version_min: TLS_VERSIONS, Text("1.2"), NewConnections, "",
        "Oldest version of TLS that is spoken.";
    tls.resumption: Kind::Bool, Bool(true), NewConnections, "",
        "Whether clients may resume sessions, by ticket or session id, which spares both sides \
         most of a handshake. A change of `tls.client_ca` or `tls.client_crl` ends all of them.";

    mqtt.packet_bytes_max: Kind::Size(Range::of(PACKET_BYTES_FLOOR, PACKET_BYTES_CEILING)),
        Number(PACKET_BYTES_DEFAULT), NewConnections, "bytes",
        "Largest packet taken from a client. Told to v5 clients as Maximum Packet Size; a larger \
         one ends the connection (0x95).";
    mqtt.client_id_bytes_max: Kind::Number(Range::of(23, CLIENT_ID_BYTES_MAX as u64)),
        Number(CLIENT_ID_BYTES_DEFAULT), NewConnections, "bytes",
        "Longest client id; a longer one is refused (0x85; return code 2 before v5).";
    mqtt.topic_levels_max: Kind::Number(Range::of(1, TOPIC_LEVELS_MAX as u64)),
        Number(TOPIC_LEVELS_DEFAULT), Live, "levels",
        "Most levels of a topic name or filter.";
    mqtt.topic_bytes_max: Kind::Number(Range::of(16, TOPIC_BYTES_MAX as u64)),
        Number(TOPIC_BYTES_DEFAULT), Live, "bytes",
        "Longest topic name or filter.";
    mqtt.connect_timeout_s: Kind::Duration(Range::of(1, 600)),
        Number(CONNECT_TIMEOUT_S_DEFAULT), NewConnections, "s",
        "A connection whose CONNECT is not complete by then is cut.";
    mqtt.keep_alive_max_s: Kind::Duration(Range::or_zero(65_535, "the client's choice stands")),
        Number(0), NewConnections, "s",
        "Longest keep alive. A client that asks for more, or for none, is held to this; v5 \
         clients are told by Server Keep Alive.";
    mqtt.keep_alive_tenths: Kind::Number(Range::of(11, 100)),
        Number(KEEP_ALIVE_TENTHS_DEFAULT), NewConnections, "tenths",
        "Silence after which a client is cut, in tenths of its keep alive. The standard says 15; \
         anything else leaves the standard.";
    mqtt.session_expiry_max_s: Kind::Duration(Range::until("never")),
        Number(SESSION_EXPIRY_S_DEFAULT), NewConnections, "s",
        "Longest a session of a v5 client outlives its connection. A client that asks for more \
         is told what it gets.";
    mqtt.mqtt3_session_expiry_s: Kind::Duration(Range::until("never")),
        Number(MQTT3_SESSION_EXPIRY_S_DEFAULT), NewConnections, "s",
        "How long a session of a 3.1 or 3.1.1 client with clean session 0 outlives its \
         connection; these versions have no way to ask. Two hours is what emqttd had.";
    mqtt.receive_maximum: Kind::Number(Range::of(1, INFLIGHT_CEILING)),
        Number(RECEIVE_MAXIMUM_DEFAULT), NewConnections, "messages",
        "Messages that a client may have unacknowledged towards the broker. A v5 client that has \
         more is cut (0x93); those of QoS 1 are acknowledged as they come, so that it is those of \
         QoS 2 that count.";
    mqtt.inflight_max: Kind::Number(Range::of(1, INFLIGHT_CEILING)),
        Number(INFLIGHT_DEFAULT), Live, "messages",
        "QoS 1 and 2 messages that the broker may have unacknowledged towards a client, who may \
         ask for fewer by its Receive Maximum.";
    mqtt.topic_alias_maximum: Kind::Number(Range::of(0, 65_535)),
        Number(TOPIC_ALIAS_DEFAULT), NewConnections, "aliases",
        "Topic aliases that a v5 client may set on its connection, and that the broker sets \
         towards a client that takes as many. 0: none.";
    mqtt.qos_max: Kind::Number(Range::of(0, 2)), Number(2), NewConnections, "",
        "Highest QoS of messages and subscriptions.";
    mqtt.retain_available: Kind::Bool, Bool(true), NewConnections, "",
        "Whether messages may be retained.";
    mqtt.wildcard_subscriptions: Kind::Bool, Bool(true), NewConnections, "",
        "Whether filters may have wildcards.";
    mqtt.shared_subscriptions: Kind::Bool, Bool(true), NewConnections, "",
        "Whether `$share/group/filter` (and emqttd's `$queue/filter`) is served.";

    limits.connections_max: Kind::Number(Range::of(1, 100_000_000)),
        Number(CONNECTIONS_DEFAULT), Live, "connections",
        "Most connections at a time. The open files allowed may hold it lower, which is said at \
         start.";
    limits.connect_rate_max: Kind::Number(Range::or_zero(10_000_000, "no limit")),
        Number(CONNECT_RATE_DEFAULT), Live, "connections a second",
        "Connections accepted a second. What comes faster waits in the kernel's accept queue. Each \
         of N shards accepts an Nth of it.";
    limits.sessions_max: Kind::Number(Range::or_zero(1_000_000_000, "no limit")),
        Number(SESSIONS_DEFAULT), Live, "sessions",
        "Most sessions, those of clients that are away included. A client that would need one \
         more is refused (0x97; return code 3 before v5). Each of N shards has an Nth of them: \
         one that is full refuses clients, though others may have room.";
    limits.subscriptions_per_client_max: Kind::Number(Range::or_zero(10_000_000, "no limit")),
        Number(SUBSCRIPTIONS_DEFAULT), Live, "subscriptions",
        "Most subscriptions of one client; one more is refused (0x97; 0x80 before v5).";
    limits.queue_length_max: Kind::Number(Range::of(1, 10_000_000)),
        Number(QUEUE_LENGTH_DEFAULT), Live, "messages",
        "Messages that wait for one client, connected or not.";
    limits.queue_bytes_max: Kind::Size(Range::of(PACKET_BYTES_FLOOR, 1 << 40)),
        Number(QUEUE_BYTES_DEFAULT), Live, "bytes",
        "Bytes that wait for one client, connected or not; and as many may be under way to it, \
         not acknowledged. With the budget for memory spent that is little.";
    limits.queue_drop: QUEUE_DROPS, Text("oldest"), Live, "",
        "Which message goes when a queue is full: the oldest in it, or the newest, that is the \
         one that comes.";
    limits.queue_qos0: Kind::Bool, Bool(true), Live, "",
        "Whether QoS 0 messages are queued for clients that are away (as emqttd's \
         `mqueue.store_qos0`).";
    limits.outbox_bytes_max: Kind::Size(Range::of(PACKET_BYTES_FLOOR, 1 << 40)),
        Number(OUTBOX_BYTES_DEFAULT), Live, "bytes",
        "Bytes for one connection that its socket has not taken yet. Above it QoS 0 messages to \
         it are dropped, the others wait in its queue, and nothing is read from it.";
    limits.memory_budget_bytes: Kind::Size(Range {
            min: 1 << 20, max: 1 << 50, zero: Some("a quarter of the memory available"), top: None,
        }), Number(0), Live, "bytes",
        "Memory for the queues of all clients together, packets that have not come whole and \
         what sockets do not take included. Available is what the machine, or the control group \
         of this process, has left at start. Each of N shards has an Nth of it.";
    limits.retained_messages_max: Kind::Number(Range::or_zero(1_000_000_000, "none are kept")),
        Number(RETAINED_MESSAGES_DEFAULT), Live, "messages",
        "Most retained messages. One more is delivered but not kept. Each of N shards has an Nth \
         of them, for the topics that it owns.";
    limits.retained_bytes_max: Kind::Size(Range::of(0, 1 << 50)),
        Number(RETAINED_BYTES_DEFAULT), Live, "bytes",
        "Bytes of all retained messages. What would pass it is delivered but not kept. Each of N \
         shards has an Nth of them.";
    limits.retained_payload_bytes_max: Kind::Size(Range::of(0, PACKET_BYTES_CEILING)),
        Number(RETAINED_PAYLOAD_BYTES_DEFAULT), Live, "bytes",
        "Largest payload that is retained. A larger one is delivered but not kept.";
    limits.mailbox_slots: Kind::Number(Range::of(16, MAILBOX_SLOTS_MAX)),
        Number(MAILBOX_SLOTS_DEFAULT), Restart, "slots",
        "Slots of the mailbox between two shards. A full one holds back the publishers that \
         fill it.";

    auth.allow_anonymous: ALLOW_ANONYMOUS, Text("loopback"), NewConnections, "",
        "Whether clients without user name get in: all (true), none (false), or those that \
         connect from this machine (loopback), the latter only as long as no source knows \
         anybody. Until then a user name is a mere claim; afterwards a client whose name no \
         source knows is refused.";
    auth.chain: CHAIN, Text("certificate,users,file,postgres,jwt,http"), Live, "",
        "The sources of identities in the order in which they are asked, those that are set up. \
         The first that knows a client decides; one that cannot be asked stops the chain, and \
         the client is told that the server is unavailable.";
    auth.plugins_dir: Kind::Path, Text(""), Restart, "",
        "Folder of the plug-ins' files. Empty: `plugins` beside the configuration file, or \
         `etc/plugins` in the working directory, or `/etc/ringmq/plugins`.";
    auth.threads: Kind::Number(Range::of(1, AUTH_THREADS_MAX as u64)),
        Number(AUTH_THREADS_DEFAULT), Restart, "threads",
        "Threads on which sources may block: on a database, or on the hash of a password.";
    auth.waiting_max: Kind::Number(Range::of(1, AUTH_WAITING_MAX as u64)),
        Number(AUTH_WAITING_DEFAULT), Restart, "clients",
        "Clients that may wait for one of these threads. One more is told that the server is \
         busy (0x89; return code 3 before v5).";
    auth.deadline_s: Kind::Duration(Range::of(1, 60)), Number(AUTH_DEADLINE_S_DEFAULT), Live, "s",
        "How long the decision about a client may take. After that it is told that the server is \
         unavailable (0x88; return code 3 before v5).";
    auth.memo_s: Kind::Duration(Range::or_zero(86_400, "not at all")),
        Number(AUTH_MEMO_S_DEFAULT), Live, "s",
        "How long a password that was right is remembered, as a keyed hash in memory, so that a \
         client that comes back costs no query and no hash, where the source does not hear of \
         changes. Where it does they act at once, and this time begins only when it hears no more.";
    auth.memo_entries_max: Kind::Number(Range::of(1, 100_000_000)),
        Number(AUTH_MEMO_ENTRIES_DEFAULT), Live, "passwords",
        "Most passwords remembered.";
    auth.users_file: Kind::Path, Text(""), Live, "",
        "File of users, a line each: `name:hash` with an argon2 or bcrypt hash. Users are more \
         easily kept with `ringmq ctl users`, which needs no file. Empty: none.";
    auth.certificate_username: CERTIFICATE_NAMES, Text("off"), Live, "",
        "Whether a client with a verified certificate is let in under a name of it: the common \
         name (cn), the subject (dn) or the first alternative name (san).";
    auth.certificate_client_id: CERTIFICATE_NAMES, Text("off"), NewConnections, "",
        "Whether a client with a verified certificate has a name of it as its client id, whatever \
         it calls itself: the common name (cn), the subject (dn) or the first alternative name \
         (san). Its user name is not concerned.";
    auth.acl_file: Kind::Path, Text(""), Live, "",
        "File of access rules for everybody: emqttd's `acl.conf`, or TOML where its name ends \
         so; see `docs/identity.md`. Asked after a client's own rules. Empty: none.";
    auth.acl_nomatch: ACL_NOMATCH, Text("deny"), Live, "",
        "What holds for a client that has access rules, its own or those for everybody, when \
         none of them decides. Without any rules everything is allowed.";
    auth.denied_publish: DENIED_PUBLISH, Text("drop"), Live, "",
        "What becomes of a client that publishes what it may not: its message is dropped and v5 \
         clients are told with QoS 1 and 2 (drop), or its connection ends (disconnect).";
    auth.failures_max: Kind::Number(Range::or_zero(1_000_000, "not counted")),
        Number(AUTH_FAILURES_DEFAULT), Live, "failures",
        "Failures of a user at an address within the window, and ten times as many of an address, \
         after which it is held off (0x9F; return code 3 before v5). A password that is \
         remembered as right comes in all the same.";
    auth.connects_max: Kind::Number(Range::or_zero(1_000_000, "not counted")),
        Number(AUTH_CONNECTS_DEFAULT), Live, "connects",
        "Connects of one client id within the window, after which it is held off likewise.";
    auth.window_s: Kind::Duration(Range::of(1, 86_400)), Number(AUTH_WINDOW_S_DEFAULT), Live, "s",
        "The window in which failures and connects are counted.";
    auth.hold_s: Kind::Duration(Range::of(1, 86_400)), Number(AUTH_HOLD_S_DEFAULT), Live, "s",
        "How long one is held off. It doubles with each time in a row, up to 32 times this.";
    auth.strained_connect_rate: Kind::Number(Range::or_zero(10_000_000, "as always")),
        Number(AUTH_STRAINED_RATE_DEFAULT), Live, "connections a second",
        "Connections accepted a second while a source cannot be asked, while half of the clients \
         that may wait for a verdict do, or while they wait for half of the time that it may take. \
         The others wait in the kernel's accept queue. Each of N shards accepts an Nth of it.";

    sys.interval_s: Kind::Duration(Range::or_zero(86_400, "never")),
        Number(SYS_INTERVAL_S_DEFAULT), Live, "s",
        "How often statistics are published.";
    sys.presence: Kind::Bool, Bool(true), Live, "",
        "Whether `clients/{id}/connected` and `clients/{id}/disconnected` are published.";
};

/// The keys of one `[[listener]]`.
pub static LISTENER_KEYS: &[Key<Listener>] = keys! { Listener,
    listener.url: Kind::Url, Text("tcp://0.0.0.0:1883"), Restart, "",
        "What is spoken and where: tcp, tls (MQTTS), ws (WebSocket) or wss with address and port, \
         or unix with a path. Without a port: 1883, 8883, 8083 or 8084. Port 0 picks a free one \
         and prints it.";
    listener.connections_max: Kind::Number(
            Range::or_zero(100_000_000, "only limits.connections_max holds")),
        Number(0), Restart, "connections",
        "Most connections on this listener at a time.";
    listener.unix_mode: Kind::FileMode, Number(UNIX_MODE_DEFAULT), Restart, "",
        "Who may connect to a unix socket: the mode of its file, as text. With `0666` everybody on \
         this host may.";
    listener.mountpoint: Kind::Mountpoint, Text(""), Restart, "",
        "Prefix for the topics of this listener's clients, who do not see it: what they publish, \
         subscribe and leave as a will lies below it. `tenant/7/` keeps them in a room of their \
         own.";
    listener.authentication: AUTHENTICATION, Text("inherit"), Restart, "",
        "Who is let in here: as `auth` says (inherit); only clients that a source knows, whatever \
         `auth.allow_anonymous` says (required); or everybody, without asking a source, under the \
         name that they give themselves (none), where bans hold, and access rules for everybody.";
    listener.proxy_protocol: Kind::Bool, Bool(false), Restart, "",
        "Whether a load balancer in front says by the PROXY protocol (version 1 or 2) who \
         connects. Then every connection has to begin so, and come from one of `trusted_proxies`.";
    listener.proxy_timeout_s: Kind::Duration(Range::of(1, 600)), Number(PROXY_TIMEOUT_S_DEFAULT),
        Restart, "s",
        "Time for the PROXY header to be there.";
    listener.trusted_proxies: Kind::Networks, Text(""), Restart, "",
        "Addresses of load balancers whose PROXY headers and `X-Forwarded-For` are believed. Those \
         who connect to a unix socket are trusted.";
    listener.certificates: Kind::Paths, Text(""), Restart, "",
        "As `tls.certificates`, for this listener; empty: those.";
    listener.private_keys: Kind::Paths, Text(""), Restart, "",
        "As `tls.private_keys`, for `certificates` of this listener.";
    listener.client_certificates: LISTENER_CLIENT_CERTIFICATES, Text("inherit"), Restart, "",
        "As `tls.client_certificates`, for this listener.";
    listener.client_ca: Kind::Path, Text(""), Restart, "",
        "As `tls.client_ca`, for this listener; empty: that.";
    listener.client_crl: Kind::Path, Text(""), Restart, "",
        "As `tls.client_crl`, for this listener; empty: that.";
    listener.websocket_path: Kind::UrlPath, Text("/mqtt"), Restart, "",
        "Where in the URL WebSocket is.";
    listener.websocket_sub_protocol_required: Kind::Bool, Bool(true), Restart, "",
        "Whether a WebSocket has to ask for the sub-protocol `mqtt` or `mqttv3.1` (emqttd's \
         `websocket_protocol_header`).";
    listener.websocket_origins: Kind::Origins, Text(""), Restart, "",
        "Pages that may open a WebSocket, by their origin, as `https://app.example.org`. Empty: \
         all. Clients that are no browsers name none, and are not held to this.";
};
