//! Users in memory, packed: a record of bytes for each, and a table of 32-bit places.
//!
//! A record is `flags, lengths, name, password, salt`, all in one piece. Digests that are written
//! in hexadecimal take half their letters. So a million users with SHA-256 cost less than 80 bytes
//! each, table included, and those with bcrypt about 100.

use hashbrown::HashTable;
use std::hash::BuildHasher;

/// Records lie at multiples of this, so that 32 bits reach over 16 GiB.
const STEP: usize = 4;
/// Records lie in pieces of this size and never across two.
const PIECE_BYTES: usize = 1 << 20;
/// Longest of name, password and salt that is held.
const FIELD_BYTES_MAX: usize = u16::MAX as usize;

const SUPERUSER: u8 = 1;
const HAS_SALT: u8 = 2;
const HEX_PASSWORD: u8 = 4;
const HEX_SALT: u8 = 8;
const HAS_PASSWORD: u8 = 16;

/// What the table says of one user.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct User {
    /// None: NULL, so that no password is right.
    pub password: Option<String>,
    pub salt: Option<String>,
    pub is_superuser: bool,
}

/// All users by name.
pub struct Users {
    places: HashTable<u32>,
    pieces: Vec<Box<[u8]>>,
    /// Bytes of the last piece that are taken.
    taken: usize,
    /// Bytes of records that nothing points to any more.
    dead: usize,
    hasher: foldhash::fast::RandomState,
}

impl Default for Users {
    fn default() -> Self {
        Self {
            places: HashTable::new(),
            pieces: Vec::new(),
            taken: PIECE_BYTES,
            dead: 0,
            hasher: foldhash::fast::RandomState::default(),
        }
    }
}

impl Users {
    /// Adds a user, or replaces what was known of it.
    ///
    /// # Errors
    /// It is too long to be held, or there are too many: a sentence.
    pub fn put(&mut self, name: &str, user: &User) -> Result<(), String> {
        let record = pack(name, user)?;
        self.remove(name);
        let place = self.append(&record)?;
        let hash = self.hasher.hash_one(name);
        let (pieces, hasher) = (&self.pieces, &self.hasher);
        self.places.insert_unique(hash, place, |place| {
            hasher.hash_one(fields(at(pieces, *place)).name())
        });
        Ok(())
    }

    /// Forgets a user; true when it was known.
    pub fn remove(&mut self, name: &str) -> bool {
        let hash = self.hasher.hash_one(name);
        let pieces = &self.pieces;
        let is_it = |place: &u32| fields(at(pieces, *place)).name() == name;
        let Ok(found) = self.places.find_entry(hash, is_it) else {
            return false;
        };
        let (place, _) = found.remove();
        self.dead += fields(at(&self.pieces, place)).bytes();
        if self.dead > PIECE_BYTES && self.dead * 2 > self.pieces.len() * PIECE_BYTES {
            self.compact();
        }
        true
    }

    /// Gives back what growing by doubling has taken too much.
    pub fn settle(&mut self) {
        let (pieces, hasher) = (&self.pieces, &self.hasher);
        self.places
            .shrink_to_fit(|place| hasher.hash_one(fields(at(pieces, *place)).name()));
    }

    pub fn get(&self, name: &str) -> Option<User> {
        let hash = self.hasher.hash_one(name);
        let is_it = |place: &u32| fields(at(&self.pieces, *place)).name() == name;
        let place = self.places.find(hash, is_it)?;
        Some(fields(at(&self.pieces, *place)).unpack())
    }

    pub fn contains(&self, name: &str) -> bool {
        let hash = self.hasher.hash_one(name);
        let is_it = |place: &u32| fields(at(&self.pieces, *place)).name() == name;
        self.places.find(hash, is_it).is_some()
    }

    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// Memory taken, table included.
    pub fn bytes(&self) -> usize {
        self.pieces.len() * PIECE_BYTES + self.places.allocation_size()
    }

