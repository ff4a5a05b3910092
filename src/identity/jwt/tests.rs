use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::json;

use super::*;
use crate::identity::plugin::file;

const SECRET: &str = "0123456789abcdef0123456789abcdef";

fn plugin(text: &str) -> Plugin {
    let text = format!("auth.jwt.secret = {SECRET}\n{text}");
    let options = file::read(std::path::Path::new("p.conf"), &text, options::KEYS);
    Plugin::start(options.expect("a good file"))
        .expect("keys")
        .0
}

fn token(claims: &Value) -> String {
    let key = EncodingKey::from_secret(SECRET.as_bytes());
    encode(&Header::new(Algorithm::HS256), claims, &key).expect("a token")
}

fn question(username: Option<&str>, password: &str) -> AuthRequest {
    AuthRequest {
        username: username.map(Into::into),
        ..crate::identity::test_question("", password, "c1")
    }
}

fn judged(plugin: &Plugin, claims: &Value) -> Judgement {
    plugin.judge(&question(Some("u"), &token(claims)))
}

const REFUSED: Judgement = Judgement::Deny(ReasonCode::BadUserNameOrPassword);

#[test]
fn the_shipped_file_is_read() {
    let text = include_str!("../../../etc/plugins/auth_jwt.conf");
    let options: Result<Options, _> =
        file::read(std::path::Path::new("p.conf"), text, options::KEYS);
    assert!(options.is_ok_and(|options| options.secret.is_some()));
}

#[test]
fn what_is_no_token_is_left_to_others() {
    let plugin = plugin("");
    for password in ["", "secret", "a.b", "a.b.c", "a.b.c.d", "ä.b.c"] {
        let question = question(Some("u"), password);
        assert_eq!(plugin.judge(&question), Judgement::Next, "{password}");
    }
}

#[test]
fn a_token_says_who_until_when_and_what() {
    let claims = json!({"sub": "dev", "exp": 4_000_000_000_u64, "acl": {"pub": ["a"]}});
    let Judgement::Allow(grant, Remember::No) = judged(&plugin(""), &claims) else {
        panic!("it was refused");
    };
    assert_eq!(grant.identity, Identity::Named("dev".into()));
    assert_eq!(grant.expires_unix_s, Some(4_000_000_000));
    assert_eq!(grant.rules.map(|rules| rules.len()), Some(2));
    assert!(!grant.is_superuser);
}

#[test]
fn a_token_that_is_over_or_not_yet_good_is_refused() {
    for claims in [
        json!({"exp": 1_000_000_000}),
        json!({"nbf": 4_000_000_000_u64}),
        json!({"exp": "tomorrow"}),
    ] {
        assert_eq!(judged(&plugin(""), &claims), REFUSED, "{claims}");
    }
    let strict = plugin("auth.jwt.exp_required = true");
    assert_eq!(judged(&strict, &json!({})), REFUSED);
    let of_issuer = plugin("auth.jwt.issuer = me\nauth.jwt.audience = us");
    assert_eq!(judged(&of_issuer, &json!({"iss": "me"})), REFUSED);
    assert_eq!(
        judged(&of_issuer, &json!({"iss": "you", "aud": "us"})),
        REFUSED
    );
    let good = json!({"iss": "me", "aud": ["us"]});
    assert!(matches!(judged(&of_issuer, &good), Judgement::Allow(..)));
}

#[test]
fn another_signature_or_none_is_refused() {
    let plugin = plugin("");
    let whole = token(&json!({"sub": "a"}));
    let (body, _) = whole.rsplit_once('.').expect("three parts");
    let other = token(&json!({"sub": "b"}));
    let (_, signature) = other.rsplit_once('.').expect("three parts");
    for forged in [format!("{body}.{signature}"), format!("{body}.")] {
        assert_eq!(plugin.judge(&question(Some("u"), &forged)), REFUSED);
    }
    // {"alg":"none"}
    let unsigned = format!(
        "eyJhbGciOiJub25lIn0.{}.",
        body.split('.').nth(1).unwrap_or("")
    );
    let judged = plugin.judge(&question(Some("u"), &unsigned));
    assert!(!matches!(judged, Judgement::Allow(..)), "{judged:?}");
}

#[test]
fn claims_are_held_to_the_client() {
    let plugin = plugin("auth.jwt.claims = username:%u, device:%c, kind:meter");
    let good = json!({"username": "u", "device": "c1", "kind": "meter"});
    assert!(matches!(judged(&plugin, &good), Judgement::Allow(..)));
    for (name, value) in [("username", "v"), ("device", "c2"), ("kind", "x")] {
        let mut claims = good.clone();
        claims[name] = value.into();
        assert_eq!(judged(&plugin, &claims), REFUSED, "{claims}");
    }
    let nameless = question(None, &token(&good));
    assert_eq!(plugin.judge(&nameless), REFUSED);
}

#[test]
fn a_secret_is_no_public_key_and_keys_keep_to_their_kind() {
    let set = br#"{"keys": [
        {"kty": "oct", "kid": "h", "alg": "HS256", "k": "AAAA"},
        {"kty": "oct", "kid": "h5", "k": "AAAA"},
        {"kty": "OKP", "crv": "Ed25519", "kid": "e",
         "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"},
        {"kty": "RSA", "use": "enc", "kid": "r", "n": "AQAB", "e": "AQAB"},
        {"kty": "later", "kid": "x"}
    ]}"#;
    let keys = key_set(set).expect("a set");
    let ids: Vec<_> = keys.iter().filter_map(|key| key.id.as_deref()).collect();
    assert_eq!(ids, ["h", "h5", "e"]);
    assert_eq!(keys[0].algorithms, [Algorithm::HS256]);
    assert_eq!(keys[1].algorithms.len(), 3);
    assert_eq!(keys[2].algorithms, [Algorithm::EdDSA]);
    for bad in [
        "",
        "[]",
        "{}",
        r#"{"keys": []}"#,
        r#"{"keys": [{"kty": "later"}]}"#,
    ] {
        assert!(key_set(bad.as_bytes()).is_err(), "{bad}");
    }
}

#[test]
fn a_token_may_come_as_user_name() {
    let plugin = plugin("auth.jwt.from = username");
    let token = token(&json!({"sub": "a"}));
    let judged = plugin.judge(&question(Some(&token), "x"));
    assert!(matches!(judged, Judgement::Allow(..)));
    let other = plugin.judge(&question(Some("u"), &token));
    assert_eq!(other, Judgement::Next);
}
