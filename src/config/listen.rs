//! Where a listener listens: `tcp://127.0.0.1:1883`.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;

/// What is spoken on a listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scheme {
    Tcp,
    Tls,
    Ws,
    Wss,
    Unix,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Address {
    /// Port 0 lets the system choose one.
    Inet(SocketAddr),
    Path(PathBuf),
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ListenUrl {
    pub scheme: Scheme,
    pub address: Address,
}

const SCHEMES: [Scheme; 5] = [
    Scheme::Tcp,
    Scheme::Tls,
    Scheme::Ws,
    Scheme::Wss,
    Scheme::Unix,
];

impl Scheme {
    pub fn word(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Tls => "tls",
            Self::Ws => "ws",
            Self::Wss => "wss",
            Self::Unix => "unix",
        }
    }

    /// Whether it is encrypted.
    pub fn is_tls(self) -> bool {
        matches!(self, Self::Tls | Self::Wss)
    }

    /// Whether it begins as HTTP.
    pub fn is_websocket(self) -> bool {
        matches!(self, Self::Ws | Self::Wss)
    }

    fn port(self) -> u16 {
        match self {
            Self::Tcp | Self::Unix => 1883,
            Self::Tls => 8883,
            Self::Ws => 8083,
            Self::Wss => 8084,
        }
    }
}

impl ListenUrl {
    pub fn tcp(address: SocketAddr) -> Self {
        Self {
            scheme: Scheme::Tcp,
            address: Address::Inet(address),
        }
    }

    /// On all addresses of this machine, on the port that is usual for the scheme.
    pub fn everywhere(scheme: Scheme) -> Self {
        Self {
            scheme,
            address: Address::Inet(SocketAddr::from((Ipv4Addr::UNSPECIFIED, scheme.port()))),
        }
    }

    /// The socket address, unless it is a path.
    pub fn inet(&self) -> Option<SocketAddr> {
        match self.address {
            Address::Inet(address) => Some(address),
            Address::Path(_) => None,
        }
    }
}

impl Default for ListenUrl {
    fn default() -> Self {
        Self::everywhere(Scheme::Tcp)
    }
}

impl FromStr for ListenUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let Some((word, rest)) = text.split_once("://") else {
            return Err(format!(
                "`{text}` is no listener: write it as tcp://0.0.0.0:1883"
            ));
        };
        let Some(scheme) = SCHEMES.into_iter().find(|scheme| scheme.word() == word) else {
            return Err(format!("`{word}` is none of tcp, tls, ws, wss, unix"));
        };
        let address = if scheme == Scheme::Unix {
            if rest.is_empty() {
                return Err(format!(
                    "`{text}` has no path: write unix:///run/ringmq.sock"
                ));
            }
            Address::Path(rest.into())
        } else {
            Address::Inet(parse_inet(rest.trim_end_matches('/'), scheme.port())?)
        };
        Ok(Self { scheme, address })
    }
}

impl fmt::Display for ListenUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.address {
            Address::Inet(address) => write!(f, "{}://{address}", self.scheme.word()),
            Address::Path(path) => write!(f, "{}://{}", self.scheme.word(), path.display()),
        }
    }
}

/// `ADDRESS`, `ADDRESS:PORT` or `:PORT`; names are not looked up, but for `localhost`.
fn parse_inet(text: &str, default_port: u16) -> Result<SocketAddr, String> {
    if let Ok(address) = text.parse::<SocketAddr>() {
        return Ok(address);
    }
    let bare = text
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
        .unwrap_or(text);
    if let Ok(ip) = bare.parse::<IpAddr>() {
        return Ok(SocketAddr::new(ip, default_port));
    }
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) => match port.parse() {
            Ok(port) => (host, port),
            Err(_) => return Err(format!("`{port}` is no port: 0 to 65535")),
        },
        None => (text, default_port),
    };
    match host {
        "" | "*" => Ok(SocketAddr::from((Ipv4Addr::UNSPECIFIED, port))),
        "localhost" => Ok(SocketAddr::from((Ipv4Addr::LOCALHOST, port))),
        _ => Err(format!(
            "`{host}` is no IP address (names are not looked up)"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_read_and_write() {
        for (text, shown) in [
            ("tcp://0.0.0.0:1883", "tcp://0.0.0.0:1883"),
            ("tcp://127.0.0.1:0", "tcp://127.0.0.1:0"),
            ("tcp://:1884", "tcp://0.0.0.0:1884"),
            ("tcp://localhost", "tcp://127.0.0.1:1883"),
            ("tls://[::]", "tls://[::]:8883"),
            ("ws://[::1]:80/", "ws://[::1]:80"),
            ("wss://10.0.0.1", "wss://10.0.0.1:8084"),
            ("unix:///run/mqtt.sock", "unix:///run/mqtt.sock"),
        ] {
            let url: ListenUrl = text.parse().unwrap();
            assert_eq!(url.to_string(), shown);
            assert_eq!(shown.parse(), Ok(url));
        }
    }

    #[test]
    fn bad_urls_say_what_is_wrong() {
        for (text, part) in [
            ("1883", "tcp://0.0.0.0:1883"),
            ("mqtt://0.0.0.0", "none of tcp"),
            ("tcp://0.0.0.0:99999", "no port"),
            ("tcp://example.org:1883", "no IP address"),
            ("unix://", "no path"),
        ] {
            let error = text.parse::<ListenUrl>().unwrap_err();
            assert!(error.contains(part), "{text}: {error}");
        }
    }
}
