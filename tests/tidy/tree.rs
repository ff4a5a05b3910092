//! The sources that the rules hold for, read once a check.

use std::fs;
use std::path::Path;

use crate::lexer::{self, Kind, Token};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Area {
    Broker,
    LoadTester,
    Tests,
    Benches,
    Fuzz,
}

/// Every folder with Rust in it.
const AREAS: [(&str, Area); 5] = [
    ("src", Area::Broker),
    ("loadtest/src", Area::LoadTester),
    ("tests", Area::Tests),
    ("benches", Area::Benches),
    ("fuzz", Area::Fuzz),
];

#[derive(Debug)]
pub(crate) struct Source {
    /// From the root of the repository.
    pub(crate) path: String,
    pub(crate) area: Area,
    pub(crate) text: String,
    /// Everything but comments.
    pub(crate) code: Vec<Token>,
    pub(crate) comments: Vec<Token>,
}

impl Source {
    pub(crate) fn new(path: &str, area: Area, text: &str) -> Self {
        let (comments, code) = lexer::tokens(text)
            .into_iter()
            .partition(|token| token.kind == Kind::Comment);
        Self {
            path: path.to_string(),
            area,
            text: text.to_string(),
            code,
            comments,
        }
    }

    /// The part that is not tests: up to `#[cfg(test)]` before an item that ends the file, and
    /// nothing of a file that is all tests.
    pub(crate) fn product_code(&self) -> &[Token] {
        let all_tests = self.path.ends_with("/tests.rs") || self.path.contains("/tests/");
        let end = if self.area == Area::Tests || all_tests {
            0
        } else {
            self.tests_at().unwrap_or(self.code.len())
        };
        &self.code[..end]
    }

    /// Index in `code` of the `#` of `#[cfg(test)] mod …`.
    pub(crate) fn tests_at(&self) -> Option<usize> {
        let wanted = ["#", "[", "cfg", "(", "test", ")", "]", "mod"];
        self.code.windows(wanted.len()).position(|window| {
            window
                .iter()
                .zip(wanted)
                .all(|(token, text)| token.is(text))
        })
    }
}

pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

pub(crate) fn sources() -> Vec<Source> {
    let mut sources = Vec::new();
    for (folder, area) in AREAS {
        visit(folder, area, &mut sources);
    }
    sources.sort_by(|a, b| a.path.cmp(&b.path));
    sources
}

fn visit(folder: &str, area: Area, sources: &mut Vec<Source>) {
    let Ok(entries) = fs::read_dir(root().join(folder)) else {
        return;
    };
    for entry in entries {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        let path = format!("{folder}/{name}");
        if entry.file_type().unwrap().is_dir() {
            if !name.starts_with('.') && name != "target" && name != "node_modules" {
                visit(&path, area, sources);
            }
        } else if name.ends_with(".rs") {
            let text = fs::read_to_string(entry.path()).unwrap();
            sources.push(Source::new(&path, area, &text));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tests_are_cut_off() {
        let text = "fn a() {}\n#[cfg(test)]\nmod tests { fn b() {} }";
        let source = Source::new("src/x.rs", Area::Broker, text);
        assert!(source.product_code().iter().any(|token| token.is("a")));
        assert!(!source.product_code().iter().any(|token| token.is("b")));
        let helper = "#[cfg(test)]\nfn a() {}\nfn b() {}";
        let source = Source::new("src/x.rs", Area::Broker, helper);
        assert!(source.product_code().iter().any(|token| token.is("b")));
        let source = Source::new("src/x/tests.rs", Area::Broker, "fn b() {}");
        assert!(source.product_code().is_empty());
    }
}
