//! The rows and statements as they stand in the files.

use super::generated;
use super::script::{self, Step};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use toml::de::{DeTable, DeValue};

/// All files of `tests/conformance/`.
pub struct Suite {
    pub rows: Vec<Row>,
    pub statements: Vec<Statement>,
    /// The settings that every row without its own relies on, as a `[mqtt]` table.
    pub settings: Settings,
}

/// Names and values of the configuration section `mqtt`.
pub type Settings = BTreeMap<String, String>;

/// One row: what is sent and what has to come.
#[derive(Clone)]
pub struct Row {
    pub file: String,
    pub name: String,
    pub ids: Vec<String>,
    /// The bytes sent are not whole packets, on purpose.
    pub malformed: bool,
    pub only: Option<Only>,
    /// Whether the runner's authenticator is needed.
    pub needs_auth: bool,
    /// Settings that differ from the suite's.
    pub settings: Settings,
    pub steps: Vec<Step>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Only {
    Pure,
    Live,
}

/// One normative statement.
pub struct Statement {
    pub id: String,
    pub section: String,
    pub text: String,
    pub binds: Binds,
    /// Tests that are no rows, for what rows cannot show.
    pub tests: Vec<String>,
}

/// Whom a statement gives something to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Binds {
    Server,
    Client,
    Doors,
}

impl Row {
    /// Whether the row can run against a real broker: no virtual time, no authenticator of ours.
    pub fn runs_live(&self) -> bool {
        let waits = self.steps.iter().map(Step::seconds).max().unwrap_or(0);
        self.only != Some(Only::Pure) && !self.needs_auth && waits <= 2
    }

    /// Whether the row can run against the pure shard.
    pub fn runs_pure(&self) -> bool {
        self.only != Some(Only::Live)
    }
}

impl Suite {
    /// Reads everything; panics with file and row where something cannot be read.
    pub fn load() -> Suite {
        let settings = read("settings.toml");
        let settings = parse("settings.toml", &settings);
        let plays = &settings["play"];
        let plays = script::Plays::new(table(plays).iter().map(|(k, v)| (text_of(k), string(v))));
        let mut rows = Vec::new();
        for file in row_files() {
            let source = read(&file);
            let parsed = parse(&file, &source);
            for row in array(parsed.get("row")) {
                rows.push(read_row(&file, table(row), &plays));
            }
        }
        rows.extend(generated::rows(&plays));
        Suite {
            rows,
            statements: read_statements(),
            settings: read_settings(table(&settings["mqtt"])),
        }
    }
}

/// Where the data files are.
pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/conformance")
}

fn row_files() -> Vec<String> {
    let mut files: Vec<String> = std::fs::read_dir(folder())
        .expect("the data folder is there")
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.starts_with('v') && name.ends_with(".toml"))
        .collect();
    files.sort();
    files
}

fn read_row(file: &str, row: &DeTable<'_>, plays: &script::Plays) -> Row {
    let name = string(&row["name"]);
    let at = format!("{file}, row \"{name}\"");
    for (key, _) in row {
        let known = [
            "id",
            "name",
            "malformed",
            "only",
            "needs",
            "settings",
            "steps",
        ];
        assert!(
            known.contains(&text_of(key).as_str()),
            "{at}: unknown key {}",
            text_of(key)
        );
    }
    let steps = script::parse(&string(&row["steps"]), plays)
        .unwrap_or_else(|error| panic!("{at}: {error}"));
    Row {
        file: file.into(),
        ids: array(row.get("id")).map(string).collect(),
        malformed: row
            .get("malformed")
            .is_some_and(|v| v.get_ref().as_bool() == Some(true)),
        only: row.get("only").map(|v| match string(v).as_str() {
            "pure" => Only::Pure,
            "live" => Only::Live,
            other => panic!("{at}: only = {other}"),
        }),
        needs_auth: row.get("needs").is_some_and(|v| {
            assert_eq!(string(v), "auth", "{at}: needs");
            true
        }),
        settings: row
            .get("settings")
            .map_or_else(Settings::new, |v| read_settings(table(v))),
        steps,
        name,
    }
}

fn read_statements() -> Vec<Statement> {
    let source = read("statements.toml");
    let parsed = parse("statements.toml", &source);
    array(parsed.get("statement"))
        .map(|value| {
            let entry = table(value);
            Statement {
                id: string(&entry["id"]),
                section: string(&entry["section"]),
                text: string(&entry["text"]),
                binds: match entry.get("binds").map(string).as_deref() {
                    None => Binds::Server,
                    Some("client") => Binds::Client,
                    Some("doors") => Binds::Doors,
                    Some(other) => panic!("statements.toml: binds = {other}"),
                },
                tests: array(entry.get("tests")).map(string).collect(),
            }
        })
        .collect()
}

fn read_settings(entries: &DeTable<'_>) -> Settings {
    entries
        .iter()
        .map(|(key, value)| {
            let value = match value.get_ref() {
                DeValue::Integer(number) => number.as_str().to_string(),
                DeValue::Boolean(flag) => flag.to_string(),
                DeValue::String(text) => format!("\"{text}\""),
                other => panic!("settings: {other:?}"),
            };
            (text_of(key), value)
        })
        .collect()
}

fn read(file: &str) -> String {
    std::fs::read_to_string(folder().join(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
}

fn parse<'a>(file: &str, source: &'a str) -> DeTable<'a> {
    let parsed = DeTable::parse(source).unwrap_or_else(|error| panic!("{file}: {error}"));
    parsed.into_inner()
}

type Spanned<'a> = toml::Spanned<DeValue<'a>>;

fn text_of(key: &toml::Spanned<std::borrow::Cow<'_, str>>) -> String {
    key.get_ref().to_string()
}

fn string(value: &Spanned<'_>) -> String {
    value.get_ref().as_str().expect("a string").to_string()
}

fn table<'a>(value: &'a impl AsTable<'a>) -> &'a DeTable<'a> {
    value.as_table()
}

trait AsTable<'a> {
    fn as_table(&'a self) -> &'a DeTable<'a>;
}

impl<'a> AsTable<'a> for Spanned<'a> {
    fn as_table(&'a self) -> &'a DeTable<'a> {
        self.get_ref().as_table().expect("a table")
    }
}

fn array<'a, 'b>(value: Option<&'a Spanned<'b>>) -> impl Iterator<Item = &'a Spanned<'b>> {
    value
        .into_iter()
        .flat_map(|value| value.get_ref().as_array().expect("an array").iter())
}
