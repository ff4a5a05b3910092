//! `ringmq restart`: stop, then start, with the flags that the running broker had.

use clap::Parser;

use super::args::{Cli, Command};
use super::stop::stop_and_wait;
use super::{Done, Failure, ask, daemon, unexpected};
use crate::config::{Overrides, Sources};
use crate::control::{Client, DataDir, Reply, Request, Unreachable};

pub fn restart(given: Overrides) -> Done {
    let sources = Sources::of_process(given.clone());
    let folder = DataDir::new(sources.data_dir());
    let mut client = match Client::connect(&folder) {
        Ok(client) => client,
        Err(Unreachable::NotRunning) => return daemon::start(&given),
        Err(other) => return Err(other.into()),
    };
    let Reply::Status(status) = ask(&mut client, &Request::Status)? else {
        return Err(unexpected());
    };
    let arguments = status.process.arguments;
    let merged = merge(given, had(&arguments));
    // A configuration that would not start again must not stop what runs.
    let sources = Sources::of_process(merged.clone());
    sources
        .load()
        .map_err(|errors| Failure(format!("{errors}\nnothing was stopped")))?;
    stop_and_wait(&mut client, &folder)?;
    daemon::start(&merged)
}

/// The flags of the running process, read as they were read then.
fn had(arguments: &[String]) -> Overrides {
    let line = ["ringmq", "run"]
        .into_iter()
        .map(String::from)
        .chain(arguments.iter().cloned());
    match Cli::try_parse_from(line) {
        Ok(Cli {
            command: Command::Run(args),
        }) => args.node.overrides(),
        _ => Overrides::default(),
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
            ..Overrides::default()
        };
        let again = had(&running.arguments());
        let given = Overrides {
            shards: Some("4".into()),
            ..Overrides::default()
        };
        let merged = merge(given, again);
        assert_eq!(merged.shards.as_deref(), Some("4"));
        assert_eq!(merged.listen, running.listen);
        assert_eq!(merged.data, running.data);
    }
}
