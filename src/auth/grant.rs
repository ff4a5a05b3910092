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
    /// Who vouches for it, in whoever's numbers; 0: nobody. Asked again when the client is looked
    /// at again.
    pub voucher: u8,
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
