//! The PROXY protocol, versions 1 and 2: a load balancer says who the client is, before anything
//! else (<https://www.haproxy.org/download/2.9/doc/proxy-protocol.txt>).

use super::Why;
use crate::limits::PROXY_HEADER_BYTES_MAX;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
const WORD: &[u8] = b"PROXY ";
/// Longest line of version 1, its end included (section 2.1).
const LINE_BYTES_MAX: usize = 107;
/// Fixed part of version 2.
const FIXED_BYTES: usize = 16;
/// Longest unique id (section 2.2.5).
const UNIQUE_ID_BYTES_MAX: usize = 128;

/// A header while it comes in.
#[derive(Default)]
pub struct Proxy {
    seen: Vec<u8>,
}

/// What a header says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Header {
    /// Who the client is; `None`: nobody is proxied (a health check), or it has no address.
    pub source: Option<SocketAddr>,
    /// Whether the client speaks TLS with the load balancer.
    pub is_encrypted: bool,
    /// The name that the client asked for.
    pub server_name: Option<Box<str>>,
    /// CN of the client certificate that the load balancer has verified.
    pub common_name: Option<Box<str>>,
    pub unique_id: Option<Box<[u8]>>,
}

/// What came of some input.
#[derive(Debug, PartialEq, Eq)]
pub struct Step {
    /// Bytes of the input that belong to the header. It never takes one more.
    pub used: usize,
    /// The header, once it is whole.
    pub header: Option<Header>,
}

impl Proxy {
    /// Takes what has come.
    ///
    /// # Errors
    /// It is not a PROXY header, or a broken one.
    pub fn handle(&mut self, input: &[u8]) -> Result<Step, Why> {
        let mut used = 0;
        loop {
            let wanted = wanted(&self.seen)?;
            if wanted == 0 {
                let header = parse(&self.seen).ok_or(Why::ProxyMalformed)?;
                return Ok(Step {
                    used,
                    header: Some(header),
                });
            }
            let taken = wanted.min(input.len() - used);
            if taken == 0 {
                return Ok(Step { used, header: None });
            }
            self.seen.extend_from_slice(&input[used..used + taken]);
            used += taken;
        }
    }
}

/// How many bytes more may be taken without taking one that is not the header's.
fn wanted(seen: &[u8]) -> Result<usize, Why> {
    if seen.is_empty() {
        return Ok(1);
    }
    if WORD.starts_with(&seen[..seen.len().min(WORD.len())]) {
        return match seen.ends_with(b"\r\n") {
            true => Ok(0),
            false if seen.len() < LINE_BYTES_MAX => Ok(1),
            false => Err(Why::ProxyMalformed),
        };
    }
    if !SIGNATURE.starts_with(&seen[..seen.len().min(SIGNATURE.len())]) {
        return Err(Why::ProxyMalformed);
    }
    if seen.len() < SIGNATURE.len() {
        // What follows may be something else: a byte more at a time costs little this once.
        return Ok(1);
    }
    if seen.len() < FIXED_BYTES {
        return Ok(FIXED_BYTES - seen.len());
    }
    let whole = FIXED_BYTES + usize::from(u16::from_be_bytes([seen[14], seen[15]]));
    if whole > PROXY_HEADER_BYTES_MAX {
        return Err(Why::ProxyMalformed);
    }
    Ok(whole - seen.len())
}

fn parse(seen: &[u8]) -> Option<Header> {
    match seen.strip_prefix(WORD) {
        Some(line) => parse_line(std::str::from_utf8(line).ok()?.strip_suffix("\r\n")?),
        None => parse_binary(seen),
    }
}

