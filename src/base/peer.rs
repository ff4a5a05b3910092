//! Who is at the other end of a connection, as the operator knows them.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

/// Where a connection comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Of the client: behind a load balancer that is trusted, what its PROXY header or
    /// `X-Forwarded-For` says. A client of a unix socket is on this host: it has
    /// [`Peer::LOCAL`].
    pub address: SocketAddr,
    /// Index of the listener in the configuration.
    pub listener: u16,
    pub transport: Transport,
    /// What else is known, `None` where nothing is: a plain connection pays for a pointer only.
    pub identity: Option<Arc<PeerIdentity>>,
}

/// What MQTT came over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Transport {
    #[default]
    Tcp,
    Tls,
    Ws,
    Wss,
    Unix,
}

/// What TLS, the PROXY protocol and HTTP have said of a peer. Shared by all who need to know.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PeerIdentity {
    /// The address that the socket itself has, where [`Peer::address`] is another's.
    pub proxy: Option<SocketAddr>,
    /// The name that the client asked for (TLS server name, or the PROXY header's authority).
    pub server_name: Option<Box<str>>,
    /// The certificate that the client has proved to own, to us or to the load balancer.
    pub certificate: Option<PeerCertificate>,
    /// What the load balancer calls this connection (PROXY v2, PP2_TYPE_UNIQUE_ID), at most 128
    /// bytes.
    pub unique_id: Option<Box<[u8]>>,
}

/// A client certificate, as far as it says who somebody is. It was verified.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PeerCertificate {
    /// CN of the subject; of several the last, most specific one.
    pub common_name: Option<Box<str>>,
    /// The subject, as RFC 4514 writes it; empty where a load balancer has told the CN only.
    pub subject: Box<str>,
    /// Subject alternative names that are DNS names, e-mail addresses or URIs, in their order.
    pub alternative_names: Box<[Box<str>]>,
}

/// Which name of a certificate stands for its owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CertificateName {
    CommonName,
    /// The whole subject, as RFC 4514 writes it.
    Subject,
    /// The first of the alternative names.
    AlternativeName,
}

impl PeerCertificate {
    /// This name, if the certificate has it.
    pub fn name_of(&self, which: CertificateName) -> Option<&str> {
        let name = match which {
            CertificateName::CommonName => self.common_name.as_deref(),
            CertificateName::Subject => Some(&*self.subject),
            CertificateName::AlternativeName => self.alternative_names.first().map(|name| &**name),
        };
        name.filter(|name| !name.is_empty())
    }
}

impl Peer {
    /// The address of a client of a unix socket.
    pub const LOCAL: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

    /// A peer of whom nothing but the address is known.
    pub fn plain(address: SocketAddr, listener: u16) -> Peer {
        Peer {
            address,
            listener,
            transport: Transport::Tcp,
            identity: None,
        }
    }

    /// The IP address, one that is mapped into IPv6 as IPv4: what rules are compared with.
    pub fn ip(&self) -> IpAddr {
        self.address.ip().to_canonical()
    }

    /// All that an operator knows them by, for logs: the address, and in brackets what else was
    /// said.
    pub fn known(&self) -> Known<'_> {
        Known(self)
    }

    /// The certificate that the client has proved to own.
    pub fn certificate(&self) -> Option<&PeerCertificate> {
        self.identity.as_ref()?.certificate.as_ref()
    }
}

/// See [`Peer::known`].
pub struct Known<'a>(&'a Peer);

impl PeerCertificate {
    /// Its common name, or else its whole subject.
    pub fn name(&self) -> &str {
        self.common_name.as_deref().unwrap_or(&self.subject)
    }
}

impl PeerIdentity {
    /// The load balancer's name of the connection: as it is where that is readable, else in
    /// hexadecimal.
    pub fn unique_id_text(&self) -> Option<String> {
        let id = self.unique_id.as_deref()?;
        let is_plain = id.iter().all(u8::is_ascii_graphic);
        Some(match is_plain {
            true => id.iter().map(|byte| char::from(*byte)).collect(),
            false => id.iter().map(|byte| format!("{byte:02x}")).collect(),
        })
    }
}

impl fmt::Display for Known<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Known(peer) = self;
        write!(f, "{peer}")?;
        let Some(identity) = &peer.identity else {
            return Ok(());
        };
        let said = [
            ("via", identity.proxy.map(|address| address.to_string())),
            ("sni", identity.server_name.as_deref().map(Into::into)),
            ("cn", identity.certificate.as_ref().map(|c| c.name().into())),
            ("id", identity.unique_id_text()),
        ];
        let mut before = " (";
        for (word, text) in said {
            if let Some(text) = text {
                // What a client has chosen may hold anything: no line of its own in the log.
                write!(f, "{before}{word} {}", text.escape_debug())?;
                before = ", ";
            }
        }
        if before == ", " {
            f.write_str(")")?;
        }
        Ok(())
    }
}

impl fmt::Display for Peer {
    /// The address; `unix` for a client of a unix socket that nobody stands before.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.transport {
            Transport::Unix if self.address == Peer::LOCAL => f.write_str("unix"),
            _ => self.address.fmt(f),
        }
    }
}

impl Transport {
    /// The word of the configuration.
    pub fn word(self) -> &'static str {
        match self {
            Transport::Tcp => "tcp",
            Transport::Tls => "tls",
            Transport::Ws => "ws",
            Transport::Wss => "wss",
            Transport::Unix => "unix",
        }
    }

    /// Whether it is encrypted from the client to here.
    pub fn is_encrypted(self) -> bool {
        matches!(self, Transport::Tls | Transport::Wss)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_is_shown_by_its_address() {
        let mut peer = Peer::plain("[::ffff:10.0.0.7]:99".parse().unwrap(), 0);
        assert_eq!(peer.to_string(), "[::ffff:10.0.0.7]:99");
        assert_eq!(peer.ip().to_string(), "10.0.0.7");
        peer.transport = Transport::Unix;
        peer.address = Peer::LOCAL;
        assert_eq!(peer.to_string(), "unix");
        assert!(peer.ip().is_loopback());
    }

    #[test]
    fn what_else_is_known_stands_in_brackets() {
        let mut peer = Peer::plain("192.0.2.7:99".parse().unwrap(), 0);
        assert_eq!(peer.known().to_string(), "192.0.2.7:99");
        let mut identity = PeerIdentity {
            proxy: Some("10.0.0.1:5".parse().unwrap()),
            server_name: Some("a.example".into()),
            certificate: Some(PeerCertificate {
                common_name: Some("device\n7".into()),
                ..PeerCertificate::default()
            }),
            unique_id: Some([1, 0xab].into()),
        };
        peer.identity = Some(Arc::new(identity.clone()));
        assert_eq!(
            peer.known().to_string(),
            "192.0.2.7:99 (via 10.0.0.1:5, sni a.example, cn device\\n7, id 01ab)"
        );
        identity.unique_id = Some(b"request-17".as_slice().into());
        assert_eq!(identity.unique_id_text().as_deref(), Some("request-17"));
    }
}
