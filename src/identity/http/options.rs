//! The keys of `auth_http.conf`: emqttd's own, as far as one answer says all, and some more.

use std::path::PathBuf;
use std::time::Duration;

use crate::config::{Error, Errors, Origin};
use crate::identity::plugin::file::{self, Key, number, seconds, word};
use crate::identity::web;

/// Everything that the file says.
#[derive(Clone)]
pub struct Options {
    pub url: String,
    pub method: Method,
    pub form: Form,
    /// Names of fields, and what is put into them.
    pub params: Vec<(String, String)>,
    pub headers: Vec<(String, String)>,
    /// Connections that are kept.
    pub pool: u32,
    pub timeout: Duration,
    /// Authorities for `https`; none: the system's.
    pub cacertfile: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    Get,
    Post,
}

/// How a POST says its fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    Json,
    Urlencoded,
}

impl Options {
    /// Reads the file.
    ///
    /// # Errors
    /// All mistakes, with their lines.
    pub fn load(path: &std::path::Path) -> Result<Self, Errors> {
        let options: Self = file::load(path, KEYS)?;
        if options.url.is_empty() {
            let path = path.to_path_buf();
            let message = "there is no service: set auth.http.auth_req";
            let error = Error::new(Origin::File { path, line: 1 }, message);
            return Err(Errors(vec![error]));
        }
        Ok(options)
    }
}

impl Default for Options {
    fn default() -> Self {
        let field = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        Self {
            url: String::new(),
            method: Method::Post,
            form: Form::Json,
            params: vec![
                field("clientid", "%c"),
                field("username", "%u"),
                field("password", "%P"),
                field("ipaddr", "%a"),
            ],
            headers: Vec::new(),
            pool: 8,
            timeout: Duration::from_secs(3),
            cacertfile: None,
        }
    }
}

/// `clientid=%c,username=%u`.
fn params(text: &str) -> Result<Vec<(String, String)>, String> {
    let pairs = text.split(',').map(str::trim);
    pairs
        .map(|pair| match pair.split_once('=') {
            Some((name, value)) if !name.trim().is_empty() => {
                Ok((name.trim().into(), value.trim().into()))
            }
            _ => Err(format!("`{pair}` is not name=value")),
        })
        .collect()
}

/// `Name: value`, one a line of the file.
fn header(text: &str) -> Result<(String, String), String> {
    let is_name = |name: &str| {
        !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
    };
    match text.split_once(':') {
        Some((name, value)) if is_name(name) && value.is_ascii() => {
            Ok((name.into(), value.trim().into()))
        }
        _ => Err(format!("`{text}` is not Name: value")),
    }
}

fn method(text: &str) -> Result<Method, String> {
    match text {
        "get" => Ok(Method::Get),
        "post" => Ok(Method::Post),
        _ => Err(format!("`{text}` is neither get nor post")),
    }
}

fn form(text: &str) -> Result<Form, String> {
    match text {
        "json" => Ok(Form::Json),
        "x-www-form-urlencoded" => Ok(Form::Urlencoded),
        _ => Err(format!(
            "`{text}` is neither json nor x-www-form-urlencoded"
        )),
    }
}

/// One line of the table below: the key, and the field that its text is read into.
macro_rules! keys {
    ($($name:literal => |$options:ident, $text:ident| $read:expr;)+) => {
        &[$(Key {
            name: $name,
            set: |$options: &mut Options, $text: &str| { $read; Ok(()) },
        }),+]
    };
}

/// The keys, emqttd's first.
pub const KEYS: &[Key<Options>] = keys! {
    "auth.http.auth_req" => |o, text| o.url = web::url(text)?;
    "auth.http.auth_req.method" => |o, text| o.method = method(text)?;
    "auth.http.auth_req.params" => |o, text| o.params = params(text)?;
    "auth.http.auth_req.content_type" => |o, text| o.form = form(text)?;
    "auth.http.auth_req.header" => |o, text| o.headers.push(header(text)?);
    "auth.http.pool" => |o, text| o.pool = number(text, 1, 256)?;
    "auth.http.timeout" => |o, text| {
        o.timeout = Duration::from_secs(seconds(text, 1, 60)?.into())
    };
    "auth.http.cacertfile" => |o, text| o.cacertfile = Some(word(text)?.into());
};
