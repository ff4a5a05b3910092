//! A user in memory and on disk.

use super::NewUser;
use crate::auth::scram::{Credential, ROUNDS};
use argon2::Argon2;
use argon2::password_hash::PasswordHasher;
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::{Deserialize, Serialize};

/// A user, as the source needs it.
pub struct User {
    /// argon2id in the PHC format.
    pub password: Box<str>,
    pub is_superuser: bool,
    pub scram: Option<Credential>,
}

/// A line of the file: a user, or the end of one.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    pub name: Box<str>,
    /// None: there is no such user any more.
    password: Option<Box<str>>,
    #[serde(default, skip_serializing_if = "is_false")]
    superuser: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    scram: Option<Scram>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Scram {
    rounds: u32,
    salt: String,
    stored_key: String,
    server_key: String,
}

impl User {
    /// Hashes the password, which takes its time.
    ///
    /// # Errors
    /// A sentence.
    pub fn new(new: &NewUser<'_>) -> Result<User, String> {
        let salt = random();
        let hash = Argon2::default()
            .hash_password_with_salt(new.password.as_bytes(), &salt[..16])
            .map_err(|error| format!("the password cannot be hashed: {error}"))?;
        Ok(User {
            password: hash.to_string().into(),
            is_superuser: new.is_superuser,
            scram: new
                .scram
                .then(|| Credential::of(new.password, &salt[16..], ROUNDS)),
        })
    }

    /// None: the record says that the user is gone.
    pub fn of(record: Record) -> Option<User> {
        Some(User {
            password: record.password?,
            is_superuser: record.superuser,
            scram: record.scram.and_then(Scram::credential),
        })
    }
}

impl Record {
    pub fn of(name: &str, user: Option<&User>) -> Record {
        Record {
            name: name.into(),
            password: user.map(|user| user.password.clone()),
            superuser: user.is_some_and(|user| user.is_superuser),
            scram: user.and_then(|user| user.scram.as_ref()).map(Scram::of),
        }
    }
}

impl Scram {
    fn of(credential: &Credential) -> Scram {
        Scram {
            rounds: credential.rounds,
            salt: BASE64.encode(&credential.salt),
            stored_key: BASE64.encode(credential.stored_key),
            server_key: BASE64.encode(credential.server_key),
        }
    }

    /// None: not written by us. The user is left with the password.
    fn credential(self) -> Option<Credential> {
        let key = |text: &str| BASE64.decode(text).ok()?.try_into().ok();
        Some(Credential {
            salt: BASE64.decode(&self.salt).ok()?.into(),
            rounds: self.rounds,
            stored_key: key(&self.stored_key)?,
            server_key: key(&self.server_key)?,
        })
    }
}

/// Bytes that nobody can guess.
pub fn random() -> [u8; 32] {
    let mut bytes = [0; 32];
    rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty())
        .expect("the kernel gives random bytes once it has started");
    bytes
}

fn is_false(value: &bool) -> bool {
    !value
}
