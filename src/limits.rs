//! Every limit of the broker in one file: ceilings that no configuration may pass, the defaults
//! of the configured ones, and the relations between them, which the compiler checks.
//!
//! A ceiling is a fact of the protocol or of a data structure. A default is what
//! `etc/ringmq.toml` shows; the settings that hold the chosen value are in [`crate::config`].

// Ceilings: process.

/// Most shards a process runs: a shard set is one 128-bit word.
pub const SHARDS_MAX: usize = 128;
/// Highest CPU number that a list of CPUs may name, plus one (the kernel's usual `NR_CPUS`).
pub const CPUS_MAX: usize = 1024;
/// Most listeners a process opens.
pub const LISTENERS_MAX: usize = 64;
/// Open files kept back from connections: listeners, rings, logs, the control socket, databases.
pub const FILES_RESERVED: u64 = 256;
/// Locked memory without which a ring is refused (glommio asks for it at each executor's start).
pub const MEMLOCK_BYTES_MIN: u64 = 512 * 1024;
/// Accept queue that each shard asks for of a listener; `net.core.somaxconn` below it cuts it down.
pub const ACCEPT_BACKLOG: u64 = 4096;

// Ceilings: protocol.

/// Largest Remaining Length that four bytes can say (section 2.1.4).
pub const PACKET_BYTES_CEILING: u64 = 268_435_455;
/// Smallest packet limit that still lets a client in with a will and a password.
pub const PACKET_BYTES_FLOOR: u64 = 1024;
/// Longest UTF-8 string, so longest topic name, filter or client id, in bytes (section 1.5.4).
pub const TOPIC_BYTES_MAX: usize = 65_535;
/// Longest client id, in bytes (section 1.5.4).
pub const CLIENT_ID_BYTES_MAX: usize = 65_535;
/// Most levels that a topic or filter may be allowed to have.
pub const TOPIC_LEVELS_MAX: usize = 1024;
/// Packet ids in flight one way on one connection (ids 1 to 65,535, section 2.2.1).
pub const INFLIGHT_CEILING: u64 = 65_535;
/// Longest WebSocket frame that is read on, in bytes: the largest packet. Nothing of it is held.
pub const WEBSOCKET_FRAME_BYTES_MAX: u64 = PACKET_BYTES_CEILING + 5;
/// Longest HTTP request that asks for a WebSocket, in bytes, and the most headers of one.
pub const HTTP_HEAD_BYTES_MAX: usize = 8 * 1024;
pub const HTTP_HEADERS_MAX: usize = 64;
/// Largest CONNECT that is waited for: nobody has shown who they are yet.
pub const CONNECT_BYTES_MAX: usize = 256 * 1024;
/// Half a packet, or unsent bytes, that each connection may have however little memory there is.
pub const ALWAYS_KEPT_BYTES: usize = 4096;
/// How long a connection may take to be flushed, and then to end from the peer's side.
pub const CLOSE_MS_MAX: u64 = 3_000;
/// Bytes of a connection that is let go of, which are thrown away unread. What was on its way when
/// the peer could hear that it is over is less; beyond that nobody listens.
pub const CLOSE_WASTE_BYTES_MAX: usize = 1 << 20;
/// Bytes of a TLS handshake that may wait to be whole: a client's certificates and what belongs to
/// them.
pub const TLS_HANDSHAKE_BYTES_MAX: usize = 80 * 1024;
/// Longest PROXY header of version 2 that is taken: addresses, a certificate's name and some more.
pub const PROXY_HEADER_BYTES_MAX: usize = 4096;
/// Longest interval that four bytes of seconds can say; this value itself means "never".
pub const EXPIRY_NEVER_S: u32 = u32::MAX;

// Ceilings: between shards and on the control plane.

/// Most slots that one mailbox between two shards may have.
pub const MAILBOX_SLOTS_MAX: u64 = 1 << 20;
/// Longest request line on the control socket, in bytes.
pub const CONTROL_REQUEST_BYTES_MAX: usize = 64 * 1024;
/// Longest reply line that a client of the control socket takes, in bytes.
pub const CONTROL_REPLY_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Most entries in one page of a listing (`ctl clients list`, `ctl subscriptions list`).
pub const CONTROL_PAGE_MAX: usize = 1000;
/// Time in which a request has to arrive and its reply has to be taken, in milliseconds.
pub const CONTROL_TIMEOUT_MS: u64 = 1000;

