//! Which certificate a client gets: by the name that it asks for.

use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use std::cell::RefCell;
use std::fmt;
use std::sync::Arc;

thread_local! {
    /// The name in the ClientHello that this thread has just read. The unbuffered connection of
    /// rustls does not tell it, but asks the resolver while it works through the input, on the
    /// same thread.
    static SERVER_NAME: RefCell<Option<Box<str>>> = const { RefCell::new(None) };
}

/// The name that a client asked for while the input before was worked through.
pub fn take_server_name() -> Option<Box<str>> {
    SERVER_NAME.take()
}

/// Certificates with the names that they are for. The first is for everybody else.
pub struct Resolver {
    certificates: Vec<(Vec<String>, Arc<CertifiedKey>)>,
}

impl Resolver {
    /// At least one certificate.
    pub fn new(certificates: Vec<(Vec<String>, Arc<CertifiedKey>)>) -> Resolver {
        assert!(
            !certificates.is_empty(),
            "a listener with TLS has a certificate"
        );
        Resolver { certificates }
    }

    fn find(
        &self,
        name: Option<&str>,
        usable: impl Fn(&CertifiedKey) -> bool,
    ) -> Arc<CertifiedKey> {
        let certificates = || self.certificates.iter().filter(|(_, key)| usable(key));
        let named = name.and_then(|name| {
            let is_for = |(names, _): &&(Vec<String>, _)| names.iter().any(|n| matches(n, name));
            certificates().find(is_for)
        });
        let (_, key) = named
            .or_else(|| certificates().next())
            .unwrap_or(&self.certificates[0]);
        key.clone()
    }
}

impl ResolvesServerCert for Resolver {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let name = hello.server_name();
        SERVER_NAME.set(name.map(Into::into));
        let schemes = hello.signature_schemes();
        Some(self.find(name, |key| key.key.choose_scheme(schemes).is_some()))
    }
}

impl fmt::Debug for Resolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.certificates.iter().map(|(names, _)| names);
        f.debug_list().entries(names).finish()
    }
}

/// Whether a certificate's name is the name asked for; `*` stands for one whole first label.
fn matches(pattern: &str, name: &str) -> bool {
    match pattern.strip_prefix("*.") {
        Some(rest) => name
            .split_once('.')
            .is_some_and(|(first, tail)| !first.is_empty() && tail.eq_ignore_ascii_case(rest)),
        None => pattern.eq_ignore_ascii_case(name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_match_whole_or_by_one_label() {
        assert!(matches("mqtt.example.org", "MQTT.example.org"));
        assert!(matches("*.example.org", "a.example.org"));
        for name in [
            "a.b.example.org",
            "example.org",
            ".example.org",
            "aexample.org",
        ] {
            assert!(!matches("*.example.org", name), "{name}");
        }
    }
}
