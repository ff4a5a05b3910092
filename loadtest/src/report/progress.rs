//! How things are, while they go on: one line that is written over on a terminal, a line a second
//! elsewhere. It goes to standard error, so that standard output holds the result alone.

use std::io::{IsTerminal, Write};

#[derive(Debug)]
pub struct Progress {
    is_terminal: bool,
    is_shown: bool,
}

impl Progress {
    pub fn new() -> Progress {
        Progress {
            is_terminal: std::io::stderr().is_terminal(),
            is_shown: false,
        }
    }

    pub fn show(&mut self, line: &str) {
        let mut out = std::io::stderr().lock();
        // Nobody to tell is no reason to stop.
        let _ = match self.is_terminal {
            true => write!(out, "\r\x1b[2K{line}").and_then(|()| out.flush()),
            false => writeln!(out, "{line}"),
        };
        self.is_shown = true;
    }

    /// Takes the line away that is written over.
    pub fn clear(&mut self) {
        if self.is_terminal && self.is_shown {
            let mut out = std::io::stderr().lock();
            let _ = write!(out, "\r\x1b[2K").and_then(|()| out.flush());
        }
        self.is_shown = false;
    }
}

impl Default for Progress {
    fn default() -> Progress {
        Progress::new()
    }
}
