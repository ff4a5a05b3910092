//! What services and tokens say in JSON: key sets, answers, access rules.

#![no_main]

use libfuzzer_sys::fuzz_target;
use ringmq::identity::{Judgement, claims, http, jwt};

fuzz_target!(|input: &[u8]| {
    if let Ok(keys) = jwt::key_set(input) {
        assert!(!keys.is_empty());
        assert!(keys.iter().all(|key| !key.algorithms.is_empty()));
    }
    if let Ok(value) = serde_json::from_slice(input) {
        let _ = claims::rules(&value);
    }
    for status in [200, 204, 302, 401, 503] {
        let is_allowed = matches!(http::judge(status, input), Judgement::Allow(..));
        assert!(!is_allowed || status < 300, "{status}");
    }
});
