//! `ringmq check`: everything that a start would refuse, without a start.

use std::process::ExitCode;

use super::args::CheckArgs;
use super::{Done, Failure, say};
use crate::config::{Overrides, Settings, Sources, changes, cpus};
use crate::runtime::Written;

pub fn check(args: CheckArgs) -> Done {
    let overrides = Overrides {
        config: args.file,
        ..Overrides::default()
    };
    let loaded = Sources::of_process(overrides)
        .load()
        .map_err(|errors| Failure(errors.to_string()))?;
    let settings = &loaded.settings;
    let place = cpus::place(&settings.node)
        .map_err(|reason| Failure(format!("{}: node.cpus: {reason}", loaded.source)))?;
    Written::read(settings)?;
    say(&format!("{}: no mistakes", loaded.source));
    say(&format!(
        "data folder: {}",
        settings.node.data_dir.display()
    ));
    say(&place.to_string());
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
