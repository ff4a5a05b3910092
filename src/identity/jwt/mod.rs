//! JSON Web Tokens as a source of identities: the token says who somebody is, until when, and what
//! it may do.

mod keys;
mod options;

pub use keys::key_set;
pub use options::Options;

use std::sync::Arc;

use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Validation, decode, decode_header};
use serde_json::{Map, Value};

use super::claims;
use super::{Judgement, Reach, Remember, Source};
use crate::auth::{AuthRequest, AuthStep, Grant, Identity, Rules};
use crate::codec::ReasonCode;
use keys::{Key, Keys};
use options::Field;

/// Longest token that is looked at.
const TOKEN_BYTES_MAX: usize = 64 * 1024;

/// The source; dropping this ends its thread.
pub struct Plugin {
    options: Options,
    keys: Arc<Keys>,
}

/// What the client says of itself.
struct Client<'a> {
    username: Option<&'a str>,
    client_id: &'a str,
}

/// Whether [`Plugin::start`] can read its files; nobody is asked.
///
/// # Errors
/// A file is not what it should be.
pub fn check(options: &Options) -> Result<(), String> {
    Keys::check(options)
}

impl Plugin {
    /// Reads the keys. Sentences say what does not work yet.
    ///
    /// # Errors
    /// A file is not what it should be.
    pub fn start(options: Options) -> Result<(Self, Vec<String>), String> {
        let (keys, warnings) = Keys::new(&options)?;
        Ok((Self { options, keys }, warnings))
    }

    /// How it is, in a line.
    pub fn detail(&self) -> String {
        format!("{} keys", self.keys.len())
    }

    fn decide(&self, request: &AuthRequest) -> Judgement {
        let Some(token) = self.token(request) else {
            return Judgement::Next;
        };
        let Ok(header) = decode_header(token) else {
            return Judgement::Next;
        };
        let refused = Judgement::Deny(ReasonCode::BadUserNameOrPassword);
        if !self.options.algorithms.is_empty() && !self.options.algorithms.contains(&header.alg) {
            return refused;
        }
        let keys = match self.keys.for_token(header.kid.as_deref(), header.alg) {
            Ok(keys) => keys,
            Err(why) => return Judgement::Unavailable(why),
        };
        let client = Client {
            username: request.username.as_deref(),
            client_id: &request.client_id,
        };
        for key in keys {
            match decode::<Map<String, Value>>(token, &key.key, &self.validation(&key)) {
                Ok(token) => {
                    return match self.grant(&token.claims, &client) {
                        Some(grant) => Judgement::Allow(grant, Remember::No),
                        None => refused,
                    };
                }
                Err(error) => match error.kind() {
                    ErrorKind::InvalidSignature | ErrorKind::InvalidAlgorithm => {}
                    // Rightly signed, and not good for here and now.
                    _ => return refused,
                },
            }
        }
        refused
    }

    fn token<'a>(&self, request: &'a AuthRequest) -> Option<&'a [u8]> {
        let token = match self.options.from {
            Field::Password => request.password.as_deref(),
            Field::Username => request.username.as_deref().map(str::as_bytes),
        };
        let is_asked = request.step != AuthStep::Recheck && request.method.is_none();
        token.filter(|token| is_asked && looks_like_one(token))
    }

    fn validation(&self, key: &Key) -> Validation {
        let mut validation = Validation::default();
        validation.algorithms.clone_from(&key.algorithms);
        validation.leeway = self.options.leeway_s.into();
        validation.validate_nbf = true;
        validation.required_spec_claims.clear();
        let required = [
            ("exp", !self.options.is_exp_optional),
            ("iss", self.options.issuer.is_some()),
            ("aud", self.options.audience.is_some()),
        ];
        let named = required.iter().filter(|(_, is_required)| *is_required);
        let named = named.map(|(name, _)| (*name).to_owned());
        validation.required_spec_claims.extend(named);
        if let Some(issuer) = &self.options.issuer {
            validation.set_issuer(&[issuer]);
        }
        match &self.options.audience {
            Some(audience) => validation.set_audience(&[audience]),
            // Whom the operator has not named, a token may name.
            None => validation.validate_aud = false,
        }
        validation
    }

    /// What a good token gives; none when it is not this client's.
    fn grant(&self, claims: &Map<String, Value>, client: &Client<'_>) -> Option<Grant> {
        let text = |name: &str| claims.get(name).and_then(Value::as_str);
        for (name, wanted) in self.options.claims() {
            let wanted = match wanted.as_str() {
                "%u" => client.username?,
                "%c" => client.client_id,
                fixed => fixed,
            };
            if text(name) != Some(wanted) {
                return None;
            }
        }
        let expires_unix_s = match claims.get("exp") {
            None => None,
            Some(Value::Number(number)) => {
                let seconds = number
                    .as_u64()
                    .or_else(|| number.as_f64().map(|s| s as u64));
                Some(seconds?.saturating_add(self.options.leeway_s.into()))
            }
            Some(_) => return None,
        };
        let rules = match claims.get("acl") {
            None | Some(Value::Null) => None,
            Some(rules) => Some(Arc::new(claims::rules(rules).unwrap_or_else(|why| {
                crate::log_limited!(error, 1, "a token's acl: {why}; its client may do nothing");
                Rules::deny_all()
            }))),
        };
        let identity = match text(&self.options.username_claim) {
            Some(name) => Identity::Named(name.into()),
            // The user name of CONNECT is a mere claim.
            None => Identity::Anonymous,
        };
        Some(Grant {
            identity,
            is_superuser: claims.get("is_superuser") == Some(&Value::Bool(true)),
            rules,
            expires_unix_s,
            ..Grant::default()
        })
    }
}

impl Source for Plugin {
    fn name(&self) -> &'static str {
        "jwt"
    }

    fn can_recheck(&self) -> bool {
        false
    }

    fn reach(&self, question: &AuthRequest) -> Reach {
        match self.token(question) {
            Some(_) => Reach::Waits,
            None => Reach::Beyond,
        }
    }

    fn judge(&self, question: &AuthRequest) -> Judgement {
        self.decide(question)
    }
}

impl Drop for Plugin {
    fn drop(&mut self) {
        self.keys.close();
    }
}

/// Three parts of base64url with full stops between them, and small enough.
fn looks_like_one(token: &[u8]) -> bool {
    let is_letter =
        |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'=');
    token.len() <= TOKEN_BYTES_MAX
        && token.iter().filter(|byte| **byte == b'.').count() == 2
        && token.iter().all(is_letter)
}

#[cfg(test)]
mod tests;
