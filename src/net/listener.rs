//! Listening and accepting without blocking.

use crate::limits::ACCEPT_BACKLOG;
use rustix::fs::Access;
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, ipproto, sockopt};
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::Path;

/// A listening socket of one shard.
pub struct Listener {
    socket: OwnedFd,
    /// Index in the configuration.
    pub index: u16,
    /// Monotonic millisecond until which it does not accept.
    pub paused_until_ms: Option<u64>,
}

/// What an attempt to accept came to.
#[derive(Debug)]
pub enum Accepted {
    /// With the peer's address; a client of a unix socket has none.
    Connection(OwnedFd, Option<SocketAddr>),
    /// Nobody waits.
    Nobody,
    /// The one who waited has gone again: look for the next.
    Gone,
    /// No file descriptor or no memory for it: try again later.
    NoRoom(io::Error),
}

impl Listener {
    /// Takes over a socket made by [`bind`].
    pub fn new(socket: OwnedFd, index: u16) -> Listener {
        Listener {
            socket,
            index,
            paused_until_ms: None,
        }
    }

    /// The socket, to register it.
    pub fn socket(&self) -> &OwnedFd {
        &self.socket
    }

    /// Takes one waiting connection, ready for use: nonblocking, closed on exec, without Nagle's
    /// delay.
    pub fn accept(&self) -> Accepted {
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        match rustix::net::acceptfrom_with(&self.socket, flags) {
            Ok((socket, peer)) => {
                let peer = peer.and_then(|peer| SocketAddr::try_from(peer).ok());
                Accepted::Connection(socket, peer)
            }
            Err(Errno::AGAIN) => Accepted::Nobody,
            Err(error @ (Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM)) => {
                Accepted::NoRoom(error.into())
            }
            // accept(2): errors of the new connection, to be treated as no connection.
            Err(_) => Accepted::Gone,
        }
    }
}

/// A listening socket for `address` that shares it with the other shards' (SO_REUSEPORT); the
/// kernel spreads connections over them.
///
/// # Errors
/// The address is not ours, in use, or not allowed.
pub fn bind(address: SocketAddr) -> io::Result<OwnedFd> {
    let socket = stream_socket(address)?;
    sockopt::set_socket_reuseport(&socket, true)?;
    // What is accepted inherits it, which saves a system call a connection.
    sockopt::set_tcp_nodelay(&socket, true)?;
    rustix::net::bind(&socket, &address)?;
    rustix::net::listen(&socket, ACCEPT_BACKLOG as i32)?;
    Ok(socket)
}

/// Whether somebody listens at `address` already. [`bind`] would not notice another process of
/// the same user that shares its port.
///
/// # Errors
/// As [`bind`].
pub fn check_free(address: SocketAddr) -> io::Result<()> {
    if address.port() != 0 {
        let socket = stream_socket(address)?;
        rustix::net::bind(&socket, &address)?;
    }
    Ok(())
}

/// The address that a socket is bound to.
///
/// # Errors
/// It is not an internet socket.
pub fn local_address(socket: &OwnedFd) -> io::Result<SocketAddr> {
    Ok(SocketAddr::try_from(rustix::net::getsockname(socket)?)?)
}

/// A listening socket in the file system, which those may use whom `mode` lets write it. A file
/// that was left there by a process that is gone is replaced.
///
/// # Errors
/// The path is too long, in use, or not allowed.
pub fn bind_unix(path: &Path, mode: u32) -> io::Result<OwnedFd> {
    let address = SocketAddrUnix::new(path)?;
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let socket = || rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None);
    if fs::symlink_metadata(path).is_ok_and(|found| found.file_type().is_socket()) {
        if rustix::net::connect(&socket()?, &address) != Err(Errno::CONNREFUSED) {
            return Err(io::ErrorKind::AddrInUse.into());
        }
        fs::remove_file(path)?;
    }
    let socket = socket()?;
    rustix::net::bind(&socket, &address)?;
    fs::set_permissions(path, fs::Permissions::from_mode(mode))?;
    rustix::net::listen(&socket, ACCEPT_BACKLOG as i32)?;
    Ok(socket)
}

/// Whether [`bind_unix`] can be expected to succeed; makes and removes nothing.
///
/// # Errors
/// The path is too long, in use, or not allowed.
pub fn check_unix(path: &Path) -> io::Result<()> {
    let address = SocketAddrUnix::new(path)?;
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    rustix::fs::access(folder.unwrap_or(Path::new(".")), Access::WRITE_OK)?;
    let Ok(found) = fs::symlink_metadata(path) else {
        return Ok(());
    };
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    let is_left_over = found.file_type().is_socket()
        && rustix::net::connect(&socket, &address) == Err(Errno::CONNREFUSED);
    match is_left_over {
        true => Ok(()),
        false => Err(io::ErrorKind::AddrInUse.into()),
    }
}

fn stream_socket(address: SocketAddr) -> io::Result<OwnedFd> {
    let (family, is_v6) = match address {
        SocketAddr::V4(_) => (AddressFamily::INET, false),
        SocketAddr::V6(_) => (AddressFamily::INET6, true),
    };
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let socket = rustix::net::socket_with(family, SocketType::STREAM, flags, Some(ipproto::TCP))?;
    sockopt::set_socket_reuseaddr(&socket, true)?;
    if is_v6 {
        // `[::]` means IPv6 here; who wants both writes two listeners.
        sockopt::set_ipv6_v6only(&socket, true)?;
    }
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpStream;
    use std::time::Duration;

    #[test]
    fn shards_share_a_port_and_strangers_are_noticed() {
        let first = bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = local_address(&first).unwrap();
        assert_ne!(address.port(), 0);
        let error = check_free(address).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
        let second = bind(address).unwrap();
        assert_eq!(local_address(&second).unwrap(), address);
        drop((first, second));
        check_free(address).unwrap();
    }

    #[test]
    fn accepts_who_waits_and_then_nobody() {
        let socket = bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = local_address(&socket).unwrap();
        let listener = Listener::new(socket, 0);
        assert!(matches!(listener.accept(), Accepted::Nobody));
        let client = TcpStream::connect(address).unwrap();
        std::thread::sleep(Duration::from_millis(10));
        let Accepted::Connection(socket, peer) = listener.accept() else {
            panic!("a client waits");
        };
        assert_eq!(peer, Some(client.local_addr().unwrap()));
        assert!(sockopt::tcp_nodelay(&socket).unwrap());
        assert!(matches!(listener.accept(), Accepted::Nobody));
    }

    #[test]
    fn a_socket_file_that_was_left_behind_is_replaced() {
        let path = std::env::temp_dir().join(format!("ringmq-unix-{}", std::process::id()));
        let listener = Listener::new(bind_unix(&path, 0o600).unwrap(), 0);
        let in_use = bind_unix(&path, 0o600).unwrap_err();
        assert_eq!(in_use.kind(), io::ErrorKind::AddrInUse);
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        drop(listener);
        let listener = Listener::new(bind_unix(&path, 0o600).unwrap(), 0);
        let _client = std::os::unix::net::UnixStream::connect(&path).unwrap();
        assert!(matches!(listener.accept(), Accepted::Connection(_, None)));
        fs::remove_file(&path).unwrap();
    }
}
