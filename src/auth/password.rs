//! How databases store passwords: emqttd's forms, and those that came after it.
//!
//! Digests are compared in constant time, in hexadecimal of either case.

use std::fmt;
use std::str::FromStr;

use argon2::Argon2;
use argon2::password_hash::PasswordVerifier;
use argon2::password_hash::phc::PasswordHash;
use md4::Md4;
use md5::Md5;
use pbkdf2::pbkdf2_hmac;
use ripemd::Ripemd160;
use sha1::Sha1;
use sha2::{Digest, Sha224, Sha256, Sha384, Sha512};
use subtle::ConstantTimeEq;

/// Longest derived key of PBKDF2, in bytes.
const DERIVED_BYTES_MAX: usize = 1024;

/// A form of stored password, as `password_hash` names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PasswordFormat {
    /// `sha256`, `salt,sha256`, `sha256,salt`: a digest of password and salt in this order.
    Digest(Name, Place),
    /// `pbkdf2,sha256,1000,20`: function, rounds, bytes.
    Pbkdf2(Name, u32, usize),
    /// `bcrypt`, `salt,bcrypt`: the stored text says salt and cost.
    Bcrypt,
    /// `argon2`: the stored text says everything.
    Argon2,
}

/// Where the salt stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    Nowhere,
    Before,
    After,
}

/// A digest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Name {
    Plain,
    Md4,
    Md5,
    Ripemd160,
    Sha1,
    Sha224,
    Sha256,
    Sha384,
    Sha512,
}

const NAMES: [(&str, Name); 9] = [
    ("plain", Name::Plain),
    ("md4", Name::Md4),
    ("md5", Name::Md5),
    ("ripemd160", Name::Ripemd160),
    ("sha", Name::Sha1),
    ("sha224", Name::Sha224),
    ("sha256", Name::Sha256),
    ("sha384", Name::Sha384),
    ("sha512", Name::Sha512),
];

impl PasswordFormat {
    /// Whether `shown` is the password that `stored` was made of. A salt that the form wants and
    /// that is not there is an empty one.
    pub fn verify(&self, shown: &[u8], stored: &str, salt: Option<&str>) -> bool {
        let salt = salt.unwrap_or("").as_bytes();
        match *self {
            Self::Digest(Name::Plain, place) => {
                let whole = joined(shown, salt, place);
                whole.ct_eq(stored.as_bytes()).into()
            }
            Self::Digest(name, place) => {
                let digest = name.digest(&joined(shown, salt, place));
                is_hex_of(stored, &digest)
            }
            Self::Pbkdf2(name, rounds, length) => {
                let mut derived = vec![0; length];
                name.derive(shown, salt, rounds, &mut derived);
                is_hex_of(stored, &derived)
            }
            Self::Bcrypt => bcrypt::verify(shown, stored).unwrap_or(false),
            Self::Argon2 => PasswordHash::new(stored)
                .is_ok_and(|hash| Argon2::default().verify_password(shown, &hash).is_ok()),
        }
    }
}

impl PasswordFormat {
    /// Why `stored` is nobody's password in this form, whatever is shown; never a part of it.
    pub fn mistake(&self, stored: &str) -> Option<String> {
        match *self {
            Self::Digest(Name::Plain, _) => None,
            Self::Digest(name, _) => not_hex_of(stored, name.digest(&[]).len()),
            Self::Pbkdf2(_, _, length) => not_hex_of(stored, length),
            Self::Bcrypt => match stored.parse::<bcrypt::HashParts>() {
                Ok(parts) if (4..=31).contains(&parts.get_cost()) => None,
                Ok(_) => Some("its cost is not 4 to 31".into()),
                Err(_) => Some("it does not read `$2b$`, cost, `$`, 53 letters of base64".into()),
            },
            Self::Argon2 => {
                let Ok(hash) = PasswordHash::new(stored) else {
                    return Some("it does not read `$argon2id$v=19$m=...$salt$hash`".into());
                };
                let name = hash.algorithm.as_str();
                let is_whole = hash.salt.is_some() && hash.hash.is_some();
                let is_fit = argon2::Params::try_from(&hash).is_ok()
                    && name.parse::<argon2::Algorithm>().is_ok();
                (!is_whole || !is_fit).then(|| "its parameters are none of argon2".into())
            }
        }
    }

    /// Whether the salt stands beside the stored text, and not in it or nowhere.
    pub fn has_salt(&self) -> bool {
        match self {
            Self::Digest(_, place) => *place != Place::Nowhere,
            Self::Pbkdf2(..) => true,
            Self::Bcrypt | Self::Argon2 => false,
        }
    }

    /// Whether it is meant to take its time.
    pub fn is_slow(&self) -> bool {
        !matches!(self, Self::Digest(..))
    }
}

