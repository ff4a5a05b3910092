//! A shard's epoll set. Connections are registered once, edge triggered, for both directions; so a
//! wake-up costs one system call for any number of sockets, and an idle connection nothing.

use super::bell::Bell;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::io::Errno;
use rustix::time::Timespec;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// What an event is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The connection in this slot.
    Connection(u32),
    /// The listener of this index among the shard's.
    Listener(u16),
    /// Mail came.
    Bell,
}

/// One event of the last [`Poller::wait`].
#[derive(Clone, Copy, Debug)]
pub struct Ready {
    pub source: Source,
    pub readable: bool,
    pub writable: bool,
    /// The peer sends no more: after what is still there comes the end.
    pub peer_ended: bool,
    /// Both directions are over, or the connection broke.
    pub dead: bool,
}

/// The set, and the events of the last wait.
pub struct Poller {
    epoll: OwnedFd,
    events: Box<[Event]>,
}

/// Longest wait at a time: what the system call takes, and nobody notices an empty turn an hour.
const TIMEOUT_MS_MAX: u64 = 3_600_000;
const LISTENER: u64 = 1 << 32;
const BELL: u64 = 1 << 33;

impl Poller {
    /// An empty set that gives at most `events_max` events at a time.
    ///
    /// # Errors
    /// The process has no file descriptor left.
    pub fn new(events_max: usize) -> io::Result<Poller> {
        let none = Event {
            flags: EventFlags::empty(),
            data: EventData::new_u64(BELL),
        };
        let events = vec![none; events_max].into_boxed_slice();
        Ok(Poller {
            epoll: epoll::create(CreateFlags::CLOEXEC)?,
            events,
        })
    }

    /// Watches a connection until its descriptor is closed or [`Poller::forget`]. If it has
    /// something already, the next wait says so.
    ///
    /// # Errors
    /// The system's limit on watches (`fs.epoll.max_user_watches`) is reached.
    pub fn add_connection(&self, socket: &OwnedFd, slot: u32) -> io::Result<()> {
        let flags = EventFlags::IN | EventFlags::OUT | EventFlags::RDHUP | EventFlags::ET;
        Ok(epoll::add(
            &self.epoll,
            socket,
            EventData::new_u64(u64::from(slot)),
            flags,
        )?)
    }

    /// Watches a listening socket, level triggered: as long as somebody waits to be accepted,
    /// every wait says so.
    ///
    /// # Errors
    /// As [`Poller::add_connection`].
    pub fn add_listener(&self, socket: &OwnedFd, index: u16) -> io::Result<()> {
        let data = EventData::new_u64(LISTENER | u64::from(index));
        Ok(epoll::add(&self.epoll, socket, data, EventFlags::IN)?)
    }

    /// Turns a listener's events off and on again.
    ///
    /// # Errors
    /// The listener is not in the set.
    pub fn pause_listener(&self, socket: &OwnedFd, index: u16, paused: bool) -> io::Result<()> {
        let data = EventData::new_u64(LISTENER | u64::from(index));
        let flags = if paused {
            EventFlags::empty()
        } else {
            EventFlags::IN
        };
        Ok(epoll::modify(&self.epoll, socket, data, flags)?)
    }

    /// Watches the shard's bell.
    ///
    /// # Errors
    /// As [`Poller::add_connection`].
    pub fn add_bell(&self, bell: &Bell) -> io::Result<()> {
        let flags = EventFlags::IN | EventFlags::ET;
        Ok(epoll::add(
            &self.epoll,
            bell,
            EventData::new_u64(BELL),
            flags,
        )?)
    }

    /// Takes a descriptor out of the set that is not going to be closed.
    ///
    /// # Errors
    /// It is not in the set.
    pub fn forget(&self, socket: &OwnedFd) -> io::Result<()> {
        Ok(epoll::delete(&self.epoll, socket)?)
    }