/// `TCP4 SOURCE DESTINATION PORT PORT`, or `UNKNOWN` and whatever.
fn parse_line(line: &str) -> Option<Header> {
    let mut words = line.split(' ');
    let family = words.next()?;
    if family == "UNKNOWN" {
        return Some(Header::default());
    }
    let addresses = [words.next()?, words.next()?];
    let [source, _] = match family {
        "TCP4" => addresses.map(|text| text.parse::<Ipv4Addr>().map(IpAddr::V4)),
        "TCP6" => addresses.map(|text| text.parse::<Ipv6Addr>().map(IpAddr::V6)),
        _ => return None,
    };
    let source = source.ok()?;
    let port: u16 = words.next()?.parse().ok()?;
    let _: u16 = words.next()?.parse().ok()?;
    words.next().is_none().then(|| Header {
        source: Some(SocketAddr::new(source, port)),
        ..Header::default()
    })
}

fn parse_binary(seen: &[u8]) -> Option<Header> {
    let (version, command) = (seen[12] >> 4, seen[12] & 15);
    if version != 2 || command > 1 {
        return None;
    }
    let body = &seen[FIXED_BYTES..];
    if command == 0 {
        // LOCAL: the load balancer itself, whatever addresses it writes.
        return Some(Header::default());
    }
    let (source, addresses) = match seen[13] {
        0x11 => {
            let address = Ipv4Addr::from(*body.first_chunk::<4>()?);
            (Some((IpAddr::V4(address), 8)), 12)
        }
        0x21 => {
            let address = Ipv6Addr::from(*body.first_chunk::<16>()?);
            (Some((IpAddr::V6(address), 32)), 36)
        }
        // A unix socket, or nothing that is known of the client.
        0x31 => (None, 216),
        0x00 => (None, 0),
        _ => return None,
    };
    let mut tail = body.get(addresses..)?;
    let mut header = Header::default();
    if let Some((ip, port_at)) = source {
        let port = u16::from_be_bytes([body[port_at], body[port_at + 1]]);
        header.source = Some(SocketAddr::new(ip, port));
    }
    while let Some((kind, value)) = take_tlv(&mut tail)? {
        header.put(kind, value, seen)?;
    }
    Some(header)
}

impl Header {
    /// One of the further values (section 2.2). None: it is broken. Unknown ones mean nothing.
    fn put(&mut self, kind: u8, value: &[u8], seen: &[u8]) -> Option<()> {
        const AUTHORITY: u8 = 0x02;
        const CRC32C: u8 = 0x03;
        const UNIQUE_ID: u8 = 0x05;
        const SSL: u8 = 0x20;
        match kind {
            AUTHORITY => self.server_name = Some(text(value)?),
            CRC32C => {
                let at = value.as_ptr() as usize - seen.as_ptr() as usize;
                let said = u32::from_be_bytes(value.try_into().ok()?);
                return (crc32c_without(seen, at) == said).then_some(());
            }
            UNIQUE_ID if value.len() <= UNIQUE_ID_BYTES_MAX => self.unique_id = Some(value.into()),
            UNIQUE_ID => return None,
            SSL => self.put_ssl(value)?,
            _ => {}
        }
        Some(())
    }

    fn put_ssl(&mut self, value: &[u8]) -> Option<()> {
        const CLIENT_SSL: u8 = 1;
        /// The certificate was given on this connection, or on the session that it resumes.
        const CLIENT_CERTIFICATE: u8 = 2 | 4;
        const COMMON_NAME: u8 = 0x22;
        let (client, rest) = value.split_first()?;
        let (verify, mut rest) = rest.split_first_chunk::<4>()?;
        let is_verified = client & CLIENT_CERTIFICATE != 0 && *verify == [0; 4];
        self.is_encrypted = client & CLIENT_SSL != 0;
        while let Some((kind, value)) = take_tlv(&mut rest)? {
            if kind == COMMON_NAME && is_verified {
                self.common_name = Some(text(value)?);
            }
        }
        Some(())
    }
}

