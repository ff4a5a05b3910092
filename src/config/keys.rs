//! What a key is: its name, what it takes, its default, when a change of it acts, and its words.
//! The keys themselves are in `table.rs`.

use super::choice::{
    AclNomatch, AllowAnonymous, Authentication, CertificateNames, ClientCertificates,
    DeniedPublish, ListenerClientCertificates, LogLevel, QueueDrop, TlsVersion,
};
use super::listen::ListenUrl;
pub use super::table::{KEYS, LISTENER_KEYS, SECTIONS};
use super::value::{Slot, Value};
use super::{cpus, unit};
use crate::base::Network;
use crate::limits;

/// One line of the table, for a key that lives in a `T`.
pub struct Key<T: 'static> {
    pub section: &'static str,
    pub name: &'static str,
    pub kind: Kind,
    pub default: Preset,
    pub reload: Reload,
    /// For people: `bytes`, `s`, `messages`; empty when the kind says it all.
    pub unit: &'static str,
    /// Whole sentences, one paragraph.
    pub doc: &'static str,
    pub(super) store: fn(&mut T, Value),
    pub(super) load: fn(&T) -> Value,
}

/// What a key takes.
#[derive(Debug, Clone, Copy)]
pub enum Kind {
    Bool,
    Number(Range),
    /// Bytes, with or without unit.
    Size(Range),
    /// Whole seconds, with or without unit.
    Duration(Range),
    Choice(&'static [&'static str]),
    /// Some of these words, each at most once, in an order that matters.
    List(&'static [&'static str]),
    NodeName,
    Path,
    /// Paths, with commas between.
    Paths,
    /// Networks, with commas between.
    Networks,
    /// The path of a URL.
    UrlPath,
    /// Origins of pages, with commas between.
    Origins,
    /// A list of CPUs, `0-3,6`.
    Cpus,
    /// A prefix for topics, without wildcards.
    Mountpoint,
    /// Who may use a file, in octal.
    FileMode,
    Url,
}

/// Numbers allowed, both ends included, and words for the special ones.
#[derive(Debug, Clone, Copy)]
pub struct Range {
    pub min: u64,
    pub max: u64,
    /// What 0 means where it is allowed although it may be below `min`.
    pub zero: Option<&'static str>,
    /// What `max` is called (`never`), where it has a name.
    pub top: Option<&'static str>,
}

/// A default, in the table's own terms so that the compiler can hold relations between them.
#[derive(Debug, Clone, Copy)]
pub enum Preset {
    Bool(bool),
    Number(u64),
    Text(&'static str),
}

/// When a change of the file acts, after a reload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reload {
    /// At once, for everybody.
    Live,
    /// For connections made after the reload.
    NewConnections,
    /// When the process starts again.
    Restart,
}

impl<T> Key<T> {
    /// `section.name`.
    pub fn path(&self) -> String {
        format!("{}.{}", self.section, self.name)
    }

    /// `RINGMQ_SECTION_NAME`.
    pub fn variable(&self) -> String {
        format!("RINGMQ_{}_{}", self.section, self.name).to_ascii_uppercase()
    }

    pub fn default_text(&self) -> String {
        match self.default {
            Preset::Bool(value) => value.to_string(),
            Preset::Number(number) => self.kind.format(&Value::Number(number)),
            Preset::Text(text) => text.into(),
        }
    }

    /// Checks `text` and puts its value where it belongs.
    ///
    /// # Errors
    /// What the key takes instead, as a sentence without the key's name.
    pub fn set(&self, target: &mut T, text: &str) -> Result<(), String> {
        (self.store)(target, self.kind.parse(text)?);
        Ok(())
    }

    /// The value in the shortest form that reads back as itself.
    pub fn text(&self, source: &T) -> String {
        self.kind.format(&(self.load)(source))
    }
}

impl Range {
    pub const fn of(min: u64, max: u64) -> Self {
        Self {
            min,
            max,
            zero: None,
            top: None,
        }
    }

    /// From 1 to `max`, and 0 with a meaning of its own.
    pub const fn or_zero(max: u64, zero: &'static str) -> Self {
        Self {
            min: 1,
            max,
            zero: Some(zero),
            top: None,
        }
    }

    /// Up to the largest number of four bytes, which has a name.
    pub const fn until(top: &'static str) -> Self {
        Self {
            min: 0,
            max: limits::EXPIRY_NEVER_S as u64,
            zero: None,
            top: Some(top),
        }
    }

