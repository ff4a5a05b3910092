//! A cursor over one packet, or one section of it. It never reads beyond its slice.

use super::error::DecodeError;
use super::topic;

#[derive(Clone, Copy)]
pub(super) struct Reader<'a> {
    rest: &'a [u8],
}

type Read<T> = Result<T, DecodeError>;

impl<'a> Reader<'a> {
    #[inline]
    pub fn new(bytes: &'a [u8]) -> Self {
        Reader { rest: bytes }
    }

    #[inline]
    pub fn u8(&mut self) -> Read<u8> {
        let (&byte, rest) = self.rest.split_first().ok_or(DecodeError::Truncated)?;
        self.rest = rest;
        Ok(byte)
    }

    #[inline]
    pub fn u16(&mut self) -> Read<u16> {
        self.array().map(u16::from_be_bytes)
    }

    #[inline]
    pub fn u32(&mut self) -> Read<u32> {
        self.array().map(u32::from_be_bytes)
    }

    /// A packet identifier, which is never 0 (MQTT-2.2.1-3).
    #[inline]
    pub fn packet_id(&mut self) -> Read<u16> {
        match self.u16()? {
            0 => Err(DecodeError::PacketIdZero),
            id => Ok(id),
        }
    }

    /// Variable Byte Integer (section 1.5.5).
    #[inline]
    pub fn varint(&mut self) -> Read<u32> {
        let mut value = 0;
        for shift in [0, 7, 14, 21] {
            let byte = self.u8()?;
            value |= u32::from(byte & 0x7F) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(DecodeError::LengthTooLong)
    }

    #[inline]
    pub fn bytes(&mut self, len: usize) -> Read<&'a [u8]> {
        let (bytes, rest) = self
            .rest
            .split_at_checked(len)
            .ok_or(DecodeError::Truncated)?;
        self.rest = rest;
        Ok(bytes)
    }

    /// Binary Data (section 1.5.6).
    #[inline]
    pub fn binary(&mut self) -> Read<&'a [u8]> {
        let len = self.u16()?;
        self.bytes(usize::from(len))
    }

    /// UTF-8 Encoded String (section 1.5.4).
    #[inline]
    pub fn string(&mut self) -> Read<&'a str> {
        topic::string(self.binary()?)
    }

    /// A string without wildcards: a topic name, or empty.
    #[inline]
    pub fn topic(&mut self) -> Read<&'a str> {
        topic::string_without_wildcards(self.binary()?)
    }

    /// A section that its own length precedes, as Variable Byte Integer.
    #[inline]
    pub fn section(&mut self) -> Read<&'a [u8]> {
        let len = self.varint()?;
        self.bytes(len as usize)
    }

    /// All that is left.
    #[inline]
    pub fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.rest)
    }

    #[inline]
    pub fn len(&self) -> usize {
        self.rest.len()
    }

    #[inline]
    pub fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// Nothing may be left.
    #[inline]
    pub fn finish(self) -> Read<()> {
        match self.rest {
            [] => Ok(()),
            _ => Err(DecodeError::TrailingBytes),
        }
    }

    #[inline]
    fn array<const N: usize>(&mut self) -> Read<[u8; N]> {
        let (bytes, rest) = self
            .rest
            .split_first_chunk()
            .ok_or(DecodeError::Truncated)?;
        self.rest = rest;
        Ok(*bytes)
    }
}