/// The next type and value; `Some(None)` at the end, `None` where the length is wrong.
#[allow(clippy::option_option)]
fn take_tlv<'a>(rest: &mut &'a [u8]) -> Option<Option<(u8, &'a [u8])>> {
    if rest.is_empty() {
        return Some(None);
    }
    let (&[kind, high, low], after) = rest.split_first_chunk::<3>()?;
    let (value, after) = after.split_at_checked(usize::from(u16::from_be_bytes([high, low])))?;
    *rest = after;
    Some(Some((kind, value)))
}

/// Text that can stand in a log line.
fn text(value: &[u8]) -> Option<Box<str>> {
    let text = std::str::from_utf8(value).ok()?;
    let plain = !text.is_empty() && text.len() <= 1024 && !text.contains(char::is_control);
    plain.then(|| text.into())
}

/// The checksum (RFC 4960 appendix B) with the four bytes at `at` taken as 0.
fn crc32c_without(bytes: &[u8], at: usize) -> u32 {
    let mut crc = u32::MAX;
    for (index, byte) in bytes.iter().enumerate() {
        let byte = if (at..at + 4).contains(&index) {
            0
        } else {
            *byte
        };
        crc ^= u32::from(byte);
        for _ in 0..8 {
            crc = crc >> 1 ^ if crc & 1 == 1 { 0x82f6_3b78 } else { 0 };
        }
    }
    !crc
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A header of version 2, with what follows the fixed part.
    fn binary(command: u8, family: u8, body: &[u8]) -> Vec<u8> {
        let mut out = SIGNATURE.to_vec();
        out.extend([0x20 | command, family]);
        out.extend((body.len() as u16).to_be_bytes());
        out.extend(body);
        out
    }

    fn tlv(kind: u8, value: &[u8]) -> Vec<u8> {
        let mut out = vec![kind];
        out.extend((value.len() as u16).to_be_bytes());
        out.extend(value);
        out
    }

    const V4: [u8; 12] = [192, 0, 2, 7, 10, 0, 0, 1, 0x30, 0x39, 0x07, 0x5b];

    /// The header, whatever the pieces it comes in, and that it takes not a byte more.
    fn read(bytes: &[u8]) -> Result<Header, Why> {
        let mut with_more = bytes.to_vec();
        with_more.extend(b"\x10more");
        let mut found = None;
        for cut in [1, 2, 3, 7, 16, with_more.len()] {
            let mut proxy = Proxy::default();
            let mut used = 0;
            let header = loop {
                let end = (used + cut).min(with_more.len());
                match proxy.handle(&with_more[used..end]) {
                    Ok(step) => {
                        used += step.used;
                        match step.header {
                            Some(header) => {
                                assert_eq!(used, bytes.len(), "cut at {cut}");
                                break Ok(header);
                            }
                            None => assert!(used < with_more.len()),
                        }
                    }
                    Err(why) => break Err(why),
                }
            };
            assert_eq!(found.get_or_insert(header.clone()), &header, "cut at {cut}");
        }
        found.expect("at least one cut")
    }

    #[test]
    fn lines_say_who_it_is() {
        for (line, source) in [
            (
                "PROXY TCP4 192.0.2.7 10.0.0.1 12345 1883\r\n",
                Some("192.0.2.7:12345"),
            ),
            (
                "PROXY TCP6 2001:db8::1 ::1 1 65535\r\n",
                Some("[2001:db8::1]:1"),
            ),
            ("PROXY UNKNOWN\r\n", None),
            ("PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n", None),
        ] {
            let header = read(line.as_bytes()).unwrap();
            assert_eq!(
                header.source,
                source.map(|text| text.parse().unwrap()),
                "{line}"
            );
        }
    }

    #[test]
    fn broken_lines_are_refused() {
        let long = format!("PROXY UNKNOWN {}\r\n", "x".repeat(100));
        for line in [
            "PROXY TCP4 192.0.2.7 10.0.0.1 12345\r\n",
            "PROXY TCP4 192.0.2.7 10.0.0.1 12345 1883 9\r\n",
            "PROXY TCP4 ::1 ::1 1 2\r\n",
            "PROXY TCP4 192.0.2.7 10.0.0.1 123456 1883\r\n",
            "PROXY SCTP 192.0.2.7 10.0.0.1 1 2\r\n",
            "PROXY TCP4 192.0.2.7  10.0.0.1 1 2\r\n",
            "PROXX TCP4 192.0.2.7 10.0.0.1 1 2\r\n",
            "GET / HTTP/1.1\r\n",
            "\x10\x0c\0\x04MQTT\x04\x02\0\0\0\0",
            &long,
        ] {
            assert_eq!(read(line.as_bytes()), Err(Why::ProxyMalformed), "{line:?}");
        }
    }

    #[test]
    fn binary_headers_carry_more() {
        let ssl = [
            &[3, 0, 0, 0, 0][..],
            &tlv(0x21, b"TLSv1.3"),
            &tlv(0x22, b"device-7"),
        ]
        .concat();
        let body = [
            &V4[..],
            &tlv(0x02, b"mqtt.example.org"),
            &tlv(0x05, b"\x01\x02"),
            &tlv(0x20, &ssl),
            &tlv(0xe0, b"whatever"),
        ]
        .concat();
        let header = read(&binary(1, 0x11, &body)).unwrap();
        assert_eq!(header.source, Some("192.0.2.7:12345".parse().unwrap()));
        assert_eq!(header.server_name.as_deref(), Some("mqtt.example.org"));
        assert_eq!(header.unique_id.as_deref(), Some(&[1, 2][..]));
        assert_eq!(header.common_name.as_deref(), Some("device-7"));
        assert!(header.is_encrypted);

        let mut v6 = [0; 36];
        v6[15] = 1;
        v6[33] = 9;
        let header = read(&binary(1, 0x21, &v6)).unwrap();
        assert_eq!(header.source, Some("[::1]:9".parse().unwrap()));
        assert_eq!(read(&binary(0, 0x11, &V4)), Ok(Header::default()));
        assert_eq!(read(&binary(1, 0, b"")), Ok(Header::default()));
        assert_eq!(read(&binary(1, 0x31, &[0; 216])), Ok(Header::default()));
    }

    #[test]
    fn a_name_that_was_not_verified_is_nobodys() {
        let ssl = [&[3, 0, 0, 0, 1][..], &tlv(0x22, b"admin")].concat();
        let body = [&V4[..], &tlv(0x20, &ssl)].concat();
        assert_eq!(read(&binary(1, 0x11, &body)).unwrap().common_name, None);
    }

    #[test]
    fn broken_binary_headers_are_refused() {
        let mut wrong_version = binary(1, 0x11, &V4);
        wrong_version[12] = 0x11;
        let mut too_long = binary(1, 0x11, &V4);
        too_long[14] = 0x20;
        for bytes in [
            wrong_version,
            too_long,
            binary(2, 0x11, &V4),
            binary(1, 0x11, &V4[..11]),
            binary(1, 0x41, &V4),
            binary(1, 0x11, &[&V4[..], &[2, 0, 9, b'x']].concat()),
            binary(1, 0x11, &[&V4[..], &tlv(2, b"a\nb")].concat()),
            binary(1, 0x11, &[&V4[..], &tlv(5, &[0; 129])].concat()),
            binary(1, 0x11, &[&V4[..], &tlv(3, &[0; 4])].concat()),
        ] {
            assert_eq!(read(&bytes), Err(Why::ProxyMalformed), "{bytes:x?}");
        }
    }

    #[test]
    fn a_checksum_is_checked() {
        let mut bytes = binary(1, 0x11, &[&V4[..], &tlv(3, &[0; 4])].concat());
        let at = bytes.len() - 4;
        let crc = crc32c_without(&bytes, at);
        bytes[at..].copy_from_slice(&crc.to_be_bytes());
        assert!(read(&bytes).is_ok());
        // The check value of the polynomial.
        assert_eq!(crc32c_without(b"123456789", 9), 0xe306_9283);
    }
}
