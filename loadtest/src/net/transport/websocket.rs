//! WebSocket (RFC 6455) of one client: the request, and frames both ways.

use super::WebSocketTransport;
use crate::net::Fault;
use std::sync::Arc;

const CONTINUATION: u8 = 0;
const BINARY: u8 = 2;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;
const FINAL: u8 = 0x80;
const MASKED: u8 = 0x80;
/// Longest payload of a control frame (section 5.5).
const CONTROL_BYTES_MAX: u64 = 125;
/// Bytes of the answer to the request, at most.
const HEAD_BYTES_MAX: usize = 8 * 1024;
const HEADERS_MAX: usize = 64;
/// The key of section 1.3 and its answer. A key has to differ only to keep a cache from answering
/// in the server's place, and what is loaded here has none.
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const ACCEPT: &[u8] = b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

#[derive(Debug)]
pub struct WebSocket {
    stage: Stage,
    /// Payload of the frame that is being read, still to come.
    left: u64,
    opcode: u8,
    is_in_frame: bool,
    is_in_message: bool,
    is_close_sent: bool,
    header_len: u8,
    header: [u8; 10],
    /// Masks follow from it.
    seed: u32,
    /// Of a control frame, so far.
    control: Vec<u8>,
}

#[derive(Debug)]
enum Stage {
    /// The request is not sent.
    New {
        host: Arc<str>,
        path: Arc<str>,
    },
    /// The answer, as far as it has come.
    Asked(Vec<u8>),
    Open,
}

impl WebSocket {
    pub fn new(transport: &WebSocketTransport) -> WebSocket {
        let (host, path) = (transport.host.clone(), transport.path.clone());
        WebSocket {
            stage: Stage::New { host, path },
            left: 0,
            opcode: 0,
            is_in_frame: false,
            is_in_message: false,
            is_close_sent: false,
            header_len: 0,
            header: [0; 10],
            seed: 0x9E37_79B9,
            control: Vec::new(),
        }
    }

    /// The request.
    pub fn ask(&mut self) -> String {
        let Stage::New { host, path } = std::mem::replace(&mut self.stage, Stage::Asked(vec![]))
        else {
            return String::new();
        };
        format!(
            "GET {path} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Key: {KEY}\r\nSec-WebSocket-Protocol: mqtt\r\n\
             Sec-WebSocket-Version: 13\r\n\r\n"
        )
    }

    pub fn has_asked(&self) -> bool {
        !matches!(self.stage, Stage::New { .. })
    }

    pub fn is_open(&self) -> bool {
        matches!(self.stage, Stage::Open)
    }

