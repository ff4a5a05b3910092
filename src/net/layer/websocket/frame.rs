//! Frames (RFC 6455 section 5), as a server sees them.

use super::super::Why;
use crate::limits::WEBSOCKET_FRAME_BYTES_MAX;

const CONTINUATION: u8 = 0;
const TEXT: u8 = 1;
const BINARY: u8 = 2;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;
/// Longest payload of a control frame (section 5.5).
const CONTROL_BYTES_MAX: u64 = 125;

/// Close codes (section 7.4.1).
const NORMAL: u16 = 1000;
const PROTOCOL_ERROR: u16 = 1002;
const UNSUPPORTED: u16 = 1003;
const TOO_BIG: u16 = 1009;

/// The framing of one connection, both ways.
#[derive(Default)]
pub struct Frames {
    /// Header bytes of the frame that begins, until they are whole.
    header: [u8; 14],
    header_len: u8,
    /// Of the frame that is being read; 0 between frames is told by `in_frame`.
    opcode: u8,
    in_frame: bool,
    /// A data message goes on in the next data frame.
    in_message: bool,
    is_final: bool,
    is_close_sent: bool,
    mask: [u8; 4],
    /// Payload still to come.
    left: u64,
    /// Payload of a control frame so far.
    control: Vec<u8>,
}

/// What came of some input.
#[derive(Debug, PartialEq, Eq)]
pub struct Taken {
    /// The first so many bytes of the input are now MQTT.
    pub len: usize,
    /// The client has closed: nothing of what follows counts.
    pub ended: bool,
}

impl Frames {
    /// Takes frames in any pieces; leaves their MQTT at the front of `input` and what is to be
    /// answered in `back`.
    ///
    /// # Errors
    /// The client has broken the protocol; the Close that says so is in `back`.
    pub fn handle(&mut self, input: &mut [u8], back: &mut Vec<u8>) -> Result<Taken, Why> {
        let taken = self.take(input, back);
        if let Err(why) = taken {
            let code = match why {
                Why::WebSocketText => UNSUPPORTED,
                Why::WebSocketTooLarge => TOO_BIG,
                _ => PROTOCOL_ERROR,
            };
            self.put_close(code, back);
        }
        taken
    }

    /// Appends one frame with all of `mqtt` to `wire`.
    pub fn put(&self, mqtt: &[u8], wire: &mut Vec<u8>) {
        put_frame(BINARY, mqtt, wire);
    }

    /// Says that no more comes.
    pub fn finish(&mut self, wire: &mut Vec<u8>) {
        self.put_close(NORMAL, wire);
    }

    fn take(&mut self, input: &mut [u8], back: &mut Vec<u8>) -> Result<Taken, Why> {
        let (mut read, mut written) = (0, 0);
        loop {
            if !self.in_frame {
                read += self.take_header(&input[read..])?;
                if !self.in_frame {
                    break;
                }
            }
            let count = self.left.min((input.len() - read) as u64) as usize;
            let payload = &mut input[read..read + count];
            unmask(payload, &mut self.mask);
            if self.opcode >= CLOSE {
                self.control.extend_from_slice(payload);
            } else {
                input.copy_within(read..read + count, written);
                written += count;
            }
            read += count;
            self.left -= count as u64;
            if self.left > 0 {
                break;
            }
            self.in_frame = false;
            if self.opcode >= CLOSE && self.end_control(back)? {
                return Ok(Taken {
                    len: written,
                    ended: true,
                });
            }
        }
        Ok(Taken {
            len: written,
            ended: false,
        })
    }

    /// Takes bytes of a header; when it is whole, the frame begins.
    fn take_header(&mut self, input: &[u8]) -> Result<usize, Why> {
        let mut used = 0;
        while let Some(byte) = input.get(used) {
            self.header[usize::from(self.header_len)] = *byte;
            self.header_len += 1;
            used += 1;
            match self.header_len {
                1 => self.check_first(*byte)?,
                2 if byte & 0x80 == 0 => return Err(Why::WebSocketUnmasked),
                _ => {}
            }
            if self.header_len >= 2 && self.header_len == header_len(self.header[1]) {
                self.begin_frame()?;
                break;
            }
        }
        Ok(used)
    }

    fn check_first(&mut self, byte: u8) -> Result<(), Why> {
        let (is_final, opcode) = (byte & 0x80 != 0, byte & 15);
        let fits = match opcode {
            TEXT => return Err(Why::WebSocketText),
            CONTINUATION => self.in_message,
            BINARY => !self.in_message,
            CLOSE | PING | PONG => is_final,
            _ => false,
        };
        // No extension was agreed on, so no reserved bit has a meaning.
        if byte & 0x70 != 0 || !fits {
            return Err(Why::WebSocketMalformed);
        }
        self.is_final = is_final;
        self.opcode = opcode;
        Ok(())
    }

