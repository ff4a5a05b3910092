//! The command line: what is typed, and one file a command.

mod args;
mod ban;
mod beforehand;
mod check;
mod ctl;
mod daemon;
mod man;
mod plugins;
mod restart;
mod run;
mod signals;
mod status;
mod stop;
mod users;

use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::Arc;

use clap::{CommandFactory, Parser};

use crate::config::{Settings, Sources};
use crate::control::{Client, DataDir, Node, Reply, Request, Unreachable};
use crate::runtime::Broker;
use args::{Cli, Command};

/// What `run` starts: returns once connections are accepted.
pub type StartNode = fn(Settings) -> io::Result<Arc<dyn Node>>;

/// The program: reads this process's arguments and does what they say.
pub fn main() -> ExitCode {
    crate::runtime::take_small_pages();
    main_with(start_node)
}

/// The program around another broker than the real one, for tests of it.
pub fn main_with(start: StartNode) -> ExitCode {
    dispatch(Cli::parse(), start)
}

/// The broker, as `run` takes it. Its settings are resolved by
/// [`Host::resolve`](crate::config::Host::resolve).
fn start_node(settings: Settings) -> io::Result<Arc<dyn Node>> {
    Ok(Arc::new(Broker::start(settings)?))
}

fn dispatch(cli: Cli, start: StartNode) -> ExitCode {
    let done = match cli.command {
        Command::Run(args) => run::run(args, start),
        Command::Start(args) => daemon::start(&Sources::of_process(args.overrides())),
        Command::Status(args) => status::status(&args),
        Command::Stop(args) => stop::stop(&args),
        Command::Restart(args) => restart::restart(args.overrides()),
        Command::Check(args) => check::check(args),
        Command::Ctl(args) => ctl::ctl(args),
        Command::Completions { shell } => {
            let mut text = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "ringmq", &mut text);
            Ok(say_all(&text))
        }
        Command::Man => {
            let mut text = Vec::new();
            man::write(&mut text)
                .map(|()| say_all(&text))
                .map_err(Into::into)
        }
    };
    done.unwrap_or_else(|failure| {
        // Nowhere is left to say it when standard error is closed.
        let _ = writeln!(io::stderr(), "{failure}");
        ExitCode::FAILURE
    })
}

/// Why a command ends with status 1, as the lines that the user reads.
#[derive(Debug)]
struct Failure(String);

type Done = Result<ExitCode, Failure>;

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self(error.to_string())
    }
}

impl From<String> for Failure {
    fn from(sentence: String) -> Self {
        Self(sentence)
    }
}

impl From<Unreachable> for Failure {
    fn from(unreachable: Unreachable) -> Self {
        Self(unreachable.to_string())
    }
}

/// A line for the user. A reader that went away (`ringmq status | head -1`) is no failure.
fn say(line: &str) {
    let _ = writeln!(io::stdout(), "{line}");
}

fn say_all(text: &[u8]) -> ExitCode {
    let _ = io::stdout().write_all(text);
    ExitCode::SUCCESS
}

fn connect(folder: &DataDir) -> Result<Client, Failure> {
    Ok(Client::connect(folder)?)
}

/// Asks; a refusal is a failure.
fn ask(control: &mut Client, request: &Request) -> Result<Reply, Failure> {
    match control.request(request)? {
        Reply::Error(reason) => Err(Failure(reason)),
        reply => Ok(reply),
    }
}

/// For a reply of another kind than was asked for.
fn unexpected() -> Failure {
    Failure("the broker answered something else than it was asked".into())
}
