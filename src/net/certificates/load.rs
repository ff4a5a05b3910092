//! From files to what rustls works with; whatever is wrong is found here, before it is used.

use super::resolver::Resolver;
use super::x509::{Facts, facts};
use rustls::crypto::aws_lc_rs as provider;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{
    NoServerSessionStorage, ProducesTickets, ServerSessionMemoryCache, StoresServerSessions,
    VerifierBuilderError, WebPkiClientVerifier,
};
use rustls::sign::CertifiedKey;
use rustls::version::{TLS12, TLS13};
use rustls::{RootCertStore, ServerConfig};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// TLS 1.2 sessions of one listener that can be resumed by their id, for clients without tickets.
const SESSIONS_MAX: usize = 10_000;

/// What a listener's TLS is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsOptions {
    /// Chains, the server's own certificate first. The first chain is for clients that ask for no
    /// name, or for one that no chain has.
    pub certificates: Vec<PathBuf>,
    /// As many; or none, and each key is in the file of its chain.
    pub private_keys: Vec<PathBuf>,
    pub clients: ClientCertificates,
    /// Certificates of those who may have issued the clients'.
    pub client_ca: Option<PathBuf>,
    /// Revocation lists, for every one of those.
    pub client_crl: Option<PathBuf>,
    pub only_tls13: bool,
    pub resumes: bool,
    /// The protocol that a client with ALPN has to name.
    pub protocol: &'static [u8],
}

/// Whether clients show certificates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientCertificates {
    NotAsked,
    Optional,
    Required,
}

/// What sessions are resumed with. A reload keeps it, so that it costs no fleet its sessions,
/// unless who is trusted has changed: a resumed session is not verified again.
#[derive(Clone)]
pub struct Resumption {
    tickets: Arc<dyn ProducesTickets>,
    sessions: Arc<dyn StoresServerSessions>,
}

/// What was loaded.
#[derive(Clone)]
pub struct Loaded {
    pub config: Arc<ServerConfig>,
    /// Of each chain's first certificate, in order.
    pub facts: Vec<Facts>,
}

impl Resumption {
    /// A new one, that knows no session.
    ///
    /// # Errors
    /// The system has no random numbers.
    pub fn new() -> Result<Resumption, String> {
        let failed = |error| format!("no key for session tickets: {error}");
        Ok(Resumption {
            tickets: provider::Ticketer::new().map_err(failed)?,
            sessions: ServerSessionMemoryCache::new(SESSIONS_MAX),
        })
    }
}

impl TlsOptions {
    /// All files that it is made of.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        let more = self.client_ca.iter().chain(&self.client_crl);
        let files = self
            .certificates
            .iter()
            .chain(&self.private_keys)
            .chain(more);
        files.map(PathBuf::as_path)
    }
}

/// Reads and checks what clients are verified by, without the server's own certificates.
///
/// # Errors
/// As [`load`].
pub fn check_clients(options: &TlsOptions) -> Result<(), String> {
    verifier(options, Arc::new(provider::default_provider())).map(drop)
}