    fn begin_frame(&mut self) -> Result<(), Why> {
        let header = &self.header;
        let (left, mask_at) = match header[1] & 0x7f {
            126 => (u64::from(u16::from_be_bytes([header[2], header[3]])), 4),
            127 => {
                let long = header[2..10].try_into().expect("eight bytes");
                (u64::from_be_bytes(long), 10)
            }
            short => (u64::from(short), 2),
        };
        if self.opcode >= CLOSE && left > CONTROL_BYTES_MAX {
            return Err(Why::WebSocketMalformed);
        }
        if left > WEBSOCKET_FRAME_BYTES_MAX {
            return Err(Why::WebSocketTooLarge);
        }
        if self.opcode < CLOSE {
            self.in_message = !self.is_final;
        }
        self.mask = header[mask_at..mask_at + 4].try_into().expect("four bytes");
        self.left = left;
        self.header_len = 0;
        self.in_frame = true;
        Ok(())
    }

    /// Answers a control frame. True when it was Close.
    fn end_control(&mut self, back: &mut Vec<u8>) -> Result<bool, Why> {
        // Taken, so that nothing of it is held afterwards.
        let payload = std::mem::take(&mut self.control);
        match self.opcode {
            PING => put_frame(PONG, &payload, back),
            CLOSE => {
                let code = match payload.split_first_chunk::<2>() {
                    None if payload.is_empty() => NORMAL,
                    Some((code, reason))
                        if is_code(u16::from_be_bytes(*code))
                            && std::str::from_utf8(reason).is_ok() =>
                    {
                        u16::from_be_bytes(*code)
                    }
                    _ => return Err(Why::WebSocketMalformed),
                };
                self.put_close(code, back);
                return Ok(true);
            }
            _ => {}
        }
        Ok(false)
    }

    fn put_close(&mut self, code: u16, wire: &mut Vec<u8>) {
        if !std::mem::replace(&mut self.is_close_sent, true) {
            put_frame(CLOSE, &code.to_be_bytes(), wire);
        }
    }
}

/// Codes that may stand in a frame (section 7.4.2).
fn is_code(code: u16) -> bool {
    matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999)
}

/// Of a masked frame, from its second byte.
fn header_len(second: u8) -> u8 {
    match second & 0x7f {
        126 => 8,
        127 => 14,
        _ => 6,
    }
}

fn put_frame(opcode: u8, payload: &[u8], wire: &mut Vec<u8>) {
    wire.push(0x80 | opcode);
    match payload.len() {
        len @ 0..=125 => wire.push(len as u8),
        len @ 126..=0xffff => {
            wire.push(126);
            wire.extend_from_slice(&(len as u16).to_be_bytes());
        }
        len => {
            wire.push(127);
            wire.extend_from_slice(&(len as u64).to_be_bytes());
        }
    }
    wire.extend_from_slice(payload);
}

