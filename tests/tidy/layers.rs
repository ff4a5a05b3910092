//! Which module may name which, and what the pure core may not name at all.

use crate::Breach;
use crate::lexer::{Kind, Token};
use crate::tree::{Area, Source};

/// Modules of the broker from the ground up. A module may name those of the rows before its own.
const LAYERS: [&[&str]; 9] = [
    &["limits"],
    &["base"],
    &["codec"],
    &["message"],
    &["routing", "auth"],
    &["session"],
    &["shard"],
    &["config", "control", "identity", "logging", "net", "store"],
    &["runtime"],
];
/// The top: they may name everything, and nothing names them but the binary.
const TOP: [&str; 3] = ["cli", "lib", "main"];
/// Modules of one row that may name each other all the same, with the reason in `docs/style.md`.
const SIDEWAYS: [(&str, &str); 5] = [
    ("control", "config"),
    ("control", "logging"),
    ("config", "logging"),
    ("identity", "config"),
    ("identity", "logging"),
];
/// What the load tester may name of the broker: the codec, what the codec is made of, and how an
/// executor waits for many sockets.
const LOAD_TESTER: [&str; 5] = ["limits", "base", "codec", "net", "runtime"];
const PURE: [&str; 7] = [
    "base", "codec", "message", "routing", "auth", "session", "shard",
];
/// Words that no product code of the pure core holds, wherever they stand.
const BANNED_WORDS: [&str; 14] = [
    "async",
    "await",
    "glommio",
    "tokio",
    "rustix",
    "libc",
    "rand",
    "getrandom",
    "thread_rng",
    "RandomState",
    "crossbeam_channel",
    "tracing",
    "thread_local",
    "println",
];
/// Parts of the standard library that reach the world.
const BANNED_STD: [&str; 6] = ["thread", "fs", "env", "process", "io", "os"];
/// Addresses are values; everything else of `std::net` is a socket.
const NET_VALUES: [&str; 7] = [
    "IpAddr",
    "Ipv4Addr",
    "Ipv6Addr",
    "SocketAddr",
    "SocketAddrV4",
    "SocketAddrV6",
    "AddrParseError",
];

pub(crate) fn direction(source: &Source) -> Vec<Breach> {
    match source.area {
        Area::Broker => broker_direction(source),
        Area::LoadTester => named(source)
            .into_iter()
            .filter(|named| named.root == "ringmq" && !LOAD_TESTER.contains(&named.module.as_str()))
            .map(|named| {
                let what = format!("the load tester names `ringmq::{}`", named.module);
                Breach::new(source, named.line, what)
            })
            .collect(),
        Area::Tests | Area::Benches | Area::Fuzz => Vec::new(),
    }
}

fn broker_direction(source: &Source) -> Vec<Breach> {
    let own = module_of(&source.path);
    if TOP.contains(&own) {
        return Vec::new();
    }
    let Some(own_layer) = layer(own) else {
        let what = format!("module `{own}` has no layer: give it one in tests/tidy/layers.rs");
        return vec![Breach::new(source, 1, what)];
    };
    let mut breaches = Vec::new();
    for Named { line, module, .. } in named(source) {
        let allowed = module == own
            || layer(&module).is_some_and(|layer| layer < own_layer)
            || SIDEWAYS.contains(&(own, module.as_str()))
            || !(layer(&module).is_some() || TOP.contains(&module.as_str()));
        if !allowed {
            breaches.push(Breach::new(
                source,
                line,
                format!("`{own}` names `{module}`"),
            ));
        }
    }
    breaches
}

fn layer(module: &str) -> Option<usize> {
    LAYERS.iter().position(|modules| modules.contains(&module))
}

/// `routing` of `src/routing/trie.rs`, `limits` of `src/limits.rs`.
fn module_of(path: &str) -> &str {
    let path = path.strip_prefix("src/").unwrap_or(path);
    let end = path.find('/').unwrap_or(path.len());
    path[..end].trim_end_matches(".rs")
}