    /// Takes what has come: appends the MQTT in it to `mqtt`, and what is to be answered to
    /// `answer`. True: the broker has closed.
    ///
    /// # Errors
    /// The request was refused, or a frame is none.
    pub fn take(
        &mut self,
        input: &[u8],
        mqtt: &mut Vec<u8>,
        answer: &mut Vec<u8>,
    ) -> Result<bool, Fault> {
        let mut rest = Vec::new();
        let mut input = input;
        if let Stage::Asked(head) = &mut self.stage {
            head.extend_from_slice(input);
            let Some(len) = agreed(head)? else {
                return Ok(false);
            };
            rest.extend_from_slice(&head[len..]);
            self.stage = Stage::Open;
            input = &rest;
        }
        while !input.is_empty() {
            if !self.is_in_frame && !self.take_header(&mut input)? {
                break;
            }
            let count = self.left.min(input.len() as u64) as usize;
            let (payload, after) = input.split_at(count);
            input = after;
            self.left -= count as u64;
            match self.opcode >= CLOSE {
                true => self.control.extend_from_slice(payload),
                false => mqtt.extend_from_slice(payload),
            }
            if self.left > 0 {
                break;
            }
            self.is_in_frame = false;
            if self.opcode >= CLOSE && self.end_control(answer) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Appends one frame with all of `mqtt` to `wire`.
    pub fn put(&mut self, mqtt: &[u8], wire: &mut Vec<u8>) {
        self.put_frame(BINARY, mqtt, wire);
    }

    /// Says that no more comes.
    pub fn finish(&mut self, wire: &mut Vec<u8>) {
        if self.is_open() && !std::mem::replace(&mut self.is_close_sent, true) {
            self.put_frame(CLOSE, &1000u16.to_be_bytes(), wire);
        }
    }

    /// Takes bytes of a header; says whether it is whole, which begins its frame.
    fn take_header(&mut self, input: &mut &[u8]) -> Result<bool, Fault> {
        while let Some((byte, rest)) = input.split_first() {
            *input = rest;
            self.header[usize::from(self.header_len)] = *byte;
            self.header_len += 1;
            if self.header_len >= 2 && self.header_len == header_len(self.header[1]) {
                self.header_len = 0;
                self.begin_frame()?;
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn begin_frame(&mut self) -> Result<(), Fault> {
        let header = self.header;
        let (is_final, opcode) = (header[0] & FINAL != 0, header[0] & 15);
        let fits = match opcode {
            CONTINUATION => self.is_in_message,
            BINARY => !self.is_in_message,
            CLOSE | PING | PONG => is_final,
            _ => false,
        };
        self.left = match header[1] & 0x7f {
            126 => u64::from(u16::from_be_bytes([header[2], header[3]])),
            127 => header[2..10]
                .iter()
                .fold(0, |long, byte| long << 8 | u64::from(*byte)),
            short => short.into(),
        };
        let is_long = opcode >= CLOSE && self.left > CONTROL_BYTES_MAX;
        if header[0] & 0x70 != 0 || !fits || is_long || header[1] & MASKED != 0 {
            let [first, second, ..] = header;
            let text = format!("a frame that begins with {first:02x} {second:02x}");
            return Err(Fault::WebSocket(text.into()));
        }
        if opcode < CLOSE {
            self.is_in_message = !is_final;
        }
        self.opcode = opcode;
        self.is_in_frame = true;
        Ok(())
    }

    /// Answers a control frame; says whether it was Close.
    fn end_control(&mut self, answer: &mut Vec<u8>) -> bool {
        // Taken, so that nothing of it is held afterwards.
        let payload = std::mem::take(&mut self.control);
        match self.opcode {
            PING => self.put_frame(PONG, &payload, answer),
            CLOSE => self.finish(answer),
            _ => {}
        }
        self.opcode == CLOSE
    }

    fn put_frame(&mut self, opcode: u8, payload: &[u8], wire: &mut Vec<u8>) {
        wire.push(FINAL | opcode);
        match payload.len() {
            len @ 0..=125 => wire.push(MASKED | len as u8),
            len @ 126..=0xffff => {
                wire.push(MASKED | 126);
                wire.extend_from_slice(&(len as u16).to_be_bytes());
            }
            len => {
                wire.push(MASKED | 127);
                wire.extend_from_slice(&(len as u64).to_be_bytes());
            }
        }
        // xorshift: a mask keeps scripts in a browser from choosing the bytes on the wire, and
        // there is none here.
        self.seed ^= self.seed << 13;
        self.seed ^= self.seed >> 17;
        self.seed ^= self.seed << 5;
        let mask = self.seed.to_ne_bytes();
        wire.extend_from_slice(&mask);
        let begin = wire.len();
        wire.extend_from_slice(payload);
        let (chunks, rest) = wire[begin..].as_chunks_mut::<4>();
        for chunk in chunks {
            *chunk = (u32::from_ne_bytes(*chunk) ^ self.seed).to_ne_bytes();
        }
        for (byte, key) in rest.iter_mut().zip(mask) {
            *byte ^= key;
        }
    }
}

/// Bytes of a header without a mask, from its second one.
fn header_len(second: u8) -> u8 {
    match second & 0x7f {
        126 => 4,
        127 => 10,
        _ => 2,
    }
}

/// Bytes of an answer that agrees, once it is whole.
fn agreed(head: &[u8]) -> Result<Option<usize>, Fault> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut response = httparse::Response::new(&mut headers);
    let fault = |text: String| Err(Fault::WebSocket(text.into()));
    let len = match response.parse(head) {
        Ok(httparse::Status::Complete(len)) => len,
        Ok(httparse::Status::Partial) if head.len() <= HEAD_BYTES_MAX => return Ok(None),
        Ok(httparse::Status::Partial) => return fault("an endless answer".into()),
        Err(error) => return fault(format!("no answer in HTTP: {error}")),
    };
    if response.code != Some(101) {
        let code = response.code.unwrap_or_default();
        return fault(format!(
            "HTTP {code} {}",
            response.reason.unwrap_or_default()
        ));
    }
    let mut values = response.headers.iter();
    match values.any(|h| h.name.eq_ignore_ascii_case("sec-websocket-accept") && h.value == ACCEPT) {
        true => Ok(Some(len)),
        false => fault("the answer is not to this request".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANSWER: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\
        Connection: Upgrade\r\nsec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

    fn asked() -> WebSocket {
        let mut websocket = WebSocket::new(&WebSocketTransport {
            host: "localhost:8083".into(),
            path: "/mqtt".into(),
        });
        let request = websocket.ask();
        assert!(request.starts_with("GET /mqtt HTTP/1.1\r\nHost: localhost:8083\r\n"));
        websocket
    }

    /// MQTT, answers, and how it ended.
    fn feed(bytes: &[u8], cut: usize) -> (Vec<u8>, Vec<u8>, Result<bool, Fault>) {
        let mut websocket = asked();
        let (mut mqtt, mut answer) = (vec![], vec![]);
        for piece in bytes.chunks(cut) {
            match websocket.take(piece, &mut mqtt, &mut answer) {
                Ok(false) => {}
                end => return (mqtt, answer, end),
            }
        }
        (mqtt, answer, Ok(false))
    }

    fn unmasked(frame: &[u8]) -> Vec<u8> {
        let len = usize::from(frame[1] & 0x7f);
        let (mask, payload) = frame[2..2 + 4 + len].split_at(4);
        let payload = payload.iter().zip(mask.iter().cycle());
        payload.map(|(byte, key)| byte ^ key).collect()
    }

    #[test]
    fn frames_in_any_pieces() {
        let mut bytes = ANSWER.to_vec();
        bytes.extend([
            0x02, 2, b'H', b'e', 0x89, 1, b'?', 0x80, 3, b'l', b'l', b'o',
        ]);
        bytes.extend([0x82, 126, 1, 44]);
        bytes.extend([7; 300]);
        bytes.extend([0x82, 127, 0, 0, 0, 0, 0, 0, 0, 1, 9, 0x88, 2, 3, 232, 0x82]);
        for cut in [1, 2, 3, 5, 7, 1000] {
            let (mqtt, answer, end) = feed(&bytes, cut);
            assert_eq!(mqtt, [&b"Hello"[..], &[7; 300], &[9]].concat());
            assert_eq!(end, Ok(true));
            assert_eq!((answer[0], unmasked(&answer)), (0x8a, b"?".to_vec()));
            let close = &answer[7..];
            assert_eq!((close[0], unmasked(close)), (0x88, vec![3, 232]));
        }
    }

    #[test]
    fn what_is_refused() {
        let after = |frame: &[u8]| [ANSWER, frame].concat();
        for (bytes, text) in [
            (
                b"HTTP/1.1 404 Not Found\r\n\r\n".to_vec(),
                "HTTP 404 Not Found",
            ),
            (
                b"HTTP/1.1 101 Yes\r\nSec-WebSocket-Accept: no\r\n\r\n".to_vec(),
                "the answer is not to this request",
            ),
            (after(&[0x81, 1, b'a']), "a frame that begins with 81 01"),
            (after(&[0x82, 0x81]), "a frame that begins with 82 81"),
            (after(&[0xC2, 1]), "a frame that begins with c2 01"),
            (after(&[0x80, 1]), "a frame that begins with 80 01"),
        ] {
            let (_, _, end) = feed(&bytes, 1);
            assert_eq!(end, Err(Fault::WebSocket(text.into())));
        }
    }

    #[test]
    fn ours_are_masked_and_have_the_shortest_length() {
        for (len, head) in [
            (0, vec![0x82, 0x80]),
            (125, vec![0x82, 0x80 | 125]),
            (126, vec![0x82, 0xFE, 0, 126]),
            (65_536, vec![0x82, 0xFF, 0, 0, 0, 0, 0, 1, 0, 0]),
        ] {
            let (mut websocket, mut wire) = (asked(), vec![]);
            let payload: Vec<u8> = (0..len).map(|i| i as u8).collect();
            websocket.put(&payload, &mut wire);
            assert!(wire.starts_with(&head));
            let (mask, masked) = wire[head.len()..].split_at(4);
            assert_ne!(mask, [0; 4]);
            let plain = masked.iter().zip(mask.iter().cycle());
            assert!(plain.map(|(byte, key)| byte ^ key).eq(payload));
        }
    }
}
