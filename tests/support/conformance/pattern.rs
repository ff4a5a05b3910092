//! Bytes as rows write them, and what a packet has to look like.
//!
//! Tokens: two hex digits; `"text"`; `..` any byte; `...` any rest; `{p}` a packet identifier,
//! taken where it is first expected and the same ever after; `78*500` a byte so many times;
//! `props(A, B)` a property section, length and all, with these properties in any order.
//!
//! Instead of tokens, a packet of MQTT 5 by its fields, whatever properties it has:
//! `connack(session present, code, +PROPERTY, -ID)`, `disconnect(code, ..)`, `auth(code, ..)`,
//! `puback(id, code)` and its kin, `suback(id, codes)`, `unsuback(id, codes)`; codes may be
//! alternatives, as in `81|82`.

use super::wire;
use std::collections::BTreeMap;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Token {
    Byte(u8),
    Any,
    Rest,
    Id(String),
    Props(Vec<Vec<Token>>),
}

#[derive(Clone, Debug)]
pub enum Pattern {
    Tokens(Vec<Token>),
    Fields(Fields),
}

/// A packet of MQTT 5, matched by its fields.
#[derive(Clone, Debug)]
pub struct Fields {
    kind: Kind,
    /// Packet identifier, or the acknowledge flags of CONNACK.
    head: Vec<Token>,
    /// The reason codes, each as its alternatives.
    codes: Vec<Vec<u8>>,
    with: Vec<Vec<Token>>,
    without: Vec<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Connack,
    /// PUBACK to PUBCOMP: identifier, then optionally code and properties.
    Ack(u8),
    /// SUBACK and UNSUBACK: identifier, properties, codes.
    Codes(u8),
    /// DISCONNECT and AUTH: optionally code and properties.
    Reason(u8),
}

/// Packet identifiers that were captured.
pub type Captures = BTreeMap<String, [u8; 2]>;

/// Reads a pattern for one packet.
pub fn parse(text: &str) -> Result<Pattern, String> {
    let text = text.trim();
    let kind = match text.split_once('(').map(|(name, _)| name) {
        Some("connack") => Kind::Connack,
        Some("puback") => Kind::Ack(0x40),
        Some("pubrec") => Kind::Ack(0x50),
        Some("pubrel") => Kind::Ack(0x62),
        Some("pubcomp") => Kind::Ack(0x70),
        Some("suback") => Kind::Codes(0x90),
        Some("unsuback") => Kind::Codes(0xb0),
        Some("disconnect") => Kind::Reason(0xe0),
        Some("auth") => Kind::Reason(0xf0),
        _ => return Ok(Pattern::Tokens(parse_tokens(text)?)),
    };
    let inner = text
        .split_once('(')
        .and_then(|(_, rest)| rest.strip_suffix(')'));
    parse_fields(kind, inner.ok_or("no closing parenthesis")?).map(Pattern::Fields)
}

fn parse_fields(kind: Kind, text: &str) -> Result<Fields, String> {
    let mut fields = Fields {
        kind,
        head: vec![],
        codes: vec![],
        with: vec![],
        without: vec![],
    };
    let mut args = text.split(',').map(str::trim);
    if !matches!(kind, Kind::Reason(_)) {
        let head = args.next().ok_or("no first field")?;
        fields.head = match kind {
            Kind::Connack => parse_tokens(&format!("0{head}"))?,
            _ => parse_tokens(head)?,
        };
    }
    let codes = args.next().ok_or("no code")?;
    for code in codes.split(' ') {
        let alternatives = code.split('|').map(|code| u8::from_str_radix(code, 16));
        fields.codes.push(
            alternatives
                .collect::<Result<_, _>>()
                .map_err(|_| "no code")?,
        );
    }
    for arg in args {
        if let Some(property) = arg.strip_prefix('+') {
            fields.with.push(parse_tokens(property)?);
        } else if let Some(id) = arg.strip_prefix('-') {
            fields
                .without
                .push(u8::from_str_radix(id, 16).map_err(|_| "no property")?);
        } else {
            return Err(format!("`{arg}` is neither +PROPERTY nor -ID"));
        }
    }
    Ok(fields)
}

