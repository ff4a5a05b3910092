//! How one thread wakes another that waits in its epoll set, at no cost while that one is awake.

use rustix::event::{EventfdFlags, eventfd};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering, fence};

/// The bell of one shard. Whoever has put something into the shard's mailbox rings; the shard says
/// before it waits that it [`listens`](Bell::listen), then looks into its mailbox once more.
///
/// Both sides write first and read second, with a sequentially consistent fence in between: so
/// either the shard sees the mail or the sender sees that the shard is about to wait. Losing a
/// ring would cost at most the time until the shard's next event.
pub struct Bell {
    event: OwnedFd,
    listening: AtomicBool,
}

impl Bell {
    /// A bell that nobody listens to yet.
    ///
    /// # Errors
    /// The process has no file descriptor left.
    pub fn new() -> io::Result<Bell> {
        let event = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(Bell {
            event,
            listening: AtomicBool::new(false),
        })
    }

    /// Wakes the listener if it waits. Call it after the mail is in the mailbox.
    #[inline]
    pub fn ring(&self) {
        if self.is_heard() && self.listening.swap(false, Ordering::AcqRel) {
            self.strike();
        }
    }

    /// Whether the listener waits. Call it after the mail is in the mailbox: if not, the mail will
    /// be found.
    #[inline]
    pub fn is_heard(&self) -> bool {
        fence(Ordering::SeqCst);
        self.listening.load(Ordering::Relaxed)
    }

    /// From now on a ring is heard. The mailbox has to be looked into after this and before
    /// waiting.
    #[inline]
    pub fn listen(&self) {
        self.listening.store(true, Ordering::Relaxed);
        fence(Ordering::SeqCst);
    }

    /// Awake again: rings cost nothing.
    #[inline]
    pub fn ignore(&self) {
        self.listening.store(false, Ordering::Relaxed);
    }

    fn strike(&self) {
        // The counter is never read back: the set is edge triggered, each write is a new edge.
        // It would be full after 2^64 wake-ups.
        let struck = rustix::io::write(&self.event, &1u64.to_ne_bytes());
        debug_assert!(struck.is_ok(), "an eventfd takes a write: {struck:?}");
    }
}

impl AsFd for Bell {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.event.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::{Source, poller};

    #[test]
    fn only_a_listener_is_woken_and_once() {
        let bell = Bell::new().unwrap();
        let (watch, mut poller) = poller::set(8).unwrap();
        watch.add_bell(&bell).unwrap();
        bell.ring();
        assert_eq!(poller.wait(Some(0)).unwrap().len(), 0);
        for _ in 0..2 {
            bell.listen();
            bell.ring();
            bell.ring();
            let sources = poller.wait(Some(0)).unwrap().map(|ready| ready.source);
            assert_eq!(sources.collect::<Vec<_>>(), [Source::Bell]);
            assert_eq!(poller.wait(Some(0)).unwrap().len(), 0);
        }
    }
}