/// A module of the crate `root` that a path names.
struct Named {
    root: String,
    module: String,
    line: usize,
}

fn named(source: &Source) -> Vec<Named> {
    let code = &source.code;
    let mut named = Vec::new();
    let mut depth = module_depth(&source.path);
    let mut braces = Vec::new();
    for at in 0..code.len() {
        let token = &code[at];
        if token.is("{") {
            let opens_module = at >= 2 && code[at - 2].is("mod");
            braces.push(opens_module);
            depth += usize::from(opens_module);
        } else if token.is("}") && braces.pop() == Some(true) {
            depth -= 1;
        }
        let starts_path = at == 0 || !code[at - 1].is(":");
        if token.is("crate") || token.is("ringmq") && starts_path {
            push_named(&mut named, code, at);
        } else if token.is("super") && starts_path {
            let supers = super_count(code, at);
            if supers == depth {
                push_named(&mut named, code, at + 3 * (supers - 1));
            }
        }
    }
    named
}

/// How many `super` lead from the file to the root of the crate.
fn module_depth(path: &str) -> usize {
    let parts = path.matches('/').count();
    if path.ends_with("/mod.rs") {
        parts - 1
    } else {
        parts
    }
}

fn super_count(code: &[Token], at: usize) -> usize {
    let mut count = 1;
    while code
        .get(at + 3 * count)
        .is_some_and(|token| token.is("super"))
    {
        count += 1;
    }
    count
}

/// What follows the root word at `at`: one name, or the first names of a group in braces.
fn push_named(named: &mut Vec<Named>, code: &[Token], at: usize) {
    let is = |at: usize, text: &str| code.get(at).is_some_and(|token| token.is(text));
    if !is(at + 1, ":") || !is(at + 2, ":") {
        return;
    }
    let mut push = |index: usize| {
        if let Some(token) = code.get(index)
            && token.kind == Kind::Word
            && !is(index + 1, "!")
        {
            named.push(Named {
                root: code[at].text.clone(),
                module: token.text.clone(),
                line: token.line,
            });
        }
    };
    if !is(at + 3, "{") {
        push(at + 3);
        return;
    }
    let mut depth = 0;
    for index in at + 3..code.len() {
        if is(index, "{") {
            depth += 1;
        } else if is(index, "}") {
            depth -= 1;
        }
        if depth == 0 {
            return;
        }
        if depth == 1 && (is(index, "{") || is(index, ",")) {
            push(index + 1);
        }
    }
}

pub(crate) fn purity(source: &Source) -> Vec<Breach> {
    if source.area != Area::Broker || !PURE.contains(&module_of(&source.path)) {
        return Vec::new();
    }
    let code = source.product_code();
    let mut breaches = Vec::new();
    for (at, token) in code.iter().enumerate() {
        let text = token.text.as_str();
        let what = if token.kind != Kind::Word {
            None
        } else if BANNED_WORDS.contains(&text) {
            Some(format!("`{text}`"))
        } else if matches!(text, "Instant" | "SystemTime") && path_next(code, at) == Some("now") {
            Some(format!("`{text}::now`"))
        } else if text == "std" {
            banned_std(code, at)
        } else {
            None
        };
        if let Some(what) = what {
            breaches.push(Breach::new(
                source,
                token.line,
                format!("{what} in the pure core"),
            ));
        }
    }
    breaches
}

fn path_next(code: &[Token], at: usize) -> Option<&str> {
    let colons = code.get(at + 1)?.is(":") && code.get(at + 2)?.is(":");
    colons.then(|| code.get(at + 3).map(|token| token.text.as_str()))?
}

