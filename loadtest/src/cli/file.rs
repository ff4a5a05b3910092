//! Scenarios as files: the options of a kind of load as keys.
//!
//! A file becomes the words of a command line, so that both say exactly the same and have the
//! same errors.

use clap::{ArgAction, Command};
use std::path::Path;
use toml::de::{DeTable, DeValue};

/// Those that come with the load tester.
pub const BUILT_IN: [(&str, &str); 11] = [
    ("idle", include_str!("../../scenarios/idle.toml")),
    ("pairs", include_str!("../../scenarios/pairs.toml")),
    ("fan-in", include_str!("../../scenarios/fan-in.toml")),
    ("fan-out", include_str!("../../scenarios/fan-out.toml")),
    ("shared", include_str!("../../scenarios/shared.toml")),
    ("telemetry", include_str!("../../scenarios/telemetry.toml")),
    ("command", include_str!("../../scenarios/command.toml")),
    (
        "dashboards",
        include_str!("../../scenarios/dashboards.toml"),
    ),
    ("storm", include_str!("../../scenarios/storm.toml")),
    ("churn", include_str!("../../scenarios/churn.toml")),
    ("soak", include_str!("../../scenarios/soak.toml")),
];

/// The text of a scenario: a file, or one that is built in.
///
/// # Errors
/// A sentence: it is neither.
pub fn read(name: &str) -> Result<String, String> {
    let built_in = || BUILT_IN.iter().find(|(known, _)| *known == name);
    match std::fs::read_to_string(name) {
        Ok(text) => Ok(text),
        Err(_) if !Path::new(name).exists() && built_in().is_some() => Ok(built_in()
            .map(|(_, text)| (*text).to_owned())
            .unwrap_or_default()),
        Err(error) => Err(format!(
            "{name}: {error}, and no scenario that comes with the load tester is called that: \
             there are {}",
            BUILT_IN.map(|(known, _)| known).join(", ")
        )),
    }
}

/// The first sentence of a scenario's `about`.
pub fn about(text: &str) -> String {
    let table = DeTable::parse(text).ok();
    let about = table
        .as_ref()
        .and_then(|table| table.get_ref().get("about"));
    match about.map(toml::Spanned::get_ref) {
        Some(DeValue::String(about)) => about.lines().next().unwrap_or("").to_owned(),
        _ => String::new(),
    }
}

/// The words that a scenario's text stands for, the kind of load first. `path` is for errors;
/// `commands` has the kinds as subcommands.
///
/// # Errors
/// A sentence that names the line: syntax, an unknown kind or key, a value that is not understood.
pub fn words(path: &str, text: &str, commands: &Command) -> Result<Vec<String>, String> {
    let place = |at: usize| {
        let line = text[..at.min(text.len())].matches('\n').count() + 1;
        format!("{path}:{line}")
    };
    let table = DeTable::parse(text).map_err(|error| {
        let at = error.span().map_or(0, |span| span.start);
        format!("{}: {}", place(at), error.message().replace('\n', " "))
    })?;
    let Some(kind) = table.get_ref().get("scenario") else {
        return Err(format!(
            "{path}:1: `scenario` is missing, the kind of load: {KINDS}"
        ));
    };
    let command = match kind.get_ref() {
        DeValue::String(name) if KINDS.split(", ").any(|known| known == &**name) => {
            commands.find_subcommand(&**name)
        }
        _ => None,
    };
    let Some(command) = command else {
        let at = place(kind.span().start);
        return Err(format!("{at}: `scenario` is one of {KINDS}"));
    };
    let mut words = vec![command.get_name().to_owned()];
    for (key, value) in table.get_ref() {
        let (name, at) = (key.get_ref().replace('_', "-"), place(key.span().start));
        if name == "scenario" || name == "about" {
            continue;
        }
        let argument = command
            .get_arguments()
            .find(|a| a.get_long() == Some(&name));
        let Some(argument) = argument else {
            return Err(unknown(&at, &name, command));
        };
        let is_switch = matches!(argument.get_action(), ArgAction::SetTrue);
        let own = match (value.get_ref(), is_switch) {
            (DeValue::Boolean(true), true) => vec![format!("--{name}")],
            (DeValue::Boolean(false), true) => vec![],
            (_, true) => return Err(format!("{at}: `{name}` is true or false")),
            (value, false) => {
                let text = scalar(value).ok_or_else(|| {
                    format!("{at}: `{name}` is a number, a text, or a list of them")
                })?;
                vec![format!("--{name}={text}")]
            }
        };
        check(command, &own).map_err(|error| format!("{at}: {error}"))?;
        words.extend(own);
    }
    Ok(words)
}

