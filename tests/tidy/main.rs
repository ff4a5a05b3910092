//! Style and layering, held by a test: which module may name which, what the pure core may not
//! see, how long files, functions and lines get, what may not be written at all, and that every
//! dependency has its reason in `docs/dependencies.md`. `docs/style.md` tells the rules in words.

mod dependencies;
mod functions;
mod layers;
mod lexer;
mod links;
mod sizes;
mod tree;
mod words;

use tree::{Area, Source};

/// One breach: where, and what.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Breach {
    path: String,
    line: usize,
    what: String,
}

impl Breach {
    fn new(source: &Source, line: usize, what: impl Into<String>) -> Self {
        Self {
            path: source.path.clone(),
            line,
            what: what.into(),
        }
    }
}

/// Fails with every breach in its own line, `path:line: what`, as editors and terminals like it.
fn report(rule: &str, mut breaches: Vec<Breach>) {
    breaches.sort();
    let lines: Vec<String> = breaches
        .iter()
        .map(|breach| format!("{}:{}: {}", breach.path, breach.line, breach.what))
        .collect();
    assert!(
        lines.is_empty(),
        "{rule}: {} breaches\n{}",
        lines.len(),
        lines.join("\n")
    );
}

fn check(rule: &str, of: impl Fn(&Source) -> Vec<Breach>) {
    report(rule, tree::sources().iter().flat_map(of).collect());
}

fn check_product(rule: &str, of: impl Fn(&Source) -> Vec<Breach>) {
    let sources = tree::sources();
    let product = sources
        .iter()
        .filter(|source| source.area == Area::Broker || source.area == Area::LoadTester);
    report(rule, product.flat_map(of).collect());
}

#[test]
fn the_tree_is_found() {
    let sources = tree::sources();
    for area in [Area::Broker, Area::LoadTester, Area::Tests] {
        assert!(
            sources.iter().any(|source| source.area == area),
            "no source in {area:?}: the walk is broken"
        );
    }
}

#[test]
fn modules_point_one_way() {
    check("module direction", layers::direction);
}

#[test]
fn the_pure_core_sees_no_world() {
    check("pure core", layers::purity);
}

#[test]
fn files_stay_small() {
    let sources = tree::sources();
    check("file length", sizes::file);
    report("file lengths together", sizes::spread(&sources));
}

#[test]
fn lines_fit() {
    check("line width", sizes::columns);
}

#[test]
fn functions_stay_small() {
    check("functions", functions::sizes);
}

#[test]
fn nothing_is_left_unfinished() {
    check("unfinished work", words::unfinished);
}

#[test]
fn no_machine_is_named() {
    check_product("paths of one machine", words::machine_paths);
}

#[test]
fn unsafe_says_why() {
    check("unsafe without a reason", words::unsafe_reasons);
}

#[test]
fn panics_say_why() {
    check_product("unwrap without a reason", words::unwrap_reasons);
}

#[test]
fn tests_come_last() {
    check_product("tests before the end", words::tests_last);
}

#[test]
fn dependencies_have_reasons() {
    report("docs/dependencies.md", dependencies::check());
}

#[test]
fn licences_are_permissive() {
    report("licences of all dependencies", dependencies::check_all());
}

#[test]
fn links_lead_somewhere() {
    report("links between documents", links::check());
}
