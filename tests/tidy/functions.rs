//! How long functions get and how many parameters they take.

use crate::Breach;
use crate::lexer::{Kind, Token};
use crate::tree::Source;

const LINES_MAX: usize = 70;
/// Without the receiver.
const PARAMETERS_MAX: usize = 5;

#[derive(Debug, PartialEq, Eq)]
struct Function {
    name: String,
    line: usize,
    /// From the line of `fn` to that of the closing brace.
    lines: usize,
    parameters: usize,
}

pub(crate) fn sizes(source: &Source) -> Vec<Breach> {
    let mut breaches = Vec::new();
    for function in functions(&source.code) {
        let Function { name, line, .. } = &function;
        if function.lines > LINES_MAX {
            let what = format!("`{name}` has {} lines, over {LINES_MAX}", function.lines);
            breaches.push(Breach::new(source, *line, what));
        }
        if function.parameters > PARAMETERS_MAX {
            let count = function.parameters;
            let what = format!("`{name}` takes {count} parameters, over {PARAMETERS_MAX}");
            breaches.push(Breach::new(source, *line, what));
        }
    }
    breaches
}

fn functions(code: &[Token]) -> Vec<Function> {
    let starts = code.windows(2).enumerate().filter(|(_, pair)| {
        // `fn(u8) -> u8` is a type, and `fn $name` stands in a macro.
        pair[0].is("fn") && pair[1].kind == Kind::Word
    });
    starts.filter_map(|(at, _)| function(code, at)).collect()
}

/// The function whose `fn` stands at `at`; nothing where the text ends first.
fn function(code: &[Token], at: usize) -> Option<Function> {
    let name = &code[at + 1];
    let mut cursor = at + 2;
    if code.get(cursor)?.is("<") {
        cursor = close(code, cursor)? + 1;
    }
    let end_of_parameters = close(code, cursor)?;
    let parameters = parameters(&code[cursor + 1..end_of_parameters]);
    cursor = end_of_parameters + 1;
    while !code.get(cursor)?.is("{") && !code[cursor].is(";") {
        let opens = code[cursor].is("(") || code[cursor].is("[");
        cursor = if opens { close(code, cursor)? } else { cursor } + 1;
    }
    let end = if code[cursor].is("{") {
        close(code, cursor)?
    } else {
        cursor
    };
    Some(Function {
        name: name.text.clone(),
        line: code[at].line,
        lines: code[end].end_line + 1 - code[at].line,
        parameters,
    })
}

/// Index of the bracket that closes the one at `at`.
fn close(code: &[Token], at: usize) -> Option<usize> {
    let mut depth = 0_usize;
    let angles = code.get(at)?.is("<");
    for index in at..code.len() {
        depth = depth.checked_add_signed(nesting(code, index, angles))?;
        if depth == 0 {
            return Some(index);
        }
    }
    None
}

/// What the token at `at` adds to the depth of brackets. Angles count only among types.
fn nesting(code: &[Token], at: usize, angles: bool) -> isize {
    let token = &code[at];
    if token.kind != Kind::Mark {
        return 0;
    }
    let arrow = at > 0 && (code[at - 1].is("-") || code[at - 1].is("="));
    match token.text.as_str() {
        "(" | "[" | "{" => 1,
        ")" | "]" | "}" => -1,
        "<" if angles => 1,
        ">" if angles && !arrow => -1,
        _ => 0,
    }
}

/// How many parameters stand between the parentheses, the receiver left out. The inputs of a
/// property (`name in strategy`) are none: nobody calls it.
fn parameters(code: &[Token]) -> usize {
    if code.iter().any(|token| token.is("in")) {
        return 0;
    }
    let mut depth = 0;
    let mut count = 0;
    let mut open = false;
    for at in 0..code.len() {
        depth += nesting(code, at, true);
        if depth == 0 && code[at].is(",") {
            open = false;
        } else if !open {
            open = true;
            count += 1;
        }
    }
    count - usize::from(has_receiver(code))
}

fn has_receiver(code: &[Token]) -> bool {
    let first = code
        .iter()
        .find(|token| token.kind != Kind::Lifetime && !token.is("&") && !token.is("mut"));
    first.is_some_and(|token| token.is("self"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lexer::tokens;

    #[test]
    fn lines_and_parameters_are_counted() {
        for (text, lines, parameters) in [
            ("fn a() {}", 1, 0),
            ("fn a(&'a mut self, b: u8) -> [u8; 2] {\n}", 2, 1),
            (
                "fn a<F: Fn(u8, u8) -> u8>(f: F, m: HashMap<u8, u8>) where F: X {\n\n}",
                3,
                2,
            ),
            (
                "fn a(\n    b: impl Fn(u8, u8) -> u8,\n    (c, d): (u8, u8),\n);",
                4,
                2,
            ),
            (
                "fn a(b in 1..2, c in x(), d in y(), e in z(), f in w(), g in v()) {}",
                1,
                0,
            ),
            ("fn a(b: u8) { if b < 3 { c(\"}\") } }", 1, 1),
        ] {
            let found = functions(&tokens(text));
            assert_eq!(found.len(), 1, "{text}");
            assert_eq!(
                (found[0].lines, found[0].parameters),
                (lines, parameters),
                "{text}"
            );
        }
        assert!(functions(&tokens("let f: fn(u8) = g; fn $name() {}")).is_empty());
    }

    #[test]
    fn the_long_and_the_wide_are_told() {
        let long = format!("fn a() {{{}}}", "\n".repeat(LINES_MAX));
        let wide = "fn a(b: u8, c: u8, d: u8, e: u8, f: u8, g: u8) {}";
        let fits = "fn a(&self, b: u8, c: u8, d: u8, e: u8, f: u8) {}";
        for (text, count) in [(long.as_str(), 1), (wide, 1), (fits, 0)] {
            let source = Source::new("src/x.rs", crate::Area::Broker, text);
            assert_eq!(sizes(&source).len(), count, "{text}");
        }
    }
}
