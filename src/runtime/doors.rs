//! What each listener wants around MQTT, and the certificates for it: loaded at the start, looked
//! at again after SIGHUP and when a file has changed, used only once they are known to be good.

use super::broker::lock;
use crate::base::Transport;
use crate::config::{ClientCertificates, ListenUrl, Listener, Scheme, Settings, TlsVersion};
use crate::net::certificates::make::Own;
use crate::net::certificates::{self, Facts, Loaded, Resumption, TlsOptions, check_clients, load};
use crate::net::layer::{Rules, UpgradeRules};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};

/// The doors of a broker.
pub struct Doors {
    state: Mutex<State>,
}

struct State {
    doors: Vec<Door>,
    own: Own,
}

/// One listener's.
#[derive(Clone)]
struct Door {
    rules: Rules,
    tls: Option<TlsDoor>,
}

#[derive(Clone)]
struct TlsDoor {
    options: TlsOptions,
    is_own: bool,
    loaded: Loaded,
    resumption: Resumption,
    /// What the files of those who are trusted held.
    trust: Vec<u8>,
    /// How all files looked when they were read.
    stamps: Vec<Option<Stamp>>,
}

/// How a file looks from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    inode: u64,
    bytes: u64,
    changed: (i64, i64),
}

/// A listener's certificate.
#[derive(Clone, Debug)]
pub struct Certificate {
    pub facts: Facts,
    /// The broker has made it.
    pub is_own: bool,
    pub days_left: i64,
}

impl Doors {
    /// Reads what the settings name, and makes a certificate where they name none.
    ///
    /// # Errors
    /// The listener and what is wrong with its files.
    pub fn open(settings: &Settings) -> Result<Doors, String> {
        let own = Own::of(&settings.node.data_dir);
        let doors = read(settings, &own, &[])?;
        for door in doors.iter().filter_map(|door| door.tls.as_ref()) {
            warn_of_ends(&door.loaded.facts);
        }
        Ok(Doors {
            state: Mutex::new(State { doors, own }),
        })
    }

    /// What is wrong with the files that the settings name, listener by listener; makes and changes
    /// nothing.
    pub fn complaints(settings: &Settings) -> Vec<String> {
        let own = Own::of(&settings.node.data_dir);
        let check = |listener: &Listener| {
            let options = options(settings, listener);
            match options.certificates.is_empty() {
                true => own.check().and_then(|()| check_clients(&options)),
                false => load(&options, &Resumption::new()?).map(drop),
            }
        };
        let listeners = settings.listeners.iter();
        listeners
            .filter(|listener| listener.url.scheme.is_tls())
            .filter_map(|listener| {
                let why = check(listener).err()?;
                Some(format!("{}: {why}", listener.url))
            })
            .collect()
    }

    /// What shards are told, in the order of the listeners.
    pub fn rules(&self) -> Arc<[Rules]> {
        let state = lock(&self.state);
        state.doors.iter().map(|door| door.rules.clone()).collect()
    }

    /// Reads everything again, and changes nothing yet.
    ///
    /// # Errors
    /// The listener and what is wrong with its files.
    pub fn prepare(&self, settings: &Settings) -> Result<Prepared, String> {
        let state = lock(&self.state);
        let doors = read(settings, &state.own, &state.doors)?;
        let pairs = state.doors.iter().zip(&doors);
        for (listener, (before, after)) in settings.listeners.iter().zip(pairs) {
            check_ends(&listener.url, before, after)?;
        }
        Ok(Prepared(doors))
    }

    /// What was read holds from now on.
    pub fn take(&self, settings: &Settings, prepared: Prepared) {
        let mut state = lock(&self.state);
        let pairs = state.doors.iter().zip(&prepared.0);
        for (listener, (before, after)) in settings.listeners.iter().zip(pairs) {
            report(&listener.url, before, after);
        }
        state.doors = prepared.0;
    }

    /// Whether a file has changed since it was read.
    pub fn have_changed(&self) -> bool {
        let state = lock(&self.state);
        let tls = state.doors.iter().filter_map(|door| door.tls.as_ref());
        tls.into_iter()
            .any(|tls| stamps(&tls.options) != tls.stamps)
    }