/// A use of the standard library at `at` that the pure core may not make.
fn banned_std(code: &[Token], at: usize) -> Option<String> {
    let first = path_next(code, at)?;
    if BANNED_STD.contains(&first) {
        return Some(format!("`std::{first}`"));
    }
    let rest = &code[at + 3..];
    let end = rest.iter().position(|token| token.is(";"))?;
    let mut words = rest[..end].iter().filter(|token| token.kind == Kind::Word);
    match first {
        "net" => words
            .skip(1)
            .take_while(|token| token.text != "std")
            .find(|token| is_type(token) && !NET_VALUES.contains(&token.text.as_str()))
            .map(|token| format!("`std::net::{}`", token.text)),
        "{" => words
            .find(|token| BANNED_STD.contains(&token.text.as_str()))
            .map(|token| format!("`std::{}`", token.text)),
        _ => None,
    }
}

fn is_type(token: &Token) -> bool {
    token.text.starts_with(|c: char| c.is_ascii_uppercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(path: &str, text: &str, rule: fn(&Source) -> Vec<Breach>) -> Vec<String> {
        let area = if path.starts_with("src") {
            Area::Broker
        } else {
            Area::LoadTester
        };
        rule(&Source::new(path, area, text))
            .into_iter()
            .map(|breach| breach.what)
            .collect()
    }

    #[test]
    fn a_look_upwards_is_told() {
        for (path, text, module) in [
            ("src/codec/frame.rs", "use crate::shard::Shard;", "shard"),
            ("src/codec/frame.rs", "use crate::{base::Id, net};", "net"),
            (
                "src/codec/packet/ack.rs",
                "use super::super::super::session::X;",
                "session",
            ),
            (
                "src/codec/mod.rs",
                "mod t { fn a() { super::super::cli::run() } }",
                "cli",
            ),
            (
                "src/routing/mod.rs",
                "fn a(m: crate::session::Session) {}",
                "session",
            ),
            ("src/net/mod.rs", "use crate::config::Settings;", "config"),
        ] {
            let own = module_of(path);
            assert_eq!(
                told(path, text, direction),
                [format!("`{own}` names `{module}`")],
                "{text}"
            );
        }
        assert_eq!(told("src/odd.rs", "", direction).len(), 1);
        assert_eq!(
            told(
                "loadtest/src/main.rs",
                "use ringmq::shard::Shard;",
                direction
            )
            .len(),
            1
        );
    }

    #[test]
    fn a_look_downwards_is_fine() {
        for (path, text) in [
            (
                "src/shard/mod.rs",
                "use crate::{base::{Id, net}, session::Session};",
            ),
            (
                "src/codec/packet/ack.rs",
                "use super::super::net; // crate::shard",
            ),
            (
                "src/codec/frame.rs",
                "pub(crate) fn a() { log(\"crate::shard\") }",
            ),
            ("src/cli/mod.rs", "use crate::runtime::Broker;"),
            ("loadtest/src/main.rs", "use ringmq::codec::Packet;"),
        ] {
            assert_eq!(told(path, text, direction), Vec::<String>::new(), "{text}");
        }
    }

    #[test]
    fn the_world_is_told_in_the_pure_core() {
        for text in [
            "async fn a() {}",
            "use glommio::Task;",
            "use std::net::TcpStream;",
            "use std::net::{IpAddr, UdpSocket};",
            "let t = Instant::now();",
            "let t = std::time::SystemTime::now();",
            "std::thread::spawn(f);",
            "use std::{fmt, fs};",
            "let map = HashMap::<u8, u8, RandomState>::default();",
        ] {
            assert_eq!(told("src/shard/mod.rs", text, purity).len(), 1, "{text}");
            assert!(told("src/net/mod.rs", text, purity).is_empty(), "{text}");
        }
        for text in [
            "use std::net::{IpAddr, SocketAddr};",
            "fn a(now: Instant) {}",
            "/// async",
            "use std::{fmt, mem};",
            "#[cfg(test)] mod tests { use std::thread; }",
        ] {
            assert!(told("src/shard/mod.rs", text, purity).is_empty(), "{text}");
        }
    }
}