    fn check(&self, number: u64, format: fn(u64) -> String) -> Result<Value, String> {
        let allowed = (self.min..=self.max).contains(&number) || number == 0 && self.zero.is_some();
        if allowed {
            return Ok(Value::Number(number));
        }
        let (min, max) = (format(self.min), format(self.max));
        let zero = self
            .zero
            .map_or(String::new(), |meaning| format!(", or 0 ({meaning})"));
        Err(format!(
            "{} is out of range: {min} to {max}{zero}",
            format(number)
        ))
    }
}

impl Kind {
    /// The one way from text to a value.
    ///
    /// # Errors
    /// What is allowed instead.
    pub fn parse(&self, text: &str) -> Result<Value, String> {
        match self {
            Self::Bool => match text {
                "true" => Ok(Value::Bool(true)),
                "false" => Ok(Value::Bool(false)),
                _ => Err(format!("`{text}` is neither true nor false")),
            },
            Self::Number(range) => match text.replace('_', "").parse() {
                Ok(number) => range.check(number, |number| number.to_string()),
                Err(_) => Err(format!("`{text}` is not a whole number")),
            },
            Self::Size(range) => range.check(unit::parse_size(text)?, unit::format_size),
            Self::Duration(range) if range.top == Some(text) => Ok(Value::Number(range.max)),
            Self::Duration(range) => {
                range.check(unit::parse_duration_s(text)?, unit::format_duration_s)
            }
            Self::Choice(words) if words.contains(&text) => Ok(Value::Text(text.into())),
            Self::Choice(words) => Err(format!("`{text}` is none of {}", words.join(", "))),
            Self::List(words) => list(text, words),
            Self::NodeName => node_name(text),
            Self::Path | Self::Paths => Ok(Value::Text(text.into())),
            Self::Networks => each(text, |network| {
                network
                    .parse::<Network>()
                    .map(|network| network.to_string())
            }),
            Self::UrlPath => url_path(text),
            Self::Origins => each(text, origin),
            Self::Cpus => cpus::parse_list(text).map(Value::Cpus),
            Self::Mountpoint => mountpoint(text),
            Self::FileMode => file_mode(text),
            Self::Url => text
                .parse::<ListenUrl>()
                .map(|url| Value::Text(url.to_string())),
        }
    }

    /// Text that reads back as the same value.
    pub fn format(&self, value: &Value) -> String {
        match (self, value) {
            (Self::Size(_), Value::Number(number)) => unit::format_size(*number),
            (Self::Duration(range), Value::Number(number)) => match range.top {
                Some(top) if *number == range.max => top.into(),
                _ => unit::format_duration_s(*number),
            },
            (Self::FileMode, Value::Number(mode)) => format!("{mode:04o}"),
            (_, value) => value.plain(),
        }
    }

    /// What the key takes, for documents: `size, 1KiB to 4GiB`.
    pub fn describe(&self) -> String {
        let bounds = |range: &Range, format: fn(u64) -> String| {
            let top = range
                .top
                .map_or_else(|| format(range.max), |top| format!("`{top}`"));
            let zero = range
                .zero
                .map_or(String::new(), |meaning| format!("; 0: {meaning}"));
            format!("{} to {top}{zero}", format(range.min))
        };
        match self {
            Self::Bool => "true or false".into(),
            Self::Number(range) => format!("number, {}", bounds(range, |n| n.to_string())),
            Self::Size(range) => format!("size, {}", bounds(range, unit::format_size)),
            Self::Duration(range) => {
                format!("duration, {}", bounds(range, unit::format_duration_s))
            }
            Self::Choice(words) => format!("one of {}", words.join(", ")),
            Self::List(words) => format!("list of {}", words.join(", ")),
            Self::NodeName => "name@host".into(),
            Self::Path => "path".into(),
            Self::Paths => "list of paths".into(),
            Self::Networks => "list of networks, as `10.0.0.0/8,::1`".into(),
            Self::UrlPath => "path of a URL, as `/mqtt`".into(),
            Self::Origins => "list of origins, as `https://example.org`".into(),
            Self::Cpus => "list of CPUs, as `0-3,6`".into(),
            Self::Mountpoint => "topic prefix".into(),
            Self::FileMode => "mode of a file, as `0660`".into(),
            Self::Url => "`tcp://ADDRESS:PORT`, `unix://PATH`".into(),
        }
    }
}

impl Reload {
    pub fn describe(self) -> &'static str {
        match self {
            Self::Live => "at once",
            Self::NewConnections => "new connections",
            Self::Restart => "restart",
        }
    }
}

