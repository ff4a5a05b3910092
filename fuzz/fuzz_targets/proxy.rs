//! PROXY headers: any bytes are a header or an error, the same in any pieces, and what follows the
//! header is never taken.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ringmq::net::layer::Why;
use ringmq::net::layer::proxy::{Header, Proxy};
use ringmq_fuzz::{shaped, take_cut};

const TEMPLATES: &[&[u8]] = &[
    b"PROXY TCP4 192.0.2.7 198.51.100.1 56324 1883\r\n\x10\x0c",
    b"PROXY TCP6 2001:db8::7 2001:db8::1 1 65535\r\n",
    b"PROXY UNKNOWN whatever\r\n",
    // TCP over IPv4, with authority, unique id and TLS with a common name.
    b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x2e\xc0\0\x02\x07\xc6\x33\x64\x01\xdc\x04\x07\x5b\
      \x02\0\x03a.b\x05\0\x02id\x20\0\x11\x07\0\0\0\0\x22\0\x09device-17\x10\x0c",
    b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0",
    // With a checksum.
    b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x13\xc0\0\x02\x07\xc6\x33\x64\x01\xdc\x04\x07\x5b\
      \x03\0\x04\0\0\0\0",
];

fuzz_target!(|input: &[u8]| {
    let (cut, input) = take_cut(input);
    let bytes = shaped(input, TEMPLATES);
    let whole = feed(&bytes, usize::MAX);
    assert_eq!(feed(&bytes, cut), whole);
    if let Ok((used, Some(header))) = whole {
        // The same with nothing after it, and not a byte less.
        assert_eq!(feed(&bytes[..used], 1), Ok((used, Some(header))));
        assert!(matches!(feed(&bytes[..used - 1], 1), Ok((_, None))));
    }
});

fn feed(bytes: &[u8], cut: usize) -> Result<(usize, Option<Header>), Why> {
    let (mut proxy, mut used) = (Proxy::default(), 0);
    while used < bytes.len() {
        let end = used.saturating_add(cut).min(bytes.len());
        let step = proxy.handle(&bytes[used..end])?;
        assert!(used + step.used <= end);
        used += step.used;
        if step.header.is_some() {
            return Ok((used, step.header));
        }
        assert_eq!(used, end, "what was not whole is kept");
    }
    Ok((used, None))
}
