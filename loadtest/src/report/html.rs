//! The report as one page that needs nothing else: no network, no script.

use super::chart::{Chart, Unit};
use super::figure::{Report, Section, Value};
use super::text;
use super::timeline::Row;
use std::fmt::Write;

const STYLE: &str = include_str!("style.css");

impl Report {
    /// The whole page.
    pub fn to_html(&self) -> String {
        let mut page = format!(
            "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
             <title>loadtest {}: {}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n",
            escaped(self.scenario),
            escaped(&self.title),
        );
        let (class, word) = match self.is_ok() {
            true => ("ok", "ok"),
            false => ("failed", "failed"),
        };
        // Writing to a string does not fail.
        let _ = writeln!(
            page,
            "<header><h1>{} <span class=\"{class}\">{word}</span></h1><p>{}</p></header>",
            escaped(self.scenario),
            escaped(&self.title)
        );
        self.put_remarks(&mut page);
        self.put_cards(&mut page);
        page.push_str("<section class=\"charts\">\n");
        for chart in charts(self.timeline.rows()) {
            page.push_str(&chart);
        }
        page.push_str("</section>\n<section class=\"tables\">\n");
        self.sections
            .iter()
            .for_each(|section| put_table(section, &mut page));
        page.push_str("</section>\n");
        let _ = write!(
            page,
            "<footer>loadtest {} of ringmq</footer>\n</body>\n</html>\n",
            env!("CARGO_PKG_VERSION")
        );
        page
    }

    fn put_remarks(&self, page: &mut String) {
        if self.problems.is_empty() && self.notes.is_empty() {
            return;
        }
        page.push_str("<ul class=\"remarks\">\n");
        for problem in &self.problems {
            let _ = writeln!(page, "<li class=\"failed\">{}</li>", escaped(problem));
        }
        for note in &self.notes {
            let _ = writeln!(page, "<li>{}</li>", escaped(note));
        }
        page.push_str("</ul>\n");
    }

    /// What one looks for first, as far as the scenario has it.
    fn put_cards(&self, page: &mut String) {
        const CARDS: [(&str, &str); 10] = [
            ("delivered", "delivered"),
            ("delivered_per_s", "delivered a second"),
            ("lost", "lost"),
            ("duplicated", "duplicated"),
            ("p50_us", "median latency"),
            ("p99_us", "99 % latency"),
            ("round_trip_p99_us", "99 % round trip"),
            ("last_connack_s", "all back after"),
            ("broker_cpu_us_per_delivery", "broker CPU a delivery"),
            ("bytes_per_connection", "broker memory a connection"),
        ];
        page.push_str("<section class=\"cards\">\n");
        for (key, label) in CARDS {
            let figures = self.sections.iter().flat_map(|section| &section.figures);
            if let Some(figure) = figures.into_iter().find(|figure| figure.key == key) {
                let value = escaped(&figure.value.to_string());
                let _ = writeln!(page, "<div><b>{value}</b>{label}</div>");
            }
        }
        page.push_str("</section>\n");
    }
}

fn put_table(section: &Section, page: &mut String) {
    // The options that were asked for have no labels: their keys say it.
    let is_options = section.figures.iter().all(|figure| figure.label.is_empty());
    let rows: Vec<_> = section
        .figures
        .iter()
        .filter(|figure| is_options || !figure.label.is_empty())
        .collect();
    if rows.is_empty() {
        return;
    }
    let _ = writeln!(page, "<table><caption>{}</caption>", escaped(section.title));
    for figure in rows {
        let label = match is_options {
            true => figure.key.replace('_', " "),
            false => figure.label.trim().to_owned(),
        };
        let value = escaped(&figure.value.to_string());
        let _ = writeln!(
            page,
            "<tr><th>{}</th><td>{value}</td></tr>",
            escaped(&label)
        );
        if let Value::Faults(faults) = &figure.value {
            for (fault, count) in faults.iter() {
                let count = text::count(count);
                let fault = escaped(fault);
                let _ = writeln!(
                    page,
                    "<tr class=\"sub\"><th>{fault}</th><td>{count}</td></tr>"
                );
            }
        }
    }
    page.push_str("</table>\n");
}

fn charts(rows: &[Row]) -> Vec<String> {
    let times: Vec<f64> = rows.iter().map(|row| row.at_s).collect();
    let column = |of: &dyn Fn(&Row) -> f64| rows.iter().map(of).collect::<Vec<f64>>();
    let chart = |title, unit: Unit, is_log, lines| {
        let chart = Chart {
            title,
            unit,
            is_log,
            times: &times,
            lines,
        };
        chart.to_html()
    };
    let latency = ["median", "90 %", "99 %", "99.9 %", "longest"]
        .iter()
        .enumerate();
    let latency = latency.map(|(i, name)| (*name, column(&|row: &Row| row.latency_us[i])));
    vec![
        chart(
            "Latency of what came in each second",
            micros,
            true,
            latency.collect(),
        ),
        chart(
            "Messages a second",
            number,
            false,
            vec![
                ("sent", column(&|row| row.sent_per_s)),
                ("delivered", column(&|row| row.delivered_per_s)),
            ],
        ),
        chart(
            "Connections",
            number,
            false,
            vec![
                ("connected", column(&|row| row.connections)),
                ("begun a second", column(&|row| row.connects_per_s)),
                ("failed or lost so far", column(&|row| row.faults)),
            ],
        ),
        chart(
            "Processor, of a core",
            percent,
            false,
            vec![
                ("broker", column(&|row| row.broker_cores.unwrap_or(0.0))),
                ("load tester", column(&|row| row.own_cores)),
            ],
        ),
        chart(
            "Resident memory",
            bytes,
            false,
            vec![
                ("broker", column(&|row| row.broker_bytes.unwrap_or(0.0))),
                ("load tester", column(&|row| row.own_bytes)),
            ],
        ),
    ]
}

fn micros(us: f64) -> String {
    match us {
        us if us < 1e3 => format!("{us:.0} µs"),
        us if us < 1e6 => format!("{:.0} ms", us / 1e3),
        us => format!("{:.0} s", us / 1e6),
    }
}

fn number(value: f64) -> String {
    match value {
        value if value < 10.0 && value.fract() != 0.0 => format!("{value:.1}"),
        value => text::count(value.round() as u64),
    }
}

fn percent(share: f64) -> String {
    format!("{:.0} %", share * 100.0)
}

fn bytes(bytes: f64) -> String {
    format!("{:.0} MB", bytes / 1e6)
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_stands_alone_and_shows_what_it_was_given() {
        let mut report = Report::new("flow", "a <b> & c".into());
        report
            .section("messages")
            .count("delivered", "delivered", 12_345)
            .add("p99_us", "99 %", Value::Time(1_500_000));
        report.section("options").count("qos", "", 1);
        report.problem(2, "messages were lost");
        for second in 1..=5 {
            report.timeline.push(Row {
                at_s: f64::from(second),
                delivered_per_s: 10.0,
                latency_us: [100.0; 5],
                ..Row::default()
            });
        }
        let page = report.to_html();
        assert!(page.contains("a &lt;b&gt; &amp; c") && page.contains("2 messages were lost"));
        assert!(page.contains("<b>12,345</b>delivered") && page.contains("<th>qos</th>"));
        assert_eq!(page.matches("<svg").count(), 2);
        for foreign in ["http://", "https://", "<script", "url(", "@import"] {
            assert!(!page.contains(foreign), "{foreign}");
        }
    }
}