/// Reads and checks everything.
///
/// # Errors
/// The file and what is wrong with it, as a sentence.
pub fn load(options: &TlsOptions, resumption: &Resumption) -> Result<Loaded, String> {
    let provider = Arc::new(provider::default_provider());
    let versions: &[_] = match options.only_tls13 {
        true => &[&TLS13],
        false => &[&TLS13, &TLS12],
    };
    let mut chains = Vec::new();
    let mut all_facts = Vec::new();
    for (at, path) in options.certificates.iter().enumerate() {
        let key_path = options.private_keys.get(at).unwrap_or(path);
        let (chain, facts) = read_chain(path)?;
        let key = read_key(key_path)?;
        let certified = CertifiedKey::from_der(chain, key, &provider).map_err(|error| {
            let (path, key_path) = (path.display(), key_path.display());
            format!("{path} and {key_path} do not go together: {error}")
        })?;
        chains.push((facts.names.clone(), Arc::new(certified)));
        all_facts.push(facts);
    }
    if chains.is_empty() {
        return Err("there is no certificate".into());
    }
    let builder = ServerConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(versions)
        .map_err(|error| format!("no TLS: {error}"))?;
    let builder = match verifier(options, provider)? {
        Some(verifier) => builder.with_client_cert_verifier(verifier),
        None => builder.with_no_client_auth(),
    };
    let mut config = builder.with_cert_resolver(Arc::new(Resolver::new(chains)));
    config.alpn_protocols = vec![options.protocol.to_vec()];
    // A client has one connection: it needs one ticket to come back.
    config.send_tls13_tickets = 1;
    if options.resumes {
        config.ticketer = resumption.tickets.clone();
        config.session_storage = resumption.sessions.clone();
    } else {
        config.send_tls13_tickets = 0;
        config.session_storage = Arc::new(NoServerSessionStorage {});
    }
    Ok(Loaded {
        config: Arc::new(config),
        facts: all_facts,
    })
}

fn read_chain(path: &Path) -> Result<(Vec<CertificateDer<'static>>, Facts), String> {
    let chain: Vec<_> = read_all(path)?;
    let first: &CertificateDer = chain
        .first()
        .ok_or_else(|| format!("{}: there is no certificate in it", path.display()))?;
    let facts = facts(first).map_err(|error| format!("{}: {error}", path.display()))?;
    Ok((chain, facts))
}

fn read_key(path: &Path) -> Result<PrivateKeyDer<'static>, String> {
    PrivateKeyDer::from_pem_file(path).map_err(|error| match error {
        pem::Error::NoItemsFound => format!("{}: there is no private key in it", path.display()),
        error => unreadable(path, &error),
    })
}

fn verifier(
    options: &TlsOptions,
    provider: Arc<rustls::crypto::CryptoProvider>,
) -> Result<Option<Arc<dyn ClientCertVerifier>>, String> {
    if options.clients == ClientCertificates::NotAsked {
        return Ok(None);
    }
    let path = options
        .client_ca
        .as_deref()
        .ok_or("client certificates are asked for, but there is no client_ca")?;
    let mut roots = RootCertStore::empty();
    for certificate in read_all::<CertificateDer>(path)? {
        let added = roots.add(certificate);
        added.map_err(|error| format!("{}: {error}", path.display()))?;
    }
    if roots.is_empty() {
        return Err(format!("{}: there is no certificate in it", path.display()));
    }
    let mut builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
    let mut blamed = path;
    if let Some(path) = &options.client_crl {
        let lists: Vec<CertificateRevocationListDer> = read_all(path)?;
        if lists.is_empty() {
            return Err(format!(
                "{}: there is no revocation list in it",
                path.display()
            ));
        }
        // Fails closed: a client whose issuer has no list is not let in.
        builder = builder.with_crls(lists).only_check_end_entity_revocation();
        blamed = path;
    }
    if options.clients == ClientCertificates::Optional {
        builder = builder.allow_unauthenticated();
    }
    let built = builder.build();
    built.map(Some).map_err(|error| {
        // What `openssl ca -gencrl` writes unless it is told of extensions is of version 1.
        let hint = match error {
            VerifierBuilderError::InvalidCrl(_) => {
                "; a list has to be of version 2, with a number and its issuer's key id"
            }
            _ => "",
        };
        format!("{}: {error}{hint}", blamed.display())
    })
}

fn read_all<T: PemObject>(path: &Path) -> Result<Vec<T>, String> {
    let failed = |error| unreadable(path, &error);
    let items = T::pem_file_iter(path).map_err(failed)?;
    items.collect::<Result<_, _>>().map_err(failed)
}

fn unreadable(path: &Path, error: &pem::Error) -> String {
    match error {
        pem::Error::Io(error) => format!("{}: cannot be read: {error}", path.display()),
        error => format!("{}: not PEM: {error}", path.display()),
    }
}
