//! The control plane of one process: a unix socket in the data folder, one JSON object a line,
//! served by one plain thread that asks the node and waits for its answer.
//!
//! `status`, `stop`, `reload` and `ctl` are clients of it; there is no other door. It never
//! touches a session: what a [`Node`] answers, its shards were asked for.

mod api;
mod client;
mod folder;
mod server;
mod supervisor;

pub use api::{
    Ban, BanKind, CertificateStatus, Client as ClientInfo, ClientDetail, Count, Handshakes,
    IdentityStatus, Ledger, ListenerStatus, Memory, NewUser, NodeStatus, Page, Plugin, Process,
    ReloadReport, Reply, Request, ShardStatus, SourceStatus, State, Status, Stopped, Subscription,
    User,
};
pub use client::{Client, Unreachable};
pub use folder::{DataDir, Lock};
pub use server::{Desk, bind, serve};
pub use supervisor::Supervisor;

use std::time::Duration;

use crate::config::Settings;

/// What a node without a data folder of its own answers.
const NO_STORE: &str = "this node keeps no users";

/// A running broker, as the process around it sees it. Every method may wait for shards, is
/// called from plain threads only, and answers within seconds whatever the shards do.
pub trait Node: Send + Sync {
    /// The numbers of this moment. Errors are sentences for the operator, here and below.
    fn status(&self) -> Result<NodeStatus, String>;

    /// Obeys new settings, which differ from the running ones only in keys that a reload may
    /// change. All of them or, with an error, none.
    fn reload(&self, settings: &Settings) -> Result<(), String>;

    /// Closes the listeners, tells the clients (0x8B), publishes what wills are due, writes out
    /// what waits, ends the shards; returns when that is done or `deadline` has passed.
    fn stop(&self, deadline: Duration) -> Stopped;

    /// Up to `limit` clients (sessions, connected or not), from where the page before said.
    fn clients(&self, limit: usize, from: Option<&str>) -> Result<Page, String>;

    /// One client with its subscriptions; none when there is no such session.
    fn client(&self, client_id: &str) -> Result<Option<ClientDetail>, String>;

    /// Ends the connection of a client (0x98, administrative action); false when no client of
    /// that id is connected.
    fn kick(&self, client_id: &str) -> Result<bool, String>;

    /// All plug-ins that there are.
    fn plugins(&self) -> Result<Vec<Plugin>, String>;

    /// Loads a plug-in, now and at every start; sentences on what does not work yet.
    fn load_plugin(&self, name: &str) -> Result<Vec<String>, String>;

    /// Unloads a plug-in, now and for later starts.
    fn unload_plugin(&self, name: &str) -> Result<(), String>;

    /// Up to `limit` users of the built-in store after `from`, by name.
    fn users(&self, _limit: usize, _from: Option<&str>) -> Result<Vec<User>, String> {
        Err(NO_STORE.into())
    }

    /// Makes a user, who can come in from then on.
    fn add_user(&self, _user: &NewUser) -> Result<(), String> {
        Err(NO_STORE.into())
    }

    /// Removes a user and cuts the clients that came in as that user.
    fn delete_user(&self, _name: &str) -> Result<(), String> {
        Err(NO_STORE.into())
    }

    /// Another password for a user; the clients that came in with the old one are cut.
    fn set_password(&self, _name: &str, _password: &str) -> Result<(), String> {
        Err(NO_STORE.into())
    }

    /// The bans that hold.
    fn bans(&self) -> Result<Vec<Ban>, String> {
        Err(NO_STORE.into())
    }

    /// Bans, and cuts the clients that are in.
    fn add_ban(&self, _ban: Ban) -> Result<(), String> {
        Err(NO_STORE.into())
    }

    /// Lifts a ban; false: there was none.
    fn lift_ban(&self, _kind: BanKind, _value: String) -> Result<bool, String> {
        Err(NO_STORE.into())
    }
}
