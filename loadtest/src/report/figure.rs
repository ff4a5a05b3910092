//! The figures of a run. One list makes the table and the JSON object.

use super::timeline::Timeline;
use crate::measure::latency::Latency;
use crate::net::Faults;
use serde::ser::{Serialize, SerializeMap, Serializer};

/// All that is said of a run.
#[derive(Debug)]
pub struct Report {
    pub scenario: &'static str,
    /// One line: what was done.
    pub title: String,
    pub sections: Vec<Section>,
    /// What is wrong with the broker, a sentence each: then the exit status is not 0.
    pub problems: Vec<String>,
    /// What is to be known when reading the figures.
    pub notes: Vec<String>,
    /// Second by second.
    pub timeline: Timeline,
}

#[derive(Debug)]
pub struct Section {
    pub title: &'static str,
    pub figures: Vec<Figure>,
}

#[derive(Debug)]
pub struct Figure {
    /// In JSON. The unit comes last.
    pub key: &'static str,
    /// In the table. Empty: not there.
    pub label: &'static str,
    pub value: Value,
}

#[derive(Clone, Debug)]
pub enum Value {
    Count(u64),
    PerSecond(f64),
    /// Nanoseconds; microseconds in JSON.
    Time(u64),
    /// Nanoseconds of processor time; microseconds in JSON.
    Cost(f64),
    /// Nanoseconds; seconds in JSON.
    Duration(u64),
    Bytes(i64),
    /// 1.0 is all of it.
    Share(f64),
    Text(String),
    Faults(Faults),
}

impl Report {
    pub fn new(scenario: &'static str, title: String) -> Report {
        Report {
            scenario,
            title,
            sections: vec![],
            problems: vec![],
            notes: vec![],
            timeline: Timeline::default(),
        }
    }

    /// Begins a section; figures go to the last one.
    pub fn section(&mut self, title: &'static str) -> &mut Section {
        self.sections.push(Section {
            title,
            figures: vec![],
        });
        self.sections.last_mut().expect("one was just added")
    }

    /// Says that something is wrong if `count` is not 0; `words` follow the number.
    pub fn problem(&mut self, count: u64, words: &str) {
        if count > 0 {
            self.problems
                .push(format!("{} {words}", super::text::count(count)));
        }
    }

    /// Whether nothing was wrong.
    pub fn is_ok(&self) -> bool {
        self.problems.is_empty()
    }

    /// One line of JSON.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("strings and finite numbers only")
    }
}

impl Section {
    pub fn add(&mut self, key: &'static str, label: &'static str, value: Value) -> &mut Section {
        self.figures.push(Figure { key, label, value });
        self
    }

    pub fn count(&mut self, key: &'static str, label: &'static str, count: u64) -> &mut Section {
        self.add(key, label, Value::Count(count))
    }

    /// Five points of a distribution, with keys for each.
    pub fn latency(&mut self, keys: [&'static str; 5], latency: &Latency) -> &mut Section {
        let labels = ["median", "90 %", "99 %", "99.9 %", "longest"];
        for ((key, label), quantile) in keys.into_iter().zip(labels).zip([0.5, 0.9, 0.99, 0.999]) {
            self.add(key, label, Value::Time(latency.quantile_ns(quantile)));
        }
        self.add(keys[4], labels[4], Value::Time(latency.max_ns()))
    }
}

impl Serialize for Report {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("scenario", self.scenario)?;
        for figure in self.sections.iter().flat_map(|section| &section.figures) {
            map.serialize_entry(figure.key, &figure.value)?;
        }
        map.serialize_entry("ok", &self.is_ok())?;
        map.serialize_entry("problems", &self.problems)?;
        map.serialize_entry("notes", &self.notes)?;
        if !self.timeline.is_empty() {
            map.serialize_entry("timeline", &self.timeline)?;
        }
        map.end()
    }
}

impl Serialize for Value {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Value::Count(count) => serializer.serialize_u64(*count),
            Value::PerSecond(rate) => serializer.serialize_f64(rounded(*rate, 1.0)),
            Value::Time(ns) => serializer.serialize_f64(rounded(*ns as f64 / 1e3, 10.0)),
            Value::Cost(ns) => serializer.serialize_f64(rounded(*ns / 1e3, 1e3)),
            Value::Duration(ns) => serializer.serialize_f64(rounded(*ns as f64 / 1e9, 1e3)),
            Value::Bytes(bytes) => serializer.serialize_i64(*bytes),
            Value::Share(share) => serializer.serialize_f64(rounded(*share, 1e3)),
            Value::Text(text) => serializer.serialize_str(text),
            Value::Faults(faults) => {
                let mut map = serializer.serialize_map(None)?;
                for (fault, count) in faults.iter() {
                    map.serialize_entry(fault, &count)?;
                }
                map.end()
            }
        }
    }
}

fn rounded(value: f64, per_unit: f64) -> f64 {
    (value * per_unit).round() / per_unit
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_one_flat_object() {
        let mut report = Report::new("flow", "title".into());
        report
            .section("messages")
            .count("delivered", "delivered", 12)
            .add("p99_us", "99 %", Value::Time(1_234_567))
            .add("cpu_us", "", Value::Cost(1_234.4))
            .add("refused", "refused", Value::Faults(Faults::default()));
        report.problem(0, "messages were lost");
        assert!(report.is_ok());
        report.problem(1500, "messages were lost");
        let json = concat!(
            r#"{"scenario":"flow","delivered":12,"p99_us":1234.6,"cpu_us":1.234,"refused":{},"#,
            r#""ok":false,"problems":["1,500 messages were lost"],"notes":[]}"#
        );
        assert_eq!(report.to_json(), json);
    }
}
