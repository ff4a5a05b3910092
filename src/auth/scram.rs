//! SCRAM-SHA-256 (RFC 5802, RFC 7677) as the enhanced authentication of MQTT 5 (section 4.12),
//! without channel binding. The server's side, step by step; random numbers are arguments.

use crate::limits::SCRAM_MESSAGE_BYTES_MAX;
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

/// The Authentication Method.
pub const METHOD: &str = "SCRAM-SHA-256";
/// Rounds of a new credential: what RFC 7677 asks for at least is 4,096.
pub const ROUNDS: u32 = 15_000;

/// What a server keeps of a password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credential {
    pub salt: Box<[u8]>,
    pub rounds: u32,
    pub stored_key: [u8; 32],
    pub server_key: [u8; 32],
}

/// The client's first message, as far as the server needs it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct First {
    /// The user name.
    pub name: String,
    header: String,
    bare: String,
    nonce: String,
}

/// What the server has to remember until the client's last message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pending {
    pub name: String,
    header: String,
    bare: String,
    challenge: String,
}

impl Credential {
    /// Of a password, as users type it.
    pub fn of(password: &str, salt: &[u8], rounds: u32) -> Credential {
        let prepared = stringprep::saslprep(password);
        let password = prepared.as_deref().unwrap_or(password);
        let mut salted = [0; 32];
        pbkdf2::pbkdf2_hmac::<Sha256>(password.as_bytes(), salt, rounds, &mut salted);
        Credential {
            salt: salt.into(),
            rounds,
            stored_key: Sha256::digest(hmac(&salted, b"Client Key")).into(),
            server_key: hmac(&salted, b"Server Key"),
        }
    }

    /// For a name that nobody has: it looks like any other, is always the same for a name, and no
    /// proof fits it, so that names cannot be told from other names.
    pub fn of_nobody(name: &str, secret: &[u8]) -> Credential {
        let salt = &hmac(secret, name.as_bytes())[..16];
        Credential {
            salt: salt.into(),
            rounds: ROUNDS,
            stored_key: hmac(secret, salt),
            server_key: hmac(secret, b"server"),
        }
    }
}

impl First {
    /// Reads the client's first message.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(message: &[u8]) -> Result<First, &'static str> {
        let text = text(message)?;
        // gs2-header: a flag of channel binding, and another name to act for.
        let mut parts = text.splitn(3, ',');
        let (flag, other, bare) = match (parts.next(), parts.next(), parts.next()) {
            (Some(flag), Some(other), Some(bare)) => (flag, other, bare),
            _ => return Err("no gs2 header"),
        };
        if !matches!(flag, "n" | "y") {
            return Err("channel binding is not served");
        }
        let mut attributes = bare.split(',');
        let name = attributes.next().and_then(|part| part.strip_prefix("n="));
        let name = unescaped(name.ok_or("no user name")?)?;
        let nonce = attributes.next().and_then(|part| part.strip_prefix("r="));
        let nonce = nonce.filter(|nonce| !nonce.is_empty()).ok_or("no nonce")?;
        match other.strip_prefix("a=") {
            None if other.is_empty() => {}
            Some(other) if unescaped(other)? == name => {}
            _ => return Err("acting for another user is not served"),
        }
        let name = stringprep::saslprep(&name).map_err(|_| "no proper user name")?;
        if name.is_empty() {
            return Err("an empty user name");
        }
        Ok(First {
            name: name.into_owned(),
            header: format!("{flag},{other},"),
            bare: bare.into(),
            nonce: nonce.into(),
        })
    }

    /// The server's first message, and what to remember. `nonce`: printable, new each time.
    pub fn challenge(self, credential: &Credential, nonce: &str) -> (Box<[u8]>, Pending) {
        let salt = BASE64.encode(&credential.salt);
        let challenge = format!("r={}{nonce},s={salt},i={}", self.nonce, credential.rounds);
        let data = challenge.as_bytes().into();
        let First {
            name, header, bare, ..
        } = self;
        let pending = Pending {
            name,
            header,
            bare,
            challenge,
        };
        (data, pending)
    }
}

