//! The authenticator that rows with `needs = "auth"` rely on: see `settings.toml`.

use ringmq::auth::{AuthRequest, AuthStep, Authenticator, Verdict};
use ringmq::codec::ReasonCode;

pub struct Hook;

impl Authenticator for Hook {
    fn ask(&mut self, request: &AuthRequest) -> Verdict {
        match request.method.as_deref() {
            None => by_name(request.username.as_deref()),
            Some("ringmq-test") => exchange(request.step, request.data.as_deref()),
            Some(_) => Verdict::Refuse(ReasonCode::BadAuthenticationMethod),
        }
    }
}

fn by_name(username: Option<&str>) -> Verdict {
    match username {
        Some("refuse") => Verdict::Refuse(ReasonCode::BadUserNameOrPassword),
        Some("forbid") => Verdict::Refuse(ReasonCode::NotAuthorized),
        Some("down") => Verdict::Refuse(ReasonCode::ServerUnavailable),
        Some("later") => Verdict::Pending,
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
