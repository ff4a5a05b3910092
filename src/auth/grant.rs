//! What a client that is let in is given.

use super::acl::Rules;
use std::sync::Arc;

/// How a client comes in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Grant {
    /// Who it is, as far as that was shown.
    pub identity: Identity,
    /// No access rule holds for it.
    pub is_superuser: bool,
    /// Access rules of this client, asked before those for everybody. `None`: whoever vouches for
    /// it has no rules. An empty list says that there are rules and that none of them is about
    /// this client, so that `acl_nomatch` decides.
    pub rules: Option<Arc<Rules>>,
    /// When its connection ends, in seconds since the Unix epoch.
    pub expires_unix_s: Option<u64>,
    /// Authentication Data for CONNACK or the closing AUTH.
    pub data: Option<Box<[u8]>>,
    /// Who is asked when the client is looked at again.
    pub voucher: Voucher,
}

/// Who vouches for a client, and by what. As small as a session has room for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Voucher {
    /// In whoever's numbers; 0: nobody.
    pub source: u8,
    /// What was stored of the client when it was let in, as its source tells it from what is stored
    /// later; zeros: it does not. One other text in 16 million looks the same.
    pub stored: [u8; 3],
}

/// Whose name an access rule may trust.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Identity {
    /// The user name of CONNECT was shown to be the client's.
    #[default]
    AsGiven,
    /// The client has another name: that of its certificate, or of its exchange.
    Named(Box<str>),
    /// Nobody looked: a user name of CONNECT is a mere claim, and no rule about users holds.
    Anonymous,
}

impl Grant {
    /// For whoever may come in unknown.
    pub fn anonymous() -> Grant {
        Grant {
            identity: Identity::Anonymous,
            ..Grant::default()
        }
    }
}
