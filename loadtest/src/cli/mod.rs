//! The command line.

mod broker;
mod churn;
mod common;
mod crew;
mod dashboards;
mod file;
mod flow;
mod idle;
mod storm;
mod values;

use crate::crew::Place;
use crate::host;
use crate::host::limits::Demand;
use crate::report::{Report, compare};
use crate::run::Setup;
use clap::{CommandFactory, Parser, Subcommand};
use common::{CommonArgs, run_id};
use crew::JoinArgs;
use signal_hook::consts::{SIGINT, SIGTERM};
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// Something was lost, duplicated or reordered, or connections failed.
const EXIT_FAILED: u8 = 1;
/// The run could not be done.
const EXIT_USAGE: u8 = 2;

/// Load an MQTT broker and count exactly what comes of it.
///
/// Messages are timed from when they should have been sent. The exit status is 0 if nothing was
/// lost, duplicated or reordered and all connections held, 1 if not, and 2 if the run could not
/// be done. Ctrl-C ends a run early with the report of what was done.
#[derive(Debug, Parser)]
#[command(
    name = "loadtest",
    version,
    args_override_self = true,
    arg_required_else_help = true,
    args_conflicts_with_subcommands = true
)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    /// Compare two runs by what --json wrote
    #[arg(long, num_args = 2, value_names = ["A.json", "B.json"])]
    compare: Option<Vec<PathBuf>>,
    #[command(flatten)]
    join: JoinArgs,
}

#[derive(Debug, Subcommand)]
enum Command {
    Idle(idle::IdleArgs),
    Flow(flow::FlowArgs),
    Storm(storm::StormArgs),
    Churn(churn::ChurnArgs),
    Dashboards(dashboards::DashboardArgs),
    /// Run a scenario file, or one that comes with the load tester by its name
    ///
    /// A file has `scenario = "flow"` (or another kind) and the options of that kind as keys.
    /// Options on the command line go before those of the file.
    Run {
        /// A file, or a name that `loadtest scenarios` tells
        #[arg(value_name = "FILE")]
        file: String,
        /// Options of the scenario's kind
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        options: Vec<String>,
    },
    /// Check limits, sysctls, ports and memory of this host
    ///
    /// Says how many connections fit, and which commands raise it. The exit status is 1 if those
    /// asked for do not.
    Doctor {
        /// Connections that are wanted
        #[arg(short = 'n', long, default_value = "100000", value_parser = values::count::<u64>)]
        connections: u64,
        /// Source addresses that they come from
        #[arg(long, default_value = "40", value_parser = values::count::<u64>)]
        sources: u64,
    },
    /// Compare two runs by what --json wrote
    Compare {
        #[arg(value_name = "A.json")]
        a: PathBuf,
        #[arg(value_name = "B.json")]
        b: PathBuf,
    },
    /// List the scenarios that come with the load tester, or show one
    Scenarios {
        name: Option<String>,
    },
}

/// Runs the command line of this process.
pub fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().collect();
    let (cli, words) = match parse(&words) {
        Ok(parsed) => parsed,
        Err(Unparsed::Clap(error)) => error.exit(),
        Err(Unparsed::File(sentence)) => return refuse(&sentence),
    };
    let done = match &cli {
        Cli {
            compare: Some(files),
            ..
        } => compare::compare(&files[0], &files[1]).map(|text| show(&text)),
        Cli {
            join: join @ JoinArgs {
                join: Some(leader), ..
            },
            ..
        } => work(join, leader),
        Cli {
            command: Some(Command::Compare { a, b }),
            ..
        } => compare::compare(a, b).map(|text| show(&text)),
        Cli {
            command:
                Some(Command::Doctor {
                    connections,
                    sources,
                }),
            ..
        } => return doctor(*connections, *sources),
        Cli {
            command: Some(Command::Scenarios { name }),
            ..
        } => scenarios(name.as_deref()).map(|text| show(&text)),
        Cli {
            command: Some(command),
            ..
        } => return load(command, &words),
        Cli { command: None, .. } => Err("a kind of load is missing; see --help".into()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(sentence) => refuse(&sentence),
    }
}

fn doctor(connections: u64, sources: u64) -> ExitCode {
    let host = host::doctor::Host::look();
    show(&host::doctor::table(&host, connections, sources));
    let fits = host::doctor::fits(&host.checks(connections, sources));
    ExitCode::from(if fits >= connections { 0 } else { EXIT_FAILED })
}

/// Is a worker.
fn work(join: &JoinArgs, leader: &str) -> Result<(), String> {
    let interrupt = interruptible()?;
    join.work(leader, |words, place, source| {
        let mut all = vec!["loadtest".to_owned()];
        all.extend(words.iter().cloned());
        if let Some(source) = source {
            all.push(format!("--source={source}"));
        }
        let (cli, _) = parse(&all).map_err(Unparsed::sentence)?;
        let command = cli.command.ok_or("the leader names no kind of load")?;
        command.run_at(place, &interrupt).map(|_| ())
    })
}

