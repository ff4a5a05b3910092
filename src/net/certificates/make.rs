//! The certificate of a broker that was given none: made at its first start, for the names of
//! this host, and renewed with the same key before it ends.

use super::x509::facts;
use rcgen::{
    CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, SanType, SerialNumber,
};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use time::{Duration, OffsetDateTime};

/// How long a certificate is good for: what clients still take.
const DAYS: i64 = 825;
/// It is renewed when fewer days than this are left.
pub const RENEW_DAYS: i64 = 30;

/// Where the files are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Own {
    pub certificate: PathBuf,
    pub private_key: PathBuf,
}

impl Own {
    /// In this data folder.
    pub fn of(data_dir: &Path) -> Own {
        let folder = data_dir.join("certificates");
        Own {
            certificate: folder.join("own.pem"),
            private_key: folder.join("own.key"),
        }
    }

    /// Whether the key that is there, if one is, can be used.
    ///
    /// # Errors
    /// A sentence.
    pub fn check(&self) -> Result<(), String> {
        let failed = |error: &dyn std::fmt::Display| {
            format!("{}: cannot be used: {error}", self.private_key.display())
        };
        match fs::read_to_string(&self.private_key) {
            Ok(pem) => KeyPair::from_pem(&pem)
                .map(drop)
                .map_err(|error| failed(&error)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(failed(&error)),
        }
    }

    /// Makes what is missing, and renews what ends soon. True: the certificate is a new one.
    ///
    /// # Errors
    /// The folder cannot be written, or the key that is there cannot be used: a sentence.
    pub fn ensure(&self, now_s: i64) -> Result<bool, String> {
        let days_left = || {
            let der = CertificateDer::from_pem_file(&self.certificate).ok()?;
            Some(facts(&der).ok()?.days_left(now_s))
        };
        let has_key = self.private_key.exists();
        if has_key && days_left().is_some_and(|days| days >= RENEW_DAYS) {
            return Ok(false);
        }
        let failed = |path: &Path, error: &dyn std::fmt::Display| {
            format!("{}: cannot be made: {error}", path.display())
        };
        let key = match has_key {
            true => fs::read_to_string(&self.private_key)
                .map_err(|error| failed(&self.private_key, &error))
                .and_then(|pem| {
                    KeyPair::from_pem(&pem).map_err(|error| failed(&self.private_key, &error))
                })?,
            false => KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)
                .map_err(|error| failed(&self.private_key, &error))?,
        };
        let certificate = params(now_s)
            .and_then(|params| params.self_signed(&key))
            .map_err(|error| failed(&self.certificate, &error))?;
        if !has_key {
            write(&self.private_key, &key.serialize_pem(), 0o600)
                .map_err(|error| failed(&self.private_key, &error))?;
        }
        write(&self.certificate, &certificate.pem(), 0o644)
            .map_err(|error| failed(&self.certificate, &error))?;
        Ok(true)
    }
}

fn params(now_s: i64) -> Result<CertificateParams, rcgen::Error> {
    let host = host_name();
    let mut params = CertificateParams::new(vec!["localhost".to_owned()])?;
    if host != "localhost"
        && let Ok(name) = host.as_str().try_into()
    {
        params.subject_alt_names.insert(0, SanType::DnsName(name));
    }
    for address in addresses() {
        params.subject_alt_names.push(SanType::IpAddress(address));
    }
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, host);
    params.distinguished_name = name;
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    // Clients may refuse another certificate of the same issuer with the same number.
    params.serial_number = Some(SerialNumber::from(now_s.unsigned_abs()));
    let now = OffsetDateTime::from_unix_timestamp(now_s).unwrap_or(OffsetDateTime::UNIX_EPOCH);
    params.not_before = now - Duration::hours(1);
    params.not_after = now + Duration::days(DAYS);
    Ok(params)
}

fn host_name() -> String {
    let name = rustix::system::uname();
    match name.nodename().to_str() {
        Ok(name) if !name.is_empty() => name.to_owned(),
        _ => "localhost".into(),
    }
}

/// The loopback addresses, and those by which this host reaches others.
fn addresses() -> Vec<IpAddr> {
    let mut found = vec![
        IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(Ipv6Addr::LOCALHOST),
    ];
    // Addresses for documentation: choosing a route to them sends nothing.
    for (own, other) in [("0.0.0.0:0", "192.0.2.1:9"), ("[::]:0", "[2001:db8::1]:9")] {
        let route = UdpSocket::bind(own).and_then(|socket| {
            socket.connect(other)?;
            socket.local_addr()
        });
        if let Ok(address) = route
            && !found.contains(&address.ip())
        {
            found.push(address.ip());
        }
    }
    found
}

/// Writes a file whole or not at all.
fn write(path: &Path, text: &str, mode: u32) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    let beside = path.with_extension("new");
    let _ = fs::remove_file(&beside);
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(&beside)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&beside, path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn made_once_and_renewed_with_the_same_key() {
        let folder = std::env::temp_dir().join(format!("ringmq-own-{}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        let own = Own::of(&folder);
        let day = 86_400;
        assert_eq!(own.ensure(0), Ok(true));
        let key = fs::read(&own.private_key).unwrap();
        let mode = fs::metadata(&own.private_key).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let first = CertificateDer::from_pem_file(&own.certificate).unwrap();
        assert!(
            facts(&first)
                .unwrap()
                .names
                .contains(&"localhost".to_owned())
        );
        assert_eq!(own.ensure((DAYS - RENEW_DAYS - 1) * day), Ok(false));
        let renewed_s = (DAYS - RENEW_DAYS + 1) * day;
        assert_eq!(own.ensure(renewed_s), Ok(true));
        let second = CertificateDer::from_pem_file(&own.certificate).unwrap();
        assert_ne!(first, second);
        assert_eq!(facts(&second).unwrap().days_left(renewed_s), DAYS);
        assert_eq!(fs::read(&own.private_key).unwrap(), key);
        fs::remove_dir_all(&folder).unwrap();
    }
}
