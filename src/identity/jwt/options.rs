//! The keys of `auth_jwt.conf`: emqttd's own, and some that it did not have.

use std::path::PathBuf;
use std::time::Duration;

use jsonwebtoken::Algorithm;

use crate::config::{Error, Errors, Origin};
use crate::identity::plugin::file::{self, Key, boolean, seconds, word};
use crate::identity::web;

/// Everything that the file says.
#[derive(Clone)]
pub struct Options {
    /// For HS256, HS384 and HS512.
    pub secret: Option<String>,
    /// A public key in PEM.
    pub pubkey: Option<PathBuf>,
    pub jwks: Option<Jwks>,
    /// How old a key set gets that came from an address.
    pub jwks_refresh: Duration,
    /// Authorities for an address of `https`; none: the system's.
    pub cacertfile: Option<PathBuf>,
    pub from: Field,
    /// Empty: all that the keys are good for.
    pub algorithms: Vec<Algorithm>,
    pub issuer: Option<String>,
    pub audience: Option<String>,
    /// How far clocks may be apart.
    pub leeway_s: u32,
    /// The claim that names the client for access rules.
    pub username_claim: String,
    /// Whether a token without `exp` is good: it never ends.
    pub is_exp_optional: bool,
    verifies: bool,
    claims: Vec<(String, String)>,
}

/// Where key sets come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Jwks {
    File(PathBuf),
    Url(String),
}

/// The field of CONNECT that holds the token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Field {
    Username,
    Password,
}

impl Options {
    /// Reads the file.
    ///
    /// # Errors
    /// All mistakes, with their lines.
    pub fn load(path: &std::path::Path) -> Result<Self, Errors> {
        let options: Self = file::load(path, KEYS)?;
        if options.secret.is_none() && options.pubkey.is_none() && options.jwks.is_none() {
            let path = path.to_path_buf();
            let message = "there is no key: set auth.jwt.secret, pubkey or jwks";
            let error = Error::new(Origin::File { path, line: 1 }, message);
            return Err(Errors(vec![error]));
        }
        Ok(options)
    }

    /// Claims that have to be what the client says of itself, `%u` and `%c`, or a fixed text.
    pub fn claims(&self) -> &[(String, String)] {
        match self.verifies {
            true => &self.claims,
            false => &[],
        }
    }
}

impl Default for Options {
    fn default() -> Self {
        Self {
            secret: None,
            pubkey: None,
            jwks: None,
            jwks_refresh: Duration::from_secs(300),
            cacertfile: None,
            from: Field::Password,
            algorithms: Vec::new(),
            issuer: None,
            audience: None,
            leeway_s: 0,
            username_claim: "sub".into(),
            is_exp_optional: true,
            verifies: false,
            claims: Vec::new(),
        }
    }
}

fn jwks(text: &str) -> Result<Option<Jwks>, String> {
    Ok(Some(match text.contains("://") {
        true => Jwks::Url(web::url(text)?),
        false => Jwks::File(word(text)?.into()),
    }))
}

fn from(text: &str) -> Result<Field, String> {
    match text {
        "username" => Ok(Field::Username),
        "password" => Ok(Field::Password),
        _ => Err(format!("`{text}` is neither username nor password")),
    }
}

fn algorithms(text: &str) -> Result<Vec<Algorithm>, String> {
    let words = text.split(',').map(str::trim);
    words
        .map(|word| {
            word.parse()
                .map_err(|_| format!("`{word}` is no algorithm: HS256, RS256, ES256, EdDSA …"))
        })
        .collect()
}

/// `verify_claims = username:%u, sub:%c`: names and what they have to be.
fn claims(text: &str) -> Result<Vec<(String, String)>, String> {
    let pairs = text.split(',').map(str::trim);
    pairs
        .map(|pair| match pair.split_once(':') {
            Some((name, value)) if !name.trim().is_empty() => {
                Ok((name.trim().into(), value.trim().into()))
            }
            _ => Err(format!("`{pair}` is not claim:value")),
        })
        .collect()
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
    "auth.jwt.secret" => |o, text| o.secret = Some(word(text)?);
    "auth.jwt.from" => |o, text| o.from = from(text)?;
    "auth.jwt.pubkey" => |o, text| o.pubkey = Some(word(text)?.into());
    "auth.jwt.verify_claims" => |o, text| o.verifies = boolean(text)?;
    "auth.jwt.verify_claims.username" => |o, text| {
        o.claims.push(("username".into(), word(text)?))
    };
    "auth.jwt.verify_claims.clientid" => |o, text| {
        o.claims.push(("clientid".into(), word(text)?))
    };
    "auth.jwt.verify_claims.sub" => |o, text| o.claims.push(("sub".into(), word(text)?));
    "auth.jwt.claims" => |o, text| {
        o.verifies = true;
        o.claims.extend(claims(text)?)
    };
    "auth.jwt.jwks" => |o, text| o.jwks = jwks(text)?;
    "auth.jwt.jwks_refresh" => |o, text| {
        o.jwks_refresh = Duration::from_secs(seconds(text, 5, 86_400)?.into())
    };
    "auth.jwt.cacertfile" => |o, text| o.cacertfile = Some(word(text)?.into());
    "auth.jwt.algorithms" => |o, text| o.algorithms = algorithms(text)?;
    "auth.jwt.issuer" => |o, text| o.issuer = Some(word(text)?);
    "auth.jwt.audience" => |o, text| o.audience = Some(word(text)?);
    "auth.jwt.leeway" => |o, text| o.leeway_s = seconds(text, 0, 3600)?;
    "auth.jwt.username_claim" => |o, text| o.username_claim = word(text)?;
    "auth.jwt.exp_required" => |o, text| o.is_exp_optional = !boolean(text)?;
};
