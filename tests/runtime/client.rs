//! A client that speaks in bytes, so that nothing of the broker encodes what is expected of it.

use super::*;

pub fn string(text: &str) -> Vec<u8> {
    let mut bytes = (text.len() as u16).to_be_bytes().to_vec();
    bytes.extend(text.as_bytes());
    bytes
}

pub fn packet(first: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first];
    let mut left = body.len();
    loop {
        let digit = (left % 128) as u8;
        left /= 128;
        bytes.push(digit | if left > 0 { 128 } else { 0 });
        if left == 0 {
            break;
        }
    }
    bytes.extend(body);
    bytes
}

/// A client of version 4 or 5 that speaks in bytes.
pub struct Client {
    pub stream: TcpStream,
    pub version: u8,
    pub read: Vec<u8>,
}

impl Client {
    pub fn open(address: SocketAddr, version: u8) -> Client {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        Client {
            stream,
            version,
            read: Vec::new(),
        }
    }

    pub fn connect(address: SocketAddr, version: u8, client_id: &str) -> Client {
        let mut client = Client::open(address, version);
        client.send(&client.connect_packet(client_id));
        let (first, body) = client.expect();
        assert_eq!((first, body[1]), (CONNACK, 0), "{body:?}");
        client
    }

    pub fn connect_packet(&self, client_id: &str) -> Vec<u8> {
        let mut body = string("MQTT");
        body.extend([self.version, 2, 0, 60]);
        body.extend(self.no_properties());
        body.extend(string(client_id));
        packet(0x10, &body)
    }

    pub fn subscribe(&mut self, filter: &str, qos: u8) {
        let mut body = vec![0, 1];
        body.extend(self.no_properties());
        body.extend(string(filter));
        body.push(qos);
        self.send(&packet(0x82, &body));
        let (first, body) = self.expect();
        assert_eq!((first, body.last()), (SUBACK, Some(&qos)));
    }

    pub fn publish(&mut self, topic: &str, qos: u8, id: u16, payload: &[u8]) {
        let mut body = string(topic);
        if qos > 0 {
            body.extend(id.to_be_bytes());
        }
        body.extend(self.no_properties());
        body.extend(payload);
        self.send(&packet(PUBLISH | qos << 1, &body));
    }

    /// The payload of the next PUBLISH, acknowledged if it asks for that.
    pub fn receive(&mut self) -> Vec<u8> {
        let (first, body) = self.expect();
        assert_eq!(first & 0xf0, PUBLISH, "{first:x} {body:?}");
        let mut at = 2 + usize::from(u16::from_be_bytes([body[0], body[1]]));
        if first & 6 > 0 {
            self.send(&[PUBACK, 2, body[at], body[at + 1]]);
            at += 2;
        }
        if self.version == 5 {
            at += 1 + usize::from(body[at]);
        }
        body[at..].to_vec()
    }

    /// Takes the next packet if it is PUBACK.
    pub fn take_ack(&mut self) -> bool {
        let is_ack = self.peek() == PUBACK;
        if is_ack {
            self.expect();
        }
        is_ack
    }

    /// The first byte of the next packet.
    pub fn peek(&mut self) -> u8 {
        if self.read.is_empty() {
            let mut bytes = [0; 65536];
            let count = self.stream.read(&mut bytes).unwrap();
            self.read.extend(&bytes[..count]);
        }
        self.read[0]
    }

    pub fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).unwrap();
    }

    pub fn expect(&mut self) -> (u8, Vec<u8>) {
        self.next().expect("a packet, not the end")
    }

    /// The next packet, or none at the end.
    pub fn next(&mut self) -> Option<(u8, Vec<u8>)> {
        loop {
            if let Some((head, length)) = frame(&self.read)
                && self.read.len() >= head + length
            {
                let first = self.read[0];
                let body = self.read[head..head + length].to_vec();
                self.read.drain(..head + length);
                return Some((first, body));
            }
            let mut bytes = [0; 65536];
            match self.stream.read(&mut bytes) {
                Ok(0) => return None,
                Ok(count) => self.read.extend(&bytes[..count]),
                Err(error) if error.kind() == ErrorKind::ConnectionReset => return None,
                Err(error) => panic!("nothing came: {error}"),
            }
        }
    }

    pub fn no_properties(&self) -> &'static [u8] {
        if self.version == 5 { &[0] } else { &[] }
    }
}

pub fn frame(bytes: &[u8]) -> Option<(usize, usize)> {
    let (mut length, mut factor) = (0, 1);
    for at in 1..5 {
        let digit = *bytes.get(at)?;
        length += usize::from(digit & 127) * factor;
        factor *= 128;
        if digit & 128 == 0 {
            return Some((at + 1, length));
        }
    }
    panic!("a bad length")
}
