//! What every payload begins with: enough to tell where a message comes from, which one it is and
//! when it should have been sent.

/// Bytes of a stamp, and so of the smallest payload.
pub const STAMP_BYTES: usize = 24;

/// The first bytes of a payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// Which run of the load tester; messages of other runs are not counted.
    pub run: u32,
    /// One publisher on one topic.
    pub stream: u32,
    /// Counts from 0 within the stream.
    pub sequence: u64,
    /// When the message should have been sent, on [`super::clock::now_ns`].
    pub intended_ns: u64,
}

impl Stamp {
    #[inline]
    pub fn to_bytes(self) -> [u8; STAMP_BYTES] {
        let mut bytes = [0; STAMP_BYTES];
        bytes[..4].copy_from_slice(&self.run.to_le_bytes());
        bytes[4..8].copy_from_slice(&self.stream.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.sequence.to_le_bytes());
        bytes[16..].copy_from_slice(&self.intended_ns.to_le_bytes());
        bytes
    }

    /// The stamp of a payload, if it is long enough to have one.
    #[inline]
    pub fn of(payload: &[u8]) -> Option<Stamp> {
        let (bytes, _) = payload.split_first_chunk::<STAMP_BYTES>()?;
        let word = |at: usize| {
            let field = bytes[at..at + 4].first_chunk::<4>();
            field.map_or(0, |b| u32::from_le_bytes(*b))
        };
        let long = |at: usize| u64::from(word(at)) | u64::from(word(at + 4)) << 32;
        Some(Stamp {
            run: word(0),
            stream: word(4),
            sequence: long(8),
            intended_ns: long(16),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comes_back_from_the_payload() {
        let stamp = Stamp {
            run: 0xDEAD_BEEF,
            stream: 7,
            sequence: u64::MAX - 1,
            intended_ns: 0x0123_4567_89AB_CDEF,
        };
        let mut payload = stamp.to_bytes().to_vec();
        assert_eq!(Stamp::of(&payload), Some(stamp));
        assert_eq!(Stamp::of(&payload[1..]), None);
        payload.extend_from_slice(b"filler");
        assert_eq!(Stamp::of(&payload), Some(stamp));
    }
}
