//! As much of Rust's lexical grammar as the checks need: comments, literals and lifetimes are
//! told from code, so that no rule is broken by a word in a sentence.

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A name, a keyword or a number.
    Word,
    /// One character of punctuation; `::`, `->` and the like are several tokens.
    Mark,
    /// A string, byte string or character, quotes included.
    Literal,
    Lifetime,
    /// A comment of any form, with its slashes.
    Comment,
}

#[derive(Clone, Debug)]
pub(crate) struct Token {
    pub(crate) kind: Kind,
    pub(crate) text: String,
    /// Line of the first character, from 1.
    pub(crate) line: usize,
    /// Line of the last character.
    pub(crate) end_line: usize,
}

impl Token {
    pub(crate) fn is(&self, text: &str) -> bool {
        matches!(self.kind, Kind::Word | Kind::Mark) && self.text == text
    }
}

pub(crate) fn tokens(text: &str) -> Vec<Token> {
    let mut lexer = Lexer {
        rest: text,
        line: 1,
    };
    let mut tokens = Vec::new();
    while let Some(token) = lexer.next() {
        tokens.push(token);
    }
    tokens
}

struct Lexer<'a> {
    rest: &'a str,
    line: usize,
}

impl Lexer<'_> {
    fn next(&mut self) -> Option<Token> {
        let blank = self.rest.len() - self.rest.trim_start().len();
        self.take(blank);
        let first = self.rest.chars().next()?;
        let (kind, len) = if self.rest.starts_with("//") {
            (
                Kind::Comment,
                self.rest.find('\n').unwrap_or(self.rest.len()),
            )
        } else if self.rest.starts_with("/*") {
            (Kind::Comment, block_comment_len(self.rest))
        } else if let Some(len) = literal_len(self.rest) {
            (Kind::Literal, len)
        } else if first == '\'' {
            (Kind::Lifetime, 1 + word_len(&self.rest[1..]))
        } else if first == '_' || first.is_alphanumeric() {
            (Kind::Word, word_len(self.rest))
        } else {
            (Kind::Mark, first.len_utf8())
        };
        let line = self.line;
        let text = self.take(len);
        Some(Token {
            kind,
            text,
            line,
            end_line: self.line,
        })
    }

    fn take(&mut self, len: usize) -> String {
        let (taken, rest) = self.rest.split_at(len);
        self.line += taken.matches('\n').count();
        self.rest = rest;
        taken.to_string()
    }
}

fn word_len(text: &str) -> usize {
    text.find(|c: char| c != '_' && !c.is_alphanumeric())
        .unwrap_or(text.len())
}

/// Block comments nest.
fn block_comment_len(text: &str) -> usize {
    let mut depth = 0;
    let mut at = 0;
    while at < text.len() {
        let rest = &text.as_bytes()[at..];
        if rest.starts_with(b"/*") {
            depth += 1;
            at += 2;
        } else if rest.starts_with(b"*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += 1;
        }
    }
    text.len()
}

/// Length of the string, byte string, C string or character that `text` starts with.
fn literal_len(text: &str) -> Option<usize> {
    let prefix = ["br", "cr", "b", "c", "r", ""]
        .into_iter()
        .find(|prefix| starts_quoted(text, prefix))?;
    let body = &text[prefix.len()..];
    let len = if prefix.ends_with('r') {
        raw_len(body)
    } else if body.starts_with('"') {
        escaped_len(body, '"')
    } else {
        character_len(body)?
    };
    Some(prefix.len() + len)
}

fn starts_quoted(text: &str, prefix: &str) -> bool {
    let Some(body) = text.strip_prefix(prefix) else {
        return false;
    };
    match prefix {
        "b" | "" => body.starts_with('"') || body.starts_with('\''),
        "c" => body.starts_with('"'),
        _ => body.trim_start_matches('#').starts_with('"'),
    }
}

fn raw_len(body: &str) -> usize {
    let hashes = body.len() - body.trim_start_matches('#').len();
    let end = format!("\"{}", "#".repeat(hashes));
    let start = hashes + 1;
    body[start..]
        .find(&end)
        .map_or(body.len(), |at| start + at + end.len())
}

fn escaped_len(body: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, c) in body.char_indices().skip(1) {
        if escaped {
            escaped = false;
        } else if c == '\\' {
            escaped = true;
        } else if c == quote {
            return at + c.len_utf8();
        }
    }
    body.len()
}

/// A character literal; nothing for a lifetime, which has no closing quote.
fn character_len(body: &str) -> Option<usize> {
    let mut chars = body.chars().skip(1);
    let first = chars.next()?;
    if first == '\\' {
        return Some(escaped_len(body, '\''));
    }
    (chars.next()? == '\'').then(|| 2 + first.len_utf8())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kinds(text: &str) -> Vec<(Kind, String)> {
        tokens(text)
            .into_iter()
            .map(|token| (token.kind, token.text))
            .collect()
    }

    #[test]
    fn literals_comments_and_lifetimes_are_told_apart() {
        for (text, kind) in [
            (r#""a \" // b""#, Kind::Literal),
            ("r#\"a \" b\"#", Kind::Literal),
            ("b'\\''", Kind::Literal),
            ("'\"'", Kind::Literal),
            ("'é'", Kind::Literal),
            ("'static", Kind::Lifetime),
            ("// \" open", Kind::Comment),
            ("/* a /* b */ c */", Kind::Comment),
            ("r_value", Kind::Word),
            ("60_000u64", Kind::Word),
        ] {
            assert_eq!(kinds(text), [(kind, text.to_string())]);
        }
    }

    #[test]
    fn lines_are_counted_through_everything() {
        let tokens = tokens("a\n/* \n */ \"x\ny\" b");
        let lines: Vec<_> = tokens.iter().map(|t| (t.line, t.end_line)).collect();
        assert_eq!(lines, [(1, 1), (2, 3), (3, 4), (4, 4)]);
    }
}
