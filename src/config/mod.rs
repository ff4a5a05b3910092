//! Configuration: one table of keys drives the file, the environment, the flags, the shipped
//! `etc/ringmq.toml`, the reference page in `docs/`, and what a reload may change.
//!
//! Sources in order, the later winning: built-in defaults, the file, `RINGMQ_SECTION_KEY`
//! variables, flags. All of them speak text, and [`keys::Kind`] alone turns text into a value, so
//! a key behaves the same wherever it is written. Nothing outside `runtime` and `cli` reads
//! [`Settings`]: inner modules have option structs of their own, filled at the edge.

pub mod choice;
pub mod cpus;
pub mod document;
mod env;
mod error;
mod file;
mod host;
pub mod keys;
mod listen;
mod load;
pub mod nearest;
mod reload;
mod settings;
mod table;
pub mod unit;
mod value;

pub use choice::{
    AclNomatch, AllowAnonymous, Authentication, CertificateNames, ClientCertificates,
    DeniedPublish, ListenerClientCertificates, LogLevel, QueueDrop, TlsVersion,
};
pub use error::{Error, Errors, Origin};
pub use host::{Host, raise_limits};
pub use listen::{Address, ListenUrl, Scheme};
pub use load::{Loaded, Overrides, Source, Sources};
pub use reload::{Change, changes, keep_restart_keys};
pub use settings::{Auth, Limits, Listener, Mqtt, Node, Settings, Sys, Tls};
