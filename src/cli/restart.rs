//! `ringmq restart`: stop, then start the same again: the flags, the file, the environment and the
//! working directory that the running broker had, where other flags are not given.

use clap::Parser;

use super::args::{Cli, Command};
use super::stop::stop_and_wait;
use super::{Done, Failure, beforehand, daemon};
use crate::config::{Overrides, Sources};
use crate::control::{Client, DataDir, Process, Status, Unreachable};

pub fn restart(given: Overrides) -> Done {
    let sources = Sources::of_process(given.clone());
    let folder = DataDir::new(sources.data_dir());
    let mut client = match Client::connect(&folder) {
        Ok(client) => client,
        Err(Unreachable::NotRunning) => return daemon::start(&sources),
        Err(other) => return Err(other.into()),
    };
    let status = beforehand::status(&mut client)?;
    let untouched = |Failure(why)| Failure(format!("{why}\nnothing was stopped"));
    let sources = again(given, &status).map_err(untouched)?;
    stop_and_wait(&mut client, &folder)?;
    daemon::start(&sources)
}

/// What the same broker is started from, known to be able to start.
///
/// # Errors
/// What a start would refuse: that must not stop what runs.
fn again(given: Overrides, running: &Status) -> Result<Sources, Failure> {
    let process = &running.process;
    // What is given here is meant from here; the file's paths are meant from where the broker is.
    let given = given.absolute();
    if let Some(directory) = &process.directory {
        std::env::set_current_dir(directory)
            .map_err(|error| Failure(format!("{directory}, where it was started: {error}")))?;
    }
    let sources = Sources {
        overrides: merge(given, had(process)),
        // A broker of before did not tell its own.
        variables: match process.variables.is_empty() {
            true => Sources::of_process(Overrides::default()).variables,
            false => process.variables.clone(),
        },
    };
    let loaded = sources
        .load()
        .map_err(|errors| Failure(errors.to_string()))?;
    let found = beforehand::look(&loaded, &beforehand::host(), Some(running));
    let refusals = [found.refusals, found.taken].concat();
    match refusals.is_empty() {
        true => Ok(sources),
        false => Err(Failure(refusals.join("\n"))),
    }
}

/// The flags of the running process, read as they were read then, and its file.
fn had(process: &Process) -> Overrides {
    let line = ["ringmq", "run"].into_iter().map(String::from);
    let line = line.chain(process.arguments.iter().cloned());
    let flags = match Cli::try_parse_from(line) {
        Ok(Cli {
            command: Command::Run(args),
        }) => args.node.overrides(),
        _ => Overrides::default(),
    };
    let config = flags.config.clone();
    Overrides {
        config: config.or_else(|| process.config_file.as_ref().map(Into::into)),
        ..flags
    }
}

fn merge(given: Overrides, had: Overrides) -> Overrides {
    Overrides {
        config: given.config.or(had.config),
        data: given.data.or(had.data),
        listen: if given.listen.is_empty() {
            had.listen
        } else {
            given.listen
        },
        shards: given.shards.or(had.shards),
        cpus: given.cpus.or(had.cpus),
        auth_threads: given.auth_threads.or(had.auth_threads),
        log: given.log.or(had.log),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_given_win_and_the_others_stay() {
        let running = Overrides {
            data: Some("/data".into()),
            listen: vec!["tcp://:1".into(), "tcp://:2".into()],
            shards: Some("2".into()),
            auth_threads: Some("8".into()),
            ..Overrides::default()
        };
        let again = had(&Process {
            arguments: running.arguments(),
            config_file: Some("/etc/found.toml".into()),
            ..Process::default()
        });
        let given = Overrides {
            shards: Some("4".into()),
            ..Overrides::default()
        };
        let merged = merge(given, again);
        assert_eq!(merged.shards.as_deref(), Some("4"));
        assert_eq!(merged.auth_threads, running.auth_threads);
        assert_eq!(merged.listen, running.listen);
        assert_eq!(merged.data, running.data);
        assert_eq!(merged.config, Some("/etc/found.toml".into()));
    }
}
