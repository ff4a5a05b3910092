//! What lies between a socket and MQTT: [PROXY] [TLS] [WebSocket], in this order, any of them
//! absent. Each is a plain struct that takes bytes and gives bytes, onward and back, and knows of
//! no socket; [`Layers`] puts those of one connection together.

pub mod proxy;
pub mod tls;
pub mod websocket;
mod why;

pub use websocket::UpgradeRules;
pub use why::Why;

use super::certificates;
use crate::base::{Network, Peer, PeerCertificate, PeerIdentity, Transport};
use proxy::Proxy;
use rustls::ServerConfig;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use tls::Tls;
use websocket::{Frames, Upgrade};

/// What a listener wants around MQTT. Shared by its connections.
#[derive(Clone)]
pub struct Rules {
    pub transport: Transport,
    /// A PROXY header comes first.
    pub proxy: bool,
    /// Whose PROXY headers and `X-Forwarded-For` are believed.
    pub trusted: Arc<[Network]>,
    /// There for [`Transport::Tls`] and [`Transport::Wss`].
    pub tls: Option<Arc<ServerConfig>>,
    /// There for [`Transport::Ws`] and [`Transport::Wss`].
    pub websocket: Option<Arc<UpgradeRules>>,
}

/// The layers of one connection. A plain one has none of this.
pub struct Layers {
    tls: TlsLayer,
    websocket: Option<Frames>,
    /// Bytes for the socket that it has not taken yet.
    pub unsent: Vec<u8>,
    /// The peer has said that it sends no more.
    pub ended: bool,
    /// We have said so.
    finished: bool,
    /// There until MQTT can begin.
    opening: Option<Box<Opening>>,
}

const _: () = assert!(std::mem::size_of::<Layers>() <= 128);

enum TlsLayer {
    None,
    /// Nothing has come yet: a connection that never says anything costs no TLS.
    Awaited(Arc<ServerConfig>),
    Up(Box<Tls>),
}

/// What is known before MQTT begins.
struct Opening {
    proxy: Option<Proxy>,
    upgrade: Option<(Upgrade, Arc<UpgradeRules>)>,
    trusts_peer: bool,
    trusted: Arc<[Network]>,
    peer: Peer,
    /// What the layers have said so far.
    identity: PeerIdentity,
}

/// Buffers of a shard that all connections' layers work in.
#[derive(Default)]
pub struct Room {
    /// What TLS has decrypted.
    plain: Vec<u8>,
    /// What WebSocket answers.
    answer: Vec<u8>,
}

impl Room {
    /// Makes room before it is needed.
    pub fn reserve(&mut self, bytes: usize) {
        self.plain.reserve(bytes);
        self.answer.reserve(bytes);
    }
}

/// What came of some input.
pub struct Taken<'a> {
    /// MQTT.
    pub mqtt: &'a [u8],
    /// MQTT begins with this input: who it is.
    pub opened: Option<Opened>,
}

/// A connection whose layers are up.
#[derive(Debug)]
pub struct Opened {
    pub peer: Peer,
    /// Whether TLS resumed a session; `None` without TLS.
    pub resumed: Option<bool>,
}

impl Rules {
    /// Whether its connections are plain MQTT over TCP.
    pub fn is_plain(&self) -> bool {
        !self.proxy && self.tls.is_none() && self.websocket.is_none()
    }

    fn trusts(&self, peer: &Peer) -> bool {
        // A unix socket is guarded by its file's mode.
        peer.transport == Transport::Unix || contains(&self.trusted, peer.ip())
    }
}

impl Layers {
    /// The layers of a connection that was just accepted from `peer`.
    ///
    /// # Errors
    /// A PROXY header would have to come from there, but it is not trusted to send one.
    pub fn new(rules: &Rules, peer: Peer) -> Result<Layers, Why> {
        let trusts_peer = rules.trusts(&peer);
        if rules.proxy && !trusts_peer {
            return Err(Why::ProxyUntrusted);
        }
        Ok(Layers {
            tls: match &rules.tls {
                Some(config) => TlsLayer::Awaited(config.clone()),
                None => TlsLayer::None,
            },
            websocket: rules.websocket.as_ref().map(|_| Frames::default()),
            unsent: Vec::new(),
            ended: false,
            finished: false,
            opening: Some(Box::new(Opening {
                proxy: rules.proxy.then(Proxy::default),
                upgrade: rules
                    .websocket
                    .clone()
                    .map(|rules| (Upgrade::default(), rules)),
                trusts_peer,
                trusted: rules.trusted.clone(),
                peer,
                identity: PeerIdentity::default(),
            })),
        })
    }

