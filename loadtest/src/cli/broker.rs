//! `--broker` and what belongs to it: where the broker is, and how it is spoken to.

use crate::net::Transport;
use crate::net::transport::{TlsOptions, TlsTransport, WebSocketTransport, client_config};
use clap::Args;
use rustls::pki_types::ServerName;
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::PathBuf;
use std::sync::Arc;

#[derive(Debug, Args)]
pub struct BrokerArgs {
    /// The broker: HOST:PORT, or tcp://, tls://, ws:// or wss:// before it
    #[arg(short, long, value_name = "URL", default_value = "127.0.0.1:1883")]
    pub broker: String,
    /// TLS: certificates of authorities (PEM) that may have issued the broker's (default: those
    /// that the system trusts)
    #[arg(long, value_name = "FILE", conflicts_with = "insecure")]
    pub ca: Option<PathBuf>,
    /// TLS: take any certificate
    #[arg(long)]
    pub insecure: bool,
    /// TLS: the certificate that clients show (PEM, with its chain)
    #[arg(long, value_name = "FILE", requires = "key")]
    pub cert: Option<PathBuf>,
    /// TLS: its private key (PEM)
    #[arg(long, value_name = "FILE", requires = "cert")]
    pub key: Option<PathBuf>,
    /// TLS: resume sessions of earlier connections (default: every handshake is a whole one)
    #[arg(long)]
    pub tls_resume: bool,
}

/// How a URL begins, what is spoken then, and whether within TLS.
const SCHEMES: [(&str, bool, bool); 9] = [
    ("tcp://", false, false),
    ("mqtt://", false, false),
    ("tls://", true, false),
    ("ssl://", true, false),
    ("mqtts://", true, false),
    ("ws://", false, true),
    ("http://", false, true),
    ("wss://", true, true),
    ("https://", true, true),
];
const PATH: &str = "/mqtt";

impl BrokerArgs {
    /// Looks the broker's name up, and prefers IPv4.
    ///
    /// # Errors
    /// A sentence: no port, no such host, or a file that is not understood.
    pub fn resolve(&self) -> Result<(SocketAddr, Transport), String> {
        let url = Url::parse(&self.broker)?;
        let transport = self.transport(&url)?;
        Ok((url.look_up()?, transport))
    }

    fn transport(&self, url: &Url<'_>) -> Result<Transport, String> {
        let options = TlsOptions {
            authorities: self.ca.clone(),
            is_insecure: self.insecure,
            identity: self.cert.clone().zip(self.key.clone()),
            resumes: self.tls_resume,
        };
        let has_options = options.authorities.is_some() || options.identity.is_some();
        if !url.has_tls && (has_options || options.is_insecure || options.resumes) {
            return Err(format!(
                "`{}` is without TLS, which --ca, --insecure, --cert and --tls-resume are for: \
                 tls:// or wss:// has it",
                self.broker
            ));
        }
        let tls = match url.has_tls {
            false => None,
            true => {
                let protocol: &[u8] = if url.has_websocket {
                    b"http/1.1"
                } else {
                    b"mqtt"
                };
                let server = ServerName::try_from(url.host.to_owned())
                    .map_err(|_| format!("`{}` is no name that a certificate has", url.host))?;
                Some(TlsTransport {
                    config: Arc::new(client_config(&options, protocol)?),
                    server,
                })
            }
        };
        let websocket = url.has_websocket.then(|| WebSocketTransport {
            host: url.authority.into(),
            path: url.path.into(),
        });
        Ok(Transport { tls, websocket })
    }
}

#[derive(Debug)]
struct Url<'a> {
    text: &'a str,
    /// `HOST:PORT`
    authority: &'a str,
    host: &'a str,
    path: &'a str,
    has_tls: bool,
    has_websocket: bool,
}

impl<'a> Url<'a> {
    fn parse(text: &'a str) -> Result<Url<'a>, String> {
        let scheme = SCHEMES.iter().find(|(start, ..)| text.starts_with(start));
        let (start, has_tls, has_websocket) = scheme.copied().unwrap_or(("", false, false));
        let bare = &text[start.len()..];
        if let Some((unknown, _)) = bare.split_once("://") {
            return Err(format!(
                "`{unknown}://` is not spoken: there are tcp://, tls://, ws:// and wss://"
            ));
        }
        let (authority, path) = match bare.find('/') {
            Some(at) => bare.split_at(at),
            None => (bare, PATH),
        };
        let port = authority.rsplit_once(':').filter(|(host, port)| {
            let is_bare_v6 = host.contains(':') && !host.ends_with(']');
            !host.is_empty() && !is_bare_v6 && port.parse::<u16>().is_ok()
        });
        let Some((host, _)) = port else {
            return Err(format!("`{text}` is not HOST:PORT"));
        };
        let path = match path {
            "/" => PATH,
            path => path,
        };
        if path != PATH && !has_websocket {
            return Err(format!("`{text}`: only ws:// and wss:// have a path"));
        }
        Ok(Url {
            text,
            authority,
            host: host.trim_start_matches('[').trim_end_matches(']'),
            path,
            has_tls,
            has_websocket,
        })
    }

    fn look_up(&self) -> Result<SocketAddr, String> {
        let found = self.authority.to_socket_addrs();
        let mut found: Vec<SocketAddr> = found
            .map_err(|error| format!("the broker `{}` is not found: {error}", self.text))?
            .collect();
        found.sort_by_key(|address| !address.is_ipv4());
        found
            .first()
            .copied()
            .ok_or_else(|| format!("the broker `{}` has no address", self.text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_read() {
        for (text, host, path, name) in [
            ("127.0.0.1:1883", "127.0.0.1", "/mqtt", "tcp"),
            ("tcp://h:1", "h", "/mqtt", "tcp"),
            ("mqtts://h:1", "h", "/mqtt", "tls"),
            ("tls://[::1]:8883", "::1", "/mqtt", "tls"),
            ("ws://h:80/", "h", "/mqtt", "ws"),
            ("wss://h:443/other?a=b", "h", "/other?a=b", "wss"),
        ] {
            let url = Url::parse(text).unwrap();
            assert_eq!((url.host, url.path), (host, path));
            let args = BrokerArgs {
                broker: text.into(),
                ca: None,
                insecure: url.has_tls,
                cert: None,
                key: None,
                tls_resume: false,
            };
            assert_eq!(args.transport(&url).unwrap().name(), name);
        }
        let url = Url::parse("[::1]:9").unwrap();
        assert_eq!(url.look_up().unwrap().to_string(), "[::1]:9");
    }

    #[test]
    fn says_what_is_wrong() {
        for (text, why) in [
            ("localhost", "`localhost` is not HOST:PORT"),
            ("tls://localhost", "`tls://localhost` is not HOST:PORT"),
            (":1883", "`:1883` is not HOST:PORT"),
            ("::1:1883", "`::1:1883` is not HOST:PORT"),
            (
                "quic://h:1",
                "`quic://` is not spoken: there are tcp://, tls://, ws:// and wss://",
            ),
            ("h:1/x", "`h:1/x`: only ws:// and wss:// have a path"),
        ] {
            assert_eq!(Url::parse(text).unwrap_err(), why);
        }
    }
}
