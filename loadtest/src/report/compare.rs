//! Two runs side by side.

use serde_json::Value;
use std::path::Path;

/// Figures that are better if they are smaller, by the end of their keys; the others that have a
/// better are in [`MORE`].
const LESS: [&str; 10] = [
    "_us",
    "_bytes",
    "lost",
    "duplicated",
    "reordered",
    "unsent",
    "failed",
    "_bytes_per_connection",
    "last_connack_s",
    "late",
];
const MORE: [&str; 3] = ["delivered_per_s", "back_per_s", "lives_per_s"];
/// Smaller changes are not called better or worse.
const NOTABLE: f64 = 0.05;

/// Compares two files that `--json` has written; a file of several lines counts by its last.
///
/// # Errors
/// A sentence: a file is not there or not what is expected.
pub fn compare(a: &Path, b: &Path) -> Result<String, String> {
    let (left, right) = (read(a)?, read(b)?);
    if left["scenario"] != right["scenario"] {
        return Err(format!(
            "{} is of the scenario {}, and {} of {}: they cannot be compared",
            a.display(),
            left["scenario"],
            b.display(),
            right["scenario"]
        ));
    }
    Ok(table(&left, &right, [&name(a), &name(b)]))
}

fn name(path: &Path) -> String {
    let name = path.file_stem().unwrap_or(path.as_os_str());
    name.to_string_lossy().chars().take(16).collect()
}

fn read(path: &Path) -> Result<Value, String> {
    let at = path.display();
    let text = std::fs::read_to_string(path).map_err(|error| format!("{at}: {error}"))?;
    let last = text
        .lines()
        .rfind(|line| !line.trim().is_empty())
        .unwrap_or("");
    let value: Value =
        serde_json::from_str(last).map_err(|error| format!("{at}: no JSON of a run: {error}"))?;
    match value["scenario"].is_string() {
        true => Ok(value),
        false => Err(format!("{at}: not the JSON of a run: it has no `scenario`")),
    }
}

fn table(left: &Value, right: &Value, names: [&str; 2]) -> String {
    let mut text = format!(
        "{}\n\n  {:<32}{:>16}{:>16}   change\n",
        left["scenario"].as_str().unwrap_or_default(),
        "",
        names[0],
        names[1]
    );
    let Some(figures) = left.as_object() else {
        return text;
    };
    let more = right.as_object().into_iter().flatten();
    let more = more.filter(|(key, _)| !figures.contains_key(*key));
    for (key, _) in figures.iter().chain(more) {
        let (before, after) = (&left[key], &right[key]);
        if key == "scenario" || key == "timeline" || key == "run" {
            continue;
        }
        let line = match (before.as_f64(), after.as_f64()) {
            (Some(before), Some(after)) => numbers(key, before, after),
            _ if [before, after]
                .iter()
                .any(|side| side.is_object() || side.is_array()) =>
            {
                continue;
            }
            _ => {
                let change = match () {
                    () if before.is_null() || after.is_null() => "not measured in one of them",
                    () if before == after => "",
                    () => "differs",
                };
                format!(
                    "  {key:<32}{:>16}{:>16}   {change}\n",
                    plain(before),
                    plain(after)
                )
            }
        };
        text += &line;
    }
    for (name, value) in names.iter().zip([left, right]) {
        for problem in value["problems"].as_array().into_iter().flatten() {
            text += &format!("  {name} FAILED: {}\n", plain(problem));
        }
    }
    text
}

fn numbers(key: &str, before: f64, after: f64) -> String {
    let change = match before {
        _ if before == after => String::new(),
        0.0 => "from none".into(),
        _ => format!("{:+.1} %", (after - before) / before.abs() * 100.0),
    };
    let grew = match before {
        0.0 => after.signum(),
        _ => (after - before) / before.abs(),
    };
    let judged = match key {
        _ if before == after || grew.abs() < NOTABLE => "",
        key if MORE.contains(&key) => {
            if grew > 0.0 {
                "better"
            } else {
                "worse"
            }
        }
        key if LESS.iter().any(|end| key.ends_with(end)) => {
            if grew < 0.0 {
                "better"
            } else {
                "worse"
            }
        }
        _ => "",
    };
    let line = format!("  {key:<32}{before:>16}{after:>16}   {change:<12}{judged}");
    format!("{}\n", line.trim_end())
}

fn plain(value: &Value) -> String {
    if value.is_null() {
        return "not measured".into();
    }
    value
        .as_str()
        .map_or_else(|| value.to_string(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn changes_are_judged_by_what_they_mean() {
        let left = json!({"scenario": "flow", "delivered_per_s": 1000.0, "p99_us": 100.0,
            "lost": 0, "qos": 1, "ok": true, "problems": [], "broker_cores": 0.5});
        let right = json!({"scenario": "flow", "delivered_per_s": 1300.0, "p99_us": 250.0,
            "lost": 3, "qos": 1, "ok": false, "problems": ["3 messages were lost"], "late": 2});
        let text = table(&left, &right, ["a", "b"]);
        let line = |key: &str| {
            let line = text.lines().find(|line| line.trim_start().starts_with(key));
            line.unwrap()
                .split_whitespace()
                .collect::<Vec<_>>()
                .join(" ")
        };
        assert_eq!(
            line("delivered_per_s"),
            "delivered_per_s 1000 1300 +30.0 % better"
        );
        assert_eq!(line("p99_us"), "p99_us 100 250 +150.0 % worse");
        assert_eq!(line("lost"), "lost 0 3 from none worse");
        assert_eq!(line("qos"), "qos 1 1");
        let missing = "not measured not measured in one of them";
        assert_eq!(line("broker_cores"), format!("broker_cores 0.5 {missing}"));
        assert_eq!(
            line("late"),
            "late not measured 2 not measured in one of them"
        );
        assert_eq!(line("ok"), "ok true false differs");
        assert!(text.ends_with("  b FAILED: 3 messages were lost\n"));
    }

    #[test]
    fn what_is_no_run_is_named() {
        let path = std::env::temp_dir().join(format!("compare-{}.json", std::process::id()));
        std::fs::write(&path, "{\"a\":1}\n").unwrap();
        let error = compare(&path, &path).unwrap_err();
        assert!(
            error.ends_with("not the JSON of a run: it has no `scenario`"),
            "{error}"
        );
        std::fs::remove_file(&path).unwrap();
        assert!(compare(&path, &path).unwrap_err().contains("No such file"));
    }
}
