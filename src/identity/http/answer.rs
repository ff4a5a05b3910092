//! What a service answers.
//!
//! A status of 2xx lets in; 400, 401, 403 and those about what the client said do not; 404 and 410
//! say that there is nobody of that name; anything else is no answer. With 2xx the body says more:
//! JSON with `result` (`allow`, `deny`, `ignore`), `is_superuser`, `acl` (rules), `expires_at`
//! (seconds since the Unix epoch); or, as for emqttd, the one word `ignore`.

use std::sync::Arc;

use serde_json::{Map, Value};

use crate::auth::{Grant, Rules};
use crate::codec::ReasonCode;
use crate::identity::claims;
use crate::identity::{Judgement, Remember, Scope};

/// What an answer means. It is remembered only where the service says so.
pub fn judge(status: u16, body: &[u8]) -> Judgement {
    let refused = Judgement::Deny(ReasonCode::BadUserNameOrPassword);
    match status {
        200..=299 => {}
        400 | 401 | 403 => return refused,
        // What this client said is too long or makes no sense. Were it no answer, whoever says such
        // things could have the service taken for one that is down.
        413 | 414 | 422 | 431 => return refused,
        _ if knows_nobody(status) => {
            // The whole service may be elsewhere, and nobody would see why all are refused.
            crate::log_limited!(
                info,
                1,
                "http: status {status}, taken for a user that the service does not know"
            );
            return Judgement::Next;
        }
        // Not about the client: where we ask, how, or how fast.
        _ => return Judgement::Unavailable(format!("status {status}")),
    }
    let body = body.trim_ascii();
    if body.eq_ignore_ascii_case(b"ignore") {
        return Judgement::Next;
    }
    if !body.starts_with(b"{") {
        return Judgement::Allow(Grant::default(), Remember::No);
    }
    let said: Map<String, Value> = match serde_json::from_slice(body) {
        Ok(said) => said,
        Err(error) => return Judgement::Unavailable(format!("its JSON: {error}")),
    };
    match said.get("result").map(Value::as_str) {
        None | Some(Some("allow")) => allow(&said),
        Some(Some("deny")) => refused,
        Some(Some("ignore")) => Judgement::Next,
        Some(_) => Judgement::Unavailable("its `result` is none of allow, deny and ignore".into()),
    }
}

/// Whether the service says that it does not know the user.
pub fn knows_nobody(status: u16) -> bool {
    matches!(status, 404 | 410)
}

fn allow(said: &Map<String, Value>) -> Judgement {
    let rules = match said.get("acl") {
        None | Some(Value::Null) => None,
        Some(rules) => Some(Arc::new(claims::rules(rules).unwrap_or_else(|why| {
            crate::log_limited!(
                error,
                1,
                "the service's acl: {why}; its client may do nothing"
            );
            Rules::deny_all()
        }))),
    };
    let expires_unix_s = match said.get("expires_at") {
        None | Some(Value::Null) => None,
        Some(number) => match number.as_u64() {
            Some(seconds) => Some(seconds),
            None => return Judgement::Unavailable("its `expires_at` is no number".into()),
        },
    };
    let grant = Grant {
        is_superuser: said.get("is_superuser") == Some(&Value::Bool(true)),
        rules,
        expires_unix_s,
        ..Grant::default()
    };
    let remember = match said.get("cache") == Some(&Value::Bool(true)) {
        true => Remember::Password(Scope::of(true, true)),
        false => Remember::No,
    };
    Judgement::Allow(grant, remember)
}

#[cfg(test)]
mod tests {
    use super::*;

    const REFUSED: Judgement = Judgement::Deny(ReasonCode::BadUserNameOrPassword);

    fn plain() -> Judgement {
        Judgement::Allow(Grant::default(), Remember::No)
    }

    #[test]
    fn status_and_word_are_as_for_emqttd() {
        assert_eq!(judge(200, b""), plain());
        assert_eq!(judge(204, b""), plain());
        assert_eq!(judge(200, b"ok"), plain());
        assert_eq!(judge(200, b" ignore\n"), Judgement::Next);
        for status in [400, 401, 403, 413, 414, 422, 431] {
            assert_eq!(judge(status, b"ignore"), REFUSED);
        }
        for status in [404, 410] {
            assert_eq!(judge(status, br#"{"result":"allow"}"#), Judgement::Next);
        }
        for status in [100, 302, 402, 405, 407, 408, 415, 429, 500, 503] {
            let judged = judge(status, b"{\"result\":\"allow\"}");
            assert!(matches!(judged, Judgement::Unavailable(_)), "{status}");
        }
    }

    #[test]
    fn json_says_more() {
        assert_eq!(judge(200, b"{}"), plain());
        assert_eq!(judge(200, br#"{"result": "deny"}"#), REFUSED);
        assert_eq!(judge(200, br#"{"result": "ignore"}"#), Judgement::Next);
        let whole = br#"{"result": "allow", "is_superuser": true, "expires_at": 5, "cache": true,
                         "acl": [{"permission": "allow", "topic": "a"}]}"#;
        let Judgement::Allow(grant, Remember::Password(_)) = judge(200, whole) else {
            panic!("it was refused");
        };
        assert!(grant.is_superuser);
        assert_eq!(grant.expires_unix_s, Some(5));
        assert_eq!(grant.rules.map(|rules| rules.len()), Some(1));
    }

    #[test]
    fn what_is_not_understood_lets_nobody_in() {
        for body in [
            &b"{"[..],
            br#"{"result": "yes"}"#,
            br#"{"result": true}"#,
            br#"{"expires_at": "soon"}"#,
        ] {
            let judged = judge(200, body);
            assert!(matches!(judged, Judgement::Unavailable(_)), "{judged:?}");
        }
        let Judgement::Allow(grant, _) = judge(200, br#"{"acl": 1}"#) else {
            panic!("it was refused");
        };
        assert_eq!(
            grant.rules.map(|rules| (*rules).clone()),
            Some(Rules::deny_all())
        );
    }
}
