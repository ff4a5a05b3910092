//! The keys that tokens are checked with: a secret, a public key, key sets from a file or address.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::thread;
use std::time::{Duration, Instant};

use jsonwebtoken::jwk::{Jwk, JwkSet, PublicKeyUse};
use jsonwebtoken::{Algorithm, AlgorithmFamily, DecodingKey};

use super::options::{Jwks, Options};
use crate::identity::pem;
use crate::identity::threads;
use crate::identity::web::{Call, Web};

/// How long a look at an address may take.
const FETCH_MAX: Duration = Duration::from_secs(3);
/// Between two looks for a key that a token names and nobody knows.
const FETCH_PAUSE: Duration = Duration::from_secs(10);
/// How soon the thread sees that it is to end.
const LOOK_UP: Duration = Duration::from_millis(500);
/// Keys of one set that are tried.
const KEYS_MAX: usize = 100;

/// A key, and which tokens it may check.
#[derive(Clone)]
pub struct Key {
    pub id: Option<String>,
    pub algorithms: Vec<Algorithm>,
    pub key: DecodingKey,
}

/// All keys, kept fresh.
pub struct Keys {
    fixed: Vec<Key>,
    set: RwLock<Arc<Set>>,
    from: Option<(Jwks, Web)>,
    last_fetch: Mutex<Option<Instant>>,
    is_over: AtomicBool,
}

#[derive(Default)]
struct Set {
    keys: Vec<Key>,
    /// Why the last look for them came to nothing, if it did.
    failed: Option<String>,
}

impl Keys {
    /// Reads what is there; an address that does not answer is a warning, and is asked again.
    ///
    /// # Errors
    /// A file is wrong.
    pub fn new(options: &Options) -> Result<(Arc<Self>, Vec<String>), String> {
        let keys = Arc::new(Self::fixed(options)?);
        let mut warnings = Vec::new();
        if let Err(why) = keys.refresh() {
            match options.jwks {
                Some(Jwks::Url(_)) => warnings.push(why),
                _ => return Err(why),
            }
        }
        if options.jwks.is_some() {
            let refreshed = keys.clone();
            let every = options.jwks_refresh;
            threads::spawn("jwks".into(), move || refreshed.keep_fresh(every))
                .map_err(|error| error.to_string())?;
        }
        Ok((keys, warnings))
    }