    fn append(&mut self, record: &[u8]) -> Result<u32, String> {
        let size = record.len().next_multiple_of(STEP);
        if self.taken + size > PIECE_BYTES {
            if let Some(last) = self.pieces.len().checked_sub(1) {
                self.dead += PIECE_BYTES - self.taken;
                debug_assert!(last < u32::MAX as usize);
            }
            self.pieces.push(vec![0; PIECE_BYTES].into());
            self.taken = 0;
        }
        let start = (self.pieces.len() - 1) * PIECE_BYTES + self.taken;
        let place = u32::try_from(start / STEP).map_err(|_| "more users than a mirror holds")?;
        let piece = self.pieces.last_mut().expect("pushed when there was none");
        piece[self.taken..self.taken + record.len()].copy_from_slice(record);
        self.taken += size;
        Ok(place)
    }

    /// Writes every record anew, without those that are dead.
    fn compact(&mut self) {
        let pieces = std::mem::take(&mut self.pieces);
        let places = std::mem::take(&mut self.places);
        (self.taken, self.dead) = (PIECE_BYTES, 0);
        self.places.reserve(places.len(), |_| 0);
        for place in places {
            let old = fields(at(&pieces, place));
            let hash = self.hasher.hash_one(old.name());
            let place = self.append(old.whole());
            let place = place.expect("fewer bytes than there were before");
            let (pieces, hasher) = (&self.pieces, &self.hasher);
            self.places.insert_unique(hash, place, |place| {
                hasher.hash_one(fields(at(pieces, *place)).name())
            });
        }
    }
}

fn at(pieces: &[Box<[u8]>], place: u32) -> &[u8] {
    let start = place as usize * STEP;
    &pieces[start / PIECE_BYTES][start % PIECE_BYTES..]
}

fn pack(name: &str, user: &User) -> Result<Vec<u8>, String> {
    let salt = user.salt.as_deref();
    let mut flags = u8::from(user.is_superuser) * SUPERUSER + u8::from(salt.is_some()) * HAS_SALT;
    flags += u8::from(user.password.is_some()) * HAS_PASSWORD;
    let (password, is_hex) = halve(user.password.as_deref().unwrap_or(""));
    flags += u8::from(is_hex) * HEX_PASSWORD;
    let (salt, is_hex) = halve(salt.unwrap_or(""));
    flags += u8::from(is_hex) * HEX_SALT;
    let parts = [name.as_bytes(), &password, &salt];
    let mut record = vec![flags];
    for part in parts {
        if part.len() > FIELD_BYTES_MAX {
            return Err(format!("{} bytes are too long for the mirror", part.len()));
        }
        // One byte for a length below 255, which all but the oddest are.
        match u8::try_from(part.len()) {
            Ok(length) if length < u8::MAX => record.push(length),
            _ => {
                record.push(u8::MAX);
                record.extend_from_slice(&(part.len() as u16).to_le_bytes());
            }
        }
    }
    parts.iter().for_each(|part| record.extend_from_slice(part));
    Ok(record)
}

/// The bytes that lower-case hexadecimal stands for, where it is all of that; else the text.
fn halve(text: &str) -> (Vec<u8>, bool) {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    let halved: Option<Vec<u8>> = pairs
        .iter()
        .map(|[high, low]| Some(digit(*high)? << 4 | digit(*low)?))
        .collect();
    match halved {
        Some(halved) if rest.is_empty() && !halved.is_empty() => (halved, true),
        _ => (text.into(), false),
    }
}

/// A record, cut into its parts.
struct Fields<'a> {
    record: &'a [u8],
    /// Where name, password and salt begin, and where the record ends.
    ends: [usize; 4],
}

fn fields(record: &[u8]) -> Fields<'_> {
    let mut lengths = [0; 3];
    let mut at = 1;
    for length in &mut lengths {
        *length = usize::from(record[at]);
        at += 1;
        if *length == usize::from(u8::MAX) {
            *length = usize::from(u16::from_le_bytes([record[at], record[at + 1]]));
            at += 2;
        }
    }
    let [name, password, salt] = lengths;
    let ends = [
        at,
        at + name,
        at + name + password,
        at + name + password + salt,
    ];
    Fields { record, ends }
}