impl Pending {
    /// Checks the client's last message; the server's last, which proves that it knows the
    /// password too. `None`: the password was another.
    ///
    /// # Errors
    /// What is wrong with the message.
    pub fn finish(
        &self,
        credential: &Credential,
        message: &[u8],
    ) -> Result<Option<Box<[u8]>>, &'static str> {
        let text = text(message)?;
        let (without_proof, proof) = text.rsplit_once(",p=").ok_or("no proof")?;
        let mut attributes = without_proof.split(',');
        let binding = attributes.next().and_then(|part| part.strip_prefix("c="));
        if binding != Some(BASE64.encode(&self.header).as_str()) {
            return Err("another gs2 header than at first");
        }
        let nonce = self.challenge.split(',').next();
        if attributes.next() != nonce {
            return Err("another nonce");
        }
        let proof = BASE64
            .decode(proof)
            .map_err(|_| "the proof is not base64")?;
        let proof: [u8; 32] = proof.try_into().map_err(|_| "a proof of another length")?;
        let signed = format!("{},{},{without_proof}", self.bare, self.challenge);
        let mut client_key = hmac(&credential.stored_key, signed.as_bytes());
        client_key
            .iter_mut()
            .zip(proof)
            .for_each(|(key, proof)| *key ^= proof);
        let shown: [u8; 32] = Sha256::digest(client_key).into();
        if !bool::from(shown.ct_eq(&credential.stored_key)) {
            return Ok(None);
        }
        let signature = hmac(&credential.server_key, signed.as_bytes());
        Ok(Some(
            format!("v={}", BASE64.encode(signature))
                .into_bytes()
                .into(),
        ))
    }

    /// As bytes that [`Self::restore`] reads.
    pub fn keep(&self) -> Box<[u8]> {
        let parts = [&self.name, &self.header, &self.bare, &self.challenge];
        parts.map(String::as_str).join("\n").into_bytes().into()
    }

    /// What [`Self::keep`] has made.
    pub fn restore(bytes: &[u8]) -> Option<Pending> {
        let mut parts = std::str::from_utf8(bytes)
            .ok()?
            .split('\n')
            .map(String::from);
        Some(Pending {
            name: parts.next()?,
            header: parts.next()?,
            bare: parts.next()?,
            challenge: parts.next()?,
        })
    }
}

/// Text without control characters.
fn text(message: &[u8]) -> Result<&str, &'static str> {
    if message.len() > SCRAM_MESSAGE_BYTES_MAX {
        return Err("the message is too long");
    }
    let text = std::str::from_utf8(message).map_err(|_| "not UTF-8")?;
    match text.chars().any(char::is_control) {
        true => Err("a control character"),
        false => Ok(text),
    }
}

/// `=2C` is a comma and `=3D` an equals sign; no other may stand for itself.
fn unescaped(name: &str) -> Result<String, &'static str> {
    let mut parts = name.split('=');
    let mut whole = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        match (part.strip_prefix("2C"), part.strip_prefix("3D")) {
            (Some(rest), _) => whole.extend([",", rest]),
            (_, Some(rest)) => whole.extend(["=", rest]),
            _ => return Err("an equals sign that stands for nothing"),
        }
    }
    Ok(whole)
}

fn hmac(key: &[u8], message: &[u8]) -> [u8; 32] {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length");
    mac.update(message);
    mac.finalize().into_bytes().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The exchange of RFC 7677, section 3.
    #[test]
    fn the_example_of_the_rfc() {
        let salt = BASE64.decode("W22ZaJ0SNY7soEsUEjb6gQ==").expect("a salt");
        let credential = Credential::of("pencil", &salt, 4096);
        let first = First::parse(b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO").expect("its first");
        assert_eq!(first.name, "user");
        let (challenge, pending) = first.challenge(&credential, "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0");
        assert_eq!(
            std::str::from_utf8(&challenge),
            Ok("r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
                s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096")
        );
        let pending = Pending::restore(&pending.keep()).expect("what was kept");
        let last = "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
                    p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";
        let answer = pending
            .finish(&credential, last.as_bytes())
            .expect("well-formed");
        assert_eq!(
            answer.as_deref(),
            Some(&b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="[..])
        );
        let other = Credential::of("Pencil", &salt, 4096);
        assert_eq!(pending.finish(&other, last.as_bytes()), Ok(None));
        let nobody = Credential::of_nobody("user", b"secret");
        assert_eq!(pending.finish(&nobody, last.as_bytes()), Ok(None));
        for (changed, why) in [
            (
                last.replace("biws", "eSws"),
                "another gs2 header than at first",
            ),
            (last.replace("r=r", "r=q"), "another nonce"),
            (last.replace(",p=", ",q="), "no proof"),
            (last.replace("VQ=", "V"), "the proof is not base64"),
        ] {
            assert_eq!(pending.finish(&credential, changed.as_bytes()), Err(why));
        }
    }

    #[test]
    fn what_is_no_first_message() {
        for (message, why) in [
            (&b""[..], "no gs2 header"),
            (b"n,", "no gs2 header"),
            (b"p=tls-unique,,n=u,r=x", "channel binding is not served"),
            (
                b"n,a=other,n=u,r=x",
                "acting for another user is not served",
            ),
            (b"n,,r=x", "no user name"),
            (b"n,,n=u", "no nonce"),
            (b"n,,n=u,r=", "no nonce"),
            (b"n,,n=,r=x", "an empty user name"),
            (b"n,,n=a=b,r=x", "an equals sign that stands for nothing"),
            (b"n,,n=u,r=x\n", "a control character"),
            (b"\xff", "not UTF-8"),
        ] {
            assert_eq!(First::parse(message), Err(why), "{message:?}");
        }
        let name = First::parse(b"y,,n=a=2Cb=3D,r=x")
            .expect("well-formed")
            .name;
        assert_eq!(name, "a,b=");
    }
}
