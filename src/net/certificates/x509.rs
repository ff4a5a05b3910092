//! What certificates say.

use crate::base::PeerCertificate;
use aws_lc_rs::digest;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer;
use x509_parser::x509::X509Name;

/// A certificate of ours, for people and for choosing it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// DNS names of the subject's alternative names, or the common name where there are none.
    pub names: Vec<String>,
    /// Unix seconds.
    pub not_before_s: i64,
    /// Unix seconds.
    pub not_after_s: i64,
    /// SHA-256 in hexadecimal, in pairs with colons between, as openssl writes it.
    pub fingerprint: String,
}

impl Facts {
    /// Whole days until it ends; negative once it has.
    pub fn days_left(&self, now_s: i64) -> i64 {
        (self.not_after_s - now_s).div_euclid(86_400)
    }
}

/// What a certificate of ours says.
///
/// # Errors
/// It is not X.509.
pub fn facts(der: &[u8]) -> Result<Facts, String> {
    let certificate = parse(der).ok_or("not an X.509 certificate")?;
    let mut names: Vec<String> = alternative_names(&certificate, |name| match name {
        GeneralName::DNSName(name) => Some(name),
        _ => None,
    });
    if names.is_empty() {
        names.extend(common_name(certificate.subject()));
    }
    let validity = certificate.validity();
    Ok(Facts {
        names,
        not_before_s: validity.not_before.timestamp(),
        not_after_s: validity.not_after.timestamp(),
        fingerprint: fingerprint(der),
    })
}

/// Who a client is by a certificate that was verified. What cannot be read says nothing.
pub fn peer(der: &[u8]) -> PeerCertificate {
    let Some(certificate) = parse(der) else {
        return PeerCertificate::default();
    };
    let subject = certificate.subject();
    let names = alternative_names(&certificate, |name| match name {
        GeneralName::DNSName(name) | GeneralName::RFC822Name(name) | GeneralName::URI(name) => {
            Some(name)
        }
        _ => None,
    });
    PeerCertificate {
        common_name: common_name(subject).map(Into::into),
        subject: subject.to_string().into(),
        alternative_names: names.into_iter().map(String::into_boxed_str).collect(),
    }
}

fn parse(der: &[u8]) -> Option<X509Certificate<'_>> {
    X509Certificate::from_der(der)
        .ok()
        .map(|(_, certificate)| certificate)
}

fn common_name(name: &X509Name<'_>) -> Option<String> {
    let last = name.iter_common_name().last()?;
    last.as_str().ok().map(str::to_owned)
}

fn alternative_names<'a>(
    certificate: &'a X509Certificate<'_>,
    pick: impl Fn(&'a GeneralName<'a>) -> Option<&'a &'a str>,
) -> Vec<String> {
    match certificate.subject_alternative_name() {
        Ok(Some(extension)) => {
            let names = extension.value.general_names.iter();
            names
                .filter_map(pick)
                .map(|name| name.to_string())
                .collect()
        }
        _ => Vec::new(),
    }
}

fn fingerprint(der: &[u8]) -> String {
    let hash = digest::digest(&digest::SHA256, der);
    let pairs: Vec<String> = hash
        .as_ref()
        .iter()
        .map(|byte| format!("{byte:02X}"))
        .collect();
    pairs.join(":")
}