    /// Takes what the socket gave, which it overwrites. What is to be sent back is appended to
    /// `unsent`, also before an error.
    ///
    /// # Errors
    /// The connection is over.
    #[inline]
    pub fn handle<'a>(
        &mut self,
        input: &'a mut [u8],
        room: &'a mut Room,
    ) -> Result<Taken<'a>, Why> {
        let Room { plain, answer } = room;
        plain.clear();
        answer.clear();
        let back = &mut self.unsent;
        let mut input = input;
        if let Some(opening) = &mut self.opening {
            let used = opening.handle_proxy(input)?;
            input = &mut input[used..];
        }
        if !matches!(self.tls, TlsLayer::None) {
            if input.is_empty() {
                return Ok(Taken::nothing());
            }
            self.ended |= self.tls.handle(input, plain, back)?;
            input = plain.as_mut_slice();
        }
        if let Some(opening) = &mut self.opening {
            if self.tls.is_handshaking() || opening.proxy.is_some() {
                return Ok(Taken::nothing());
            }
            let used = opening.handle_upgrade(input, answer);
            self.tls.wrap(answer, back)?;
            answer.clear();
            input = &mut input[used?..];
        }
        let opened = take_opened(&mut self.opening, &mut self.tls);
        if self.opening.is_some() {
            return Ok(Taken::nothing());
        }
        if let Some(frames) = &mut self.websocket {
            let taken = frames.handle(input, answer);
            self.tls.wrap(answer, back)?;
            let taken = taken?;
            input = &mut input[..taken.len];
            self.ended |= taken.ended;
        }
        Ok(Taken {
            mqtt: input,
            opened,
        })
    }

    /// Appends `mqtt`, wrapped, to `wire`.
    ///
    /// # Errors
    /// TLS has failed before.
    #[inline]
    pub fn put(&mut self, mqtt: &[u8], room: &mut Room, wire: &mut Vec<u8>) -> Result<(), Why> {
        match (&self.websocket, &mut self.tls) {
            (Some(frames), TlsLayer::Up(tls)) => {
                room.answer.clear();
                frames.put(mqtt, &mut room.answer);
                tls.put(&room.answer, wire)?;
            }
            (Some(frames), _) => frames.put(mqtt, wire),
            (None, TlsLayer::Up(tls)) => tls.put(mqtt, wire)?,
            // What a PROXY header has opened is plain from then on.
            (None, _) => wire.extend_from_slice(mqtt),
        }
        Ok(())
    }

    /// Appends to `unsent` what says that no more comes: Close, close_notify.
    pub fn finish(&mut self, room: &mut Room) {
        if std::mem::replace(&mut self.finished, true) {
            return;
        }
        if let Some(frames) = self.websocket.as_mut().filter(|_| self.opening.is_none()) {
            room.answer.clear();
            frames.finish(&mut room.answer);
            // Whether it can be said does not matter any more.
            let _ = self.tls.wrap(&room.answer, &mut self.unsent);
        }
        if let TlsLayer::Up(tls) = &mut self.tls {
            tls.finish(&mut self.unsent);
        }
    }

    /// Whether MQTT has begun.
    #[inline]
    pub fn is_open(&self) -> bool {
        self.opening.is_none()
    }

    /// Whether bytes pass through unchanged from now on, and none wait here.
    pub fn is_bare(&self) -> bool {
        let has_none = matches!(self.tls, TlsLayer::None) && self.websocket.is_none();
        has_none && self.is_open() && self.unsent.is_empty()
    }

    /// Whether input may cost what a TLS handshake costs.
    #[inline]
    pub fn is_costly(&self) -> bool {
        match &self.tls {
            TlsLayer::None => false,
            TlsLayer::Awaited(_) => true,
            TlsLayer::Up(_) => self.opening.is_some(),
        }
    }

    /// Whether a PROXY header is still to come.
    pub fn awaits_proxy(&self) -> bool {
        self.opening
            .as_ref()
            .is_some_and(|opening| opening.proxy.is_some())
    }

    /// Who it is as far as is known, until MQTT has begun.
    pub fn peer(&self) -> Option<&Peer> {
        self.opening.as_ref().map(|opening| &opening.peer)
    }
}

