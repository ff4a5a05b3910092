//! What can be typed. The man page and the completions are made from it.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::config::{Overrides, Sources};
use crate::control::DataDir;

/// An MQTT broker for large device fleets.
#[derive(Debug, Parser)]
#[command(name = "ringmq", version, about, disable_help_subcommand = true)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the broker in the foreground, with the log on standard error
    Run(RunArgs),
    /// Start the broker in the background, and return once it accepts connections
    Start(NodeArgs),
    /// Say how a running broker is; status 1 when none runs
    Status(StatusArgs),
    /// Stop a running broker, and return once it has ended
    Stop(FindArgs),
    /// Stop, then start with the same flags but for those given here
    Restart(NodeArgs),
    /// Check a configuration without starting anything
    Check(CheckArgs),
    /// Look into a running broker and change what it does
    Ctl(CtlArgs),
    /// Print the completions of a shell
    Completions { shell: clap_complete::Shell },
    /// Print the man page
    Man,
}

/// Flags that override the configuration.
#[derive(Debug, Clone, Default, Args)]
pub struct NodeArgs {
    #[command(flatten)]
    pub find: FindArgs,
    /// Listen here, for example tcp://127.0.0.1:0; may be repeated, and replaces the configured
    /// listeners (port 0 picks one and prints it)
    #[arg(long, value_name = "URL")]
    listen: Vec<String>,
    /// Threads that serve clients; 0 for one a CPU
    #[arg(long, value_name = "N")]
    shards: Option<String>,
    /// CPUs to use, for example 0-3,6
    #[arg(long, value_name = "LIST")]
    cpus: Option<String>,
    /// Threads on which a database may be waited for and passwords are hashed
    #[arg(long, value_name = "N")]
    auth_threads: Option<String>,
    /// How much to log: off, error, warn, info, debug or trace
    #[arg(long, value_name = "LEVEL")]
    log: Option<String>,
}

#[derive(Debug, Clone, Default, Args)]
pub struct RunArgs {
    #[command(flatten)]
    pub node: NodeArgs,
    /// Standard input is a pipe to tell `start` when connections are accepted
    #[arg(long, hide = true)]
    pub daemon: bool,
}

/// Flags that say which broker is meant.
#[derive(Debug, Clone, Default, Args)]
pub struct FindArgs {
    /// Configuration file [default: etc/ringmq.toml, then /etc/ringmq/ringmq.toml]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Data folder
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub struct StatusArgs {
    #[command(flatten)]
    pub find: FindArgs,
    /// Everything, as JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct CheckArgs {
    /// The file; without one, the file that `run` would read
    pub file: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub struct CtlArgs {
    #[command(subcommand)]
    pub command: CtlCommand,
}

#[derive(Debug, Subcommand)]
pub enum CtlCommand {
    /// As `ringmq status`
    Status(StatusArgs),
    /// Clients: those with a session, connected or not
    #[command(subcommand)]
    Clients(ClientsCommand),
    /// Subscriptions of clients
    #[command(subcommand)]
    Subscriptions(SubscriptionsCommand),
    /// Plug-ins: sources of users and access rules, each with a file in etc/plugins
    #[command(subcommand)]
    Plugins(PluginsCommand),
    /// Users of the built-in store
    #[command(subcommand)]
    Users(UsersCommand),
    /// Client ids, users and addresses that may not come in
    #[command(subcommand)]
    Ban(BanCommand),
    /// Access rules of the file that auth.acl_file names
    #[command(subcommand)]
    Acl(AclCommand),
    /// Read the configuration again, as SIGHUP does: all of it, or nothing when it has mistakes
    Reload(FindArgs),
}

#[derive(Debug, Subcommand)]
pub enum ClientsCommand {
    /// All clients, a line each
    List(FindArgs),
    /// One client
    Show(ClientArgs),
    /// End the connection of a client
    Kick(ClientArgs),
}

#[derive(Debug, Subcommand)]
pub enum UsersCommand {
    /// Make a user; the password comes from standard input where it is not given
    Add(AddUserArgs),
    /// Remove a user and cut its clients
    Del(UserArgs),
    /// Change the password of a user and cut its clients
    Passwd(PasswordArgs),
    /// All users, a line each
    List(FindArgs),
}

#[derive(Debug, Args)]
pub struct AddUserArgs {
    #[command(flatten)]
    pub user: PasswordArgs,
    /// No access rule holds for this user
    #[arg(long)]
    pub superuser: bool,
    /// The user may authenticate by SCRAM-SHA-256 too; what is kept for that is quicker to guess
    /// than what is kept without
    #[arg(long)]
    pub scram: bool,
}

#[derive(Debug, Args)]
pub struct PasswordArgs {
    pub name: String,
    /// Others see it in the list of processes: better give it on standard input
    pub password: Option<String>,
    #[command(flatten)]
    pub find: FindArgs,
}

#[derive(Debug, Args)]
pub struct UserArgs {
    pub name: String,
    #[command(flatten)]
    pub find: FindArgs,
}

#[derive(Debug, Subcommand)]
pub enum BanCommand {
    /// Ban, and cut the clients that are in
    Add(AddBanArgs),
    /// Lift a ban
    Del(BanArgs),
    /// All bans that hold, a line each
    List(FindArgs),
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
pub enum BanWord {
    Client,
    User,
    Address,
}

#[derive(Debug, Args)]
pub struct BanArgs {
    pub kind: BanWord,
    /// A client id, a user name, or an address or range as 10.0.0.0/8
    pub value: String,
    #[command(flatten)]
    pub find: FindArgs,
}

#[derive(Debug, Args)]
pub struct AddBanArgs {
    #[command(flatten)]
    pub ban: BanArgs,
    /// How long, for example 90s, 2h or 7d; without it, for good
    #[arg(long, value_name = "TIME")]
    pub r#for: Option<String>,
    /// Why, for the list
    #[arg(long, value_name = "TEXT", default_value = "")]
    pub reason: String,
}

#[derive(Debug, Subcommand)]
pub enum AclCommand {
    /// Read the rules again, with the rest of the configuration
    Reload(FindArgs),
}

#[derive(Debug, Subcommand)]
pub enum SubscriptionsCommand {
    /// All subscriptions, a line each
    List(FindArgs),
    /// Those of one client
    Show(ClientArgs),
}

#[derive(Debug, Subcommand)]
pub enum PluginsCommand {
    /// All plug-ins, a line each
    List(FindArgs),
    /// Load a plug-in: it acts at once, and after every restart
    Load(PluginArgs),
    /// Unload a plug-in
    Unload(PluginArgs),
}

#[derive(Debug, Args)]
pub struct PluginArgs {
    /// For example emq_auth_pgsql
    pub name: String,
    #[command(flatten)]
    pub find: FindArgs,
}

#[derive(Debug, Args)]
pub struct ClientArgs {
    pub client_id: String,
    #[command(flatten)]
    pub find: FindArgs,
}

impl NodeArgs {
    pub fn overrides(&self) -> Overrides {
        Overrides {
            listen: self.listen.clone(),
            shards: self.shards.clone(),
            cpus: self.cpus.clone(),
            auth_threads: self.auth_threads.clone(),
            log: self.log.clone(),
            ..self.find.overrides()
        }
    }
}

impl FindArgs {
    pub fn overrides(&self) -> Overrides {
        Overrides {
            config: self.config.clone(),
            data: self.data.clone(),
            ..Overrides::default()
        }
    }

    /// The data folder of the broker that is meant.
    pub fn folder(&self) -> DataDir {
        DataDir::new(Sources::of_process(self.overrides()).data_dir())
    }
}