    /// Waits for events for at most `timeout_ms`, for ever without, and gives their number. An
    /// interruption by a signal counts as none.
    ///
    /// # Errors
    /// The set is broken: a defect.
    #[inline]
    pub fn wait(&mut self, timeout_ms: Option<u64>) -> io::Result<usize> {
        let timeout = timeout_ms.map(|ms| {
            let ms = ms.min(TIMEOUT_MS_MAX) as i64;
            Timespec {
                tv_sec: ms / 1000,
                tv_nsec: (ms % 1000) * 1_000_000,
            }
        });
        match epoll::wait(&self.epoll, &mut *self.events, timeout.as_ref()) {
            Ok(count) => Ok(count),
            Err(Errno::INTR) => Ok(0),
            Err(error) => Err(error.into()),
        }
    }

    /// The event at `index` below the number that the last wait gave.
    #[inline]
    pub fn event(&self, index: usize) -> Ready {
        let Event { flags, data } = self.events[index];
        let data = data.u64();
        let source = if data < LISTENER {
            Source::Connection(data as u32)
        } else if data == BELL {
            Source::Bell
        } else {
            Source::Listener(data as u16)
        };
        Ready {
            source,
            readable: flags.intersects(EventFlags::IN | EventFlags::RDHUP),
            writable: flags.contains(EventFlags::OUT),
            peer_ended: flags.contains(EventFlags::RDHUP),
            dead: flags.intersects(EventFlags::HUP | EventFlags::ERR),
        }
    }

    /// Whether the last wait may have left events behind, having given `count`.
    pub fn is_full(&self, count: usize) -> bool {
        count == self.events.len()
    }
}

impl AsFd for Poller {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.epoll.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::net::{Shutdown, TcpListener, TcpStream};
    use std::time::Duration;

    fn pair() -> (TcpStream, OwnedFd) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (server, _) = listener.accept().unwrap();
        server.set_nonblocking(true).unwrap();
        (client, server.into())
    }

    fn wait(poller: &mut Poller) -> Vec<Ready> {
        let count = poller.wait(Some(5000)).unwrap();
        (0..count).map(|i| poller.event(i)).collect()
    }

    #[test]
    fn a_connection_reports_edges() {
        let (mut client, server) = pair();
        let mut poller = Poller::new(8).unwrap();
        client.write_all(b"early").unwrap();
        poller.add_connection(&server, 7).unwrap();
        let ready = wait(&mut poller)[0];
        assert_eq!(ready.source, Source::Connection(7));
        assert!(ready.readable && ready.writable && !ready.peer_ended && !ready.dead);
        // Not read, but reported already.
        assert_eq!(poller.wait(Some(0)).unwrap(), 0);
        client.write_all(b"more").unwrap();
        assert!(wait(&mut poller)[0].readable);
        client.shutdown(Shutdown::Write).unwrap();
        let ready = wait(&mut poller)[0];
        assert!(ready.peer_ended && !ready.dead);
        drop(server);
        assert_eq!(client.read(&mut [0; 8]).unwrap_or(0), 0);
        assert_eq!(poller.wait(Some(0)).unwrap(), 0);
    }

    #[test]
    fn a_reset_is_dead() {
        let (client, server) = pair();
        let mut poller = Poller::new(8).unwrap();
        poller.add_connection(&server, 0).unwrap();
        wait(&mut poller);
        // Closing with unread input resets.
        rustix::net::send(&server, b"unread", rustix::net::SendFlags::empty()).unwrap();
        std::thread::sleep(Duration::from_millis(20));
        drop(client);
        assert!(wait(&mut poller)[0].dead);
    }

    #[test]
    fn a_paused_listener_is_silent_until_resumed() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let listener = OwnedFd::from(listener);
        let mut poller = Poller::new(8).unwrap();
        poller.add_listener(&listener, 3).unwrap();
        poller.pause_listener(&listener, 3, true).unwrap();
        let _client = TcpStream::connect(address).unwrap();
        assert_eq!(poller.wait(Some(10)).unwrap(), 0);
        poller.pause_listener(&listener, 3, false).unwrap();
        for _ in 0..2 {
            assert_eq!(wait(&mut poller)[0].source, Source::Listener(3));
        }
    }
}
