//! The documents made from the table of keys are the ones in the tree, and the shipped file means
//! the defaults. `UPDATE_DOCUMENTS=1` writes them anew.

use std::path::Path;

use ringmq::config::keys::{KEYS, Key, Kind, LISTENER_KEYS, SECTIONS};
use ringmq::config::{Listener, Overrides, Settings, Sources, document};

#[test]
fn documents_are_made_from_the_table() {
    for (path, text) in [
        ("etc/ringmq.toml", document::example()),
        ("docs/configuration.md", document::reference()),
    ] {
        let full = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
        if std::env::var_os("UPDATE_DOCUMENTS").is_some() {
            std::fs::write(&full, &text).unwrap();
        }
        let found = std::fs::read_to_string(&full).unwrap_or_default();
        assert!(
            found == text,
            "{path} is not what the table says: run with UPDATE_DOCUMENTS=1"
        );
    }
}

#[test]
fn the_shipped_file_means_the_defaults() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("etc/ringmq.toml");
    let overrides = Overrides {
        config: Some(path),
        ..Overrides::default()
    };
    let mut shipped = Sources {
        overrides,
        variables: Vec::new(),
    }
    .load()
    .unwrap()
    .settings;
    shipped.node.data_dir = Default::default();
    assert_eq!(shipped, Settings::default());
}

#[test]
fn the_table_is_whole() {
    let paths: Vec<_> = KEYS.iter().map(|key| key.path()).collect();
    for (index, key) in KEYS.iter().enumerate() {
        assert!(
            !paths[..index].contains(&paths[index]),
            "{} is there twice",
            paths[index]
        );
        assert!(
            SECTIONS.iter().any(|(section, _)| *section == key.section),
            "{}",
            paths[index]
        );
        assert!(
            key.doc.ends_with('.'),
            "{}: words end with a full stop",
            paths[index]
        );
        assert_eq!(
            key.text(&Settings::default()),
            key.default_text(),
            "{}",
            paths[index]
        );
    }
    assert!(LISTENER_KEYS.iter().all(|key| key.doc.ends_with('.')));
}

/// Every number that a key lets through fits its field and reads back as itself.
#[test]
fn the_ends_of_every_range_fit() {
    KEYS.iter()
        .for_each(|key| ends_fit(key, Settings::default()));
    LISTENER_KEYS
        .iter()
        .for_each(|key| ends_fit(key, Listener::preset()));
}

fn ends_fit<T>(key: &Key<T>, mut target: T) {
    let (Kind::Number(range) | Kind::Size(range) | Kind::Duration(range)) = key.kind else {
        return;
    };
    for number in [range.min, range.max] {
        assert_eq!(
            key.set(&mut target, &number.to_string()),
            Ok(()),
            "{}",
            key.path()
        );
        let text = key.text(&target);
        assert_eq!(key.set(&mut target, &text), Ok(()), "{}", key.path());
        assert_eq!(key.text(&target), text, "{}", key.path());
    }
    let zero = key.set(&mut target, "0");
    assert_eq!(
        zero.is_ok(),
        range.min == 0 || range.zero.is_some(),
        "{}",
        key.path()
    );
    assert!(
        key.set(&mut target, &(range.max + 1).to_string()).is_err(),
        "{}",
        key.path()
    );
}
