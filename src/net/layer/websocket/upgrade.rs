//! From HTTP to WebSocket (RFC 6455 section 4.2), and what to say to those who want something
//! else.

use super::super::Why;
use crate::codec::stranger::{self, Stranger, status};
use crate::limits::{HTTP_HEAD_BYTES_MAX, HTTP_HEADERS_MAX};
use aws_lc_rs::digest;
use data_encoding::BASE64;
use httparse::{Request, Status};
use std::fmt::Write;

/// Appended to the client's key (section 1.3).
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// What a listener takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpgradeRules {
    /// The path, `/mqtt`.
    pub path: String,
    /// Whether a client has to ask for the sub-protocol (MQTT-6.0.0-3).
    pub needs_sub_protocol: bool,
    /// Pages that may connect, as their browser names them in `Origin`; empty: all.
    pub origins: Vec<String>,
}

/// A request while it comes in.
#[derive(Default)]
pub struct Upgrade {
    head: Vec<u8>,
}

/// A request that was agreed to. The answer is on its way.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Agreed {
    /// Every `X-Forwarded-For`, in order.
    pub forwarded_for: Option<String>,
}

/// What came of some input.
#[derive(Debug, PartialEq, Eq)]
pub struct Step {
    /// Bytes of the input that belong to the request. It never takes one more.
    pub used: usize,
    pub agreed: Option<Agreed>,
}

/// A refusal: why, the status line, and the sentence.
type Refused = (Why, &'static str, String);

impl Upgrade {
    /// Takes what has come; the answer is left in `back`.
    ///
    /// # Errors
    /// It is no request for MQTT over WebSocket; where it is HTTP at all, the answer that says so
    /// is in `back`.
    pub fn handle(
        &mut self,
        input: &[u8],
        rules: &UpgradeRules,
        back: &mut Vec<u8>,
    ) -> Result<Step, Why> {
        let first = *self.head.first().or(input.first()).unwrap_or(&b'G');
        match stranger::of(first) {
            Stranger::Mqtt => return Err(Why::MqttOnWebSocket),
            Stranger::Tls => return Err(Why::TlsOnWebSocket),
            Stranger::Http => {}
            Stranger::Unknown => return Err(Why::HttpMalformed),
        }
        let begin = self.head.len();
        let room = HTTP_HEAD_BYTES_MAX - begin;
        self.head.extend_from_slice(&input[..input.len().min(room)]);
        let Some(end) = find_end(&self.head, begin) else {
            if self.head.len() < HTTP_HEAD_BYTES_MAX {
                return Ok(Step {
                    used: input.len(),
                    agreed: None,
                });
            }
            let text = format!("headers are longer than {HTTP_HEAD_BYTES_MAX} bytes");
            stranger::http_answer(status::TOO_LARGE, &text, &[], back);
            return Err(Why::HttpTooLarge);
        };
        self.head.truncate(end);
        let head = std::mem::take(&mut self.head);
        match judge(&head, rules) {
            Ok((answer, agreed)) => {
                back.extend_from_slice(answer.as_bytes());
                Ok(Step {
                    used: end - begin,
                    agreed: Some(agreed),
                })
            }
            Err((why, status, text)) => {
                let more: &[&str] = match status {
                    status::UPGRADE_REQUIRED => {
                        &["Upgrade: websocket", "Sec-WebSocket-Version: 13"]
                    }
                    _ => &[],
                };
                stranger::http_answer(status, &text, more, back);
                Err(why)
            }
        }
    }
}

/// Where the headers end; what lies before `begin` was looked at already.
fn find_end(head: &[u8], begin: usize) -> Option<usize> {
    let from = begin.saturating_sub(3);
    let at = head[from..]
        .windows(4)
        .position(|four| four == b"\r\n\r\n")?;
    Some(from + at + 4)
}

fn judge(head: &[u8], rules: &UpgradeRules) -> Result<(String, Agreed), Refused> {
    let mut headers = [httparse::EMPTY_HEADER; HTTP_HEADERS_MAX];
    let mut request = Request::new(&mut headers);
    let malformed = |text: &str| (Why::HttpMalformed, status::BAD_REQUEST, text.into());
    match request.parse(head) {
        Ok(Status::Complete(_)) => {}
        Ok(Status::Partial) => return Err(malformed("the request is not whole")),
        Err(httparse::Error::TooManyHeaders) => {
            let text = format!("more than {HTTP_HEADERS_MAX} headers");
            return Err((Why::HttpTooLarge, status::TOO_LARGE, text));
        }
        Err(error) => return Err(malformed(&format!("not an HTTP request: {error}"))),
    }
    let path = request.path.unwrap_or_default();
    let all = |name: &str| values(request.headers, name);
    let no = |text: &str| {
        let text = format!(
            "this port speaks MQTT over WebSocket at {}: {text}",
            rules.path
        );
        (Why::HttpNotWebSocket, status::BAD_REQUEST, text)
    };
    if !has_token(&all("upgrade"), "websocket") {
        return Err(no("the request does not ask for an upgrade to websocket"));
    }
    if request.method != Some("GET") || request.version != Some(1) {
        return Err(no("the upgrade has to be asked for by GET and HTTP/1.1"));
    }
    if !has_token(&all("connection"), "upgrade") {
        return Err(no("the header Connection has no token Upgrade"));
    }
    if all("sec-websocket-version") != ["13"] {
        let (why, _, text) = no("only version 13 of WebSocket is spoken");
        return Err((why, status::UPGRADE_REQUIRED, text));
    }
    if path.split('?').next() != Some(&*rules.path) {
        let text = format!("MQTT over WebSocket is at {}", rules.path);
        return Err((Why::HttpPath, status::NOT_FOUND, text));
    }
    check_origin(&all("origin"), rules)?;
    let keys = all("sec-websocket-key");
    let key = match keys[..] {
        [key]
            if BASE64
                .decode(key.as_bytes())
                .is_ok_and(|key| key.len() == 16) =>
        {
            key
        }
        _ => return Err(no("the header Sec-WebSocket-Key is not 16 bytes in base64")),
    };
    let sub_protocol = sub_protocol(&all("sec-websocket-protocol"), rules)?;
    let forwarded = all("x-forwarded-for");
    let agreed = Agreed {
        forwarded_for: (!forwarded.is_empty()).then(|| forwarded.join(",")),
    };
    Ok((answer(key, sub_protocol), agreed))
}

fn check_origin(origins: &[&str], rules: &UpgradeRules) -> Result<(), Refused> {
    // Only browsers send it, and it is them that it protects.
    let known = |origin: &&str| rules.origins.iter().any(|known| known == *origin);
    if rules.origins.is_empty() || origins.iter().all(known) {
        return Ok(());
    }
    let text = format!("pages from {} may not connect", origins.join(", "));
    Err((Why::HttpOrigin, status::FORBIDDEN, text))
}

/// The name to answer with (MQTT-6.0.0-4).
fn sub_protocol(asked: &[&str], rules: &UpgradeRules) -> Result<Option<&'static str>, Refused> {
    let known = ["mqtt", "mqttv3.1"];
    let found = known
        .into_iter()
        .find(|name| tokens(asked).any(|token| token == *name));
    match found {
        None if rules.needs_sub_protocol => {
            let text = "the header Sec-WebSocket-Protocol has to name mqtt".into();
            Err((Why::HttpSubProtocol, status::BAD_REQUEST, text))
        }
        found => Ok(found),
    }
}

