//! Clients by the certificate that they have proved to own.

use super::source::{Judgement, Reach, Remember, Source};
use crate::auth::{AuthRequest, Grant, Identity};
use crate::base::CertificateName;

/// Lets in whoever has a verified certificate, under a name of it.
pub struct Certificates(pub CertificateName);

impl Source for Certificates {
    fn name(&self) -> &'static str {
        "certificate"
    }

    fn reach(&self, _: &AuthRequest) -> Reach {
        Reach::AtOnce
    }

    /// A client without a certificate, or whose certificate lacks the name, is for others to know.
    fn judge(&self, question: &AuthRequest) -> Judgement {
        let certificate = question.peer.certificate();
        let name = certificate.and_then(|known| known.name_of(self.0));
        match name {
            Some(name) if question.method.is_none() => {
                let grant = Grant {
                    identity: Identity::Named(name.into()),
                    ..Grant::default()
                };
                Judgement::Allow(grant, Remember::No)
            }
            _ => Judgement::Next,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::source::tests::question;
    use super::*;
    use crate::base::{PeerCertificate, PeerIdentity};
    use std::sync::Arc;

    #[test]
    fn the_certificate_names_the_user() {
        let mut asked = question("claimed", "p", "c");
        let source = Certificates(CertificateName::CommonName);
        assert_eq!(source.judge(&asked), Judgement::Next);
        let certificate = PeerCertificate {
            common_name: Some("device-7".into()),
            subject: "CN=device-7,O=x".into(),
            alternative_names: Box::default(),
        };
        asked.peer.identity = Some(Arc::new(PeerIdentity {
            certificate: Some(certificate),
            ..PeerIdentity::default()
        }));
        for (name, user) in [
            (CertificateName::CommonName, Some("device-7")),
            (CertificateName::Subject, Some("CN=device-7,O=x")),
            (CertificateName::AlternativeName, None),
        ] {
            let named = match Certificates(name).judge(&asked) {
                Judgement::Allow(grant, Remember::No) => Some(grant.identity),
                _ => None,
            };
            assert_eq!(named, user.map(|user| Identity::Named(user.into())));
        }
    }
}