/// Runs a kind of load, and tells of it.
fn load(command: &Command, words: &[String]) -> ExitCode {
    let (json, page) = match command.common() {
        Some(common) => (common.json, common.report.as_deref()),
        None => (false, None),
    };
    // What cannot be written is better known before than after.
    let opened = page.map(|path| std::fs::File::create(path).map_err(|error| (path, error)));
    let page = match opened.transpose() {
        Ok(file) => file,
        Err((path, error)) => return refuse(&format!("{}: {error}", path.display())),
    };
    let report = match interruptible().and_then(|interrupt| command.run(words, &interrupt)) {
        Ok(report) => report,
        Err(sentence) => return refuse(&sentence),
    };
    print(&report, json);
    if let Some(mut file) = page
        && let Err(error) = file.write_all(report.to_html().as_bytes())
    {
        return refuse(&format!("the report is not written: {error}"));
    }
    ExitCode::from(if report.is_ok() { 0 } else { EXIT_FAILED })
}

/// A reader that has gone has seen enough.
fn show(text: &str) {
    let _ = std::io::stdout().write_all(text.as_bytes());
}

fn refuse(sentence: &str) -> ExitCode {
    eprintln!("loadtest: {sentence}");
    ExitCode::from(EXIT_USAGE)
}

/// Runs a command line given as words, the first of which is the program's name, until it is
/// over or `interrupt` is set.
///
/// # Errors
/// A sentence: the words are not understood, or this host does not allow the run.
pub fn run_words(words: &[&str], interrupt: &Arc<AtomicBool>) -> Result<Report, String> {
    let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
    let (cli, words) = parse(&words).map_err(Unparsed::sentence)?;
    match &cli.command {
        Some(command) => command.run(&words, interrupt),
        None => Err("a kind of load is missing".into()),
    }
}

/// Why a command line is not understood.
enum Unparsed {
    Clap(clap::Error),
    File(String),
}

impl Unparsed {
    fn sentence(self) -> String {
        match self {
            Unparsed::Clap(error) => error.to_string(),
            Unparsed::File(sentence) => sentence,
        }
    }
}

/// Reads a command line; a scenario file becomes the words that it stands for, before those that
/// follow it. Gives all of them, too, without the program's name.
fn parse(words: &[String]) -> Result<(Cli, Vec<String>), Unparsed> {
    let cli = Cli::try_parse_from(words).map_err(Unparsed::Clap)?;
    let Some(Command::Run { file, options }) = &cli.command else {
        return Ok((cli, words[1..].to_vec()));
    };
    let text = file::read(file).map_err(Unparsed::File)?;
    let mut all = vec![words[0].clone()];
    all.extend(file::words(file, &text, &Cli::command()).map_err(Unparsed::File)?);
    all.extend(options.iter().cloned());
    let cli = Cli::try_parse_from(&all).map_err(Unparsed::Clap)?;
    Ok((cli, all.split_off(1)))
}

/// The list of those that come with the load tester, or the text of one.
fn scenarios(name: Option<&str>) -> Result<String, String> {
    match name {
        Some(name) => file::read(name),
        None => Ok(file::BUILT_IN
            .iter()
            .map(|(name, text)| format!("{name:<12} {}\n", file::about(text)))
            .collect()),
    }
}

impl Command {
    fn common(&self) -> Option<&CommonArgs> {
        match self {
            Command::Idle(args) => Some(&args.common),
            Command::Flow(args) => Some(&args.common),
            Command::Storm(args) => Some(&args.common),
            Command::Churn(args) => Some(&args.common),
            Command::Dashboards(args) => Some(&args.common),
            _ => None,
        }
    }

    /// Runs it here, or leads those who do.
    fn run(&self, words: &[String], interrupt: &Arc<AtomicBool>) -> Result<Report, String> {
        let crew = self
            .common()
            .and_then(|common| common.crew.crew(words, run_id()));
        let place = crew.map_or(Place::Alone, Place::Leader);
        let report = self.run_at(place, interrupt)?;
        report.ok_or_else(|| "a worker has no report".into())
    }

