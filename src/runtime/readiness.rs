//! Waiting for a descriptor inside a glommio executor.
//!
//! glommio 0.9 has no public way to wait until some descriptor is readable, and that is all a
//! shard needs of its ring: to sleep there until its epoll set has an event, so that the executor
//! runs other tasks (and its own I/O) meanwhile. But its unbuffered streams start a poll for
//! reading when they are made, and look at the descriptor only once that poll has completed. So a
//! "stream" made of an epoll set is pending until the set has an event; then its read fails with
//! ENOTSOCK, which here means "ready".
//!
//! The stream owns its descriptor, so it gets a duplicate. It is made anew for each sleep: once
//! the poll has completed it cannot be armed again, and a poll left armed would complete while the
//! shard is busy and end the next sleep for nothing.

use futures_io::AsyncRead;
use glommio::net::UnixStream;
use glommio::timer::Timer;
use std::future::{Future, poll_fn};
use std::io;
use std::os::fd::{BorrowedFd, FromRawFd, IntoRawFd};
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

/// Longest sleep at a time. Should the ring ever miss that the set has an event, the executor finds
/// it after this time, and not at the next deadline, which may be an hour away.
const SLEEP_MAX: Duration = Duration::from_secs(1);

/// Waits until the epoll set has an event, for at most `timeout` and a second. Says whether it has
/// one.
///
/// # Errors
/// The process has no file descriptor left for the duplicate.
pub async fn has_event(epoll: BorrowedFd<'_>, timeout: Option<Duration>) -> io::Result<bool> {
    let duplicate = epoll.try_clone_to_owned()?.into_raw_fd();
    // SAFETY: the descriptor is open and owned by nobody else; the stream closes it.
    let stream = unsafe { UnixStream::from_raw_fd(duplicate) };
    let mut stream = pin!(stream);
    let mut timer = Timer::new(timeout.unwrap_or(SLEEP_MAX).min(SLEEP_MAX));
    Ok(poll_fn(move |cx| {
        if stream.as_mut().poll_read(cx, &mut [0]).is_ready() {
            return Poll::Ready(true);
        }
        pin!(&mut timer).poll(cx).map(|_| false)
    })
    .await)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::{Bell, Poller};
    use glommio::{LocalExecutorBuilder, Placement};
    use std::os::fd::AsFd;
    use std::sync::Arc;
    use std::time::Instant;

    fn run<T>(future: impl Future<Output = T>) -> T {
        LocalExecutorBuilder::new(Placement::Unbound)
            .make()
            .unwrap()
            .run(future)
    }

    #[test]
    fn pending_while_there_is_nothing() {
        run(async {
            let bell = Bell::new().unwrap();
            let poller = Poller::new(8).unwrap();
            poller.add_bell(&bell).unwrap();
            let began = Instant::now();
            let waited = Duration::from_millis(30);
            assert!(!has_event(poller.as_fd(), Some(waited)).await.unwrap());
            assert!(began.elapsed() >= waited);
        });
    }

    #[test]
    fn ready_after_an_event_again_and_again() {
        run(async {
            let bell = Arc::new(Bell::new().unwrap());
            let mut poller = Poller::new(8).unwrap();
            poller.add_bell(&bell).unwrap();
            for round in 0..100 {
                bell.listen();
                let ringer = bell.clone();
                let thread = std::thread::spawn(move || {
                    if round % 2 == 0 {
                        std::thread::sleep(Duration::from_millis(2));
                    }
                    ringer.ring();
                });
                assert!(
                    has_event(poller.as_fd(), Some(Duration::from_secs(9)))
                        .await
                        .unwrap()
                );
                assert_eq!(poller.wait(Some(0)).unwrap(), 1);
                thread.join().unwrap();
            }
        });
    }

    #[test]
    fn no_descriptor_is_left_behind() {
        let open = || std::fs::read_dir("/proc/self/fd").unwrap().count();
        run(async {
            let poller = Poller::new(8).unwrap();
            let before = open();
            for _ in 0..200 {
                has_event(poller.as_fd(), Some(Duration::ZERO))
                    .await
                    .unwrap();
            }
            // Other tests of this process open and close theirs meanwhile.
            assert!(open() < before + 100);
        });
    }
}