impl TlsLayer {
    fn handle(
        &mut self,
        input: &mut [u8],
        plain: &mut Vec<u8>,
        back: &mut Vec<u8>,
    ) -> Result<bool, Why> {
        if let TlsLayer::Awaited(config) = self {
            *self = TlsLayer::Up(Box::new(Tls::begin(config.clone(), input[0], back)?));
        }
        match self {
            TlsLayer::Up(tls) => tls.handle(input, plain, back),
            TlsLayer::None | TlsLayer::Awaited(_) => Ok(false),
        }
    }

    fn is_handshaking(&self) -> bool {
        match self {
            TlsLayer::None => false,
            TlsLayer::Awaited(_) => true,
            TlsLayer::Up(tls) => tls.is_handshaking(),
        }
    }

    /// Passes on what the layer above says.
    fn wrap(&mut self, answer: &[u8], wire: &mut Vec<u8>) -> Result<(), Why> {
        match self {
            _ if answer.is_empty() => {}
            TlsLayer::Up(tls) => tls.put(answer, wire)?,
            TlsLayer::None | TlsLayer::Awaited(_) => wire.extend_from_slice(answer),
        }
        Ok(())
    }
}

impl Opening {
    /// How many bytes of the input belong to the PROXY header.
    fn handle_proxy(&mut self, input: &[u8]) -> Result<usize, Why> {
        let Some(proxy) = &mut self.proxy else {
            return Ok(0);
        };
        let step = proxy.handle(input)?;
        if let Some(header) = step.header {
            self.proxy = None;
            self.note_header(header);
        }
        Ok(step.used)
    }

    fn note_header(&mut self, header: proxy::Header) {
        if let Some(source) = header.source {
            self.identity.proxy = Some(self.peer.address);
            self.peer.address = source;
        }
        self.identity.server_name = header.server_name;
        self.identity.unique_id = header.unique_id;
        self.identity.certificate = header.common_name.map(|name| PeerCertificate {
            common_name: Some(name),
            ..PeerCertificate::default()
        });
    }

    /// How many bytes of the input belong to the HTTP request.
    fn handle_upgrade(&mut self, input: &[u8], answer: &mut Vec<u8>) -> Result<usize, Why> {
        let Some((upgrade, rules)) = self.upgrade.as_mut().filter(|_| !input.is_empty()) else {
            return Ok(0);
        };
        let step = upgrade.handle(input, rules, answer)?;
        if let Some(agreed) = step.agreed {
            self.upgrade = None;
            let forwarded = agreed.forwarded_for.filter(|_| self.trusts_peer);
            if let Some(client) = forwarded.and_then(|list| self.forwarded_client(&list)) {
                self.identity.proxy.get_or_insert(self.peer.address);
                self.peer.address = client;
            }
        }
        Ok(step.used)
    }

    /// The client of an `X-Forwarded-For`: the last address that is not one of the trusted ones,
    /// since whoever is before it can write there what they want.
    fn forwarded_client(&self, list: &str) -> Option<SocketAddr> {
        let mut client = None;
        for text in list.rsplit(',') {
            let address = parse_forwarded(text.trim())?;
            client = Some(address);
            if !contains(&self.trusted, address.ip().to_canonical()) {
                break;
            }
        }
        client
    }
}

impl Taken<'_> {
    fn nothing() -> Self {
        Taken {
            mqtt: &[],
            opened: None,
        }
    }
}

/// Once every layer is up: who it is.
fn take_opened(opening: &mut Option<Box<Opening>>, tls: &mut TlsLayer) -> Option<Opened> {
    let opening =
        opening.take_if(|opening| opening.proxy.is_none() && opening.upgrade.is_none())?;
    let Opening {
        mut peer,
        mut identity,
        ..
    } = *opening;
    let mut resumed = None;
    if let TlsLayer::Up(tls) = tls {
        resumed = Some(tls.is_resumed());
        if let Some(name) = tls.take_server_name() {
            identity.server_name = Some(name);
        }
        if let Some(der) = tls.certificate() {
            identity.certificate = Some(certificates::peer(der));
        }
    }
    if identity != PeerIdentity::default() {
        peer.identity = Some(Arc::new(identity));
    }
    Some(Opened { peer, resumed })
}

/// An address with or without a port; without, the port is 0.
fn parse_forwarded(text: &str) -> Option<SocketAddr> {
    if let Ok(address) = text.parse() {
        return Some(address);
    }
    let bare = text
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'));
    let ip: IpAddr = bare.unwrap_or(text).parse().ok()?;
    Some(SocketAddr::new(ip, 0))
}

fn contains(networks: &[Network], ip: IpAddr) -> bool {
    networks.iter().any(|network| network.contains(ip))
}

#[cfg(test)]
mod tests;
