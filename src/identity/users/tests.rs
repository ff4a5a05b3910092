//! The store on disk and as a source.

use super::super::source::tests::question;
use super::*;
use std::path::PathBuf;

struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let path = std::env::temp_dir().join(format!("ringmq-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Folder(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn new<'a>(name: &'a str, password: &'a str) -> NewUser<'a> {
    NewUser {
        name,
        password,
        is_superuser: name == "root",
        scram: name == "scram",
    }
}

#[test]
fn users_survive_and_passwords_hold() {
    let folder = Folder::new("users");
    let users = Users::open(&folder.0).unwrap();
    assert!(!users.is_active());
    users.add(&new("u", "secret")).unwrap();
    users.add(&new("root", "r")).unwrap();
    users.add(&new("gone", "x")).unwrap();
    users.remove("gone").unwrap();
    users.set_password("u", "other").unwrap();
    assert_eq!(
        users.add(&new("u", "y")),
        Err("there is a user u already".into())
    );
    assert_eq!(users.remove("gone"), Err("there is no user gone".into()));
    for users in [users, Users::open(&folder.0).unwrap()] {
        let judge = |name, password| users.judge(&question(name, password, "c"));
        assert!(matches!(judge("u", "other"), Judgement::Allow(..)));
        let Judgement::Allow(grant, Remember::WhileHeard(..)) = judge("root", "r") else {
            panic!("root comes in");
        };
        assert!(grant.is_superuser);
        let denied = Judgement::Deny(ReasonCode::BadUserNameOrPassword);
        for wrong in ["secret", "", "OTHER", "other "] {
            assert_eq!(judge("u", wrong), denied);
        }
        assert_eq!(judge("gone", "x"), Judgement::Next);
        assert_eq!(judge("' or 1=1 --", "x"), Judgement::Next);
        let mut nameless = question("u", "other", "c");
        nameless.username = None;
        assert_eq!(users.judge(&nameless), Judgement::Next);
        let names: Vec<_> = users
            .list(9, Some("a"))
            .into_iter()
            .map(|u| u.name)
            .collect();
        assert_eq!(names, ["root", "u"]);
    }
    let text = std::fs::read_to_string(folder.0.join(FILE)).unwrap();
    assert!(
        !text.contains("secret") && text.contains("$argon2id$v=19$"),
        "{text}"
    );
}

#[test]
fn what_cannot_be_a_user_is_said() {
    let folder = Folder::new("users-bad");
    let users = Users::open(&folder.0).unwrap();
    let long = "x".repeat(USER_NAME_BYTES_MAX + 1);
    for (name, password) in [("", "p"), (&*long, "p"), ("a\nb", "p"), ("u", "")] {
        assert!(users.add(&new(name, password)).is_err(), "{name:?}");
    }
    assert_eq!(users.list(9, None), []);
}

/// The client's side of RFC 5802, which shares nothing with the server's but the hash.
fn client_last(first: &str, challenge: &str, password: &str) -> Vec<u8> {
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD as BASE64;
    use hmac::{Hmac, KeyInit, Mac};
    use sha2::{Digest, Sha256};
    let hmac = |key: &[u8], text: &[u8]| {
        let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
        mac.update(text);
        mac.finalize().into_bytes()
    };
    let part = |name: &str| {
        let mut parts = challenge.split(',');
        parts
            .find_map(|part| part.strip_prefix(name))
            .unwrap()
            .to_owned()
    };
    let salt = BASE64.decode(part("s=")).unwrap();
    let rounds: u32 = part("i=").parse().unwrap();
    // Hi() of RFC 5802, by hand.
    let mut u = hmac(password.as_bytes(), &[&salt[..], &[0, 0, 0, 1]].concat());
    let mut salted = u;
    for _ in 1..rounds {
        u = hmac(password.as_bytes(), &u);
        salted.iter_mut().zip(u).for_each(|(all, one)| *all ^= one);
    }
    let key = hmac(&salted, b"Client Key");
    let last = format!("c=biws,r={}", part("r="));
    let signed = format!("{},{challenge},{last}", &first[3..]);
    let mut proof = hmac(&Sha256::digest(key), signed.as_bytes());
    proof
        .iter_mut()
        .zip(key)
        .for_each(|(proof, key)| *proof ^= key);
    format!("{last},p={}", BASE64.encode(proof)).into_bytes()
}

#[test]
fn scram_lets_in_who_knows_the_password() {
    let folder = Folder::new("users-scram");
    Users::open(&folder.0)
        .unwrap()
        .add(&new("scram", "pencil"))
        .unwrap();
    let users = Users::open(&folder.0).unwrap();
    let exchange = |name: &str, password: &str| {
        let first = format!("n,,n={name},r=abc");
        let mut asked = question("", "", "c");
        (asked.username, asked.password) = (None, None);
        asked.method = Some(scram::METHOD.into());
        asked.data = Some(first.as_bytes().into());
        let Judgement::Challenge { data, state } = users.judge(&asked) else {
            panic!("{name} is challenged");
        };
        let challenge = String::from_utf8(data.into()).unwrap();
        asked.step = AuthStep::Continue;
        asked.state = state;
        asked.data = Some(client_last(&first, &challenge, password).into());
        users.judge(&asked)
    };
    let Judgement::Allow(grant, Remember::No) = exchange("scram", "pencil") else {
        panic!("the right password lets in");
    };
    assert_eq!(grant.identity, Identity::Named("scram".into()));
    assert!(grant.data.is_some_and(|data| data.starts_with(b"v=")));
    let refused = Judgement::Deny(ReasonCode::NotAuthorized);
    assert_eq!(exchange("scram", "pen"), refused);
    // Nobody learns from the challenge that there is no such user.
    assert_eq!(exchange("nobody", "pencil"), refused);
}