/// Takes the mask off, and turns it so that it fits what follows.
fn unmask(payload: &mut [u8], mask: &mut [u8; 4]) {
    let wide = u64::from_ne_bytes([
        mask[0], mask[1], mask[2], mask[3], mask[0], mask[1], mask[2], mask[3],
    ]);
    let (chunks, rest) = payload.as_chunks_mut::<8>();
    for chunk in chunks {
        *chunk = (u64::from_ne_bytes(*chunk) ^ wide).to_ne_bytes();
    }
    for (byte, key) in rest.iter_mut().zip(mask.iter().cycle()) {
        *byte ^= key;
    }
    let turn = rest.len() % 4;
    mask.rotate_left(turn);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

    /// A frame as a client writes it.
    fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
        let mut out = vec![first];
        match payload.len() {
            len @ 0..=125 => out.push(0x80 | len as u8),
            len @ 126..=0xffff => {
                out.push(0x80 | 126);
                out.extend((len as u16).to_be_bytes());
            }
            len => {
                out.push(0x80 | 127);
                out.extend((len as u64).to_be_bytes());
            }
        }
        out.extend(MASK);
        out.extend(payload.iter().zip(MASK.iter().cycle()).map(|(a, b)| a ^ b));
        out
    }

    /// MQTT, answers, and how it ended.
    fn feed(bytes: &[u8], cut: usize) -> (Vec<u8>, Vec<u8>, Result<bool, Why>) {
        let mut frames = Frames::default();
        let (mut mqtt, mut back) = (vec![], vec![]);
        for piece in bytes.chunks(cut) {
            let mut piece = piece.to_vec();
            match frames.handle(&mut piece, &mut back) {
                Ok(taken) => {
                    mqtt.extend(&piece[..taken.len]);
                    if taken.ended {
                        return (mqtt, back, Ok(true));
                    }
                }
                Err(why) => return (mqtt, back, Err(why)),
            }
        }
        (mqtt, back, Ok(false))
    }

    #[test]
    fn the_example_of_the_standard() {
        // Section 5.7: a masked "Hello", here as binary.
        let bytes = [
            0x82, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58,
        ];
        assert_eq!(feed(&bytes, 100), (b"Hello".to_vec(), vec![], Ok(false)));
    }

    #[test]
    fn fragments_and_pings_between_them() {
        let stream = [
            masked(0x02, b"He"),
            masked(0x89, b"are you there"),
            masked(0x00, b"l"),
            masked(0x8a, b"unasked"),
            masked(0x80, b"lo"),
            masked(0x82, &[]),
            masked(0x82, &[7; 300]),
            masked(0x88, &[0x03, 0xe8]),
            masked(0x82, b"after the end"),
        ]
        .concat();
        for cut in [1, 2, 3, 5, 7, 1000] {
            let (mqtt, back, end) = feed(&stream, cut);
            assert_eq!(mqtt, [&b"Hello"[..], &[7; 300]].concat(), "cut at {cut}");
            let pong = [&[0x8a, 13][..], b"are you there"].concat();
            assert_eq!(back, [&pong[..], &[0x88, 2, 0x03, 0xe8]].concat());
            assert_eq!(end, Ok(true));
        }
    }

    #[test]
    fn what_is_refused_and_with_which_code() {
        for (bytes, why, code) in [
            (masked(0x81, b"text"), Why::WebSocketText, 1003u16),
            (
                vec![0x82, 0x05, 1, 2, 3, 4, 5],
                Why::WebSocketUnmasked,
                1002,
            ),
            (masked(0xc2, b"reserved"), Why::WebSocketMalformed, 1002),
            (masked(0x83, b"opcode"), Why::WebSocketMalformed, 1002),
            (
                masked(0x80, b"nothing to go on"),
                Why::WebSocketMalformed,
                1002,
            ),
            (masked(0x09, b"split ping"), Why::WebSocketMalformed, 1002),
            (masked(0x89, &[0; 126]), Why::WebSocketMalformed, 1002),
            (masked(0x88, &[3]), Why::WebSocketMalformed, 1002),
            (masked(0x88, &[0x03, 0xed]), Why::WebSocketMalformed, 1002),
            (
                masked(0x88, &[0x03, 0xe8, 0xff]),
                Why::WebSocketMalformed,
                1002,
            ),
            (
                [masked(0x02, b"a"), masked(0x82, b"b")].concat(),
                Why::WebSocketMalformed,
                1002,
            ),
            (
                vec![0x82, 0xff, 0x7f, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4],
                Why::WebSocketTooLarge,
                1009,
            ),
        ] {
            for cut in [1, 100] {
                let (_, back, end) = feed(&bytes, cut);
                assert_eq!(end, Err(why), "{bytes:x?}");
                assert_eq!(back, [&[0x88, 2][..], &code.to_be_bytes()].concat());
            }
        }
    }

    #[test]
    fn ours_have_no_mask_and_the_shortest_length() {
        let frames = Frames::default();
        for (len, head) in [
            (0, vec![0x82, 0]),
            (125, vec![0x82, 125]),
            (126, vec![0x82, 126, 0, 126]),
            (65_535, vec![0x82, 126, 0xff, 0xff]),
            (65_536, vec![0x82, 127, 0, 0, 0, 0, 0, 1, 0, 0]),
        ] {
            let mut wire = vec![];
            frames.put(&vec![9; len], &mut wire);
            assert_eq!(wire, [head, vec![9; len]].concat());
        }
        let (mut frames, mut wire) = (Frames::default(), vec![]);
        frames.finish(&mut wire);
        frames.finish(&mut wire);
        assert_eq!(wire, [0x88, 2, 0x03, 0xe8], "only one Close");
    }

    #[test]
    fn idle_it_holds_nothing() {
        assert!(std::mem::size_of::<Frames>() <= 64);
        let mut frames = Frames::default();
        frames
            .handle(&mut masked(0x89, b"ping"), &mut vec![])
            .unwrap();
        assert_eq!(frames.control.capacity(), 0);
    }

    proptest! {
        #[test]
        fn any_cut_gives_the_same(payloads in prop::collection::vec(
            prop::collection::vec(any::<u8>(), 0..200), 1..8), cut in 1usize..64) {
            let stream: Vec<u8> = payloads.iter().flat_map(|p| masked(0x82, p)).collect();
            prop_assert_eq!(feed(&stream, cut), (payloads.concat(), vec![], Ok(false)));
        }
    }
}
