//! Texts that lie where they are used.

/// Longest text that needs no allocation: with what is kept beside it, one cache line.
const INLINE_MAX: usize = 46;

/// A text of which there are very many and whose bytes are read as soon as it is found: nearly
/// all topics and filters are short enough to lie in their table's slot.
pub enum Text {
    Inline { len: u8, bytes: [u8; INLINE_MAX] },
    Heap(Box<str>),
}

const _: () = assert!(size_of::<Text>() == 48);

impl Text {
    pub fn new(text: &str) -> Self {
        if text.len() > INLINE_MAX {
            return Self::Heap(text.into());
        }
        let mut bytes = [0; INLINE_MAX];
        bytes[..text.len()].copy_from_slice(text.as_bytes());
        let len = text.len() as u8;
        Self::Inline { len, bytes }
    }

    #[inline]
    pub fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Inline { len, bytes } => &bytes[..usize::from(*len)],
            Self::Heap(text) => text.as_bytes(),
        }
    }

    pub fn as_str(&self) -> &str {
        match self {
            // `new` took these bytes from a text: they are never replaced by the default.
            Self::Inline { .. } => std::str::from_utf8(self.as_bytes()).unwrap_or_default(),
            Self::Heap(text) => text,
        }
    }

    /// Bytes allocated outside this value.
    pub fn heap_bytes(&self) -> usize {
        match self {
            Self::Inline { .. } => 0,
            Self::Heap(text) => text.len(),
        }
    }
}

impl PartialEq<str> for Text {
    #[inline]
    fn eq(&self, other: &str) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_and_long_texts_come_back() {
        for len in [0, 1, INLINE_MAX - 1, INLINE_MAX, INLINE_MAX + 1, 70_000] {
            let text = "é".repeat(len / 2) + &"x".repeat(len % 2);
            let kept = Text::new(&text);
            assert!(kept.as_str() == text && kept == *text);
            assert_eq!(kept.heap_bytes() > 0, text.len() > INLINE_MAX);
        }
    }
}
