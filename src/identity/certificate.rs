//! Clients by the certificate that they have proved to own.

use super::source::{Judgement, Remember, Source};
use crate::auth::{AuthRequest, Grant, Identity};
use crate::base::PeerCertificate;

/// Which name of a certificate is the user name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CertificateName {
    CommonName,
    /// The whole subject, as RFC 4514 writes it.
    Subject,
    /// The first of the alternative names.
    AlternativeName,
}

/// Lets in whoever has a verified certificate, under a name of it.
pub struct Certificates(pub CertificateName);

impl Certificates {
    fn name_of<'a>(&self, certificate: &'a PeerCertificate) -> Option<&'a str> {
        let name = match self.0 {
            CertificateName::CommonName => certificate.common_name.as_deref(),
            CertificateName::Subject => Some(&*certificate.subject),
            CertificateName::AlternativeName => certificate.alternative_names.first().map(|n| &**n),
        };
        name.filter(|name| !name.is_empty())
    }
}

impl Source for Certificates {
    fn name(&self) -> &'static str {
        "certificate"
    }

    /// A client without a certificate, or whose certificate lacks the name, is for others to know.
    fn judge(&self, question: &AuthRequest) -> Judgement {
        let name = question
            .peer
            .certificate()
            .and_then(|known| self.name_of(known));
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
    use crate::base::PeerIdentity;
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
