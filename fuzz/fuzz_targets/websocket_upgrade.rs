//! HTTP requests for a WebSocket: any bytes are agreed to or refused, the same in any pieces, with
//! one answer that is HTTP, and what follows the request is never taken.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ringmq::net::layer::{UpgradeRules, Why, websocket::Upgrade};
use ringmq_fuzz::{shaped, take_cut};

const TEMPLATES: &[&[u8]] = &[
    b"GET /mqtt HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
      Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: mqtt\r\n\
      Sec-WebSocket-Version: 13\r\n\r\n\x82\x80",
    b"GET /mqtt?a HTTP/1.1\r\nUpgrade: WebSocket\r\nConnection: keep-alive, upgrade\r\n\
      Origin: https://app.example.org\r\nX-Forwarded-For: 192.0.2.7, 10.0.0.1\r\n\
      Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
      Sec-WebSocket-Protocol: chat, mqttv3.1\r\nSec-WebSocket-Version: 13\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
];

fuzz_target!(|input: &[u8]| {
    let (cut, input) = take_cut(input);
    let bytes = shaped(input, TEMPLATES);
    let rules = UpgradeRules {
        path: "/mqtt".into(),
        needs_sub_protocol: bytes.len() % 2 == 0,
        origins: match bytes.len() % 3 {
            0 => vec!["https://app.example.org".into()],
            _ => vec![],
        },
    };
    let (end, answer) = feed(&bytes, usize::MAX, &rules);
    assert_eq!(feed(&bytes, cut, &rules), (end.clone(), answer.clone()));
    let answer = String::from_utf8(answer).expect("an answer is text");
    match end {
        Ok(used) if answer.is_empty() => assert_eq!(used, bytes.len(), "it waits for more"),
        Ok(used) => {
            assert!(answer.starts_with("HTTP/1.1 101 ") && answer.ends_with("\r\n\r\n"));
            assert!(bytes[..used].ends_with(b"\r\n\r\n"));
        }
        Err(_) => assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 4")),
    }
});

/// How many bytes were taken, and what was answered.
fn feed(bytes: &[u8], cut: usize, rules: &UpgradeRules) -> (Result<usize, Why>, Vec<u8>) {
    let (mut upgrade, mut answer, mut used) = (Upgrade::default(), vec![], 0);
    while used < bytes.len() {
        let end = used.saturating_add(cut).min(bytes.len());
        match upgrade.handle(&bytes[used..end], rules, &mut answer) {
            Ok(step) => {
                assert!(used + step.used <= end);
                used += step.used;
                if step.agreed.is_some() {
                    break;
                }
            }
            Err(why) => return (Err(why), answer),
        }
    }
    (Ok(used), answer)
}
