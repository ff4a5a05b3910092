//! `ringmq ctl plugins`, with emqttd's words and lines.

use std::process::ExitCode;

use super::args::{PluginArgs, PluginsCommand};
use super::{Done, Failure, ask, connect, say, unexpected};
use crate::control::{Plugin, Reply, Request};

pub fn plugins(command: PluginsCommand) -> Done {
    match command {
        PluginsCommand::List(find) => {
            let mut control = connect(&find.folder())?;
            let Reply::Plugins(plugins) = ask(&mut control, &Request::Plugins)? else {
                return Err(unexpected());
            };
            plugins.iter().for_each(|plugin| say(&line(plugin)));
            Ok(ExitCode::SUCCESS)
        }
        PluginsCommand::Load(args) => load(args),
        PluginsCommand::Unload(args) => unload(args),
    }
}

fn load(PluginArgs { name, find }: PluginArgs) -> Done {
    let mut control = connect(&find.folder())?;
    let request = Request::LoadPlugin { name: name.clone() };
    match control.request(&request)? {
        Reply::PluginLoaded(warnings) => {
            say(&format!("Start apps: [{}]", atom(&name)));
            say(&format!("Plugin {name} loaded successfully."));
            for warning in warnings {
                say(&format!("warning: {warning}"));
            }
            Ok(ExitCode::SUCCESS)
        }
        Reply::Error(reason) => Err(Failure(format!("load plugin error: {reason}"))),
        _ => Err(unexpected()),
    }
}

fn unload(PluginArgs { name, find }: PluginArgs) -> Done {
    let mut control = connect(&find.folder())?;
    let request = Request::UnloadPlugin { name: name.clone() };
    match control.request(&request)? {
        Reply::PluginUnloaded => {
            say(&format!("Plugin {name} unloaded successfully."));
            Ok(ExitCode::SUCCESS)
        }
        Reply::Error(reason) => Err(Failure(format!("unload plugin error: {reason}"))),
        _ => Err(unexpected()),
    }
}

/// In emqttd's form.
fn line(plugin: &Plugin) -> String {
    let Plugin {
        name,
        description,
        is_loaded,
        detail,
    } = plugin;
    let detail = detail
        .as_ref()
        .map_or(String::new(), |detail| format!(", {detail}"));
    let version = env!("CARGO_PKG_VERSION");
    format!(
        "Plugin({name}, version={version}, description={description}, active={is_loaded}{detail})"
    )
}

/// A name as Erlang writes it in a list: in quotes where it is no plain word.
fn atom(name: &str) -> String {
    match name.contains('-') {
        true => format!("'{name}'"),
        false => name.into(),
    }
}