/// Reads bytes.
pub fn parse_tokens(text: &str) -> Result<Vec<Token>, String> {
    let mut tokens = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        rest = match first {
            '"' => parse_text(&rest[1..], &mut tokens)?,
            '{' => {
                let (name, after) = rest[1..].split_once('}').ok_or("no closing brace")?;
                tokens.push(Token::Id(name.into()));
                after
            }
            '.' => {
                let dots = rest.bytes().take_while(|&byte| byte == b'.').count();
                tokens.push(match dots {
                    2 => Token::Any,
                    3 => Token::Rest,
                    _ => return Err("two dots or three".into()),
                });
                &rest[dots..]
            }
            _ if rest.starts_with("props(") => {
                let (inner, after) = rest[6..].split_once(')').ok_or("no closing parenthesis")?;
                let items = inner
                    .split(',')
                    .map(parse_tokens)
                    .collect::<Result<_, _>>()?;
                tokens.push(Token::Props(items));
                after
            }
            _ => parse_hex(rest, &mut tokens)?,
        };
        rest = rest.trim_start();
    }
    Ok(tokens)
}

fn parse_text<'a>(text: &'a str, tokens: &mut Vec<Token>) -> Result<&'a str, String> {
    let (inner, after) = text.split_once('"').ok_or("no closing quote")?;
    tokens.extend(inner.bytes().map(Token::Byte));
    Ok(after)
}

fn parse_hex<'a>(text: &'a str, tokens: &mut Vec<Token>) -> Result<&'a str, String> {
    let end = text.find(' ').unwrap_or(text.len());
    let (word, after) = text.split_at(end);
    let (digits, count) = word.split_once('*').unwrap_or((word, "1"));
    let count = count.parse().map_err(|_| format!("`{word}`: no count"))?;
    if digits.len() % 2 != 0 || !digits.is_ascii() {
        return Err(format!("`{word}`: no hex"));
    }
    for _ in 0..count {
        for at in (0..digits.len()).step_by(2) {
            let byte = u8::from_str_radix(&digits[at..at + 2], 16);
            tokens.push(Token::Byte(byte.map_err(|_| format!("`{word}`: no hex"))?));
        }
    }
    Ok(after)
}

/// The bytes to send, with what was captured filled in.
pub fn bytes(tokens: &[Token], captures: &Captures) -> Result<Vec<u8>, String> {
    let mut out = Vec::new();
    for token in tokens {
        match token {
            Token::Byte(byte) => out.push(*byte),
            Token::Id(name) => out.extend(
                captures
                    .get(name)
                    .ok_or_else(|| format!("{{{name}}} is not known"))?,
            ),
            Token::Any | Token::Rest | Token::Props(_) => return Err("only bytes are sent".into()),
        }
    }
    Ok(out)
}

impl Pattern {
    /// Whether `packet` matches; what it captures is added to `captures` if it does.
    pub fn matches(&self, packet: &[u8], captures: &mut Captures) -> bool {
        let mut taken = captures.clone();
        let matched = match self {
            Pattern::Tokens(tokens) => match_tokens(tokens, packet, &mut taken),
            Pattern::Fields(fields) => fields.matches(packet, &mut taken).unwrap_or(false),
        };
        if matched {
            *captures = taken;
        }
        matched
    }
}

impl Fields {
    fn matches(&self, packet: &[u8], captures: &mut Captures) -> Option<bool> {
        let body = wire::body(packet);
        let (head, codes, properties) = match self.kind {
            Kind::Connack => {
                let (properties, rest) = wire::properties(body.get(2..)?)?;
                if packet[0] != 0x20 || !rest.is_empty() {
                    return None;
                }
                (&body[..1], &body[1..2], properties)
            }
            Kind::Codes(header) => {
                let (properties, codes) = wire::properties(body.get(2..)?)?;
                (packet[0] == header).then_some((&body[..2], codes, properties))?
            }
            Kind::Ack(header) => {
                let (code, properties) = reason(body.get(2..)?)?;
                (packet[0] == header).then_some((&body[..2], code, properties))?
            }
            Kind::Reason(header) => {
                let (code, properties) = reason(body)?;
                (packet[0] == header).then_some((&body[..0], code, properties))?
            }
        };
        Some(
            match_tokens(&self.head, head, captures)
                && self.codes.len() == codes.len()
                && self
                    .codes
                    .iter()
                    .zip(codes)
                    .all(|(allowed, code)| allowed.contains(code))
                && self.properties_match(&properties),
        )
    }