    /// How the files look now, to see whether they still change.
    pub fn look(&self) -> Looks {
        let state = lock(&self.state);
        let tls = state.doors.iter().filter_map(|door| door.tls.as_ref());
        Looks(tls.flat_map(|tls| stamps(&tls.options)).collect())
    }

    /// What does not wait for anybody: renews the broker's own certificate, and says which of the
    /// others end soon.
    pub fn look_after(&self) {
        let state = lock(&self.state);
        let tls = || state.doors.iter().filter_map(|door| door.tls.as_ref());
        if tls().any(|tls| tls.is_own)
            && let Err(error) = state.own.ensure(now_s())
        {
            tracing::error!("the broker's own certificate is not renewed: {error}");
        }
        tls()
            .filter(|tls| !tls.is_own)
            .for_each(|tls| warn_of_ends(&tls.loaded.facts));
    }

    /// The certificates of a listener.
    pub fn certificates(&self, listener: usize) -> Vec<Certificate> {
        let state = lock(&self.state);
        let Some(tls) = state.doors.get(listener).and_then(|door| door.tls.as_ref()) else {
            return Vec::new();
        };
        let now_s = now_s();
        let facts = tls.loaded.facts.iter();
        facts
            .map(|facts| Certificate {
                days_left: facts.days_left(now_s),
                facts: facts.clone(),
                is_own: tls.is_own,
            })
            .collect()
    }
}

/// Doors that were read and checked, and are not in use yet.
pub struct Prepared(Vec<Door>);

/// How all files of the doors looked at one moment.
#[derive(PartialEq, Eq)]
pub struct Looks(Vec<Option<Stamp>>);

/// All doors; what is kept of `before` is what sessions are resumed with.
fn read(settings: &Settings, own: &Own, before: &[Door]) -> Result<Vec<Door>, String> {
    let mut doors = Vec::new();
    for (at, listener) in settings.listeners.iter().enumerate() {
        let failed = |error: String| format!("{}: {error}", listener.url);
        let before = before.get(at).and_then(|door| door.tls.as_ref());
        let tls = match listener.url.scheme.is_tls() {
            true => Some(read_tls(settings, listener, own, before).map_err(failed)?),
            false => None,
        };
        let websocket = listener.url.scheme.is_websocket().then(|| UpgradeRules {
            path: listener.websocket_path.clone(),
            needs_sub_protocol: listener.websocket_sub_protocol_required,
            origins: listener.websocket_origins.clone(),
        });
        let rules = Rules {
            transport: transport(listener.url.scheme),
            proxy: listener.proxy_protocol,
            trusted: listener.trusted_proxies.clone().into(),
            tls: tls.as_ref().map(|tls| tls.loaded.config.clone()),
            websocket: websocket.map(Arc::new),
        };
        doors.push(Door { rules, tls });
    }
    Ok(doors)
}

fn read_tls(
    settings: &Settings,
    listener: &Listener,
    own: &Own,
    before: Option<&TlsDoor>,
) -> Result<TlsDoor, String> {
    let mut options = options(settings, listener);
    let is_own = options.certificates.is_empty();
    if is_own {
        let is_new = own.ensure(now_s())?;
        options.certificates = vec![own.certificate.clone()];
        options.private_keys = vec![own.private_key.clone()];
        if is_new {
            tracing::info!("made a certificate: {}", own.certificate.display());
        }
    }
    // Looked at before they are read: what changes meanwhile is read again.
    let stamps = stamps(&options);
    let trust = trust(&options);
    let kept =
        before.filter(|before| before.trust == trust && before.options.clients == options.clients);
    let resumption = match kept {
        Some(before) => before.resumption.clone(),
        None => Resumption::new()?,
    };
    Ok(TlsDoor {
        loaded: load(&options, &resumption)?,
        options,
        is_own,
        resumption,
        trust,
        stamps,
    })
}

