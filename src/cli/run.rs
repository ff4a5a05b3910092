//! `ringmq run`: the broker in this process, from the configuration to the last connection.

use std::fs::File;
use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::Arc;

use super::args::RunArgs;
use super::{Done, Failure, StartNode, say, signals};
use crate::config::cpus::{self, Placement};
use crate::config::{Host, Loaded, Overrides, Sources, raise_limits};
use crate::control::{self, DataDir, Node, Supervisor};
use crate::logging;

/// Line that tells `start` that connections are accepted; listeners come before it.
pub const READY: &str = "ready";

pub fn run(args: RunArgs, start: StartNode) -> Done {
    if args.daemon {
        // Refused only to a leader of a process group, which a child of `start` is not.
        let _ = rustix::process::setsid();
    }
    run_node(args.node.overrides(), args.daemon, start)
}

/// Runs until somebody asks for the end.
fn run_node(overrides: Overrides, is_daemon: bool, start: StartNode) -> Done {
    let sources = Sources::of_process(overrides);
    let loaded = sources
        .load()
        .map_err(|errors| Failure(errors.to_string()))?;
    let settings = &loaded.settings;
    logging::init(settings.node.log_level.filter());

    let place =
        cpus::place(&settings.node).map_err(|reason| Failure(format!("node.cpus: {reason}")))?;

    let folder = DataDir::new(&settings.node.data_dir);
    folder.create()?;
    let mut folder_lock = folder.lock()?;
    let host = Host::probe(raise_limits());
    report(&loaded, &host, &place);

    let signals = signals::catch()?;
    let mut resolved = host.resolve(settings);
    resolved.auth.plugins_dir = loaded.plugins_dir();
    let node = start(resolved).map_err(|error| Failure(could_not_start(&error)))?;
    let supervisor = Arc::new(Supervisor::new(node.clone(), loaded, sources, host));
    let socket = control::bind(&folder, &folder_lock)?;
    let answering = supervisor.clone();
    let desk = control::serve(socket, move |request| answering.answer(request))?;
    signals::serve(signals, supervisor.clone())?;

    announce(node.as_ref(), is_daemon)?;
    let stopped = supervisor.run();
    desk.finish();
    // The file only points at us: a client that finds none need not even try.
    let _ = std::fs::remove_file(folder.socket());
    if stopped.is_complete {
        tracing::info!("stopped");
        return Ok(ExitCode::SUCCESS);
    }
    tracing::warn!(
        "stopped at the deadline, with {} connections still open",
        stopped.connections_left
    );
    folder_lock.leave_word(stopped.connections_left);
    Ok(ExitCode::FAILURE)
}

fn could_not_start(error: &io::Error) -> String {
    format!("ringmq could not start: {error}")
}

/// What this start is made of, for whoever reads the log later.
fn report(loaded: &Loaded, host: &Host, place: &Placement) {
    let node = &loaded.settings.node;
    tracing::info!("ringmq {}, node {}", env!("CARGO_PKG_VERSION"), node.name);
    tracing::info!("configuration: {}", loaded.source);
    tracing::info!("data folder: {}", node.data_dir.display());
    tracing::info!("{place}");
    for sentence in host.sentences(&loaded.settings) {
        if sentence.is_warning {
            tracing::warn!("{}", sentence.text);
        } else {
            tracing::info!("{}", sentence.text);
        }
    }
    if let Some(warning) = loaded.unread_rules() {
        tracing::warn!("{warning}");
    }
}

/// Says where connections are accepted: on standard output, or through the pipe of `start`.
fn announce(node: &dyn Node, is_daemon: bool) -> io::Result<()> {
    let listeners = node.status().map_err(io::Error::other)?.listeners;
    let lines = listeners.iter().flat_map(|listener| {
        let certificates = listener.certificates.iter();
        let prints = certificates
            .filter(|certificate| certificate.is_own)
            .map(|certificate| {
                format!(
                    "  self-made certificate, SHA-256 {}",
                    certificate.fingerprint
                )
            });
        std::iter::once(format!("listening on {}", listener.url)).chain(prints.collect::<Vec<_>>())
    });
    if !is_daemon {
        lines.for_each(|line| say(&line));
        return Ok(());
    }
    let text: String = lines
        .chain([READY.into()])
        .map(|line| line + "\n")
        .collect();
    let mut pipe = File::from(rustix::io::dup(io::stdin())?);
    // `start` may have been interrupted; the broker runs all the same.
    let _ = pipe.write_all(text.as_bytes());
    rustix::stdio::dup2_stdin(File::open("/dev/null")?)?;
    Ok(())
}
