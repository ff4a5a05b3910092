//! A service over HTTP as a source of identities: one question for each client that connects.

mod answer;
mod options;

pub use answer::judge;
pub use options::Options;

use serde_json::{Map, Value};

use super::web::{Call, Web};
use super::{Judgement, Reach, Source};
use crate::auth::{AuthRequest, AuthStep};
use crate::codec::ReasonCode;
use options::{Form, Method};

/// The source.
pub struct Plugin {
    options: Options,
    web: Web,
}

impl Plugin {
    /// # Errors
    /// A file is not what it should be.
    pub fn start(options: Options) -> Result<Self, String> {
        let ca = options.cacertfile.as_deref();
        let web = Web::new(options.timeout, ca, options.pool)?;
        Ok(Self { options, web })
    }

    /// Whom it asks.
    pub fn detail(&self) -> String {
        self.options.url.clone()
    }

    fn ask(&self, request: &AuthRequest) -> Judgement {
        let fields = fields(&self.options.params, request);
        let (url, body) = match (self.options.method, self.options.form) {
            (Method::Get, _) => {
                let mark = if self.options.url.contains('?') {
                    '&'
                } else {
                    '?'
                };
                (
                    format!("{}{mark}{}", self.options.url, encoded(&fields)),
                    None,
                )
            }
            (Method::Post, Form::Urlencoded) => {
                let kind = "application/x-www-form-urlencoded";
                (self.options.url.clone(), Some((kind, encoded(&fields))))
            }
            (Method::Post, Form::Json) => {
                let fields: Map<String, Value> = fields
                    .into_iter()
                    .map(|(name, value)| (name.into(), value.map_or(Value::Null, Value::String)))
                    .collect();
                let body = Value::Object(fields).to_string();
                (self.options.url.clone(), Some(("application/json", body)))
            }
        };
        let call = Call {
            url: &url,
            body: body.as_ref().map(|(kind, body)| (*kind, body.as_bytes())),
            headers: &self.options.headers,
        };
        match self.web.call(call) {
            // Not to be known is said of a name: who has none and a password would come in further
            // down as one of those that say nothing.
            Ok(reply) if request.username.is_none() && answer::knows_nobody(reply.status) => {
                Judgement::Deny(ReasonCode::BadUserNameOrPassword)
            }
            Ok(reply) => answer::judge(reply.status, &reply.body),
            Err(why) => Judgement::Unavailable(why),
        }
    }
}

impl Source for Plugin {
    fn name(&self) -> &'static str {
        "http"
    }

    fn looks_further(&self) -> bool {
        true
    }

    fn can_recheck(&self) -> bool {
        false
    }

    fn reach(&self, question: &AuthRequest) -> Reach {
        let is_nobody = question.username.is_none() && question.password.is_none();
        match question.step == AuthStep::Recheck || question.method.is_some() || is_nobody {
            true => Reach::Beyond,
            false => Reach::Waits,
        }
    }

    fn judge(&self, question: &AuthRequest) -> Judgement {
        match self.reach(question) {
            Reach::Beyond => Judgement::Next,
            Reach::AtOnce | Reach::Waits => self.ask(question),
        }
    }
}

/// The fields with what they stand for; none where the client has none.
fn fields<'a>(
    params: &'a [(String, String)],
    request: &AuthRequest,
) -> Vec<(&'a str, Option<String>)> {
    let value = |value: &str| match value {
        "%u" => request.username.as_deref().map(Into::into),
        "%c" => Some(request.client_id.as_ref().into()),
        "%a" => Some(request.peer.address.ip().to_canonical().to_string()),
        "%P" => request
            .password
            .as_deref()
            .map(|password| String::from_utf8_lossy(password).into_owned()),
        fixed => Some(fixed.into()),
    };
    params
        .iter()
        .map(|(name, text)| (name.as_str(), value(text)))
        .collect()
}

/// `name=value&…`, so that no value can be taken for another field.
fn encoded(fields: &[(&str, Option<String>)]) -> String {
    let mut text = String::new();
    for (name, value) in fields {
        if !text.is_empty() {
            text.push('&');
        }
        escape(&mut text, name);
        text.push('=');
        escape(&mut text, value.as_deref().unwrap_or(""));
    }
    text
}

fn escape(out: &mut String, text: &str) {
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                out.push(char::from(byte));
            }
            _ => *out += &format!("%{byte:02X}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::plugin::file;
    use crate::identity::test_question;

    #[test]
    fn the_shipped_file_is_read() {
        let text = include_str!("../../../etc/plugins/auth_http.conf");
        let options: Result<Options, _> =
            file::read(std::path::Path::new("p.conf"), text, options::KEYS);
        let options = options.expect("the shipped file is good");
        assert_eq!(options.params, Options::default().params);
    }

    #[test]
    fn fields_hold_what_the_client_says_and_nothing_breaks_out() {
        let params = Options::default().params;
        let question = test_question("a&b=c", "p#ä", "c 1");
        assert_eq!(
            encoded(&fields(&params, &question)),
            "clientid=c%201&username=a%26b%3Dc&password=p%23%C3%A4&ipaddr=10.0.0.1"
        );
    }
}
