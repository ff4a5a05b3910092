//! How things are, while they go on: a few lines that are written over on a terminal, a line a
//! second elsewhere. They go to standard error, so that standard output holds the result alone.

use super::text;
use super::timeline::Row;
use std::collections::VecDeque;
use std::io::{IsTerminal, Write};

/// Seconds that the little chart shows at most.
const SPARKS: usize = 48;
/// Columns of the progress bar at most.
const BAR: usize = 32;
/// Of a terminal that does not say how wide it is, and the least that is filled.
const COLUMNS: usize = 80;
const COLUMNS_MIN: usize = 20;

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
        let lines = self.lines(line, done, row, columns());
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

    /// Lines that fit in so many columns: one that is wider would become two, and then what is
    /// written over were not what was written.
    fn lines(&self, line: &str, done: Option<f64>, row: &Row, columns: usize) -> Vec<String> {
        let width = columns.max(COLUMNS_MIN) - 1;
        let mut lines = vec![];
        if let Some(done) = done {
            lines.push(bar(done, width));
        }
        fold(line.split("  "), width, &mut lines);
        let rates = [
            format!("connections {}", count(row.connections)),
            format!("sent {}/s", count(row.sent_per_s)),
            format!("delivered {}/s", count(row.delivered_per_s)),
        ];
        fold(rates.iter().map(String::as_str), width, &mut lines);
        let [p50, _, p99, _, max] = row.latency_us.map(|us| text::time((us * 1e3) as u64));
        let latency = format!("latency now {p50} half, {p99} 99 %, {max} longest");
        fold([latency.as_str()].into_iter(), width, &mut lines);
        if let Some(bytes) = row.broker_bytes {
            let usage = [
                format!(
                    "broker {:.0} % of a core, {}",
                    row.broker_cores.unwrap_or(0.0) * 100.0,
                    text::bytes(bytes as i64),
                ),
                format!("load tester {:.0} %", row.own_cores * 100.0),
            ];
            fold(usage.iter().map(String::as_str), width, &mut lines);
        }
        let sparks = sparks(&self.delivered);
        let surplus = (sparks.chars().count() + 2).saturating_sub(width);
        lines.push(format!(
            "  {}",
            sparks.chars().skip(surplus).collect::<String>()
        ));
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

/// Columns of the terminal.
fn columns() -> usize {
    match rustix::termios::tcgetwinsize(std::io::stderr()) {
        Ok(size) if size.ws_col > 0 => size.ws_col.into(),
        _ => COLUMNS,
    }
}

/// Puts parts side by side, three columns apart, as far as they fit, and goes on in the next line.
/// A part that is wider than a line is divided.
fn fold<'a>(parts: impl Iterator<Item = &'a str>, width: usize, lines: &mut Vec<String>) {
    let mut line = String::new();
    for part in parts.map(str::trim).filter(|part| !part.is_empty()) {
        let length = part.chars().count();
        if !line.is_empty() && line.chars().count() + 3 + length > width {
            lines.push(std::mem::take(&mut line));
        }
        line += if line.is_empty() { "  " } else { "   " };
        for letter in part.chars() {
            if line.chars().count() == width {
                lines.push(std::mem::replace(&mut line, "    ".into()));
            }
            line.push(letter);
        }
    }
    if !line.is_empty() {
        lines.push(line);
    }
}

/// `#####-----  50 %`
fn bar(done: f64, width: usize) -> String {
    let done = done.clamp(0.0, 1.0);
    let columns = BAR.min(width - 8);
    let full = (done * columns as f64).round() as usize;
    let (full, rest) = ("█".repeat(full), "░".repeat(columns - full));
    format!("  {full}{rest} {:>3.0} %", done * 100.0)
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
        let half = format!("  {}{}  50 %", "█".repeat(16), "░".repeat(16));
        assert_eq!(bar(0.5, 79), half);
        assert_eq!(bar(7.0, 79), format!("  {} 100 %", "█".repeat(32)));
        assert_eq!(bar(1.0, 19), format!("  {} 100 %", "█".repeat(11)));
        assert_eq!(sparks(&VecDeque::from([0.0, 5.0, 10.0])), "▁▅█");
        assert_eq!(sparks(&VecDeque::from([0.0])), "▁");
    }

    fn row() -> Row {
        Row {
            connections: 1_000_000.0,
            sent_per_s: 1_234_567.0,
            delivered_per_s: 12_345_678.0,
            latency_us: [123.4, 200.0, 2_000.0, 3_000.0, 60_000_000.0],
            broker_bytes: Some(1.2e9),
            broker_cores: Some(12.25),
            own_cores: 11.0,
            ..Row::default()
        }
    }

    #[test]
    fn the_broker_has_a_line_if_it_is_known() {
        let screen = Screen::new();
        let mut row = row();
        let lines = screen.lines("going", None, &row, 80);
        assert_eq!(lines[0], "  going");
        assert_eq!(
            lines[2],
            "  latency now 123 µs half, 2.00 ms 99 %, 60.0 s longest"
        );
        assert_eq!(
            lines[3],
            "  broker 1225 % of a core, 1.12 GiB   load tester 1100 %"
        );
        assert_eq!(lines.len(), 5);
        row.broker_bytes = None;
        assert_eq!(screen.lines("going", None, &row, 80).len(), 4);
    }

    #[test]
    fn no_line_is_wider_than_the_terminal() {
        let line = "  86400 s  sent 1,234,567/s  delivered 12,345,678/s  99 % 2 min 5 s  \
                    outstanding 12,345,678  behind 1,234,567  doubled 123,456  reordered 123,456  \
                    connections lost 1,000,000";
        let mut screen = Screen::new();
        screen.delivered.extend([1.0; SPARKS]);
        for columns in [60, 80, 120, 0, 21] {
            let lines = screen.lines(line, Some(0.5), &row(), columns);
            let widest = lines.iter().map(|line| line.chars().count()).max().unwrap();
            assert!(widest < columns.max(COLUMNS_MIN), "{columns}: {lines:#?}");
            // All of it is there.
            let said = lines.concat().replace(' ', "");
            for part in line.split("  ") {
                assert!(
                    said.contains(&part.replace(' ', "")),
                    "{columns}: {part}: {said}"
                );
            }
        }
    }
}
