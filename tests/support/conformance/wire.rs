//! As much of the wire format as the runner needs, written apart from the broker's codec.

/// Reads a variable byte integer; `None` where it is not whole or longer than four bytes.
pub fn varint(bytes: &[u8]) -> Option<(usize, usize)> {
    let mut value = 0;
    for (index, byte) in bytes.iter().take(4).enumerate() {
        value |= usize::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            return Some((value, index + 1));
        }
    }
    None
}

/// Appends a variable byte integer.
pub fn put_varint(mut value: usize, out: &mut Vec<u8>) {
    loop {
        let byte = (value % 128) as u8;
        value /= 128;
        out.push(if value > 0 { byte | 0x80 } else { byte });
        if value == 0 {
            return;
        }
    }
}

/// Length of the first packet in `bytes`, header included; `None` while it is not whole.
pub fn packet_len(bytes: &[u8]) -> Option<usize> {
    let (length, size) = varint(bytes.get(1..)?)?;
    let whole = 1 + size + length;
    (bytes.len() >= whole).then_some(whole)
}

/// A packet without its fixed header.
pub fn body(packet: &[u8]) -> &[u8] {
    let (_, size) = varint(&packet[1..]).expect("a whole packet");
    &packet[1 + size..]
}

/// Splits a property section (with its length in front) off `bytes`: the properties, each with its
/// identifier, and what follows.
pub fn properties(bytes: &[u8]) -> Option<(Vec<&[u8]>, &[u8])> {
    let (length, size) = varint(bytes)?;
    let mut section = bytes.get(size..size + length)?;
    let mut items = Vec::new();
    while !section.is_empty() {
        let len = property_len(section)?;
        items.push(section.get(..len)?);
        section = &section[len..];
    }
    Some((items, &bytes[size + length..]))
}

fn property_len(bytes: &[u8]) -> Option<usize> {
    let string = |at: usize| {
        let len = bytes.get(at..at + 2)?;
        Some(at + 2 + usize::from(u16::from_be_bytes([len[0], len[1]])))
    };
    match bytes[0] {
        0x01 | 0x17 | 0x19 | 0x24 | 0x25 | 0x28 | 0x29 | 0x2a => Some(2),
        0x13 | 0x21 | 0x22 | 0x23 => Some(3),
        0x02 | 0x11 | 0x18 | 0x27 => Some(5),
        0x0b => Some(1 + varint(&bytes[1..])?.1),
        0x03 | 0x08 | 0x09 | 0x12 | 0x15 | 0x16 | 0x1a | 0x1c | 0x1f => string(1),
        0x26 => string(string(1)?),
        _ => None,
    }
}

/// Bytes as readable hex.
pub fn hex(bytes: &[u8]) -> String {
    const SHOWN: usize = 200;
    let mut text: String = bytes
        .iter()
        .take(SHOWN)
        .map(|byte| format!("{byte:02x} "))
        .collect();
    if bytes.len() > SHOWN {
        text.push_str(&format!("... ({} bytes)", bytes.len()));
    }
    text.trim_end().into()
}