impl FromStr for PasswordFormat {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts: Vec<&str> = text.split(',').map(str::trim).collect();
        let unknown = || {
            format!(
                "`{text}` is no form of passwords: plain, md5, sha, sha256, sha512, bcrypt, \
                 argon2, salt,sha256, sha256,salt or pbkdf2,sha256,1000,20"
            )
        };
        let digest = |name: &str, place| Some(Self::Digest(Name::find(name)?, place));
        let format = match parts.as_slice() {
            ["bcrypt"] | ["salt", "bcrypt"] => Some(Self::Bcrypt),
            ["argon2" | "argon2id" | "argon2i" | "argon2d"] => Some(Self::Argon2),
            ["pbkdf2", name, rounds, length] => pbkdf2_of(name, rounds, length),
            ["salt", name] => digest(name, Place::Before),
            [name, "salt"] => digest(name, Place::After),
            [name] => digest(name, Place::Nowhere),
            _ => None,
        };
        format.ok_or_else(unknown)
    }
}

fn pbkdf2_of(name: &str, rounds: &str, length: &str) -> Option<PasswordFormat> {
    let name = Name::find(name).filter(|name| *name != Name::Plain)?;
    let rounds = rounds.parse().ok().filter(|rounds| *rounds > 0)?;
    let length = length.parse().ok()?;
    let is_fit = (1..=DERIVED_BYTES_MAX).contains(&length);
    is_fit.then_some(PasswordFormat::Pbkdf2(name, rounds, length))
}

impl fmt::Display for PasswordFormat {
    /// As [`FromStr`] reads it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Digest(name, Place::Nowhere) => f.write_str(name.word()),
            Self::Digest(name, Place::Before) => write!(f, "salt,{}", name.word()),
            Self::Digest(name, Place::After) => write!(f, "{},salt", name.word()),
            Self::Pbkdf2(name, rounds, length) => {
                write!(f, "pbkdf2,{},{rounds},{length}", name.word())
            }
            Self::Bcrypt => f.write_str("bcrypt"),
            Self::Argon2 => f.write_str("argon2"),
        }
    }
}

impl Name {
    fn find(word: &str) -> Option<Self> {
        let word = if word == "sha1" { "sha" } else { word };
        let found = NAMES.iter().find(|(known, _)| *known == word);
        found.map(|(_, name)| *name)
    }

    fn word(self) -> &'static str {
        let found = NAMES.iter().find(|(_, name)| *name == self);
        found.map_or("", |(word, _)| word)
    }

    fn digest(self, bytes: &[u8]) -> Vec<u8> {
        match self {
            Self::Plain => bytes.to_vec(),
            Self::Md4 => Md4::digest(bytes).to_vec(),
            Self::Md5 => Md5::digest(bytes).to_vec(),
            Self::Ripemd160 => Ripemd160::digest(bytes).to_vec(),
            Self::Sha1 => Sha1::digest(bytes).to_vec(),
            Self::Sha224 => Sha224::digest(bytes).to_vec(),
            Self::Sha256 => Sha256::digest(bytes).to_vec(),
            Self::Sha384 => Sha384::digest(bytes).to_vec(),
            Self::Sha512 => Sha512::digest(bytes).to_vec(),
        }
    }

    /// PBKDF2 with HMAC of this digest.
    fn derive(self, password: &[u8], salt: &[u8], rounds: u32, out: &mut [u8]) {
        match self {
            // No format is read with it.
            Self::Plain => {}
            Self::Md4 => pbkdf2_hmac::<Md4>(password, salt, rounds, out),
            Self::Md5 => pbkdf2_hmac::<Md5>(password, salt, rounds, out),
            Self::Ripemd160 => pbkdf2_hmac::<Ripemd160>(password, salt, rounds, out),
            Self::Sha1 => pbkdf2_hmac::<Sha1>(password, salt, rounds, out),
            Self::Sha224 => pbkdf2_hmac::<Sha224>(password, salt, rounds, out),
            Self::Sha256 => pbkdf2_hmac::<Sha256>(password, salt, rounds, out),
            Self::Sha384 => pbkdf2_hmac::<Sha384>(password, salt, rounds, out),
            Self::Sha512 => pbkdf2_hmac::<Sha512>(password, salt, rounds, out),
        }
    }
}

fn joined(password: &[u8], salt: &[u8], place: Place) -> Vec<u8> {
    match place {
        Place::Nowhere => password.to_vec(),
        Place::Before => [salt, password].concat(),
        Place::After => [password, salt].concat(),
    }
}

/// Whether `text` is these bytes in hexadecimal; how much of it is right takes no time to see.
fn is_hex_of(text: &str, bytes: &[u8]) -> bool {
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let text = text.to_ascii_lowercase();
    hex.as_bytes().ct_eq(text.as_bytes()).into()
}