// Ceilings: identity.

/// Most access rules in one file, or of one client.
pub const ACL_RULES_MAX: usize = 10_000;
/// Topics whose access decision a client's session remembers.
pub const ACL_CACHE_TOPICS_MAX: usize = 16;
/// How deep terms of an access rule may be nested.
pub const ACL_NESTING_MAX: usize = 16;

/// Longest name and password of the built-in user store, in bytes.
pub const USER_NAME_BYTES_MAX: usize = 255;
pub const USER_PASSWORD_BYTES_MAX: usize = 1024;
/// Longest message of a client in an exchange of SCRAM, in bytes.
pub const SCRAM_MESSAGE_BYTES_MAX: usize = 4096;
/// Most users of the built-in store: beyond that a database is the better place.
pub const USERS_MAX: usize = 100_000;
/// Most bans that hold at a time.
pub const BANS_MAX: usize = 10_000;
/// Clients that are in and wait to be looked at again, in the process; others do so later.
pub const RECHECKS_WAITING_MAX: usize = 4096;
/// Clients, users and addresses whose failures and connects are counted.
pub const GUARD_ENTRIES_MAX: usize = 1 << 16;
/// Most threads on which sources of identities may block.
pub const AUTH_THREADS_MAX: usize = 256;
/// Most clients that may wait for one of them.
pub const AUTH_WAITING_MAX: usize = 10_000_000;
/// Largest file of a plug-in, in bytes.
pub const PLUGIN_FILE_BYTES_MAX: u64 = 1 << 20;
/// Longest answer of a service that is asked over HTTP, in bytes.
pub const HTTP_REPLY_BYTES_MAX: u64 = 1 << 20;

// Defaults, in the order of `etc/ringmq.toml`.

pub const STOP_DEADLINE_S_DEFAULT: u64 = 10;
pub const PROXY_TIMEOUT_S_DEFAULT: u64 = 3;
/// Of a unix socket's file: its owner and group may connect.
pub const UNIX_MODE_DEFAULT: u64 = 0o660;
pub const PACKET_BYTES_DEFAULT: u64 = 1 << 20;
pub const CLIENT_ID_BYTES_DEFAULT: u64 = 1024;
pub const TOPIC_LEVELS_DEFAULT: u64 = 128;
pub const TOPIC_BYTES_DEFAULT: u64 = 65_535;
pub const CONNECT_TIMEOUT_S_DEFAULT: u64 = 10;
pub const KEEP_ALIVE_TENTHS_DEFAULT: u64 = 15;
pub const SESSION_EXPIRY_S_DEFAULT: u64 = 7 * 86_400;
pub const MQTT3_SESSION_EXPIRY_S_DEFAULT: u64 = 2 * 3600;
pub const RECEIVE_MAXIMUM_DEFAULT: u64 = 256;
pub const INFLIGHT_DEFAULT: u64 = 256;
pub const TOPIC_ALIAS_DEFAULT: u64 = 32;
pub const CONNECTIONS_DEFAULT: u64 = 100_000;
pub const CONNECT_RATE_DEFAULT: u64 = 10_000;
pub const SESSIONS_DEFAULT: u64 = 2_000_000;
pub const SUBSCRIPTIONS_DEFAULT: u64 = 10_000;
pub const QUEUE_LENGTH_DEFAULT: u64 = 1000;
pub const QUEUE_BYTES_DEFAULT: u64 = 8 << 20;
pub const OUTBOX_BYTES_DEFAULT: u64 = 1 << 20;
pub const RETAINED_MESSAGES_DEFAULT: u64 = 1_000_000;
pub const RETAINED_BYTES_DEFAULT: u64 = 1 << 30;
pub const RETAINED_PAYLOAD_BYTES_DEFAULT: u64 = 1 << 20;
pub const MAILBOX_SLOTS_DEFAULT: u64 = 4096;
pub const AUTH_THREADS_DEFAULT: u64 = 4;
pub const AUTH_WAITING_DEFAULT: u64 = 100_000;
pub const AUTH_DEADLINE_S_DEFAULT: u64 = 5;
pub const AUTH_MEMO_S_DEFAULT: u64 = 300;
pub const AUTH_MEMO_ENTRIES_DEFAULT: u64 = 1_000_000;
pub const AUTH_FAILURES_DEFAULT: u64 = 10;
pub const AUTH_CONNECTS_DEFAULT: u64 = 0;
pub const AUTH_WINDOW_S_DEFAULT: u64 = 60;
pub const AUTH_HOLD_S_DEFAULT: u64 = 30;
pub const AUTH_STRAINED_RATE_DEFAULT: u64 = 500;
pub const SYS_INTERVAL_S_DEFAULT: u64 = 60;

