//! What was said of some clients does not hold any more.

use super::acl::Cidr;
use crate::codec::ReasonCode;
use std::collections::BTreeSet;
use std::net::IpAddr;

/// What is to be done about clients that are connected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Revision {
    /// They are cut, v5 clients being told why.
    Kick(Whom, ReasonCode),
    /// Whoever vouched for them is asked again: they get new rules, or are cut.
    Recheck(Whom),
}

/// Clients by any of their names. Many changes at once are one of these, because each costs a walk
/// over all sessions unless it names client ids alone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Whom {
    pub everybody: bool,
    pub users: BTreeSet<Box<str>>,
    pub clients: BTreeSet<Box<str>>,
    pub addresses: Vec<Cidr>,
}

impl Revision {
    pub fn whom(&self) -> &Whom {
        match self {
            Revision::Kick(whom, _) | Revision::Recheck(whom) => whom,
        }
    }
}

impl Whom {
    pub fn everybody() -> Whom {
        Whom {
            everybody: true,
            ..Whom::default()
        }
    }

    pub fn user(name: &str) -> Whom {
        Whom {
            users: [name.into()].into(),
            ..Whom::default()
        }
    }

    pub fn client(client_id: &str) -> Whom {
        Whom {
            clients: [client_id.into()].into(),
            ..Whom::default()
        }
    }

    pub fn address(range: Cidr) -> Whom {
        Whom {
            addresses: vec![range],
            ..Whom::default()
        }
    }

    /// Whether nobody is meant.
    pub fn is_empty(&self) -> bool {
        !self.everybody
            && self.users.is_empty()
            && self.clients.is_empty()
            && self.addresses.is_empty()
    }

    /// Whether client ids alone say who is meant, so that nobody else has to be looked at.
    pub fn is_clients_alone(&self) -> bool {
        !self.everybody && self.users.is_empty() && self.addresses.is_empty()
    }

    /// Also means those of `other`.
    pub fn add(&mut self, other: Whom) {
        self.everybody |= other.everybody;
        self.users.extend(other.users);
        self.clients.extend(other.clients);
        self.addresses.extend(other.addresses);
    }

    /// Whether this client is meant.
    pub fn includes(&self, username: Option<&str>, client_id: &str, address: IpAddr) -> bool {
        self.everybody
            || username.is_some_and(|name| self.users.contains(name))
            || self.clients.contains(client_id)
            || self.addresses.iter().any(|range| range.contains(address))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_name_is_enough() {
        let address: IpAddr = "10.1.2.3".parse().expect("a test address");
        let mut whom = Whom::user("u");
        whom.add(Whom::client("c"));
        whom.add(Whom::address("10.0.0.0/8".parse().expect("a test range")));
        let other: IpAddr = "::1".parse().expect("a test address");
        assert!(whom.includes(Some("u"), "x", other));
        assert!(whom.includes(None, "c", other));
        assert!(whom.includes(None, "x", address));
        assert!(!whom.includes(Some("c"), "u", other));
        assert!(!whom.includes(None, "u", other));
        assert!(!whom.is_clients_alone() && Whom::client("c").is_clients_alone());
        assert!(Whom::default().is_empty() && !Whom::everybody().is_empty());
    }
}
