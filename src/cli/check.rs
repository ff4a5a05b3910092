//! `ringmq check`: everything that a start would refuse, as far as it can be known without a start,
//! and what a start would say of the host.
//!
//! An address that somebody else listens at now is said too, and is no mistake: it may be free
//! when the broker is started.

use std::process::ExitCode;

use super::args::CheckArgs;
use super::{Done, Failure, beforehand, say};
use crate::config::{Overrides, Settings, Sources, changes, cpus};
use crate::control::{Client, DataDir};

pub fn check(args: CheckArgs) -> Done {
    let overrides = Overrides {
        config: args.file,
        ..Overrides::default()
    };
    let loaded = Sources::of_process(overrides)
        .load()
        .map_err(|errors| Failure(errors.to_string()))?;
    let settings = &loaded.settings;
    let host = beforehand::host();
    // Whoever runs on this data folder is who would be stopped before the start.
    let running = Client::connect(&DataDir::new(&settings.node.data_dir)).ok();
    let running = running.and_then(|mut client| beforehand::status(&mut client).ok());
    let found = beforehand::look(&loaded, &host, running.as_ref());
    if !found.refusals.is_empty() {
        return Err(Failure(found.refusals.join("\n")));
    }
    say(&format!("{}: no mistakes", loaded.source));
    say(&format!(
        "data folder: {}",
        settings.node.data_dir.display()
    ));
    say(&cpus::place(&settings.node)?.to_string());
    for sentence in host.sentences(settings) {
        let mark = if sentence.is_warning { "warning: " } else { "" };
        say(&format!("{mark}{}", sentence.text));
    }
    if let Some(warning) = loaded.unread_rules() {
        say(&format!("warning: {warning}"));
    }
    for taken in found.taken {
        say(&format!("warning: a start now would fail: {taken}"));
    }
    let mut defaults = Settings::default();
    defaults.node.data_dir.clone_from(&settings.node.data_dir);
    for change in changes(&defaults, settings) {
        say(&format!(
            "{} = {} (default {})",
            change.path, change.new, change.old
        ));
    }
    Ok(ExitCode::SUCCESS)
}