const _: () = {
    assert!(SHARDS_MAX <= u128::BITS as usize);
    assert!(SHARDS_MAX <= CPUS_MAX);
    assert!(TOPIC_LEVELS_MAX <= TOPIC_BYTES_MAX);
    assert!(MAILBOX_SLOTS_MAX.is_power_of_two());
    assert!(CONTROL_REQUEST_BYTES_MAX < CONTROL_REPLY_BYTES_MAX);
    // A page of the longest client ids still fits a reply.
    assert!(CONTROL_PAGE_MAX * 8 * 1024 <= CONTROL_REPLY_BYTES_MAX);

    assert!(PACKET_BYTES_FLOOR <= PACKET_BYTES_DEFAULT);
    assert!(CONNECT_BYTES_MAX as u64 >= PACKET_BYTES_FLOOR);
    assert!(PACKET_BYTES_DEFAULT <= PACKET_BYTES_CEILING);
    assert!(CLIENT_ID_BYTES_DEFAULT as usize <= CLIENT_ID_BYTES_MAX);
    assert!(TOPIC_BYTES_DEFAULT as usize <= TOPIC_BYTES_MAX);
    assert!(TOPIC_LEVELS_DEFAULT as usize <= TOPIC_LEVELS_MAX);
    assert!(TOPIC_LEVELS_DEFAULT <= TOPIC_BYTES_DEFAULT);
    assert!(SESSION_EXPIRY_S_DEFAULT < EXPIRY_NEVER_S as u64);
    assert!(MQTT3_SESSION_EXPIRY_S_DEFAULT <= SESSION_EXPIRY_S_DEFAULT);
    assert!(RECEIVE_MAXIMUM_DEFAULT >= 1 && RECEIVE_MAXIMUM_DEFAULT <= INFLIGHT_CEILING);
    assert!(INFLIGHT_DEFAULT >= 1 && INFLIGHT_DEFAULT <= INFLIGHT_CEILING);
    // What is in flight comes out of the queue's count first.
    assert!(INFLIGHT_DEFAULT <= QUEUE_LENGTH_DEFAULT);
    // A packet of the largest size accepted can be queued, sent and retained.
    assert!(PACKET_BYTES_DEFAULT <= QUEUE_BYTES_DEFAULT);
    assert!(PACKET_BYTES_DEFAULT <= OUTBOX_BYTES_DEFAULT);
    assert!(RETAINED_PAYLOAD_BYTES_DEFAULT <= PACKET_BYTES_DEFAULT);
    assert!(RETAINED_PAYLOAD_BYTES_DEFAULT <= RETAINED_BYTES_DEFAULT);
    // Whoever waits for its verdict is answered before its CONNECT is given up.
    assert!(AUTH_DEADLINE_S_DEFAULT < CONNECT_TIMEOUT_S_DEFAULT);
    assert!(AUTH_THREADS_DEFAULT as usize <= AUTH_THREADS_MAX);
    assert!(AUTH_WAITING_DEFAULT as usize <= AUTH_WAITING_MAX);
    assert!(MAILBOX_SLOTS_DEFAULT.is_power_of_two());
    assert!(MAILBOX_SLOTS_DEFAULT <= MAILBOX_SLOTS_MAX);
};
