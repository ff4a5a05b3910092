//! The closing table.

use super::figure::{Report, Value};
use super::text;
use std::fmt;

/// Columns that labels take.
const LABEL_WIDTH: usize = 24;

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}: {}", self.scenario, self.title)?;
        for section in &self.sections {
            let mut figures = section
                .figures
                .iter()
                .filter(|figure| !figure.label.is_empty());
            let Some(first) = figures.next() else {
                continue;
            };
            writeln!(f, "\n  {}", section.title)?;
            for figure in std::iter::once(first).chain(figures) {
                write_value(f, figure.label, &figure.value)?;
            }
        }
        writeln!(f)?;
        for note in &self.notes {
            writeln!(f, "  note: {note}")?;
        }
        for problem in &self.problems {
            writeln!(f, "  FAILED: {problem}")?;
        }
        if self.is_ok() {
            writeln!(f, "  ok")?;
        }
        Ok(())
    }
}

fn write_value(f: &mut fmt::Formatter<'_>, label: &str, value: &Value) -> fmt::Result {
    if let Value::Faults(faults) = value {
        return write_faults(f, label, faults);
    }
    writeln!(f, "    {label:<LABEL_WIDTH$} {:>14}", value.to_string())
}

fn write_faults(
    f: &mut fmt::Formatter<'_>,
    label: &str,
    faults: &crate::net::Faults,
) -> fmt::Result {
    writeln!(
        f,
        "    {label:<LABEL_WIDTH$} {:>14}",
        text::count(faults.total())
    )?;
    for (fault, count) in faults.iter() {
        writeln!(f, "      {fault:<30} {:>6}", text::count(count))?;
    }
    Ok(())
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words = match self {
            Value::Count(count) => text::count(*count),
            Value::PerSecond(rate) => format!("{} /s", text::count(rate.round() as u64)),
            Value::Time(ns) | Value::Duration(ns) => text::time(*ns),
            Value::Cost(ns) => text::time(ns.round() as u64),
            Value::Bytes(bytes) => text::bytes(*bytes),
            Value::Share(share) => format!("{:.0} %", share * 100.0),
            Value::Text(words) => words.clone(),
            Value::Faults(faults) => text::count(faults.total()),
        };
        f.write_str(&words)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::{Fault, Faults};

    #[test]
    fn lines_up() {
        let mut faults = Faults::default();
        faults.count(&Fault::Closed);
        let mut report = Report::new("idle", "2 connections".into());
        report.section("hidden").count("hidden", "", 1);
        let section = report.section("connections");
        section
            .count("up", "up", 12_000)
            .add("lost", "lost", Value::Faults(faults));
        report.notes.push("a note".into());
        report.problem(1, "connection was lost");
        let expected = "\
idle: 2 connections

  connections
    up                               12,000
    lost                                  1
      closed by the broker                1

  note: a note
  FAILED: 1 connection was lost
";
        assert_eq!(report.to_string(), expected);
    }
}
