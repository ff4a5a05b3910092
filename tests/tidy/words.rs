//! What may not be written, and what may be written only with its reason beside it.

use crate::Breach;
use crate::lexer::{Kind, Token};
use crate::tree::Source;

const UNFINISHED_MACROS: [&str; 3] = ["todo", "unimplemented", "dbg"];
/// Spelled in halves, so that this table is not a breach of itself.
const UNFINISHED_NOTES: [&str; 3] = [
    concat!("FIX", "ME"),
    concat!("TO", "DO"),
    concat!("XX", "X"),
];
const MACHINE_PATHS: [&str; 4] = ["/work/", "/tmp/", "/home/", "/root/"];
/// Fewest words that make a message of `expect` a reason.
const REASON_WORDS_MIN: usize = 2;

pub(crate) fn unfinished(source: &Source) -> Vec<Breach> {
    let code = &source.code;
    let mut breaches = Vec::new();
    for (at, token) in code.iter().enumerate() {
        let next_is = |text: &str| code.get(at + 1).is_some_and(|next| next.is(text));
        let word = token.text.as_str();
        if token.kind == Kind::Word && UNFINISHED_MACROS.contains(&word) && next_is("!") {
            breaches.push(Breach::new(source, token.line, format!("`{word}!`")));
        }
        if token.is("ignore") && at >= 2 && code[at - 1].is("[") && code[at - 2].is("#") {
            breaches.push(Breach::new(source, token.line, "an ignored test"));
        }
    }
    for comment in &source.comments {
        let note = UNFINISHED_NOTES
            .iter()
            .find(|note| comment.text.contains(**note));
        if let Some(note) = note {
            breaches.push(Breach::new(
                source,
                comment.line,
                format!("a note `{note}`"),
            ));
        }
    }
    breaches
}

pub(crate) fn machine_paths(source: &Source) -> Vec<Breach> {
    let lines = source.text.lines().enumerate();
    lines
        .filter_map(|(index, line)| {
            let path = MACHINE_PATHS.iter().find(|path| line.contains(**path))?;
            Some(Breach::new(source, index + 1, format!("the path `{path}`")))
        })
        .collect()
}

/// An `unsafe` block or impl has `SAFETY:` in the comment at or right above it; an unsafe function
/// has a section `# Safety` in its documentation.
pub(crate) fn unsafe_reasons(source: &Source) -> Vec<Breach> {
    let code = &source.code;
    let mut breaches = Vec::new();
    for (at, token) in code.iter().enumerate() {
        if !token.is("unsafe") || at > 0 && code[at - 1].is("(") {
            continue;
        }
        let declares = code
            .get(at + 1)
            .is_some_and(|next| next.is("fn") || next.is("extern") || next.is("trait"));
        let wanted = if declares { "# Safety" } else { "SAFETY:" };
        if !comment_above(source, token.line).contains(wanted) {
            let what = format!("no `{wanted}` comment above");
            breaches.push(Breach::new(source, token.line, what));
        }
    }
    breaches
}

/// The comments on the line and on the unbroken run of comment and attribute lines above the
/// statement that the line is part of.
fn comment_above(source: &Source, line: usize) -> String {
    let lines: Vec<&str> = source.text.lines().collect();
    let mut told = comments_on(source, line);
    let mut above = statement_start(&lines, line) - 1;
    while above > 0 {
        let text = lines[above - 1].trim_start();
        if !text.starts_with("//") && !text.starts_with("#[") {
            break;
        }
        told = format!("{text}\n{told}");
        above -= 1;
    }
    told
}

fn comments_on(source: &Source, line: usize) -> String {
    let comments = source
        .comments
        .iter()
        .filter(|comment| comment.line == line);
    comments.map(|comment| comment.text.as_str()).collect()
}

/// First line of the statement that holds `line`: lines that continue one end in neither `;` nor
/// a brace nor a comma.
fn statement_start(lines: &[&str], line: usize) -> usize {
    let mut start = line;
    while start > 1 {
        let above = lines[start - 2].trim();
        let ends = above.is_empty()
            || above.starts_with("//")
            || above.starts_with("#[")
            || above.ends_with([';', '{', '}', ',']);
        if ends {
            break;
        }
        start -= 1;
    }
    start
}

