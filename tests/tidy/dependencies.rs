//! `docs/dependencies.md` has one row for each direct dependency and no row too many, and names
//! every crate further down that has no permissive licence.

use std::collections::BTreeMap;
use std::fs;
use std::process::Command;

use crate::Breach;
use crate::tree::root;

const DOCUMENT: &str = "docs/dependencies.md";
const MANIFESTS: [&str; 3] = ["Cargo.toml", "loadtest/Cargo.toml", "fuzz/Cargo.toml"];
const SECTIONS: [&str; 3] = ["dependencies", "dev-dependencies", "build-dependencies"];
/// What a licence in a row has to offer, one of them at least.
const LICENCES: [&str; 8] = [
    "MIT",
    "Apache-2.0",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "ISC",
    "NCSA",
    "Zlib",
    "Unicode-3.0",
];

pub(crate) fn check() -> Vec<Breach> {
    let mut wanted = BTreeMap::new();
    for manifest in MANIFESTS {
        let Ok(text) = fs::read_to_string(root().join(manifest)) else {
            continue;
        };
        for name in direct(&text) {
            wanted.entry(name).or_insert(manifest);
        }
    }
    let document = fs::read_to_string(root().join(DOCUMENT)).unwrap_or_default();
    compare(&wanted, &rows(&document))
}

/// Crates of the whole tree without a permissive licence to choose, and without a word on them in
/// the document.
pub(crate) fn check_all() -> Vec<Breach> {
    // Crates for other platforms are not downloaded.
    let platform = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    let cargo = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--offline", "--locked"])
        .args(["--filter-platform", &platform])
        .current_dir(root())
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&cargo.stderr);
    assert!(cargo.status.success(), "cargo metadata: {told}");
    let metadata: serde_json::Value = serde_json::from_slice(&cargo.stdout).unwrap();
    let document = fs::read_to_string(root().join(DOCUMENT)).unwrap_or_default();
    let packages = metadata["packages"].as_array().unwrap();
    assert!(!packages.is_empty());
    packages
        .iter()
        .map(|package| (&package["name"], package["license"].as_str()))
        .map(|(name, licence)| (name.as_str().unwrap(), licence.unwrap_or("none")))
        .filter(|(name, licence)| {
            !is_permissive(licence) && !document.contains(&format!("| {name} |"))
        })
        .map(|(name, licence)| breach(1, format!("`{name}` is licensed as {licence}")))
        .collect()
}

/// Whether a licence expression leaves a way to use only permissive licences.
fn is_permissive(expression: &str) -> bool {
    let parts = expression.split(" AND ");
    let mut parts = parts.map(|part| part.trim_matches(['(', ')']));
    parts.all(|part| {
        let mut choices = part.split(" OR ").flat_map(|choice| choice.split('/'));
        choices.any(|choice| LICENCES.contains(&choice.trim()))
    })
}

fn breach(line: usize, what: String) -> Breach {
    Breach {
        path: DOCUMENT.to_string(),
        line,
        what,
    }
}

/// Names of the direct dependencies in a manifest, but for the workspace's own. Line by line, as
/// manifests are written here: `name = …` under a section, or a section of its own.
fn direct(manifest: &str) -> Vec<String> {
    let mut names = Vec::new();
    let mut section = "";
    for line in manifest.lines().map(str::trim) {
        if let Some(header) = line.strip_prefix('[') {
            section = header.trim_end_matches(']');
            let parts = section.rsplit_once('.');
            if let Some((_, name)) = parts.filter(|(parent, _)| is_dependencies(parent)) {
                names.push(name.to_string());
            }
        } else if is_dependencies(section)
            && let Some((name, value)) = line.split_once('=')
            && !value.contains("path =")
        {
            names.push(name.trim().to_string());
        }
    }
    names
}

fn is_dependencies(section: &str) -> bool {
    let name = section.rsplit_once('.').map_or(section, |(_, name)| name);
    SECTIONS.contains(&name)
}

struct Row {
    name: String,
    line: usize,
    why: String,
    licence: String,
}

/// Rows of the form ``| `name` | why | licence |``.
fn rows(document: &str) -> Vec<Row> {
    let lines = document.lines().enumerate();
    lines
        .filter_map(|(index, line)| {
            let cells: Vec<&str> = line.split('|').map(str::trim).collect();
            let [_, name, why, licence, _] = cells[..] else {
                return None;
            };
            let name = name.strip_prefix('`')?.strip_suffix('`')?;
            Some(Row {
                name: name.to_string(),
                line: index + 1,
                why: why.to_string(),
                licence: licence.to_string(),
            })
        })
        .collect()
}

fn compare(wanted: &BTreeMap<String, &str>, rows: &[Row]) -> Vec<Breach> {
    let mut breaches = Vec::new();
    for (name, manifest) in wanted {
        if !rows.iter().any(|row| row.name == *name) {
            breaches.push(breach(1, format!("no row for `{name}` of {manifest}")));
        }
    }
    for row in rows {
        let Row { name, line, .. } = row;
        if !wanted.contains_key(name) {
            breaches.push(breach(*line, format!("`{name}` is in no manifest")));
        }
        if row.why.is_empty() {
            breaches.push(breach(*line, format!("no reason for `{name}`")));
        }
        if !is_permissive(&row.licence) {
            breaches.push(breach(*line, format!("no permissive licence for `{name}`")));
        }
    }
    breaches
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(manifest: &str, document: &str) -> Vec<String> {
        let names = direct(manifest).into_iter();
        let wanted = names.map(|name| (name, "Cargo.toml")).collect();
        compare(&wanted, &rows(document))
            .into_iter()
            .map(|breach| breach.what)
            .collect()
    }

    #[test]
    fn licence_expressions_are_read() {
        for expression in [
            "MIT",
            "MIT/Apache-2.0",
            "(MIT OR GPL-2.0) AND Unicode-3.0",
            "Zlib",
        ] {
            assert!(is_permissive(expression), "{expression}");
        }
        for expression in ["GPL-3.0", "MIT AND GPL-2.0", "MPL-2.0+", "none"] {
            assert!(!is_permissive(expression), "{expression}");
        }
    }

    #[test]
    fn rows_and_manifests_are_compared() {
        let manifest = "[dependencies]\na = \"1\"\nown = { path = \"..\" }\n[lib]\nx = 1";
        assert!(told(manifest, "| `a` | why | MIT |").is_empty());
        assert_eq!(told(manifest, ""), ["no row for `a` of Cargo.toml"]);
        assert_eq!(
            told(manifest, "| `a` | | GPL-3.0 |\n| `b` | why | MIT |"),
            [
                "no reason for `a`",
                "no permissive licence for `a`",
                "`b` is in no manifest"
            ]
        );
    }
}
