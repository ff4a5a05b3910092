//! The bytes between us and the server, plain or under TLS, and an end to every wait for them.
//!
//! The driver blocks the thread that asks, for as long as the server takes, and that is for ever
//! where a server is stopped or the network behind it is dead: the other side's kernel goes on to
//! acknowledge, so no keep-alive notices. But the driver lets a connector put a stream of its own
//! between itself and the socket, and polls it on the thread that asks and on no other. So the
//! stream looks at the deadline of its thread, and a wait that goes beyond it fails.

use std::cell::Cell;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use postgres::Socket;
use postgres::tls::{ChannelBinding, MakeTlsConnect, TlsConnect, TlsStream};
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::time::Sleep;
use tokio_rustls::TlsConnector;

use super::tls::Tls;

/// What asks a server for TLS (PostgreSQL, "SSLRequest"): its length, then its number.
const TLS_REQUEST: [u8; 8] = [0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f];

thread_local! {
    /// Until when this thread waits; without one it does not wait at all.
    static DEADLINE: Cell<Option<Instant>> = const { Cell::new(None) };
}

/// Does `work`, in which no wait for a server goes beyond `deadline`: such a one fails with
/// [`io::ErrorKind::TimedOut`].
pub fn until<T>(deadline: Instant, work: impl FnOnce() -> T) -> T {
    struct Restore(Option<Instant>);
    impl Drop for Restore {
        fn drop(&mut self) {
            DEADLINE.set(self.0);
        }
    }
    let _before = Restore(DEADLINE.replace(Some(deadline)));
    work()
}

/// Puts our stream on a connection. The driver takes it for TLS that needs no asking for, so that
/// it comes to be before the first byte.
#[derive(Clone)]
pub struct Wire(pub Option<Tls>);

/// One connection to come.
pub struct Handshake(Option<(TlsConnector, ServerName<'static>)>);

/// A connection.
pub enum Stream {
    Plain(Bounded),
    Tls(Box<tokio_rustls::client::TlsStream<Bounded>>),
}

/// A socket on which waits have an end.
pub struct Bounded {
    socket: Socket,
    alarm: Pin<Box<Sleep>>,
}

impl MakeTlsConnect<Socket> for Wire {
    type Stream = Stream;
    type TlsConnect = Handshake;
    type Error = io::Error;

    fn make_tls_connect(&mut self, domain: &str) -> io::Result<Handshake> {
        let Some(tls) = &self.0 else {
            return Ok(Handshake(None));
        };
        let name = ServerName::try_from(domain.to_owned())
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
        Ok(Handshake(Some((tls.connector(), name))))
    }
}

impl TlsConnect<Socket> for Handshake {
    type Stream = Stream;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Stream>> + Send>>;

    fn connect(self, socket: Socket) -> Self::Future {
        Box::pin(async move {
            let alarm = Box::pin(tokio::time::sleep_until(Instant::now().into()));
            let mut stream = Bounded { socket, alarm };
            let Some((connector, name)) = self.0 else {
                return Ok(Stream::Plain(stream));
            };
            stream.write_all(&TLS_REQUEST).await?;
            let mut answer = [0];
            stream.read_exact(&mut answer).await?;
            if answer != *b"S" {
                let why = "the server does not speak TLS";
                return Err(io::Error::new(io::ErrorKind::Unsupported, why));
            }
            let stream = connector.connect(name, stream).await?;
            Ok(Stream::Tls(Box::new(stream)))
        })
    }
}

impl Bounded {
    /// What comes of a wait: an error at the deadline of this thread.
    fn wait<T>(&mut self, context: &mut Context<'_>) -> Poll<io::Result<T>> {
        if let Some(deadline) = DEADLINE.get()
            && deadline > Instant::now()
        {
            self.alarm.as_mut().reset(deadline.into());
            ready!(self.alarm.as_mut().poll(context));
        }
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }

    fn or_wait<T>(
        &mut self,
        done: Poll<io::Result<T>>,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<T>> {
        match done {
            Poll::Pending => self.wait(context),
            done => done,
        }
    }
}

impl AsyncRead for Bounded {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let done = Pin::new(&mut self.socket).poll_read(context, buffer);
        self.or_wait(done, context)
    }
}

impl AsyncWrite for Bounded {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let done = Pin::new(&mut self.socket).poll_write(context, bytes);
        self.or_wait(done, context)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let done = Pin::new(&mut self.socket).poll_flush(context);
        self.or_wait(done, context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let done = Pin::new(&mut self.socket).poll_shutdown(context);
        self.or_wait(done, context)
    }
}

impl TlsStream for Stream {
    /// None: the server is known by its certificate.
    fn channel_binding(&self) -> ChannelBinding {
        ChannelBinding::none()
    }
}

/// Does the same with the stream that it is.
macro_rules! on {
    ($self:ident, $stream:ident => $done:expr) => {
        match &mut *$self {
            Stream::Plain($stream) => {
                let $stream = Pin::new($stream);
                $done
            }
            Stream::Tls($stream) => {
                let $stream = Pin::new(&mut **$stream);
                $done
            }
        }
    };
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        on!(self, stream => stream.poll_read(context, buffer))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        on!(self, stream => stream.poll_write(context, bytes))
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        on!(self, stream => stream.poll_flush(context))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        on!(self, stream => stream.poll_shutdown(context))
    }
}
