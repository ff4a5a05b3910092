//! The files about identity that the settings name, as a start and a reload read them: all of them,
//! or nothing changes.

use super::options;
use crate::auth::{Revision, Rules, Whom};
use crate::codec::ReasonCode;
use crate::config::Settings;
use crate::identity::Authority;
use crate::identity::certificate::Certificates;
use crate::identity::files::{PasswordFile, read_rules};
use std::path::Path;
use std::sync::Arc;

/// What the files say.
pub struct Written {
    rules: Option<Arc<Rules>>,
    users: Option<PasswordFile>,
    certificates: Option<Certificates>,
}

/// What of it is kept.
pub struct Installed {
    /// Access rules for everybody.
    pub rules: Option<Arc<Rules>>,
    /// The users of the file.
    pub users: Option<Arc<PasswordFile>>,
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
            certificates: options::certificate_name(auth.certificate_username).map(Certificates),
        })
    }

    /// Puts the sources into the chain, and has clients cut whose users are not what they were in
    /// the file `before`; the rules for everybody go to the shards.
    pub fn install(self, authority: &Authority, before: Option<&PasswordFile>) -> Installed {
        let users = self.users.map(Arc::new);
        match users.clone() {
            Some(users) => authority.set_source(users),
            None => authority.remove_source("file"),
        }
        match self.certificates {
            Some(certificates) => authority.set_source(Arc::new(certificates)),
            None => authority.remove_source("certificate"),
        }
        if let Some(before) = before {
            let whom = Whom {
                users: before.lost(users.as_deref()),
                ..Whom::default()
            };
            authority.changed(Revision::Kick(whom, ReasonCode::NotAuthorized));
        }
        Installed {
            rules: self.rules,
            users,
        }
    }
}
