//! The settings as plain structs, one a section, every value checked. What each field means is
//! said once, in the table of keys and in `docs/configuration.md` made from it.

use std::path::PathBuf;

use super::choice::{
    AclNomatch, AllowAnonymous, Authentication, CertificateNames, ClientCertificates,
    DeniedPublish, ListenerClientCertificates, LogLevel, QueueDrop, TlsVersion,
};
use super::keys::{KEYS, LISTENER_KEYS};
use super::listen::{ListenUrl, Scheme};
use crate::base::Network;

#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    pub node: Node,
    /// At least one.
    pub listeners: Vec<Listener>,
    pub tls: Tls,
    pub mqtt: Mqtt,
    pub limits: Limits,
    pub auth: Auth,
    pub sys: Sys,
}

#[derive(Debug, Clone, PartialEq, Default)]
pub struct Node {
    pub name: String,
    /// Absolute once loaded; empty in `Settings::default()`.
    pub data_dir: PathBuf,
    /// 0: as many as the process may use CPUs; see [`super::cpus::place`].
    pub shards: u16,
    /// Empty: those that the process may use.
    pub cpus: Vec<u16>,
    pub log_level: LogLevel,
    pub stop_deadline_s: u32,
}

#[derive(Debug, Clone, PartialEq, Default)]
pub struct Listener {
    pub url: ListenUrl,
    /// 0: only `limits.connections_max` holds.
    pub connections_max: u32,
    /// Of a unix socket's file.
    pub unix_mode: u32,
    /// Empty: none.
    pub mountpoint: String,
    pub proxy_protocol: bool,
    pub proxy_timeout_s: u32,
    pub trusted_proxies: Vec<Network>,
    /// Empty: those of [`Tls`].
    pub certificates: Vec<PathBuf>,
    pub private_keys: Vec<PathBuf>,
    pub client_certificates: ListenerClientCertificates,
    pub authentication: Authentication,
    /// Empty: that of [`Tls`], here and below.
    pub client_ca: PathBuf,
    pub client_crl: PathBuf,
    pub websocket_path: String,
    pub websocket_sub_protocol_required: bool,
    /// Empty: all.
    pub websocket_origins: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Default)]
pub struct Tls {
    /// Empty: the broker makes one of its own.
    pub certificates: Vec<PathBuf>,
    /// Empty: they are in the files of the certificates.
    pub private_keys: Vec<PathBuf>,
    pub client_certificates: ClientCertificates,
    pub client_ca: PathBuf,
    /// Empty: none.
    pub client_crl: PathBuf,
    pub version_min: TlsVersion,
    pub resumption: bool,
}

#[derive(Debug, Clone, PartialEq, Default)]
pub struct Mqtt {
    pub packet_bytes_max: usize,
    pub client_id_bytes_max: u16,
    pub topic_levels_max: u16,
    pub topic_bytes_max: u16,
    pub connect_timeout_s: u32,
    /// 0: the client's choice stands.
    pub keep_alive_max_s: u16,
    pub keep_alive_tenths: u16,
    /// `u32::MAX`: never.
    pub session_expiry_max_s: u32,
    /// `u32::MAX`: never.
    pub mqtt3_session_expiry_s: u32,
    pub receive_maximum: u16,
    pub inflight_max: u16,
    pub topic_alias_maximum: u16,
    pub qos_max: u8,
    pub retain_available: bool,
    pub wildcard_subscriptions: bool,
    pub shared_subscriptions: bool,
}

#[derive(Debug, Clone, PartialEq, Default)]
pub struct Limits {
    pub connections_max: u32,
    /// Connections a second; 0: no limit.
    pub connect_rate_max: u32,
    /// 0: no limit.
    pub sessions_max: u32,
    /// 0: no limit.
    pub subscriptions_per_client_max: u32,
    pub queue_length_max: u32,
    pub queue_bytes_max: usize,
    pub queue_drop: QueueDrop,
    pub queue_qos0: bool,
    pub outbox_bytes_max: usize,
    /// 0: a quarter of the memory available; see [`super::Host::memory_budget_bytes`].
    pub memory_budget_bytes: u64,
    /// 0: none are kept.
    pub retained_messages_max: u32,
    pub retained_bytes_max: u64,
    pub retained_payload_bytes_max: usize,
    pub mailbox_slots: u32,
}

#[derive(Debug, Clone, PartialEq, Default)]
pub struct Auth {
    pub allow_anonymous: AllowAnonymous,
    /// Names of sources with commas between, each once.
    pub chain: String,
    /// Empty: see [`super::Loaded::plugins_dir`].
    pub plugins_dir: PathBuf,
    pub threads: u16,
    pub waiting_max: u32,
    pub deadline_s: u32,
    /// 0: passwords are not remembered.
    pub memo_s: u32,
    pub memo_entries_max: u32,
    /// Empty: none.
    pub users_file: PathBuf,
    pub certificate_username: CertificateNames,
    pub certificate_client_id: CertificateNames,
    /// Empty: none.
    pub acl_file: PathBuf,
    pub acl_nomatch: AclNomatch,
    pub denied_publish: DeniedPublish,
    /// 0: failures are not counted.
    pub failures_max: u32,
    /// 0: connects are not counted.
    pub connects_max: u32,
    pub window_s: u32,
    pub hold_s: u32,
    /// Connections a second; 0: as always.
    pub strained_connect_rate: u32,
}

#[derive(Debug, Clone, PartialEq, Default)]
pub struct Sys {
    /// 0: `$SYS` statistics are not published.
    pub interval_s: u32,
    pub presence: bool,
}

impl Default for Settings {
    /// Every key at the default that the table gives it, with the default listeners.
    fn default() -> Self {
        let mut settings = Self {
            node: Node::default(),
            listeners: Listener::presets(),
            tls: Tls::default(),
            mqtt: Mqtt::default(),
            limits: Limits::default(),
            auth: Auth::default(),
            sys: Sys::default(),
        };
        for key in KEYS {
            let set = key.set(&mut settings, &key.default_text());
            debug_assert_eq!(set, Ok(()), "{}", key.path());
        }
        settings
    }
}

impl Tls {
    /// What holds on one listener.
    pub fn clients_of(&self, listener: &Listener) -> ClientCertificates {
        match listener.client_certificates {
            ListenerClientCertificates::Inherit => self.client_certificates,
            ListenerClientCertificates::None => ClientCertificates::None,
            ListenerClientCertificates::Optional => ClientCertificates::Optional,
            ListenerClientCertificates::Required => ClientCertificates::Required,
        }
    }
}

impl Listener {
    /// A listener as `[[listener]]` with nothing below it would be.
    pub fn preset() -> Self {
        let mut listener = Self::default();
        for key in LISTENER_KEYS {
            let set = key.set(&mut listener, &key.default_text());
            debug_assert_eq!(set, Ok(()), "{}", key.path());
        }
        listener
    }

    /// Those of a broker that is told of none: one of each kind, on emqttd's ports.
    pub fn presets() -> Vec<Self> {
        let urls = [Scheme::Tcp, Scheme::Tls, Scheme::Ws, Scheme::Wss].map(ListenUrl::everywhere);
        urls.map(Self::at).into()
    }

    /// One at `url`, else as [`Self::preset`].
    pub fn at(url: ListenUrl) -> Self {
        Self {
            url,
            ..Self::preset()
        }
    }
}