    /// Whether the files can be read; nobody is asked.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn check(options: &Options) -> Result<(), String> {
        let keys = Self::fixed(options)?;
        match options.jwks {
            Some(Jwks::File(_)) => keys.refresh(),
            _ => Ok(()),
        }
    }

    /// The keys that do not change.
    fn fixed(options: &Options) -> Result<Self, String> {
        let mut fixed = Vec::new();
        if let Some(secret) = &options.secret {
            fixed.push(Key {
                id: None,
                algorithms: AlgorithmFamily::Hmac.algorithms().to_vec(),
                key: DecodingKey::from_secret(secret.as_bytes()),
            });
        }
        if let Some(path) = &options.pubkey {
            let bytes = pem::read(path)?;
            let key = public_key(&bytes)
                .ok_or_else(|| format!("{}: no public key that is known", path.display()))?;
            fixed.push(Key {
                id: None,
                algorithms: key.family().algorithms().to_vec(),
                key,
            });
        }
        let web = Web::new(FETCH_MAX, options.cacertfile.as_deref(), 1)?;
        Ok(Self {
            fixed,
            set: RwLock::default(),
            from: options.jwks.clone().map(|from| (from, web)),
            last_fetch: Mutex::new(None),
            is_over: AtomicBool::new(false),
        })
    }

    /// The keys that may have signed a token, those that it names first.
    ///
    /// # Errors
    /// There is no key set yet, or it may be an old one that lacks the key: why.
    pub fn for_token(&self, id: Option<&str>, algorithm: Algorithm) -> Result<Vec<Key>, String> {
        let found = self.known(id, algorithm);
        if !found.is_empty() || self.from.is_none() {
            return Ok(found);
        }
        // A new key of an issuer that has changed its keys.
        if self.may_fetch()
            && let Err(why) = self.refresh()
        {
            crate::log_limited!(warn, 1, "key set: {why}");
        }
        let found = self.known(id, algorithm);
        let set = self.set();
        let may_be_new = id.is_some() || set.keys.is_empty();
        match &set.failed {
            Some(why) if found.is_empty() && may_be_new => Err(why.clone()),
            _ => Ok(found),
        }
    }

    /// Ends the thread that keeps them fresh.
    pub fn close(&self) {
        self.is_over.store(true, Ordering::Release);
    }

    pub fn len(&self) -> usize {
        self.fixed.len() + self.set().keys.len()
    }

    fn known(&self, id: Option<&str>, algorithm: Algorithm) -> Vec<Key> {
        let set = self.set();
        let all = self.fixed.iter().chain(&set.keys);
        all.filter(|key| {
            let names_fit = id.is_none() || key.id.is_none() || key.id.as_deref() == id;
            names_fit && key.algorithms.contains(&algorithm)
        })
        .cloned()
        .collect()
    }

    fn refresh(&self) -> Result<(), String> {
        let read = match &self.from {
            None => return Ok(()),
            Some((Jwks::File(path), _)) => {
                let bytes = pem::read(path)?;
                key_set(&bytes).map_err(|why| format!("{}: {why}", path.display()))
            }
            Some((Jwks::Url(url), web)) => {
                let (body, headers) = (None, &[][..]);
                web.call(Call { url, body, headers })
                    .and_then(|reply| match reply.status {
                        200 => key_set(&reply.body),
                        status => Err(format!("status {status}")),
                    })
                    .map_err(|why| format!("{url}: {why}"))
            }
        };
        let mut set = self.set.write().unwrap_or_else(PoisonError::into_inner);
        match read {
            Ok(keys) => {
                let failed = None;
                *set = Arc::new(Set { keys, failed });
                Ok(())
            }
            // Old keys are better than none.
            Err(why) => {
                *set = Arc::new(Set {
                    keys: set.keys.clone(),
                    failed: Some(why.clone()),
                });
                Err(why)
            }
        }
    }

    fn keep_fresh(&self, every: Duration) {
        let mut last = Instant::now();
        while !self.is_over.load(Ordering::Acquire) {
            thread::sleep(LOOK_UP);
            let pause = match self.set().failed {
                Some(_) => Duration::from_secs(2),
                None => every,
            };
            if last.elapsed() >= pause {
                if let Err(why) = self.refresh() {
                    crate::log_limited!(warn, 1, "key set: {why}");
                }
                last = Instant::now();
            }
        }
    }

    fn may_fetch(&self) -> bool {
        let mut last = self
            .last_fetch
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let may = last.is_none_or(|at| at.elapsed() >= FETCH_PAUSE);
        if may {
            *last = Some(Instant::now());
        }
        may
    }

    fn set(&self) -> Arc<Set> {
        let set = self.set.read().unwrap_or_else(PoisonError::into_inner);
        set.clone()
    }
}

/// A public key in PEM, of whichever kind it is.
fn public_key(bytes: &[u8]) -> Option<DecodingKey> {
    DecodingKey::from_rsa_pem(bytes)
        .or_else(|_| DecodingKey::from_ec_pem(bytes))
        .or_else(|_| DecodingKey::from_ed_pem(bytes))
        .ok()
}

/// Reads a key set; keys that are for something else, or of an unknown kind, are left out.
///
/// # Errors
/// It is no key set, or none of its keys can be used.
pub fn key_set(bytes: &[u8]) -> Result<Vec<Key>, String> {
    let set: JwkSet = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
    let keys: Vec<Key> = set
        .keys
        .iter()
        .filter(|jwk| jwk.common.public_key_use != Some(PublicKeyUse::Encryption))
        .filter_map(key_of)
        .take(KEYS_MAX)
        .collect();
    match keys.is_empty() {
        true => Err("no key in this set can be used".into()),
        false => Ok(keys),
    }
}

fn key_of(jwk: &Jwk) -> Option<Key> {
    let key = DecodingKey::from_jwk(jwk).ok()?;
    let family = key.family();
    let of_family = family.algorithms();
    let algorithms = match &jwk.common.key_algorithm {
        None => of_family.to_vec(),
        Some(named) => {
            let named: Algorithm = named.to_string().parse().ok()?;
            of_family.contains(&named).then(|| vec![named])?
        }
    };
    Some(Key {
        id: jwk.common.key_id.clone(),
        algorithms,
        key,
    })
}
