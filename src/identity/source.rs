//! What every source of identities is to the chain.

use super::hearing::Ear;
use crate::auth::{AuthRequest, Grant};
use crate::codec::ReasonCode;
use std::sync::Arc;

/// Knows some clients. It is called on threads where it may block, by several of them at once; a
/// call that takes longer than the deadline of its question has answered nobody.
///
/// A source whose knowledge changes tells the [`Authority`](super::Authority) by
/// [`changed`](super::Authority::changed): what is remembered is dropped, and live clients are
/// asked about again or cut.
pub trait Source: Send + Sync {
    /// The word for it in `auth.chain`, `status` and the log.
    fn name(&self) -> &'static str;

    /// What it says of a client.
    ///
    /// With [`AuthStep::Recheck`](crate::auth::AuthStep::Recheck) there is no password: the client
    /// is in, and the question is whether somebody of this name still may be, and with which rules.
    fn judge(&self, question: &AuthRequest) -> Judgement;

    /// Takes for a name that nobody knows the time that a password of its own takes, so that time
    /// does not tell names apart. False: it would be none to speak of.
    fn pretend(&self, _: &AuthRequest) -> bool {
        false
    }

    /// Whether it may know a client that shows what this question has, and whether it has to wait
    /// for something before it can say. Called on shards' threads, of questions without a password.
    fn reach(&self, _: &AuthRequest) -> Reach {
        Reach::Waits
    }

    /// Whether it can say of a client that is in whether it still may be. A token, once shown, is
    /// not there to be looked at again: its client stays until the token ends.
    fn can_recheck(&self) -> bool {
        true
    }

    /// Whether it looks at more than user name and password before it says that somebody is not
    /// known to it. Whoever it leaves to the others it may not leave to them next time.
    fn looks_further(&self) -> bool {
        false
    }

    /// Whether it knows anybody. As long as no source does, everybody is anonymous.
    fn is_active(&self) -> bool {
        true
    }
}

/// What a source says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Judgement {
    /// It is who it says.
    Allow(Grant, Remember),
    /// Another step of enhanced authentication; `state` comes back with it.
    Challenge {
        data: Box<[u8]>,
        state: Option<Box<[u8]>>,
    },
    /// It is known, and may not come in: the others are not asked.
    Deny(ReasonCode),
    /// Not known here.
    Next,
    /// Of a client that is in: nobody can be asked about it again, so it stays as it is.
    Stay,
    /// It cannot say, for a reason that the operator reads. Nobody else is asked, since whoever
    /// comes next may not know what this one would have denied.
    Unavailable(String),
}

/// What it takes to ask a source about a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// It knows nobody who shows no more than this one.
    Beyond,
    /// It says at once.
    AtOnce,
    /// It may have to wait: for a database, or for a hash.
    Waits,
}

/// Whether the password may be remembered as right, as long as the grant lasts, so that the next
/// connect with it asks nobody.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Remember {
    #[default]
    No,
    /// The same password is good for connects that agree in these, for as long as `auth.memo_s`
    /// says.
    Password(Scope),
    /// The same, and that time begins only when nothing is heard any more of what changes.
    WhileHeard(Scope, Arc<Ear>),
}

impl Remember {
    /// What is remembered, if anything.
    pub(super) fn what(&self) -> Option<(Scope, Option<&Arc<Ear>>)> {
        match self {
            Remember::No => None,
            Remember::Password(scope) => Some((*scope, None)),
            Remember::WhileHeard(scope, ear) => Some((*scope, Some(ear))),
        }
    }
}

/// What beside user name and password a verdict depended on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Scope {
    pub client_id: bool,
    pub address: bool,
}

impl Scope {
    /// Every scope.
    pub const ALL: [Scope; 4] = [
        Scope::of(false, false),
        Scope::of(true, false),
        Scope::of(false, true),
        Scope::of(true, true),
    ];

    pub const fn of(client_id: bool, address: bool) -> Scope {
        Scope { client_id, address }
    }

    pub(super) fn index(self) -> usize {
        usize::from(self.client_id) + 2 * usize::from(self.address)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::auth::AuthStep;
    use crate::base::{ConnId, Peer};

    /// A CONNECT with user name and password.
    pub(crate) fn question(user: &str, password: &str, client_id: &str) -> AuthRequest {
        AuthRequest {
            conn: ConnId(1),
            attempt: 1,
            peer: Peer::plain("10.0.0.1:1".parse().expect("a test address"), 0),
            client_id: client_id.into(),
            username: Some(user.into()),
            password: Some(password.as_bytes().into()),
            method: None,
            data: None,
            state: None,
            voucher: Default::default(),
            step: AuthStep::Connect,
        }
    }

    #[test]
    fn each_scope_has_its_own_number() {
        for (index, scope) in Scope::ALL.into_iter().enumerate() {
            assert_eq!(scope.index(), index);
        }
    }
}