fn options(settings: &Settings, listener: &Listener) -> TlsOptions {
    let tls = &settings.tls;
    let (certificates, private_keys) = match listener.certificates.is_empty() {
        true => (&tls.certificates, &tls.private_keys),
        false => (&listener.certificates, &listener.private_keys),
    };
    let path = |of_listener: &Path, of_all: &Path| {
        let path = match of_listener.as_os_str().is_empty() {
            true => of_all,
            false => of_listener,
        };
        Some(PathBuf::from(path)).filter(|path| !path.as_os_str().is_empty())
    };
    TlsOptions {
        certificates: certificates.clone(),
        private_keys: private_keys.clone(),
        clients: match tls.clients_of(listener) {
            ClientCertificates::None => certificates::ClientCertificates::NotAsked,
            ClientCertificates::Optional => certificates::ClientCertificates::Optional,
            ClientCertificates::Required => certificates::ClientCertificates::Required,
        },
        client_ca: path(&listener.client_ca, &tls.client_ca),
        client_crl: path(&listener.client_crl, &tls.client_crl),
        only_tls13: tls.version_min == TlsVersion::V13,
        resumes: tls.resumption,
        protocol: match listener.url.scheme {
            Scheme::Wss => b"http/1.1",
            _ => b"mqtt",
        },
    }
}

fn transport(scheme: Scheme) -> Transport {
    match scheme {
        Scheme::Tcp => Transport::Tcp,
        Scheme::Tls => Transport::Tls,
        Scheme::Ws => Transport::Ws,
        Scheme::Wss => Transport::Wss,
        Scheme::Unix => Transport::Unix,
    }
}

/// Whether a certificate may take another's place.
///
/// # Errors
/// One that has ended would take the place of one that has not.
fn check_ends(url: &ListenUrl, before: &Door, after: &Door) -> Result<(), String> {
    let (Some(before), Some(after)) = (&before.tls, &after.tls) else {
        return Ok(());
    };
    let now_s = now_s();
    let has_ended = |facts: &&Facts| facts.days_left(now_s) < 0;
    if let Some(ended) = after.loaded.facts.iter().find(has_ended)
        && !before.loaded.facts.iter().any(|facts| has_ended(&facts))
    {
        let (names, days) = (ended.names.join(", "), -ended.days_left(now_s));
        return Err(format!(
            "{url}: the certificate of {names} ended {days} days ago"
        ));
    }
    Ok(())
}

/// Says what a reload has brought.
fn report(url: &ListenUrl, before: &Door, after: &Door) {
    let (Some(before), Some(after)) = (&before.tls, &after.tls) else {
        return;
    };
    let now_s = now_s();
    for facts in &after.loaded.facts {
        if !before.loaded.facts.contains(facts) {
            let (names, days) = (facts.names.join(", "), facts.days_left(now_s));
            let print = &facts.fingerprint;
            tracing::info!("{url}: new certificate of {names}, {days} days left, SHA-256 {print}");
        }
    }
    if before.trust != after.trust {
        tracing::info!("{url}: clients are verified by other authorities or revocation lists");
    }
}

fn warn_of_ends(facts: &[Facts]) {
    let now_s = now_s();
    for facts in facts {
        let (names, days) = (facts.names.join(", "), facts.days_left(now_s));
        match days {
            ..0 => tracing::error!("the certificate of {names} ended {} days ago", -days),
            0..certificates::make::RENEW_DAYS => {
                tracing::warn!("the certificate of {names} ends in {days} days");
            }
            _ => {}
        }
    }
}

/// What those files hold that say who is trusted; a file that cannot be read is told by `load`.
fn trust(options: &TlsOptions) -> Vec<u8> {
    let files = options.client_ca.iter().chain(&options.client_crl);
    files
        .flat_map(|path| fs::read(path).unwrap_or_default())
        .collect()
}

fn stamps(options: &TlsOptions) -> Vec<Option<Stamp>> {
    options.files().map(stamp).collect()
}

/// None: there is no such file, for a moment perhaps.
fn stamp(path: &Path) -> Option<Stamp> {
    // Follows links, which is how mounted secrets are exchanged.
    let found = fs::metadata(path).ok()?;
    Some(Stamp {
        inode: found.ino(),
        bytes: found.len(),
        changed: (found.mtime(), found.mtime_nsec()),
    })
}

/// Unix seconds.
fn now_s() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs() as i64)
}