/// The name stands as one level in `$SYS/brokers/{node}/…`, so nothing that splits or matches.
fn node_name(text: &str) -> Result<Value, String> {
    let plain = |part: &str| {
        !part.is_empty()
            && part
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || "._-:[]".contains(c))
    };
    match text.split_once('@') {
        Some((name, host)) if plain(name) && plain(host) && text.len() <= 255 => {
            Ok(Value::Text(text.into()))
        }
        _ => Err(format!(
            "`{text}` is no node name: write name@host in letters, digits, . _ -"
        )),
    }
}

fn list(text: &str, words: &[&str]) -> Result<Value, String> {
    let mut items: Vec<&str> = Vec::new();
    for item in text
        .split(',')
        .map(str::trim)
        .filter(|item| !item.is_empty())
    {
        if !words.contains(&item) {
            return Err(format!("`{item}` is none of {}", words.join(", ")));
        }
        if items.contains(&item) {
            return Err(format!("`{item}` is there twice"));
        }
        items.push(item);
    }
    Ok(Value::Text(items.join(",")))
}

/// A list with commas between, each item checked.
fn each(text: &str, item: impl Fn(&str) -> Result<String, String>) -> Result<Value, String> {
    let items = text
        .split(',')
        .map(str::trim)
        .filter(|part| !part.is_empty());
    let items: Result<Vec<_>, _> = items.map(item).collect();
    Ok(Value::Text(items?.join(",")))
}

fn url_path(text: &str) -> Result<Value, String> {
    let plain = |c: char| c.is_ascii_graphic() && !"?#".contains(c);
    match text.starts_with('/') && text.chars().all(plain) {
        true => Ok(Value::Text(text.into())),
        false => Err(format!("`{text}` is no path of a URL: write /mqtt")),
    }
}

/// As a browser writes it: scheme and host, and the port unless it is the usual one.
fn origin(text: &str) -> Result<String, String> {
    let host = text
        .strip_prefix("https://")
        .or_else(|| text.strip_prefix("http://"));
    match host {
        Some(host) if !host.is_empty() && !host.contains('/') => Ok(text.to_ascii_lowercase()),
        _ => Err(format!(
            "`{text}` is no origin: write https://example.org, without a path"
        )),
    }
}

fn mountpoint(text: &str) -> Result<Value, String> {
    if text.contains(['+', '#', '\0']) {
        return Err(format!("`{text}` is no topic prefix: no +, # or NUL"));
    }
    if text.len() > limits::TOPIC_BYTES_MAX / 2 {
        return Err("the topic prefix is too long".into());
    }
    Ok(Value::Text(text.into()))
}

fn file_mode(text: &str) -> Result<Value, String> {
    // The zero is asked for so that a number of TOML, which is decimal, is not taken for octal.
    match u64::from_str_radix(text, 8) {
        Ok(mode) if text.starts_with('0') && mode <= 0o777 => Ok(Value::Number(mode)),
        _ => Err(format!(
            "`{text}` is no mode of a file: write \"0660\", as text"
        )),
    }
}

/// The words of each choice, for the table.
pub(super) const LOG_LEVELS: Kind = Kind::Choice(LogLevel::WORDS);
pub(super) const QUEUE_DROPS: Kind = Kind::Choice(QueueDrop::WORDS);
pub(super) const ACL_NOMATCH: Kind = Kind::Choice(AclNomatch::WORDS);
pub(super) const DENIED_PUBLISH: Kind = Kind::Choice(DeniedPublish::WORDS);
pub(super) const AUTHENTICATION: Kind = Kind::Choice(Authentication::WORDS);
pub(super) const CERTIFICATE_NAMES: Kind = Kind::Choice(CertificateNames::WORDS);
pub(super) const CHAIN: Kind =
    Kind::List(&["certificate", "users", "file", "postgres", "jwt", "http"]);
pub(super) const ALLOW_ANONYMOUS: Kind = Kind::Choice(AllowAnonymous::WORDS);
pub(super) const CLIENT_CERTIFICATES: Kind = Kind::Choice(ClientCertificates::WORDS);
pub(super) const LISTENER_CLIENT_CERTIFICATES: Kind =
    Kind::Choice(ListenerClientCertificates::WORDS);
pub(super) const TLS_VERSIONS: Kind = Kind::Choice(TlsVersion::WORDS);

/// Puts a value into a field and takes it out, by the field's own type.
pub(super) fn store<S: Slot>(slot: &mut S, value: Value) {
    slot.store(value);
}

pub(super) fn load<S: Slot>(slot: &S) -> Value {
    slot.load()
}
