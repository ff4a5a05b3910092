//! One connection as the driver sees it: a descriptor and a few flags. It holds no buffer: input is
//! read into the shard's scratch buffer, output waits in the shard's outboxes.

use super::layer::Layers;
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, Shutdown};
use std::os::fd::OwnedFd;

/// A connection. What is not set costs nothing.
pub struct Connection {
    /// `None` once it is let go of: the slot is freed when what the shard asked for is carried out.
    pub socket: Option<OwnedFd>,
    /// Which of the slot's successive owners this is.
    pub serial: u32,
    /// Index of its listener in the configuration.
    pub listener: u16,
    /// It is on the list of those to read.
    pub listed: bool,
    /// It has input that the shard did not want when it came.
    pub parked: bool,
    /// The peer has ended its side: read on until the end shows.
    pub ended: bool,
    /// The last send did not take everything: wait until the socket is writable.
    pub blocked: bool,
    /// The shard waits to hear that the outbox has emptied.
    pub drain_due: bool,
    pub stage: Stage,
    /// What lies between the socket and MQTT; a plain connection has nothing there.
    pub layers: Option<Box<Layers>>,
}

/// How far a connection is on its way out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Nothing of MQTT has come yet: what comes first costs more than what comes later.
    New,
    Open,
    /// It cannot be written any more, and is in line for the shard to be told.
    Broken,
    /// The shard has let go of it: flush, then close.
    Closing,
    /// The last byte was sent and the sending side closed: wait for the peer to end too.
    Finished,
}

const _: () = assert!(std::mem::size_of::<Option<Connection>>() <= 24);

/// What a receive came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Received {
    /// So many bytes.
    Bytes(usize),
    /// None now.
    Nothing,
    /// None ever again: the peer has closed, or the connection broke.
    End,
}

/// What a send came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sent {
    /// So many bytes; if not all, the socket is full.
    Bytes(usize),
    /// The connection broke.
    Broken,
}

impl Connection {
    /// A connection with nothing known about it.
    pub fn new(socket: OwnedFd, listener: u16, serial: u32) -> Connection {
        Connection {
            socket: Some(socket),
            serial,
            listener,
            listed: false,
            parked: false,
            ended: false,
            blocked: false,
            drain_due: false,
            stage: Stage::New,
            layers: None,
        }
    }

    /// Whether the shard has let go of it.
    #[inline]
    pub fn is_closing(&self) -> bool {
        matches!(self.stage, Stage::Closing | Stage::Finished)
    }
}

/// One receive into `scratch`. Fewer bytes than it holds: there was no more at that moment, and
/// the poller reports what comes after it.
#[inline]
pub fn receive(socket: &OwnedFd, scratch: &mut [u8]) -> Received {
    received(rustix::net::recv(socket, scratch, RecvFlags::DONTWAIT).map(|(n, _)| n))
}

/// One receive whose bytes nobody wants: the kernel does not even copy them.
pub fn discard(socket: &OwnedFd, scratch: &mut [u8]) -> Received {
    let flags = RecvFlags::DONTWAIT | RecvFlags::TRUNC;
    received(rustix::net::recv(socket, scratch, flags).map(|(n, _)| n))
}

/// One send of as much as the socket takes.
#[inline]
pub fn send(socket: &OwnedFd, bytes: &[u8]) -> Sent {
    loop {
        return match rustix::net::send(socket, bytes, SendFlags::DONTWAIT | SendFlags::NOSIGNAL) {
            Ok(count) => Sent::Bytes(count),
            Err(Errno::AGAIN) => Sent::Bytes(0),
            Err(Errno::INTR) => continue,
            Err(_) => Sent::Broken,
        };
    }
}

/// Says to the peer that no more comes. What was sent still arrives; closing at once would
/// destroy it if unread input lay here (RFC 1122 section 4.2.2.13).
pub fn end_sending(socket: &OwnedFd) {
    // It fails only if the connection is gone, which closing does not mind.
    let _ = rustix::net::shutdown(socket, Shutdown::Write);
}

fn received(result: Result<usize, Errno>) -> Received {
    match result {
        Ok(0) => Received::End,
        Ok(count) => Received::Bytes(count),
        Err(Errno::AGAIN | Errno::INTR) => Received::Nothing,
        Err(_) => Received::End,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};
    use std::time::Duration;

    fn pair() -> (TcpStream, OwnedFd) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (server, _) = listener.accept().unwrap();
        (client, server.into())
    }

    #[test]
    fn receives_until_the_end() {
        let (mut client, server) = pair();
        let mut scratch = [0; 16];
        assert_eq!(receive(&server, &mut scratch), Received::Nothing);
        client.write_all(b"hello").unwrap();
        std::thread::sleep(Duration::from_millis(10));
        assert_eq!(receive(&server, &mut scratch), Received::Bytes(5));
        assert_eq!(&scratch[..5], b"hello");
        client.write_all(&[1; 40]).unwrap();
        drop(client);
        std::thread::sleep(Duration::from_millis(10));
        assert_eq!(receive(&server, &mut scratch), Received::Bytes(16));
        assert_eq!(discard(&server, &mut scratch), Received::Bytes(16));
        assert_eq!(scratch, [1; 16]);
        assert_eq!(discard(&server, &mut scratch), Received::Bytes(8));
        assert_eq!(receive(&server, &mut scratch), Received::End);
    }

    #[test]
    fn sends_what_fits_and_notices_the_end() {
        let (mut client, server) = pair();
        let big = vec![7u8; 16 << 20];
        let Sent::Bytes(sent) = send(&server, &big) else {
            panic!("open")
        };
        assert!(sent > 0 && sent < big.len());
        assert_eq!(send(&server, &big), Sent::Bytes(0));
        end_sending(&server);
        assert_eq!(send(&server, b"x"), Sent::Broken);
        let mut all = vec![];
        client.read_to_end(&mut all).unwrap();
        assert_eq!(all.len(), sent);
    }
}
