//! Messages of SCRAM clients: no input makes the server fail, none without the password gets in,
//! and what is kept between the steps comes back as it was.

#![no_main]

use libfuzzer_sys::fuzz_target;
use ringmq::auth::scram::{Credential, First, Pending};
use std::sync::OnceLock;

fuzz_target!(|input: &[u8]| {
    static NOBODY: OnceLock<Credential> = OnceLock::new();
    let credential = NOBODY.get_or_init(|| Credential::of_nobody("u", b"secret"));
    let half = input
        .iter()
        .position(|byte| *byte == 0)
        .unwrap_or(input.len());
    let (first, last) = input.split_at(half);
    let Ok(first) = First::parse(first) else {
        return;
    };
    let name = first.name.clone();
    let (_, pending) = first.challenge(credential, "nonce");
    assert_eq!(pending.name, name);
    let restored = Pending::restore(&pending.keep());
    assert_eq!(restored.as_ref(), Some(&pending));
    let last = last.get(1..).unwrap_or_default();
    assert!(!matches!(pending.finish(credential, last), Ok(Some(_))));
});
