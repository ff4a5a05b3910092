//! What several targets need: inputs that begin near to something valid, and bytes in pieces.

/// A valid input with changes, or any bytes. The first byte of `input` chooses one of the
/// templates or none; then come changes, three bytes each (two for where, one for what is put
/// there), up to one that points outside; the rest is appended.
pub fn shaped(input: &[u8], templates: &[&[u8]]) -> Vec<u8> {
    let Some((&choice, mut rest)) = input.split_first() else {
        return vec![];
    };
    let Some(template) = templates.get(usize::from(choice)) else {
        return rest.to_vec();
    };
    let mut bytes = template.to_vec();
    while let Some((change, after)) = rest.split_first_chunk::<3>() {
        let at = usize::from(u16::from_be_bytes([change[0], change[1]]));
        rest = after;
        match bytes.get_mut(at) {
            Some(byte) => *byte = change[2],
            None => break,
        }
    }
    bytes.extend_from_slice(rest);
    bytes
}

/// Takes the size of pieces off the end of `input`: 1 to 64 bytes, or all at once.
pub fn take_cut(input: &[u8]) -> (usize, &[u8]) {
    match input.split_last() {
        Some((&last, rest)) if last < 64 => (usize::from(last) + 1, rest),
        Some((_, rest)) => (usize::MAX, rest),
        None => (usize::MAX, input),
    }
}