    fn properties_match(&self, found: &[&[u8]]) -> bool {
        let has = |wanted: &Vec<Token>| {
            found
                .iter()
                .any(|item| match_tokens(wanted, item, &mut Captures::new()))
        };
        self.with.iter().all(has) && !found.iter().any(|item| self.without.contains(&item[0]))
    }
}

/// Code and properties that may both be left out at the end of a packet.
fn reason(bytes: &[u8]) -> Option<(&[u8], Vec<&[u8]>)> {
    match bytes {
        [] => Some((&[0], vec![])),
        [_] => Some((bytes, vec![])),
        [_, rest @ ..] => {
            let (properties, rest) = wire::properties(rest)?;
            rest.is_empty().then_some((&bytes[..1], properties))
        }
    }
}

fn match_tokens(tokens: &[Token], bytes: &[u8], captures: &mut Captures) -> bool {
    let Some((token, later)) = tokens.split_first() else {
        return bytes.is_empty();
    };
    match token {
        Token::Rest => true,
        Token::Props(wanted) => match wire::properties(bytes) {
            Some((found, rest)) => {
                match_properties(wanted, &found) && match_tokens(later, rest, captures)
            }
            None => false,
        },
        Token::Id(name) => {
            let Some((&id, rest)) = bytes.split_first_chunk::<2>() else {
                return false;
            };
            let known = *captures.entry(name.clone()).or_insert(id);
            id != [0, 0] && known == id && match_tokens(later, rest, captures)
        }
        Token::Any => !bytes.is_empty() && match_tokens(later, &bytes[1..], captures),
        Token::Byte(_) => {
            // Runs of plain bytes in one go: rows have messages of 64 KiB.
            let run = tokens
                .iter()
                .take_while(|token| matches!(token, Token::Byte(_)))
                .count();
            bytes.len() >= run
                && tokens
                    .iter()
                    .zip(&bytes[..run])
                    .all(|(t, byte)| *t == Token::Byte(*byte))
                && match_tokens(&tokens[run..], &bytes[run..], captures)
        }
    }
}

/// The same properties, in any order, but for user properties among themselves.
fn match_properties(wanted: &[Vec<Token>], found: &[&[u8]]) -> bool {
    const USER: u8 = 0x26;
    let is_user = |tokens: &&Vec<Token>| tokens.first() == Some(&Token::Byte(USER));
    let same = |tokens: &Vec<Token>, item: &[u8]| match_tokens(tokens, item, &mut Captures::new());
    let users_wanted: Vec<_> = wanted.iter().filter(is_user).collect();
    let users_found: Vec<_> = found.iter().filter(|item| item[0] == USER).collect();
    let mut others: Vec<_> = wanted.iter().filter(|tokens| !is_user(tokens)).collect();
    let in_order = users_wanted.len() == users_found.len()
        && users_wanted
            .iter()
            .zip(users_found)
            .all(|(tokens, item)| same(tokens, item));
    in_order
        && found.iter().filter(|item| item[0] != USER).all(|item| {
            let at = others.iter().position(|tokens| same(tokens, item));
            at.map(|at| others.swap_remove(at)).is_some()
        })
        && others.is_empty()
}

/// The least and the most bytes that tokens stand for; no most where a rest is open.
pub fn length(tokens: &[Token]) -> (usize, Option<usize>) {
    let mut least = 0;
    let mut open = false;
    for token in tokens {
        least += match token {
            Token::Byte(_) | Token::Any => 1,
            Token::Id(_) => 2,
            Token::Rest => {
                open = true;
                0
            }
            Token::Props(items) => {
                let section = items.iter().map(|item| length(item).0).sum();
                let mut prefix = Vec::new();
                wire::put_varint(section, &mut prefix);
                prefix.len() + section
            }
        };
    }
    (least, (!open).then_some(least))
}
