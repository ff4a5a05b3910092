//! What lies between a socket and MQTT on the client's side: [TLS] [WebSocket], either of them
//! absent. A connection over plain TCP has nothing of this.

mod layers;
mod tickets;
mod tls;
mod trust;
mod websocket;

pub use layers::{Layers, Room};
pub use trust::{TlsOptions, client_config};

use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use std::sync::Arc;

/// How clients speak to the broker; the same for all of them.
#[derive(Clone, Debug, Default)]
pub struct Transport {
    pub tls: Option<TlsTransport>,
    pub websocket: Option<WebSocketTransport>,
}

#[derive(Clone, Debug)]
pub struct TlsTransport {
    pub config: Arc<ClientConfig>,
    /// Whom the broker's certificate has to name.
    pub server: ServerName<'static>,
}

#[derive(Clone, Debug)]
pub struct WebSocketTransport {
    /// Host and port, for the HTTP request.
    pub host: Arc<str>,
    /// With its slash, `/mqtt`.
    pub path: Arc<str>,
}

impl Transport {
    /// MQTT over TCP as it is.
    pub fn is_plain(&self) -> bool {
        self.tls.is_none() && self.websocket.is_none()
    }

    /// `tcp`, `tls`, `ws` or `wss`.
    pub fn name(&self) -> &'static str {
        match (self.tls.is_some(), self.websocket.is_some()) {
            (false, false) => "tcp",
            (true, false) => "tls",
            (false, true) => "ws",
            (true, true) => "wss",
        }
    }
}
