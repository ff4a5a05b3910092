//! Appends fields to a buffer; lengths are patched in afterwards.

/// Greatest value of a Variable Byte Integer (section 1.5.5).
pub const VARINT_MAX: usize = 268_435_455;

/// Appends a packet: first byte, Remaining Length, and what `body` writes.
pub(super) fn packet(out: &mut Vec<u8>, header: u8, body: impl FnOnce(&mut Vec<u8>)) {
    out.push(header);
    section(out, body);
}

/// Appends what `body` writes after its length as Variable Byte Integer.
pub(super) fn section(out: &mut Vec<u8>, body: impl FnOnce(&mut Vec<u8>)) {
    let at = out.len();
    out.push(0);
    body(out);
    let len = out.len() - at - 1;
    let (encoded, width) = encode_varint(len);
    if width > 1 {
        let end = out.len();
        out.resize(end + width - 1, 0);
        out.copy_within(at + 1..end, at + width);
    }
    out[at..at + width].copy_from_slice(&encoded[..width]);
}

pub(super) fn u16(out: &mut Vec<u8>, value: u16) {
    out.extend_from_slice(&value.to_be_bytes());
}

pub(super) fn u32(out: &mut Vec<u8>, value: u32) {
    out.extend_from_slice(&value.to_be_bytes());
}

pub(super) fn varint(out: &mut Vec<u8>, value: usize) {
    let (encoded, width) = encode_varint(value);
    out.extend_from_slice(&encoded[..width]);
}

/// Appends Binary Data.
///
/// # Panics
/// If there are more than 65,535 bytes: that would make the rest of the stream unreadable.
pub(super) fn binary(out: &mut Vec<u8>, value: &[u8]) {
    let len = u16::try_from(value.len()).expect("a field holds at most 65,535 bytes");
    out.extend_from_slice(&len.to_be_bytes());
    out.extend_from_slice(value);
}

pub(super) fn string(out: &mut Vec<u8>, value: &str) {
    binary(out, value.as_bytes());
}

/// A Variable Byte Integer in the fewest bytes (MQTT-1.5.5-1), and how many those are.
///
/// # Panics
/// Above [`VARINT_MAX`].
#[inline]
pub(super) fn encode_varint(value: usize) -> ([u8; 4], usize) {
    assert!(
        value <= VARINT_MAX,
        "a packet holds at most {VARINT_MAX} bytes"
    );
    let septet = |i: usize| (value >> (7 * i)) as u8 & 0x7F;
    match varint_len(value) {
        1 => ([septet(0), 0, 0, 0], 1),
        2 => ([septet(0) | 0x80, septet(1), 0, 0], 2),
        3 => ([septet(0) | 0x80, septet(1) | 0x80, septet(2), 0], 3),
        _ => (
            [
                septet(0) | 0x80,
                septet(1) | 0x80,
                septet(2) | 0x80,
                septet(3),
            ],
            4,
        ),
    }
}

/// Bytes that `value` takes as Variable Byte Integer.
#[inline]
pub(super) fn varint_len(value: usize) -> usize {
    match value {
        0..0x80 => 1,
        0x80..0x4000 => 2,
        0x4000..0x20_0000 => 3,
        _ => 4,
    }
}
