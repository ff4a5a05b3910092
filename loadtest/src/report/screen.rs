//! How things are, while they go on: a few lines that are written over on a terminal, a line a
//! second elsewhere. They go to standard error, so that standard output holds the result alone.

use super::text;
use super::timeline::Row;
use std::collections::VecDeque;
use std::io::{IsTerminal, Write};

/// Seconds that the little chart shows.
const SPARKS: usize = 48;
/// Columns of the progress bar.
const BAR: usize = 32;

#[derive(Debug)]
pub struct Screen {
    is_terminal: bool,
    /// Lines that the next ones are written over.
    shown: usize,
    delivered: VecDeque<f64>,
}

impl Screen {
    pub fn new() -> Screen {
        Screen {
            is_terminal: std::io::stderr().is_terminal(),
            shown: 0,
            delivered: VecDeque::new(),
        }
    }

    /// `line`: the scenario's own words. `done`: how far it is, from 0 to 1.
    pub fn show(&mut self, line: &str, done: Option<f64>, row: &Row) {
        if self.delivered.len() == SPARKS {
            self.delivered.pop_front();
        }
        self.delivered.push_back(row.delivered_per_s);
        let mut out = std::io::stderr().lock();
        // Nobody to tell is no reason to stop.
        if !self.is_terminal {
            let _ = writeln!(out, "{line}");
            return;
        }
        let lines = self.lines(line, done, row);
        let mut text = String::new();
        if self.shown > 0 {
            text += &format!("\x1b[{}A", self.shown);
        }
        for line in &lines {
            text += &format!("\r\x1b[2K{line}\n");
        }
        self.shown = lines.len();
        let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    }

    /// Takes the lines away that are written over.
    pub fn clear(&mut self) {
        if self.is_terminal && self.shown > 0 {
            let mut out = std::io::stderr().lock();
            let _ = write!(out, "\x1b[{}A\x1b[J", self.shown).and_then(|()| out.flush());
        }
        self.shown = 0;
    }

    fn lines(&self, line: &str, done: Option<f64>, row: &Row) -> Vec<String> {
        let mut lines = vec![];
        let bar = done.map_or(String::new(), bar);
        lines.push(format!("{bar}{line}"));
        lines.push(format!(
            "  connections {}   sent {}/s   delivered {}/s",
            count(row.connections),
            count(row.sent_per_s),
            count(row.delivered_per_s),
        ));
        let [p50, _, p99, _, max] = row.latency_us.map(|us| text::time((us * 1e3) as u64));
        lines.push(format!(
            "  latency now {p50} half, {p99} 99 %, {max} longest"
        ));
        if let Some(bytes) = row.broker_bytes {
            lines.push(format!(
                "  broker {:.0} % of a core, {}   load tester {:.0} %",
                row.broker_cores.unwrap_or(0.0) * 100.0,
                text::bytes(bytes as i64),
                row.own_cores * 100.0,
            ));
        }
        lines.push(format!("  {}", sparks(&self.delivered)));
        lines
    }
}

impl Default for Screen {
    fn default() -> Screen {
        Screen::new()
    }
}

fn count(number: f64) -> String {
    text::count(number.round().max(0.0) as u64)
}

/// `[#####-----]  50 %  `
fn bar(done: f64) -> String {
    let done = done.clamp(0.0, 1.0);
    let full = (done * BAR as f64).round() as usize;
    let (full, rest) = ("█".repeat(full), "░".repeat(BAR - full));
    format!("{full}{rest} {:>3.0} %  ", done * 100.0)
}

/// The heights of the last seconds.
fn sparks(values: &VecDeque<f64>) -> String {
    const HEIGHTS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let most = values.iter().copied().fold(0.0, f64::max);
    let height = |value: &f64| match most > 0.0 {
        true => HEIGHTS[((value / most * 7.0).round() as usize).min(7)],
        false => HEIGHTS[0],
    };
    values.iter().map(height).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_and_sparks() {
        assert_eq!(
            bar(0.5),
            format!("{}{}  50 %  ", "█".repeat(16), "░".repeat(16))
        );
        assert_eq!(bar(7.0), format!("{} 100 %  ", "█".repeat(32)));
        assert_eq!(sparks(&VecDeque::from([0.0, 5.0, 10.0])), "▁▅█");
        assert_eq!(sparks(&VecDeque::from([0.0])), "▁");
    }

    #[test]
    fn the_broker_has_a_line_if_it_is_known() {
        let mut row = Row {
            latency_us: [100.0, 200.0, 2000.0, 3000.0, 4000.0],
            ..Row::default()
        };
        let screen = Screen::new();
        let lines = screen.lines("going", None, &row);
        assert_eq!(lines[0], "going");
        assert_eq!(
            lines[2],
            "  latency now 100 µs half, 2.00 ms 99 %, 4.00 ms longest"
        );
        assert_eq!(lines.len(), 4);
        row.broker_bytes = Some(1_048_576.0);
        row.broker_cores = Some(0.25);
        let lines = screen.lines("going", Some(0.0), &row);
        assert_eq!(
            lines[3],
            "  broker 25 % of a core, 1.00 MiB   load tester 0 %"
        );
    }
}