/// Outside tests `unwrap` has a comment that says why it cannot fail, on its line or right above
/// its statement; the message of `expect` says it itself.
pub(crate) fn unwrap_reasons(source: &Source) -> Vec<Breach> {
    let code = source.product_code();
    let mut breaches = Vec::new();
    for at in 1..code.len() {
        let token = &code[at];
        let called = code[at - 1].is(".") && code.get(at + 1).is_some_and(|next| next.is("("));
        let unreasoned = called
            && match token.text.as_str() {
                "unwrap" | "unwrap_unchecked" => true,
                "expect" => !says_why(code.get(at + 2)),
                _ => false,
            };
        if unreasoned && comment_above(source, token.line).is_empty() {
            let what = format!("`{}` without a reason", token.text);
            breaches.push(Breach::new(source, token.line, what));
        }
    }
    breaches
}

fn says_why(message: Option<&Token>) -> bool {
    message.is_some_and(|message| {
        message.kind != Kind::Literal || message.text.split_whitespace().count() >= REASON_WORDS_MIN
    })
}

/// After `#[cfg(test)] mod tests` nothing follows.
pub(crate) fn tests_last(source: &Source) -> Vec<Breach> {
    let Some(start) = source.tests_at() else {
        return Vec::new();
    };
    let code = &source.code;
    let mut depth = 0_usize;
    // A module in a file of its own ends with a semicolon and may stand among other modules.
    for (at, token) in code.iter().enumerate().skip(start + 8) {
        if token.is(";") && depth == 0 {
            return Vec::new();
        }
        depth += usize::from(token.is("{"));
        depth -= usize::from(token.is("}"));
        if token.is("}") && depth == 0 {
            return code
                .get(at + 1)
                .map(|next| Breach::new(source, next.line, "code after the tests"))
                .into_iter()
                .collect();
        }
    }
    Vec::new()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Area;

    fn count(text: &str, rule: fn(&Source) -> Vec<Breach>) -> usize {
        rule(&Source::new("src/x.rs", Area::Broker, text)).len()
    }

    #[test]
    fn unfinished_work_is_told() {
        for text in ["todo!()", "dbg!(x)", "#[ignore]", "#[ignore = \"slow\"]"] {
            assert_eq!(count(text, unfinished), 1, "{text}");
        }
        for note in UNFINISHED_NOTES {
            assert_eq!(count(&format!("// {note}: later"), unfinished), 1);
        }
        for text in ["\"todo!()\"", "let todo = 1;", "// ignore", "x.ignore()"] {
            assert_eq!(count(text, unfinished), 0, "{text}");
        }
    }

    #[test]
    fn paths_of_a_machine_are_told() {
        assert_eq!(count("let a = \"/tmp/x\";", machine_paths), 1);
        assert_eq!(count("let a = \"/var/lib/ringmq\";", machine_paths), 0);
    }

    #[test]
    fn unsafe_needs_its_reason() {
        for text in [
            "let a = unsafe { b() };",
            "// why\nunsafe impl Send for A {}",
            "// SAFETY: b\n\nlet a = unsafe { b() };",
            "/// Does.\nunsafe fn a() {}",
        ] {
            assert_eq!(count(text, unsafe_reasons), 1, "{text}");
        }
        for text in [
            "// SAFETY: b\nlet a = unsafe { b() };",
            "// SAFETY: b\n// c\nlet a =\n    unsafe { b() };",
            "let a = unsafe { b() }; // SAFETY: b",
            "/// Does.\n/// # Safety\n/// b\n#[inline]\npub unsafe fn a() {}",
            "#![deny(unsafe_op_in_unsafe_fn)]",
        ] {
            assert_eq!(count(text, unsafe_reasons), 0, "{text}");
        }
    }

    #[test]
    fn unwrap_needs_its_reason() {
        for text in ["fn a() { b.unwrap(); }", "fn a() { b.expect(\"b\"); }"] {
            assert_eq!(count(text, unwrap_reasons), 1, "{text}");
        }
        for text in [
            "fn a() {\n    // The length was checked.\n    b.unwrap();\n}",
            "fn a() { b.unwrap(); // never empty\n }",
            "fn a() { b.expect(\"the length was checked\"); }",
            "fn a() { b.unwrap_or(c); }",
            "#[cfg(test)]\nmod tests { fn a() { b.unwrap(); } }",
        ] {
            assert_eq!(count(text, unwrap_reasons), 0, "{text}");
        }
    }

    #[test]
    fn tests_stand_at_the_end() {
        assert_eq!(
            count(
                "#[cfg(test)]\nmod tests { fn a() {} }\nfn b() {}",
                tests_last
            ),
            1
        );
        assert_eq!(
            count(
                "fn b() {}\n#[cfg(test)]\nmod tests { fn a() {} }",
                tests_last
            ),
            0
        );
        assert_eq!(
            count("mod a;\n#[cfg(test)]\nmod tests;\nmod b;", tests_last),
            0
        );
    }
}
