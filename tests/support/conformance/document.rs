//! `docs/conformance.md`, made from the data.

use super::data::{Binds, Row, Statement, Suite};
use std::collections::BTreeMap;
use std::fmt::Write;

const HEAD: &str = "\
# Conformance

Every normative statement of MQTT 5.0 and 3.1.1 that bears on a server, and the notes on 3.1, with
the rows that show it. A row is bytes: what a client sends, and what has to come back
(`tests/conformance/*.toml`; how to read them stands in `tests/support/conformance/script.rs` and
`pattern.rs`). A row of a statement fails if the behaviour is broken. All rows run against the pure
shard under virtual time, whole and with what is sent cut into pieces of 1, 2, 3, 5 and 7 bytes; all
that need no virtual time and no authenticator of the tests run against the running broker too, over
TCP, in the same cuts but for rows that wait for time to pass, which run whole. The statements are
given in short; the standards have the full text.

`cargo test --test conformance` plays them; `CONFORMANCE_ROW=text` plays only the rows whose name or
statement contains the text. This page is made from the data, and a test holds both together:
`UPDATE_DOCUMENTS=1 cargo test --test conformance document` writes it anew.

State: **live** is shown against both the pure shard and the running broker; **pure** against the
pure shard only; **client** binds the client and leaves the server nothing that a row could show;
**front doors** belongs to TLS and WebSocket, and is shown by the tests that are named, and by all
rows that run live, over WebSocket too, in frames cut anywhere (`rows_over_websocket*`).
";

/// The whole page.
pub fn page(suite: &Suite) -> String {
    let mut out = HEAD.to_string();
    write_summary(suite, &mut out);
    let mut section = "";
    for statement in &suite.statements {
        if statement.section != section {
            section = &statement.section;
            write!(out, "\n## {section}\n\n").unwrap();
            out.push_str("| statement | in short | rows | state |\n|---|---|---|---|\n");
        }
        write_statement(suite, statement, &mut out);
    }
    out
}

fn write_summary(suite: &Suite, out: &mut String) {
    let live = suite.rows.iter().filter(|row| row.runs_live()).count();
    let count = |binds| suite.statements.iter().filter(|s| s.binds == binds).count();
    writeln!(
        out,
        "\n{} statements: {} with rows, {} of the client's, {} of the front doors. {} rows, {live} \
         of them live.",
        suite.statements.len(),
        count(Binds::Server),
        count(Binds::Client),
        count(Binds::Doors),
        suite.rows.len(),
    )
    .unwrap();
}

fn write_statement(suite: &Suite, statement: &Statement, out: &mut String) {
    let rows: Vec<&Row> = suite
        .rows
        .iter()
        .filter(|row| row.ids.contains(&statement.id))
        .collect();
    let mut files: BTreeMap<&str, usize> = BTreeMap::new();
    for row in &rows {
        *files.entry(row.file.trim_end_matches(".toml")).or_default() += 1;
    }
    let in_files = files.iter().map(|(file, n)| format!("{file} {n}"));
    let in_tests = statement.tests.iter().map(|test| format!("`{test}`"));
    let listed: Vec<String> = in_files.chain(in_tests).collect();
    let state = match statement.binds {
        Binds::Client => "client",
        Binds::Doors => "front doors",
        Binds::Server if rows.iter().any(|row| row.runs_live()) => "live",
        Binds::Server => "pure",
    };
    let id = &statement.id[statement.id.find(':').map_or(0, |at| at + 1)..];
    let text = statement.text.replace('|', "\\|");
    writeln!(out, "| {id} | {text} | {} | {state} |", listed.join(", ")).unwrap();
}
