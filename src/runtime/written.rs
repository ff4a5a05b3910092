//! The files about identity that the settings name, as a start and a reload read them: all of them,
//! or nothing changes.

use crate::auth::Rules;
use crate::config::{CertificateUsername, Settings};
use crate::identity::Authority;
use crate::identity::certificate::{CertificateName, Certificates};
use crate::identity::files::{PasswordFile, read_rules};
use std::path::Path;
use std::sync::Arc;

/// What the files say.
pub struct Written {
    rules: Option<Arc<Rules>>,
    users: Option<PasswordFile>,
    certificates: Option<Certificates>,
}

impl Written {
    /// Reads the files.
    ///
    /// # Errors
    /// A sentence with the key, the file and the line.
    pub fn read(settings: &Settings) -> Result<Written, String> {
        let auth = &settings.auth;
        let named = |path: &Path| (!path.as_os_str().is_empty()).then(|| path.to_owned());
        let rules = named(&auth.acl_file)
            .map(|path| read_rules(&path))
            .transpose();
        let users = named(&auth.users_file)
            .map(|path| PasswordFile::read(&path))
            .transpose();
        Ok(Written {
            rules: rules
                .map_err(|why| format!("auth.acl_file: {why}"))?
                .map(Arc::new),
            users: users.map_err(|why| format!("auth.users_file: {why}"))?,
            certificates: match auth.certificate_username {
                CertificateUsername::Off => None,
                CertificateUsername::CommonName => Some(CertificateName::CommonName),
                CertificateUsername::Subject => Some(CertificateName::Subject),
                CertificateUsername::AlternativeName => Some(CertificateName::AlternativeName),
            }
            .map(Certificates),
        })
    }

    /// Puts the sources into the chain; the rules for everybody, which go to the shards.
    pub fn install(self, authority: &Authority) -> Option<Arc<Rules>> {
        match self.users {
            Some(users) => authority.set_source(Arc::new(users)),
            None => authority.remove_source("file"),
        }
        match self.certificates {
            Some(certificates) => authority.set_source(Arc::new(certificates)),
            None => authority.remove_source("certificate"),
        }
        self.rules
    }
}