impl<'a> Fields<'a> {
    fn name(&self) -> &'a str {
        std::str::from_utf8(self.part(0)).expect("packed from a text")
    }

    fn unpack(&self) -> User {
        let flags = self.record[0];
        let text = |part: &[u8], is_hex: bool| match is_hex {
            true => part.iter().map(|byte| format!("{byte:02x}")).collect(),
            false => String::from_utf8_lossy(part).into_owned(),
        };
        User {
            password: (flags & HAS_PASSWORD != 0)
                .then(|| text(self.part(1), flags & HEX_PASSWORD != 0)),
            salt: (flags & HAS_SALT != 0).then(|| text(self.part(2), flags & HEX_SALT != 0)),
            is_superuser: flags & SUPERUSER != 0,
        }
    }

    fn whole(&self) -> &'a [u8] {
        &self.record[..self.ends[3]]
    }

    /// Bytes that it takes in its piece.
    fn bytes(&self) -> usize {
        self.ends[3].next_multiple_of(STEP)
    }

    fn part(&self, index: usize) -> &'a [u8] {
        &self.record[self.ends[index]..self.ends[index + 1]]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashMap;

    fn user(password: &str, salt: Option<&str>, is_superuser: bool) -> User {
        User {
            password: (password != "NULL").then(|| password.into()),
            salt: salt.map(Into::into),
            is_superuser,
        }
    }

    #[test]
    fn what_is_put_comes_back() {
        let mut users = Users::default();
        let long = "x".repeat(10_000);
        for (name, of) in [
            ("a", user("", None, false)),
            ("n", user("NULL", Some("s"), true)),
            ("b", user("00ff", Some(""), true)),
            ("c", user("00FF", Some("abc"), false)),
            ("d", user("abc", Some("abcd"), false)),
            ("ä", user("$2b$10$x", None, false)),
            (&long, user(&long, Some(&long), true)),
        ] {
            users.put(name, &of).unwrap();
            assert_eq!(users.get(name), Some(of.clone()), "{name:.9}");
            users.put(name, &user("new", None, false)).unwrap();
            assert_eq!(users.get(name), Some(user("new", None, false)));
            users.put(name, &of).unwrap();
        }
        assert_eq!(users.len(), 7);
        assert!(users.remove("a") && !users.remove("a"));
        assert_eq!(users.get("a"), None);
        let long = "x".repeat(70_000);
        assert!(users.put(&long, &user("p", None, false)).is_err());
        assert!(users.put("p", &user(&long, None, false)).is_err());
    }

    #[test]
    fn memory_of_users_that_left_is_taken_again() {
        let mut users = Users::default();
        let digest = "0f".repeat(32);
        for round in 0..40 {
            for index in 0..2000 {
                let of = user(&digest, Some("salt"), index % 2 == round % 2);
                users.put(&format!("device-{index:06}"), &of).unwrap();
            }
        }
        assert_eq!(users.len(), 2000);
        assert!(users.bytes() < 4 << 20, "{}", users.bytes());
        assert!(
            users
                .get("device-001999")
                .is_some_and(|user| user.password == Some(digest))
        );
    }

    #[test]
    fn a_user_takes_less_than_is_promised() {
        let mut users = Users::default();
        let count = 50_000;
        for index in 0..count {
            let of = user(&format!("{index:064x}"), Some("0123456789abcdef"), false);
            users.put(&format!("device-{index:08}"), &of).unwrap();
        }
        users.settle();
        assert!(users.bytes() / count < 100, "{}", users.bytes() / count);
    }

    proptest! {
        #[test]
        fn behaves_as_a_plain_map(
            steps in prop::collection::vec(
                ("[ab]{0,2}", "[0-9a-f]{0,6}|.{0,4}", any::<bool>()), 0..60
            )
        ) {
            let mut users = Users::default();
            let mut map = HashMap::new();
            for (name, password, is_removed) in steps {
                if is_removed {
                    prop_assert_eq!(users.remove(&name), map.remove(&name).is_some());
                } else {
                    let of = user(&password, Some(&name), is_removed);
                    users.put(&name, &of).unwrap();
                    map.insert(name, of);
                }
                prop_assert_eq!(users.len(), map.len());
            }
            for (name, of) in map {
                prop_assert_eq!(users.get(&name), Some(of));
            }
        }
    }
}