const KINDS: &str = "idle, flow, storm, churn, dashboards";

/// The value as it stands on a command line.
fn scalar(value: &DeValue<'_>) -> Option<String> {
    match value {
        DeValue::String(text) => Some(text.clone().into_owned()),
        DeValue::Integer(number) => {
            let number = i64::from_str_radix(number.as_str(), number.radix()).ok()?;
            Some(number.to_string())
        }
        DeValue::Float(number) => Some(number.as_str().to_owned()),
        DeValue::Array(items) => {
            let items: Option<Vec<_>> = items.iter().map(|item| scalar(item.get_ref())).collect();
            Some(items?.join(","))
        }
        _ => None,
    }
}

/// Whether the command takes these words, whatever else it needs.
fn check(command: &Command, words: &[String]) -> Result<(), String> {
    let words = std::iter::once(command.get_name().to_owned()).chain(words.iter().cloned());
    match command.clone().try_get_matches_from(words) {
        Ok(_) => Ok(()),
        Err(error) => {
            let text = error.to_string();
            let line = text.lines().next().unwrap_or_default();
            Err(line.trim_start_matches("error: ").to_owned())
        }
    }
}

fn unknown(at: &str, name: &str, command: &Command) -> String {
    let names = command.get_arguments().filter_map(clap::Arg::get_long);
    let mut names: Vec<_> = names.filter(|known| *known != "help").collect();
    let shared = |known: &str| {
        let (known, name) = (known.as_bytes(), name.as_bytes());
        let ahead = known.iter().zip(name).take_while(|(a, b)| a == b).count();
        let behind = known.iter().rev().zip(name.iter().rev());
        ahead + behind.take_while(|(a, b)| a == b).count()
    };
    names.sort_by_key(|known| std::cmp::Reverse(shared(known)));
    let nearest = names.first().copied().unwrap_or_default();
    format!(
        "{at}: `{}` has no key `{name}`; the nearest is `{nearest}`",
        command.get_name()
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    fn read_words(text: &str) -> Result<String, String> {
        let commands = super::super::Cli::command();
        words("a.toml", text, &commands).map(|words| words.join(" "))
    }

    #[test]
    fn a_file_is_a_command_line() {
        let text = "scenario = \"flow\"\nabout = \"x\"\npublishers = 0x10\nrate = 40\n\
                    jitter = 0.5\nwildcard = true\nreply = false\npid = [1, 2]\nmqtt = \"5\"\n";
        let expected = "flow --jitter=0.5 --mqtt=5 --pid=1,2 --publishers=16 --rate=40 --wildcard";
        assert_eq!(read_words(text).unwrap(), expected);
    }

    #[test]
    fn errors_name_the_line() {
        for (text, error) in [
            ("rate = ", "a.toml:1: "),
            ("rate = 1", "a.toml:1: `scenario` is missing"),
            (
                "\nscenario = \"floe\"",
                "a.toml:2: `scenario` is one of idle, flow",
            ),
            (
                "scenario = \"run\"",
                "a.toml:1: `scenario` is one of idle, flow",
            ),
            (
                "scenario = \"flow\"\npublisher = 3",
                "a.toml:2: `flow` has no key `publisher`; the nearest is `publishers`",
            ),
            (
                "scenario = \"flow\"\n\nqos = 3",
                "a.toml:3: invalid value '3' for '--qos <QOS>': 0, 1 or 2 is expected",
            ),
            (
                "scenario = \"flow\"\nwildcard = 1",
                "a.toml:2: `wildcard` is true or false",
            ),
            (
                "scenario = \"flow\"\nrate = { a = 1 }",
                "a.toml:2: `rate` is a number, a text, or a list of them",
            ),
        ] {
            let found = read_words(text).unwrap_err();
            assert!(found.starts_with(error), "{found}");
        }
    }

    #[test]
    fn those_that_come_along_are_understood() {
        let commands = super::super::Cli::command();
        for (name, text) in BUILT_IN {
            words(name, text, &commands).unwrap();
            assert!(!about(text).is_empty(), "{name}");
            assert_eq!(read(name).unwrap(), text);
        }
        let error = read("nothing").unwrap_err();
        assert!(error.contains("there are idle, pairs, fan-in"), "{error}");
    }
}
