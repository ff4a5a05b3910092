//! The man page: commands and flags from the table that parses them, variables from the table of
//! keys.

use std::io::{self, Write};

use clap::CommandFactory;
use clap_mangen::Man;

use super::args::Cli;
use crate::config::keys::KEYS;

pub fn write(out: &mut dyn Write) -> io::Result<()> {
    let mut command = Cli::command();
    command.build();
    let man = Man::new(command.clone());
    man.render_title(out)?;
    man.render_name_section(out)?;
    man.render_synopsis_section(out)?;
    man.render_description_section(out)?;
    for subcommand in command
        .get_subcommands()
        .filter(|command| !command.is_hide_set())
    {
        let name = subcommand.get_name();
        writeln!(out, ".SH \"RINGMQ {}\"", name.to_uppercase())?;
        if let Some(about) = subcommand.get_about() {
            writeln!(out, "{}", escape(&about.to_string()))?;
        }
        options(out, subcommand)?;
        for inner in subcommand.get_subcommands() {
            writeln!(out, ".SS \"ringmq {name} {}\"", inner.get_name())?;
            if let Some(about) = inner.get_about() {
                writeln!(out, "{}", escape(&about.to_string()))?;
            }
            options(out, inner)?;
        }
    }
    files(out)?;
    variables(out)
}

fn options(out: &mut dyn Write, command: &clap::Command) -> io::Result<()> {
    let shown = |arg: &&clap::Arg| !arg.is_hide_set() && arg.get_id() != "help";
    for arg in command.get_arguments().filter(shown) {
        let value = arg
            .get_value_names()
            .map_or(String::new(), |names| names.join(" "));
        let takes = arg.get_action().takes_values();
        let value = if takes { escape(&value) } else { String::new() };
        match arg.get_long() {
            Some(long) => writeln!(out, ".TP\n\\fB\\-\\-{}\\fR \\fI{value}\\fR", escape(long))?,
            None => writeln!(out, ".TP\n\\fI{value}\\fR")?,
        }
        let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
        writeln!(out, "{}", escape(&help))?;
    }
    Ok(())
}

fn files(out: &mut dyn Write) -> io::Result<()> {
    let files = [
        (
            "etc/ringmq.toml, /etc/ringmq/ringmq.toml",
            "Configuration, the first that is there.",
        ),
        (
            "control.sock, ringmq.pid, ringmq.log",
            "In the data folder: the control socket, the \
         running process, the log of a daemon.",
        ),
    ];
    writeln!(out, ".SH FILES")?;
    for (path, words) in files {
        writeln!(out, ".TP\n\\fI{}\\fR\n{}", escape(path), escape(words))?;
    }
    Ok(())
}

fn variables(out: &mut dyn Write) -> io::Result<()> {
    writeln!(
        out,
        ".SH ENVIRONMENT\nEach overrides a key of the configuration."
    )?;
    for key in KEYS {
        let (name, doc) = (escape(&key.variable()), escape(key.doc));
        let default = escape(&key.default_text());
        writeln!(out, ".TP\n\\fB{name}\\fR ({})\n{doc}", or_empty(&default))?;
    }
    Ok(())
}

fn or_empty(text: &str) -> &str {
    if text.is_empty() { "empty" } else { text }
}

/// Text as roff reads it: its escape character, hyphens that are minus signs, and a line that
/// begins like a request.
fn escape(text: &str) -> String {
    let plain = text.replace('\\', "\\e").replace('-', "\\-");
    match plain.chars().next() {
        Some('.' | '\'') => format!("\\&{plain}"),
        _ => plain,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_has_every_command_flag_and_variable() {
        let mut page = Vec::new();
        write(&mut page).unwrap();
        let page = String::from_utf8(page).unwrap();
        for part in [
            "RINGMQ RUN",
            "RINGMQ COMPLETIONS",
            "\\-\\-listen",
            "ringmq ctl reload",
        ] {
            assert!(page.contains(part), "{part}");
        }
        for key in KEYS {
            assert!(page.contains(&key.variable()), "{}", key.path());
        }
        assert!(!page.contains("\\-\\-daemon"));
    }
}
