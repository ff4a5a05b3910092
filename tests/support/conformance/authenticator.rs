//! The authenticator that rows with `needs = "auth"` rely on: see `settings.toml`.

use ringmq::auth::acl::erlang;
use ringmq::auth::scram::{Credential, First, Pending};
use ringmq::auth::{AuthRequest, AuthStep, Authenticator, Grant, Verdict};
use ringmq::codec::ReasonCode;
use std::sync::Arc;

pub struct Hook;

impl Authenticator for Hook {
    fn ask(&mut self, request: &AuthRequest) -> Verdict {
        match request.method.as_deref() {
            None => by_name(request.username.as_deref()),
            Some("SCRAM-SHA-256") => scram(request),
            Some("ringmq-test") => exchange(request.step, request.data.as_deref()),
            Some(_) => Verdict::Refuse(ReasonCode::BadAuthenticationMethod),
        }
    }
}

/// Of the user `held`.
const RULES: &str = r#"
    {deny, all, subscribe, ["ok/secret"]}.
    {allow, all, pubsub, ["ok/#"]}.
"#;

/// Salt and nonce of RFC 7677, section 3.
const SALT: [u8; 16] = [
    0x5b, 0x6d, 0x99, 0x68, 0x9d, 0x12, 0x35, 0x8e, 0xec, 0xa0, 0x4b, 0x14, 0x12, 0x36, 0xfa, 0x81,
];
const NONCE: &str = "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";

fn scram(request: &AuthRequest) -> Verdict {
    let credential = Credential::of("pencil", &SALT, 4096);
    let data = request.data.as_deref().unwrap_or_default();
    let refused = Verdict::Refuse(ReasonCode::NotAuthorized);
    if request.step != AuthStep::Continue {
        return First::parse(data).map_or(refused, |first| {
            let (data, pending) = first.challenge(&credential, NONCE);
            let state = Some(pending.keep());
            Verdict::Challenge { data, state }
        });
    }
    let pending = request.state.as_deref().and_then(Pending::restore);
    match pending.map(|pending| pending.finish(&credential, data)) {
        Some(Ok(Some(data))) => Verdict::Allow(Grant {
            data: Some(data),
            ..Grant::default()
        }),
        _ => refused,
    }
}

fn by_name(username: Option<&str>) -> Verdict {
    match username {
        Some("refuse") => Verdict::Refuse(ReasonCode::BadUserNameOrPassword),
        Some("forbid") => Verdict::Refuse(ReasonCode::NotAuthorized),
        Some("down") => Verdict::Refuse(ReasonCode::ServerUnavailable),
        Some("later") => Verdict::Pending,
        Some("held") => Verdict::Allow(Grant {
            rules: Some(Arc::new(erlang::parse(RULES).expect("rules"))),
            ..Grant::default()
        }),
        _ => Verdict::allow(),
    }
}

fn exchange(step: AuthStep, data: Option<&[u8]>) -> Verdict {
    match (step, data) {
        (AuthStep::Continue, Some([3, 4])) => Verdict::allow(),
        (AuthStep::Continue, _) => Verdict::Refuse(ReasonCode::NotAuthorized),
        _ => Verdict::Challenge {
            data: [1, 2].into(),
            state: None,
        },
    }
}