fn answer(key: &str, sub_protocol: Option<&str>) -> String {
    let mut sha1 = digest::Context::new(&digest::SHA1_FOR_LEGACY_USE_ONLY);
    sha1.update(key.as_bytes());
    sha1.update(GUID);
    let mut answer = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {}\r\n",
        BASE64.encode(sha1.finish().as_ref())
    );
    if let Some(name) = sub_protocol {
        // Writing to a String cannot fail.
        let _ = write!(answer, "Sec-WebSocket-Protocol: {name}\r\n");
    }
    answer + "\r\n"
}

/// The values of a header, those that are text.
fn values<'a>(headers: &[httparse::Header<'a>], name: &str) -> Vec<&'a str> {
    headers
        .iter()
        .filter(|header| header.name.eq_ignore_ascii_case(name))
        .filter_map(|header| std::str::from_utf8(header.value).ok())
        .map(str::trim)
        .collect()
}

fn tokens<'a>(values: &'a [&'a str]) -> impl Iterator<Item = &'a str> {
    values
        .iter()
        .flat_map(|value| value.split(','))
        .map(str::trim)
}

fn has_token(values: &[&str], wanted: &str) -> bool {
    tokens(values).any(|token| token.eq_ignore_ascii_case(wanted))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules() -> UpgradeRules {
        UpgradeRules {
            path: "/mqtt".into(),
            needs_sub_protocol: true,
            origins: vec![],
        }
    }

    fn request(changes: &[(&str, &str)]) -> String {
        let mut lines = vec![
            ("GET", "/mqtt HTTP/1.1"),
            ("Host:", "server.example.com"),
            ("Upgrade:", "websocket"),
            ("Connection:", "keep-alive, Upgrade"),
            ("Sec-WebSocket-Key:", "dGhlIHNhbXBsZSBub25jZQ=="),
            ("Sec-WebSocket-Protocol:", "chat, mqtt"),
            ("Sec-WebSocket-Version:", "13"),
        ];
        for (name, value) in changes {
            match lines.iter_mut().find(|(known, _)| known == name) {
                Some(line) => line.1 = value,
                None => lines.push((name, value)),
            }
        }
        let lines = lines.iter().filter(|(_, value)| !value.is_empty());
        let text: String = lines
            .map(|(name, value)| format!("{name} {value}\r\n"))
            .collect();
        text + "\r\n"
    }

    fn ask(text: &str, rules: &UpgradeRules) -> (Result<Agreed, Why>, String) {
        let mut results = vec![];
        for cut in [1, 3, 50, text.len() + 10] {
            let mut bytes = text.as_bytes().to_vec();
            bytes.extend(b"\x82\x80next");
            let (mut upgrade, mut back) = (Upgrade::default(), vec![]);
            let mut used = 0;
            let result = loop {
                let end = (used + cut).min(bytes.len());
                match upgrade.handle(&bytes[used..end], rules, &mut back) {
                    Ok(step) => {
                        used += step.used;
                        if let Some(agreed) = step.agreed {
                            assert_eq!(used, text.len(), "it takes not a byte more");
                            break Ok(agreed);
                        }
                    }
                    Err(why) => break Err(why),
                }
            };
            results.push((result, String::from_utf8(back).unwrap()));
        }
        assert!(results.windows(2).all(|two| two[0] == two[1]));
        results.remove(0)
    }

    #[test]
    fn the_example_of_the_standard() {
        let (agreed, answer) = ask(&request(&[]), &rules());
        assert_eq!(agreed, Ok(Agreed::default()));
        assert!(answer.starts_with("HTTP/1.1 101 "), "{answer}");
        assert!(answer.contains("\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"));
        assert!(answer.ends_with("\r\nSec-WebSocket-Protocol: mqtt\r\n\r\n"));
    }

    #[test]
    fn the_sub_protocol_may_be_left_out_where_allowed() {
        let without = request(&[("Sec-WebSocket-Protocol:", "")]);
        assert_eq!(ask(&without, &rules()).0, Err(Why::HttpSubProtocol));
        let lax = UpgradeRules {
            needs_sub_protocol: false,
            ..rules()
        };
        let (agreed, answer) = ask(&without, &lax);
        assert!(agreed.is_ok() && !answer.contains("Sec-WebSocket-Protocol"));
        let old = request(&[("Sec-WebSocket-Protocol:", "mqttv3.1")]);
        assert!(
            ask(&old, &rules())
                .1
                .contains("Sec-WebSocket-Protocol: mqttv3.1\r\n")
        );
    }

    #[test]
    fn what_is_wrong_is_said_in_one_line() {
        let many: String = (0..70).map(|n| format!("H{n}: x\r\n")).collect();
        for (text, why, part) in [
            (
                "GET / HTTP/1.1\r\nHost: x\r\n\r\n".into(),
                Why::HttpNotWebSocket,
                "400 ",
            ),
            (
                request(&[("GET", "/other HTTP/1.1")]),
                Why::HttpPath,
                "404 ",
            ),
            (
                request(&[("GET", "/mqtt HTTP/1.0")]),
                Why::HttpNotWebSocket,
                "HTTP/1.1",
            ),
            (
                request(&[("Connection:", "close")]),
                Why::HttpNotWebSocket,
                "Connection",
            ),
            (
                request(&[("Sec-WebSocket-Version:", "8")]),
                Why::HttpNotWebSocket,
                "426 ",
            ),
            (
                request(&[("Sec-WebSocket-Key:", "c2hvcnQ=")]),
                Why::HttpNotWebSocket,
                "16 bytes",
            ),
            (
                format!("GET /mqtt HTTP/1.1\r\n{many}\r\n"),
                Why::HttpTooLarge,
                "431 ",
            ),
            (
                format!("GET /{} HTTP/1.1\r\n", "x".repeat(9000)),
                Why::HttpTooLarge,
                "431 ",
            ),
            ("GET /mqtt\r\n\r\n".into(), Why::HttpMalformed, "400 "),
        ] {
            let (result, answer) = ask(&text, &rules());
            assert_eq!(result, Err(why), "{text}");
            assert!(
                answer.starts_with("HTTP/1.1 4") && answer.contains(part),
                "{answer}"
            );
            let (_, body) = answer.split_once("\r\n\r\n").unwrap();
            assert_eq!(body.matches('\n').count(), 1, "{body}");
        }
    }

    #[test]
    fn strangers_are_told_from_the_first_byte() {
        for (bytes, why) in [
            ("\x10\x0c\0\x04MQTT", Why::MqttOnWebSocket),
            ("\x16\x03\x01\x02\0\x01", Why::TlsOnWebSocket),
            ("\0\0\0", Why::HttpMalformed),
        ] {
            assert_eq!(ask(bytes, &rules()), (Err(why), String::new()));
        }
    }

    #[test]
    fn origins_on_the_list_only() {
        let strict = UpgradeRules {
            origins: vec!["https://app.example.org".into()],
            ..rules()
        };
        assert!(ask(&request(&[]), &strict).0.is_ok(), "no browser");
        let good = request(&[("Origin:", "https://app.example.org")]);
        assert!(ask(&good, &strict).0.is_ok());
        let bad = request(&[("Origin:", "https://evil.example")]);
        let (result, answer) = ask(&bad, &strict);
        assert_eq!(result, Err(Why::HttpOrigin));
        assert!(answer.starts_with("HTTP/1.1 403 "));
    }

    #[test]
    fn forwarded_addresses_are_passed_on() {
        let text = request(&[("X-Forwarded-For:", "192.0.2.1, 10.0.0.2")]);
        let agreed = ask(&text, &rules()).0.unwrap();
        assert_eq!(agreed.forwarded_for.as_deref(), Some("192.0.2.1, 10.0.0.2"));
    }
}
