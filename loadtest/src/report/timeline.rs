//! A run second by second. A long one gets coarser, so that its memory has a bound.

use serde::ser::{Serialize, SerializeMap, Serializer};

/// More rows than this are halved.
const ROWS_MAX: usize = 1800;

/// One second, or several together. Rates are means; of the rest the last or the greatest counts.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Row {
    /// Since the beginning, at its end.
    pub at_s: f64,
    pub connections: f64,
    pub connects_per_s: f64,
    /// Connections that failed or were lost so far.
    pub faults: f64,
    pub sent_per_s: f64,
    pub delivered_per_s: f64,
    /// Messages that are due and not sent.
    pub backlog: f64,
    /// Median, 90 %, 99 %, 99.9 % and the longest of what came in it; 0 if nothing came.
    pub latency_us: [f64; 5],
    /// Processor time of the broker over time; nothing if its process is not known.
    pub broker_cores: Option<f64>,
    pub broker_bytes: Option<f64>,
    pub own_cores: f64,
    pub own_bytes: f64,
}

/// Keys of `latency_us` in JSON.
const LATENCIES: [&str; 5] = ["p50_us", "p90_us", "p99_us", "p999_us", "max_us"];

#[derive(Clone, Debug)]
pub struct Timeline {
    rows: Vec<Row>,
    /// Seconds that make a row.
    per_row: u32,
    /// What will be the next row, and of how many seconds it is so far.
    open: Option<(Row, u32)>,
}

impl Default for Timeline {
    fn default() -> Timeline {
        Timeline {
            rows: Vec::new(),
            per_row: 1,
            open: None,
        }
    }
}

impl Timeline {
    /// One more second.
    pub fn push(&mut self, row: Row) {
        let (row, count) = match self.open.take() {
            None => (row, 1),
            Some((before, count)) => (joined(&before, count, &row, 1), count + 1),
        };
        if count < self.per_row {
            self.open = Some((row, count));
            return;
        }
        self.rows.push(row);
        if self.rows.len() > ROWS_MAX {
            let pairs = self.rows.chunks(2);
            self.rows = pairs
                .map(|pair| match pair {
                    [first, second] => joined(first, 1, second, 1),
                    _ => pair[0],
                })
                .collect();
            self.per_row *= 2;
        }
    }

    pub fn rows(&self) -> &[Row] {
        &self.rows
    }

    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }
}

fn joined(a: &Row, seconds_a: u32, b: &Row, seconds_b: u32) -> Row {
    let (share_a, share_b) = (f64::from(seconds_a), f64::from(seconds_b));
    let mean = |a: f64, b: f64| (a * share_a + b * share_b) / (share_a + share_b);
    Row {
        at_s: b.at_s,
        connections: b.connections,
        connects_per_s: mean(a.connects_per_s, b.connects_per_s),
        faults: b.faults,
        sent_per_s: mean(a.sent_per_s, b.sent_per_s),
        delivered_per_s: mean(a.delivered_per_s, b.delivered_per_s),
        backlog: a.backlog.max(b.backlog),
        latency_us: std::array::from_fn(|i| a.latency_us[i].max(b.latency_us[i])),
        broker_cores: a.broker_cores.zip(b.broker_cores).map(|(a, b)| mean(a, b)),
        broker_bytes: b.broker_bytes,
        own_cores: mean(a.own_cores, b.own_cores),
        own_bytes: b.own_bytes,
    }
}

/// As columns, which is shorter and what plots want.
impl Serialize for Timeline {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let rows = &self.rows;
        let column = |of: &dyn Fn(&Row) -> f64| -> Vec<f64> {
            let rounded = rows.iter().map(|row| (of(row) * 1000.0).round() / 1000.0);
            rounded.collect()
        };
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("at_s", &column(&|row| row.at_s))?;
        map.serialize_entry("connections", &column(&|row| row.connections))?;
        map.serialize_entry("connects_per_s", &column(&|row| row.connects_per_s))?;
        map.serialize_entry("faults", &column(&|row| row.faults))?;
        map.serialize_entry("sent_per_s", &column(&|row| row.sent_per_s))?;
        map.serialize_entry("delivered_per_s", &column(&|row| row.delivered_per_s))?;
        map.serialize_entry("backlog", &column(&|row| row.backlog))?;
        for (i, key) in LATENCIES.iter().enumerate() {
            map.serialize_entry(key, &column(&|row| row.latency_us[i]))?;
        }
        if rows.iter().any(|row| row.broker_bytes.is_some()) {
            let cores = column(&|row| row.broker_cores.unwrap_or(0.0));
            map.serialize_entry("broker_cores", &cores)?;
            let bytes = column(&|row| row.broker_bytes.unwrap_or(0.0));
            map.serialize_entry("broker_bytes", &bytes)?;
        }
        map.serialize_entry("own_cores", &column(&|row| row.own_cores))?;
        map.serialize_entry("own_bytes", &column(&|row| row.own_bytes))?;
        map.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_run_keeps_its_shape_in_bounded_memory() {
        let mut timeline = Timeline::default();
        for second in 1..=100_000 {
            timeline.push(Row {
                at_s: f64::from(second),
                sent_per_s: 7.0,
                latency_us: [f64::from(second); 5],
                ..Row::default()
            });
        }
        let rows = timeline.rows();
        assert!((ROWS_MAX / 2..=ROWS_MAX).contains(&rows.len()));
        assert!(rows.iter().all(|row| (row.sent_per_s - 7.0).abs() < 1e-9));
        assert!(rows.is_sorted_by_key(|row| row.at_s as u64));
        let last = rows.last().unwrap();
        assert!(last.at_s > 99_900.0 && last.latency_us[0] == last.at_s);
    }

    #[test]
    fn json_has_columns() {
        let mut timeline = Timeline::default();
        timeline.push(Row {
            at_s: 1.0,
            delivered_per_s: 12.3456,
            ..Row::default()
        });
        let json = serde_json::to_value(&timeline).unwrap();
        assert_eq!(json["delivered_per_s"][0], 12.346);
        assert_eq!(json["p99_us"][0], 0.0);
        assert!(json.get("broker_cores").is_none());
    }
}
