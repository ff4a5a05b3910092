//! Who is at the door when it is not MQTT: told from the first byte, so that people get an answer
//! that helps, and operators a count that says what is misconfigured.

/// What a first byte looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stranger {
    /// CONNECT: no stranger.
    Mqtt,
    /// A TLS handshake record.
    Tls,
    /// The method of an HTTP request.
    Http,
    Unknown,
}

/// Status lines.
pub mod status {
    pub const BAD_REQUEST: &str = "400 Bad Request";
    pub const FORBIDDEN: &str = "403 Forbidden";
    pub const NOT_FOUND: &str = "404 Not Found";
    pub const UPGRADE_REQUIRED: &str = "426 Upgrade Required";
    pub const TOO_LARGE: &str = "431 Request Header Fields Too Large";
}

/// What the first byte of a connection looks like. Methods are upper case letters, all of which
/// are packet types that no client begins with.
#[inline]
pub fn of(first: u8) -> Stranger {
    match first {
        0x10 => Stranger::Mqtt,
        0x16 => Stranger::Tls,
        b'A'..=b'Z' => Stranger::Http,
        _ => Stranger::Unknown,
    }
}

/// Appends an HTTP answer of one line, with `more` header lines, after which the connection ends.
pub fn http_answer(status: &str, text: &str, more: &[&str], out: &mut Vec<u8>) {
    let mut head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: text/plain; charset=utf-8\r\n\
         Content-Length: {}\r\nConnection: close\r\n",
        text.len() + 1
    );
    for line in more {
        head += line;
        head += "\r\n";
    }
    out.extend_from_slice(head.as_bytes());
    out.extend_from_slice(b"\r\n");
    out.extend_from_slice(text.as_bytes());
    out.push(b'\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_bytes_tell() {
        assert_eq!(of(b"GET / HTTP/1.1"[0]), Stranger::Http);
        assert_eq!(of(0x16), Stranger::Tls);
        assert_eq!(of(0x10), Stranger::Mqtt);
        assert_eq!(of(0xff), Stranger::Unknown);
    }

    #[test]
    fn an_answer_is_whole() {
        let mut out = vec![];
        http_answer("400 Bad Request", "no", &["A: b"], &mut out);
        let text = String::from_utf8(out).unwrap();
        assert!(text.starts_with("HTTP/1.1 400 Bad Request\r\n"));
        assert!(text.contains("\r\nContent-Length: 3\r\n") && text.contains("\r\nA: b\r\n"));
        assert!(text.ends_with("\r\n\r\nno\n"));
    }
}
