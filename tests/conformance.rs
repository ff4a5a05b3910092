//! The conformance suite: see `docs/conformance.md`.

#[path = "support/conformance/mod.rs"]
mod conformance;
#[path = "support/wire.rs"]
mod layers;

use conformance::data::{Row, Settings, Suite};
use conformance::live::Live;
use conformance::play::{CUTS, Failure, describe, play};
use conformance::pure::Pure;
use conformance::{document, vet};
use layers::Over;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

#[test]
fn rows_are_sound_and_every_statement_of_the_server_has_one() {
    let complaints = vet::complaints(&Suite::load());
    assert!(complaints.is_empty(), "\n{}", complaints.join("\n"));
}

#[test]
fn document_is_what_the_data_says() {
    let text = document::page(&Suite::load());
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/conformance.md");
    if std::env::var_os("UPDATE_DOCUMENTS").is_some() {
        std::fs::write(&path, &text).unwrap();
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        found == text,
        "docs/conformance.md: run with UPDATE_DOCUMENTS=1"
    );
}

#[test]
fn rows_on_one_pure_shard() {
    play_pure(1);
}

#[test]
fn rows_on_three_pure_shards() {
    play_pure(3);
}

#[test]
fn rows_on_the_running_broker_whole() {
    play_live("whole", 0, 2);
}

#[test]
fn rows_on_the_running_broker_with_settings_of_their_own() {
    let suite = Suite::load();
    let mut failures = Failures::default();
    let rows = chosen(&suite).filter(|row| !row.settings.is_empty() && row.runs_live());
    for (index, row) in rows.enumerate() {
        let start = || Live::start(&format!("own-{index}"), &settings(&suite, row), 1);
        let mut live = start();
        for cut in CUTS.into_iter().filter(|cut| is_worth_playing(row, *cut)) {
            let outcome = play(row, cut, &mut live);
            match outcome {
                Ok(()) => live.wash(row),
                Err(_) => live = start(),
            }
            failures.note(row, cut, outcome);
        }
    }
    failures.report();
}

#[test]
fn rows_on_the_running_broker_cut_at_1() {
    play_live("cut-1", 1, 1);
}

#[test]
fn rows_on_the_running_broker_cut_at_2() {
    play_live("cut-2", 2, 1);
}

#[test]
fn rows_on_the_running_broker_cut_at_3() {
    play_live("cut-3", 3, 2);
}

#[test]
fn rows_on_the_running_broker_cut_at_5() {
    play_live("cut-5", 5, 1);
}

#[test]
fn rows_on_the_running_broker_cut_at_7() {
    play_live("cut-7", 7, 2);
}

#[test]
fn rows_over_tls() {
    play_over(Over::Tls, 0, 0);
}

#[test]
fn rows_over_tls_cut() {
    play_over(Over::Tls, 5, 7);
}

#[test]
fn rows_over_websocket() {
    play_over(Over::Ws, 0, 0);
}

#[test]
fn rows_over_websocket_cut() {
    play_over(Over::Ws, 3, 5);
}

#[test]
fn rows_over_websocket_and_tls() {
    play_over(Over::Wss, 0, 0);
}

#[test]
fn rows_over_websocket_and_tls_cut() {
    play_over(Over::Wss, 7, 11);
}

#[test]
fn rows_over_a_unix_socket() {
    play_over(Over::Unix, 2, 0);
}

#[test]
fn rows_behind_proxy_v2() {
    play_over(Over::Proxy, 0, 0);
}

#[test]
fn rows_behind_proxy_v2_cut() {
    play_over(Over::Proxy, 5, 3);
}

#[test]
fn rows_over_tls_behind_proxy_v2() {
    play_over(Over::ProxyTls, 0, 0);
}

#[test]
fn rows_over_tls_behind_proxy_v2_cut() {
    play_over(Over::ProxyTls, 3, 7);
}

fn play_pure(shards: u16) {
    let suite = Suite::load();
    let mut failures = Failures::default();
    for row in chosen(&suite).filter(|row| row.runs_pure()) {
        for cut in CUTS {
            let mut pure = Pure::new(&settings(&suite, row), shards);
            let outcome = catch_unwind(AssertUnwindSafe(|| play(row, cut, &mut pure)));
            match outcome {
                Ok(outcome) => failures.note(row, cut, outcome),
                Err(_) => failures
                    .list
                    .push(format!("{}, row \"{}\": panic", row.file, row.name)),
            }
        }
    }
    failures.report();
}

fn play_live(name: &str, cut: usize, shards: u16) {
    play_through(cut, |suite| Live::start(name, &suite.settings, shards));
}

/// The rows through the layers, MQTT cut at `cut`, and what goes into the socket at `wire_cut`.
fn play_over(over: Over, cut: usize, wire_cut: usize) {
    let name = format!("{over:?}-{cut}").to_lowercase();
    let over = (over, wire_cut);
    play_through(cut, |suite| {
        Live::start_over(over, &name, &suite.settings, 2)
    });
}

fn play_through(cut: usize, start: impl Fn(&Suite) -> Live) {
    let suite = Suite::load();
    let mut failures = Failures::default();
    let mut live = start(&suite);
    let rows = chosen(&suite)
        .filter(|row| row.runs_live() && row.settings.is_empty())
        .filter(|row| is_worth_playing(row, cut));
    for row in rows {
        let outcome = play(row, cut, &mut live);
        let failed = outcome.is_err();
        failures.note(row, cut, outcome);
        if live.has_ended() {
            failures.list.push("the broker has ended".into());
        }
        if failed {
            // The old one takes its folder along, which the new one has, too.
            drop(live);
            live = start(&suite);
        } else {
            live.wash(row);
        }
    }
    failures.report();
}

/// Waiting in pieces shows nothing that waiting whole does not.
fn is_worth_playing(row: &Row, cut: usize) -> bool {
    cut == 0 || row.steps.iter().all(|step| step.seconds() == 0)
}

/// The rows that `CONFORMANCE_ROW` asks for, all without it.
fn chosen(suite: &Suite) -> impl Iterator<Item = &Row> {
    let wanted = std::env::var("CONFORMANCE_ROW").unwrap_or_default();
    suite.rows.iter().filter(move |row| {
        row.name.contains(&wanted)
            || row.file.contains(&wanted)
            || row.ids.iter().any(|id| id.contains(&wanted))
    })
}

fn settings(suite: &Suite, row: &Row) -> Settings {
    let mut settings = suite.settings.clone();
    settings.extend(row.settings.clone());
    settings
}

#[derive(Default)]
struct Failures {
    list: Vec<String>,
    played: usize,
}

impl Failures {
    fn note(&mut self, row: &Row, cut: usize, outcome: Result<(), Failure>) {
        self.played += 1;
        if let Err(failure) = outcome {
            self.list.push(describe(row, cut, &failure));
        }
    }

    fn report(self) {
        println!("{} played, {} failed", self.played, self.list.len());
        assert!(self.list.is_empty(), "\n{}\n", self.list.join("\n"));
    }
}
