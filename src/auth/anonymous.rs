//! Clients of whom nobody knows who they are.

use super::{AuthRequest, Authenticator, Grant, Verdict};
use crate::codec::ReasonCode;

/// Without any source of identities: everybody is anonymous, whatever name they give.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Anonymous {
    /// Only from this host: the default, so that a fresh broker is not open to a network.
    Loopback,
    Everywhere,
    Nowhere,
}

impl Anonymous {
    /// Whether this client may come in unknown.
    pub fn judge(self, request: &AuthRequest) -> Verdict {
        if request.method.is_some() {
            return Verdict::Refuse(ReasonCode::BadAuthenticationMethod);
        }
        let welcome = match self {
            Anonymous::Loopback => request.peer.ip().is_loopback(),
            Anonymous::Everywhere => true,
            Anonymous::Nowhere => false,
        };
        match welcome {
            true => Verdict::Allow(Grant::anonymous()),
            false => Verdict::Refuse(ReasonCode::NotAuthorized),
        }
    }
}

impl Authenticator for Anonymous {
    fn ask(&mut self, request: &AuthRequest) -> Verdict {
        self.judge(request)
    }
}

#[cfg(test)]
mod tests {
    use super::super::AuthStep;
    use super::*;
    use crate::base::{ConnId, Peer};

    fn from(address: &str, method: Option<&str>) -> AuthRequest {
        AuthRequest {
            conn: ConnId(0),
            attempt: 0,
            peer: Peer::plain(address.parse().expect("a test address"), 0),
            client_id: "c".into(),
            username: None,
            password: None,
            method: method.map(Into::into),
            data: None,
            state: None,
            voucher: Default::default(),
            step: AuthStep::Connect,
        }
    }

    #[test]
    fn loopback_means_both_families_and_mapped_addresses() {
        let allow = Verdict::Allow(Grant::anonymous());
        for address in [
            "127.0.0.1:1",
            "127.9.9.9:1",
            "[::1]:1",
            "[::ffff:127.0.0.1]:1",
        ] {
            assert_eq!(
                Anonymous::Loopback.ask(&from(address, None)),
                allow,
                "{address}"
            );
        }
        for address in ["10.0.0.1:1", "[::ffff:10.0.0.1]:1", "[fe80::1]:1"] {
            let refused = Verdict::Refuse(ReasonCode::NotAuthorized);
            assert_eq!(
                Anonymous::Loopback.ask(&from(address, None)),
                refused,
                "{address}"
            );
            assert_eq!(
                Anonymous::Everywhere.ask(&from(address, None)),
                allow,
                "{address}"
            );
        }
    }

    #[test]
    fn no_method_is_known_here() {
        let refused = Verdict::Refuse(ReasonCode::BadAuthenticationMethod);
        assert_eq!(
            Anonymous::Everywhere.ask(&from("127.0.0.1:1", Some("X"))),
            refused
        );
    }
}