fn not_hex_of(text: &str, bytes: usize) -> Option<String> {
    let wanted = 2 * bytes;
    match text.len() {
        len if len != wanted => Some(format!("it has {len} bytes instead of {wanted}")),
        _ if text.bytes().all(|byte| byte.is_ascii_hexdigit()) => None,
        _ => Some("it is not hexadecimal".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verify(format: &str, shown: &str, stored: &str, salt: Option<&str>) -> bool {
        let format: PasswordFormat = format.parse().expect("a form");
        assert_eq!(format.to_string().parse(), Ok(format));
        format.verify(shown.as_bytes(), stored, salt)
    }

    /// The file says by which command each was made.
    #[test]
    fn vectors_of_other_tools() {
        let text = include_str!("../../tests/identity/hashes.toml");
        let file = toml::de::DeTable::parse(text).expect("TOML");
        let vectors = file.get_ref()["vector"]
            .get_ref()
            .as_array()
            .expect("tables");
        let form = |vector: &toml::Spanned<toml::de::DeValue<'_>>| {
            let form = vector.get_ref().get("form");
            form.and_then(|form| form.get_ref().as_str().map(str::to_owned))
        };
        let forms: Vec<String> = vectors.iter().filter_map(form).collect();
        for (name, _) in NAMES {
            let mut wanted = vec![name.into(), format!("salt,{name}"), format!("{name},salt")];
            if name != "plain" {
                wanted.push(format!("pbkdf2,{name},"));
            }
            for start in wanted {
                let is_it = |form: &String| match start.ends_with(',') {
                    true => form.starts_with(&start),
                    false => *form == start,
                };
                assert!(forms.iter().any(is_it), "no vector of {start}");
            }
        }
        for vector in vectors.iter().map(|vector| vector.get_ref()) {
            let word = |key: &str| vector.get(key).and_then(|value| value.get_ref().as_str());
            let [form, password, stored] =
                ["form", "password", "stored"].map(|key| word(key).expect(key));
            let salt = word("salt");
            assert!(verify(form, password, stored, salt), "{form} {stored}");
            let format: PasswordFormat = form.parse().expect("a form");
            assert_eq!(format.mistake(stored), None, "{form} {stored}");
            for wrong in ["Public", "", &password[1..], stored] {
                let is_right = wrong == stored && stored == password;
                assert_eq!(
                    verify(form, wrong, stored, salt),
                    is_right,
                    "{form} {stored} {wrong}"
                );
            }
            let cut = &stored[..stored.len() - 1];
            assert!(!verify(form, password, cut, salt), "{form} {cut}");
            if stored.bytes().all(|byte| byte.is_ascii_hexdigit()) {
                for case in [stored.to_ascii_uppercase(), stored.to_ascii_lowercase()] {
                    assert!(verify(form, password, &case, salt), "{form} {case}");
                }
            }
        }
    }

    #[test]
    fn what_is_no_hash_is_nobodys_password() {
        for format in ["bcrypt", "argon2", "sha256", "pbkdf2,sha256,1,20"] {
            for stored in ["", "x", "$2a$", "$argon2id$v=19$m=1,t=1,p=1$"] {
                assert!(!verify(format, stored, stored, None), "{format} {stored}");
                let format: PasswordFormat = format.parse().expect("a form");
                assert!(format.mistake(stored).is_some(), "{format} {stored}");
            }
        }
        let salt_and_hash = "N9qo8uLOickgx2ZMRZoMyeIjZAgcfl7p92ldGxad68LJZdL17lhWy";
        for (format, stored, what) in [
            ("sha256", &*"g".repeat(64), "hexadecimal"),
            ("md5", &*"a".repeat(31), "31 bytes instead of 32"),
            ("bcrypt", &*format!("$2b$99${salt_and_hash}"), "cost"),
            (
                "argon2",
                "$argon2id$v=19$m=1,t=2,p=1$c2FsdHNhbHRzYWx0$7/fpU4t53XbcXord1xM+PQ",
                "parameters",
            ),
        ] {
            let format: PasswordFormat = format.parse().expect("a form");
            let why = format.mistake(stored).expect("a mistake");
            assert!(why.contains(what) && !why.contains(stored), "{why}");
        }
    }

    #[test]
    fn what_is_no_form_is_told() {
        for text in [
            "",
            "rot13",
            "salt",
            "salt,salt",
            "sha256,bcrypt",
            "pbkdf2",
            "pbkdf2,sha256,0,20",
            "pbkdf2,sha256,1000,0",
            "pbkdf2,plain,1000,20",
            "pbkdf2,sha256,1000,2000",
            "sha256,salt,more",
        ] {
            assert!(text.parse::<PasswordFormat>().is_err(), "{text}");
        }
    }
}
