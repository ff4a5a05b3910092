//! The conformance suite: see `docs/conformance.md`.

// The rows are played as soon as there is a shard to play them against.
#[allow(dead_code)]
#[path = "support/conformance/mod.rs"]
mod conformance;

use conformance::data::Suite;
use conformance::{document, vet};
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
