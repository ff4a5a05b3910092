//! Who may come in, and what they may do then: questions, verdicts, access rules and password
//! formats. The shard asks an [`Authenticator`]; what stands behind it (a user store, a database,
//! a token) is not the shard's business, nor how long it takes.

pub mod acl;
mod anonymous;
mod grant;
mod password;
mod revision;
pub mod scram;

pub use acl::{Cidr, Rules};
pub use anonymous::Anonymous;
pub use grant::{Grant, Identity, Voucher};
pub use password::PasswordFormat;
pub use revision::{Revision, Whom};

use crate::base::{ConnId, Peer};
use crate::codec::ReasonCode;

/// A question to whoever authenticates.
#[derive(Clone)]
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
    /// What the last [`Verdict::Challenge`] of this exchange gave to be kept.
    pub state: Option<Box<[u8]>>,
    /// With [`AuthStep::Recheck`]: the [`Grant::voucher`] that the client has.
    pub voucher: Voucher,
    /// Whether this is the first step, a further one, or another look at a client that is in.
    pub step: AuthStep,
}

/// Where an authentication stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuthStep {
    Connect,
    Continue,
    Reauthenticate,
    /// The client is connected, and what was said of it may not hold any more. There is no
    /// password in this question: whoever vouched for it says whether it still does, and with
    /// which rules.
    Recheck,
}

/// The answer of whoever authenticates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    Allow(Grant),
    /// Another step: AUTH 0x18 with this data. `state` comes back with the client's answer.
    Challenge {
        data: Box<[u8]>,
        state: Option<Box<[u8]>>,
    },
    /// Of a client that is in: it stays as it is, since there is nobody to ask about it.
    Stay,
    /// CONNACK or DISCONNECT with this code; 3.x gets the return code nearest to it.
    Refuse(ReasonCode),
    /// The answer comes later, as an input of the shard; until then the client is not read.
    Pending,
}

impl Verdict {
    /// Let in under the name it gave, without rules of its own.
    pub fn allow() -> Verdict {
        Verdict::Allow(Grant::default())
    }
}

/// Decides at once or says that it will; called on the shard's thread, so it must not block.
pub trait Authenticator: Send {
    /// Judges one step of a client's authentication.
    fn ask(&mut self, request: &AuthRequest) -> Verdict;
}

impl std::fmt::Debug for AuthRequest {
    /// Without what is secret.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AuthRequest")
            .field("conn", &self.conn)
            .field("attempt", &self.attempt)
            .field("peer", &self.peer)
            .field("client_id", &self.client_id)
            .field("username", &self.username)
            .field("has_password", &self.password.is_some())
            .field("method", &self.method)
            .field("step", &self.step)
            .finish_non_exhaustive()
    }
}
