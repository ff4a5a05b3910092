//! Opening connections without waiting for them.

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, ipproto, sockopt};
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::Arc;

/// Where connections go to and come from.
#[derive(Clone, Debug)]
pub struct Dialer {
    pub broker: SocketAddr,
    /// Client `i` comes from the address `i` modulo their number; empty: the system chooses.
    pub sources: Arc<[IpAddr]>,
}

impl Dialer {
    /// Begins a connection for a client; the socket is writable when it is there or has failed.
    ///
    /// # Errors
    /// No file descriptor, no free port (`EADDRNOTAVAIL`), no route, or refused at once.
    pub fn dial(&self, client: usize) -> Result<OwnedFd, Errno> {
        let family = match self.broker {
            SocketAddr::V4(_) => AddressFamily::INET,
            SocketAddr::V6(_) => AddressFamily::INET6,
        };
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let protocol = Some(ipproto::TCP);
        let socket = rustix::net::socket_with(family, SocketType::STREAM, flags, protocol)?;
        sockopt::set_tcp_nodelay(&socket, true)?;
        if !self.sources.is_empty() {
            let source = self.sources[client % self.sources.len()];
            bind_address_no_port(&socket)?;
            rustix::net::bind(&socket, &SocketAddr::new(source, 0))?;
        }
        match rustix::net::connect(&socket, &self.broker) {
            Ok(()) | Err(Errno::INPROGRESS) => Ok(socket),
            Err(error) => Err(error),
        }
    }
}

/// Leaves the choice of the port to `connect`, which may use a port again that goes to another
/// broker: without it `bind` reserves one of the source address's ports for itself alone.
fn bind_address_no_port(socket: &OwnedFd) -> Result<(), Errno> {
    let on: libc::c_int = 1;
    // SAFETY: the descriptor is open, and the value is as long as is said.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_IP,
            libc::IP_BIND_ADDRESS_NO_PORT,
            (&raw const on).cast(),
            size_of_val(&on) as libc::socklen_t,
        )
    };
    match result {
        0 => Ok(()),
        _ => Err(Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::INVAL)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    #[test]
    fn comes_from_the_clients_source() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let dialer = Dialer {
            broker: listener.local_addr().unwrap(),
            sources: super::super::sources::loopback(3).into(),
        };
        for client in 0..4 {
            let _socket = dialer.dial(client).unwrap();
            let (_, peer) = listener.accept().unwrap();
            assert_eq!(peer.ip(), dialer.sources[client % 3]);
        }
    }
}
