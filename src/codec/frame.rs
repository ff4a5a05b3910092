//! Finds the next packet in a buffer.

use super::error::DecodeError;

/// One packet, not looked into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// First byte: packet type and flags.
    pub header: u8,
    /// What follows the Remaining Length.
    pub body: &'a [u8],
    /// Bytes of the whole packet: what to take from the buffer.
    pub len: usize,
}

/// Packet type: the upper half of the first byte (section 2.1.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum PacketType {
    Connect = 1,
    ConnAck = 2,
    Publish = 3,
    PubAck = 4,
    PubRec = 5,
    PubRel = 6,
    PubComp = 7,
    Subscribe = 8,
    SubAck = 9,
    Unsubscribe = 10,
    UnsubAck = 11,
    PingReq = 12,
    PingResp = 13,
    Disconnect = 14,
    Auth = 15,
}

/// Gives the first packet of `buf`, or `None` while it is not whole.
///
/// # Errors
/// A packet of more than `packet_bytes_max` bytes, fixed header included, is refused as soon as
/// its length is known (MQTT-3.2.2-15); so are packet type 0 and a length of five bytes.
#[inline]
pub fn next(buf: &[u8], packet_bytes_max: usize) -> Result<Option<Frame<'_>>, DecodeError> {
    let [header, first, ..] = *buf else {
        return Ok(None);
    };
    if header < 0x10 {
        return Err(DecodeError::UnknownPacketType);
    }
    let (remaining, head) = if first < 0x80 {
        (usize::from(first), 2)
    } else {
        match long_length(buf)? {
            Some(long) => long,
            None => return Ok(None),
        }
    };
    let len = head + remaining;
    if len > packet_bytes_max {
        return Err(DecodeError::PacketTooLarge);
    }
    Ok(buf.get(head..len).map(|body| Frame { header, body, len }))
}

/// Remaining Length of two to four bytes, and the length of the fixed header with it.
fn long_length(buf: &[u8]) -> Result<Option<(usize, usize)>, DecodeError> {
    let mut value = 0;
    for (i, &byte) in buf.iter().skip(1).take(4).enumerate() {
        value |= usize::from(byte & 0x7F) << (7 * i);
        if byte < 0x80 {
            return Ok(Some((value, i + 2)));
        }
    }
    match buf.len() {
        0..5 => Ok(None),
        _ => Err(DecodeError::LengthTooLong),
    }
}

impl Frame<'_> {
    /// Type of the packet.
    #[inline]
    pub fn packet_type(&self) -> PacketType {
        PacketType::of(self.header).expect("`next` refuses packet type 0")
    }
}

impl PacketType {
    /// The type in a first byte; `None` for the forbidden type 0.
    #[inline]
    pub fn of(header: u8) -> Option<PacketType> {
        Some(match header >> 4 {
            1 => PacketType::Connect,
            2 => PacketType::ConnAck,
            3 => PacketType::Publish,
            4 => PacketType::PubAck,
            5 => PacketType::PubRec,
            6 => PacketType::PubRel,
            7 => PacketType::PubComp,
            8 => PacketType::Subscribe,
            9 => PacketType::SubAck,
            10 => PacketType::Unsubscribe,
            11 => PacketType::UnsubAck,
            12 => PacketType::PingReq,
            13 => PacketType::PingResp,
            14 => PacketType::Disconnect,
            15 => PacketType::Auth,
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_for_the_whole_packet() {
        let bytes = [0x30, 3, b'a', b'b', b'c', 0xC0];
        for cut in 0..5 {
            assert_eq!(next(&bytes[..cut], 100), Ok(None));
        }
        let frame = next(&bytes, 100).unwrap().unwrap();
        assert_eq!(
            (frame.header, frame.body, frame.len),
            (0x30, &b"abc"[..], 5)
        );
    }

    #[test]
    fn lengths_of_every_size() {
        for (length, encoded) in [
            (0, &[0x00][..]),
            (127, &[0x7F]),
            (128, &[0x80, 0x01]),
            (16_383, &[0xFF, 0x7F]),
            (16_384, &[0x80, 0x80, 0x01]),
            (2_097_151, &[0xFF, 0xFF, 0x7F]),
            (2_097_152, &[0x80, 0x80, 0x80, 0x01]),
            (3, &[0x83, 0x80, 0x80, 0x00]),
        ] {
            let mut packet = vec![0x30];
            packet.extend_from_slice(encoded);
            let head = packet.len();
            for cut in 0..head.min(packet.len()) {
                assert_eq!(next(&packet[..cut], usize::MAX), Ok(None));
            }
            packet.resize(head + length, 7);
            if length > 0 {
                assert_eq!(next(&packet[..head + length - 1], usize::MAX), Ok(None));
            }
            let frame = next(&packet, usize::MAX).unwrap().unwrap();
            assert_eq!((frame.body.len(), frame.len), (length, head + length));
        }
    }

    #[test]
    fn refuses_early() {
        assert_eq!(next(&[0x30, 99], 100), Err(DecodeError::PacketTooLarge));
        assert_eq!(next(&[0x30, 98], 100), Ok(None));
        assert_eq!(
            next(&[0x30, 0xFF, 0xFF, 0xFF, 0xFF], usize::MAX),
            Err(DecodeError::LengthTooLong)
        );
        assert_eq!(next(&[0x00, 0], 100), Err(DecodeError::UnknownPacketType));
    }
}
