//! Who may come in. The shard asks an [`Authenticator`]; what stands behind it (a user store, a
//! database, a token) is not the shard's business, nor how long it takes.

use crate::base::{ConnId, Peer};
use crate::codec::ReasonCode;

/// A question to whoever authenticates.
#[derive(Clone, Debug)]
pub struct AuthRequest {
    pub conn: ConnId,
    /// Names the attempt, so that a late verdict does not meet another connection.
    pub attempt: u32,
    pub peer: Peer,
    pub client_id: Box<str>,
    pub username: Option<Box<str>>,
    pub password: Option<Box<[u8]>>,
    /// Enhanced authentication (MQTT 5 section 4.12): the method, and the data of this step.
    pub method: Option<Box<str>>,
    pub data: Option<Box<[u8]>>,
    /// Whether this is the first step, a further one, or a re-authentication.
    pub step: AuthStep,
}

/// Where an authentication stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuthStep {
    Connect,
    Continue,
    Reauthenticate,
}

/// The answer of whoever authenticates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    Allow {
        /// Authentication Data for CONNACK or the closing AUTH.
        data: Option<Box<[u8]>>,
    },
    /// Another step: AUTH 0x18 with this data.
    Challenge { data: Box<[u8]> },
    /// CONNACK or DISCONNECT with this code; 3.x gets the return code nearest to it.
    Refuse(ReasonCode),
    /// The answer comes later, as an input of the shard; until then the client is not read.
    Pending,
}

/// Decides at once or says that it will; called on the shard's thread, so it must not block.
pub trait Authenticator: Send {
    /// Judges one step of a client's authentication.
    fn ask(&mut self, request: &AuthRequest) -> Verdict;
}

/// Without any source of identities: everybody is anonymous, whatever name they give.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Anonymous {
    /// Only from this host: the default, so that a fresh broker is not open to a network.
    Loopback,
    Everywhere,
    Nowhere,
}

impl Authenticator for Anonymous {
    fn ask(&mut self, request: &AuthRequest) -> Verdict {
        if request.method.is_some() {
            return Verdict::Refuse(ReasonCode::BadAuthenticationMethod);
        }
        let welcome = match self {
            Anonymous::Loopback => request.peer.ip().is_loopback(),
            Anonymous::Everywhere => true,
            Anonymous::Nowhere => false,
        };
        match welcome {
            true => Verdict::Allow { data: None },
            false => Verdict::Refuse(ReasonCode::NotAuthorized),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
            step: AuthStep::Connect,
        }
    }

    #[test]
    fn loopback_means_both_families_and_mapped_addresses() {
        let allow = Verdict::Allow { data: None };
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