    fn run_at(
        &self,
        place: Place<'_>,
        interrupt: &Arc<AtomicBool>,
    ) -> Result<Option<Report>, String> {
        let connections = match self {
            Command::Idle(args) => args.connections(),
            Command::Flow(args) => args.connections(),
            Command::Storm(args) => args.connections(),
            Command::Churn(args) => args.connections(),
            Command::Dashboards(args) => args.connections(),
            _ => 0,
        };
        let Some(args) = self.common() else {
            return Err("this is no kind of load".into());
        };
        args.crew.check()?;
        let run = match &place {
            Place::Alone => run_id(),
            Place::Leader(crew) => crew.run,
            Place::Worker(task, _) => task.run,
        };
        let common = args.resolve(connections, run)?;
        let demand = Demand {
            own: connections as u64,
            together: connections as u64,
            shards: args.shards() as u64,
            sources: common.sources.len() as u64,
        };
        if let Some(demand) = place.part_of(demand) {
            host::limits::prepare(demand)?;
        }
        let setup = Setup {
            shards: args.shards(),
            broker: args.watched(&place)?,
            interrupt: interrupt.clone(),
        };
        match self {
            Command::Idle(args) => place.run(args.scenario(common)?, &setup),
            Command::Flow(args) => place.run(args.scenario(common)?, &setup),
            Command::Storm(args) => place.run(args.scenario(common)?, &setup),
            Command::Churn(args) => place.run(args.scenario(common)?, &setup),
            Command::Dashboards(args) => place.run(args.scenario(common)?, &setup),
            _ => unreachable!("the others have no options in common"),
        }
    }
}

/// A flag that the first Ctrl-C or SIGTERM sets; the second ends the process.
fn interruptible() -> Result<Arc<AtomicBool>, String> {
    let flag = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        // In this order: what the flag was before decides.
        let status = 128 + signal;
        signal_hook::flag::register_conditional_shutdown(signal, status, flag.clone())
            .and_then(|_| signal_hook::flag::register(signal, flag.clone()))
            .map_err(|error| format!("signals cannot be handled: {error}"))?;
    }
    Ok(flag)
}

/// With `json` the table goes to standard error, so that standard output is one line.
fn print(report: &Report, json: bool) {
    // A reader that has gone is no reason to change the exit status.
    let _ = match json {
        true => {
            eprint!("{report}");
            writeln!(std::io::stdout(), "{}", report.to_json())
        }
        false => write!(std::io::stdout(), "{report}"),
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_of_options_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn errors_are_sentences() {
        let run = |words: &[&str]| {
            let words: Vec<&str> = ["loadtest"].iter().chain(words).copied().collect();
            run_words(&words, &Arc::default())
                .map(|report| report.to_json())
                .unwrap_err()
        };
        for (words, sentence) in [
            (
                &["flow", "--size", "9"][..],
                "a payload has at least 24 bytes",
            ),
            (
                &["flow", "--qos", "3"],
                "invalid value '3' for '--qos <QOS>'",
            ),
            (
                &["idle", "--broker", "nowhere"],
                "`nowhere` is not HOST:PORT",
            ),
            (
                &["idle", "--source", "127.0.0.x"],
                "`127.0.0.x` is not an IP address",
            ),
            (&["idle", "--workers", "0"], "--workers 0 leaves nobody"),
            (&["flow", "-s", "2", "-g", "3"], "each group needs one"),
            (
                &["flow", "--jitter", "2"],
                "a share from 0 to 1 is expected",
            ),
            (&["flow", "--cut-rate=-1"], "a number from 0 on is expected"),
            (
                &["storm", "--session-expiry", "70000000000"],
                "a whole number of at least 1",
            ),
        ] {
            let error = run(words);
            assert!(error.contains(sentence), "{error}");
        }
    }

    #[test]
    fn nothing_of_what_there_has_to_be_some_is_refused() {
        let counts = [
            "flow --publishers",
            "flow --topics",
            "flow --window",
            "flow --in-flight",
            "flow --tick-us",
            "flow --session-expiry",
            "idle --connections",
            "storm --clients",
            "storm --session-expiry",
            "churn --clients",
            "dashboards --dashboards",
            "dashboards --topics",
            "dashboards --areas",
            "idle --shards",
            "idle --parallel",
            "idle --sources",
            "doctor --connections",
            "doctor --sources",
        ];
        let times = [
            "flow --duration",
            "churn --duration",
            "idle --connect-timeout",
            "idle --deadline",
            "storm --deadline",
            "storm --retry",
        ];
        let expected = |sentence: &'static str| move |option| (option, sentence);
        let all = counts
            .into_iter()
            .map(expected("a whole number of at least 1"));
        for (option, sentence) in all.chain(times.map(expected("longer than 0 s"))) {
            let words = format!("loadtest {option} 0");
            let words: Vec<String> = words.split(' ').map(str::to_owned).collect();
            let Err(error) = parse(&words) else {
                panic!("{option} 0 is taken");
            };
            let (error, name) = (error.sentence(), option.split(' ').nth(1).unwrap());
            assert!(
                error.contains(sentence) && error.contains(name),
                "{option}: {error}"
            );
        }
    }
}
