//! A shard's epoll set. Connections are registered once, edge triggered, for both directions; so a
//! wake-up costs one system call for any number of sockets, and an idle connection nothing.
//!
//! A wait with a time-out arms a timer of the kernel and takes it back, each time, which costs more
//! than all the rest of a wait: 16 against 6 µs for 1 ms on a virtual machine, where setting the
//! hardware's timer leaves the guest. So a deadline is an alarm in the set, a timerfd that stays
//! armed over many waits, and a wait under traffic touches no timer.

use super::bell::Bell;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::io::Errno;
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

/// What an event is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The connection in this slot.
    Connection(u32),
    /// The listener of this index among the shard's.
    Listener(u16),
    /// Mail came.
    Bell,
    /// The time of [`Watch::wake_by`] has come.
    Alarm,
    /// The set that [`SetRef::add_guest`] has put into this one has something.
    Guest(u16),
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

/// What a shard watches: the end of its set that changes with its connections.
pub struct Watch {
    set: Arc<Set>,
    /// When the alarm rings, in the milliseconds of whoever set it.
    alarm_ms: Option<u64>,
}

/// The end of a set that a thread waits at, and the events of the last wait. Apart from [`Watch`],
/// so that a shard can be worked on while its own thread waits.
pub struct Poller {
    set: Arc<Set>,
    events: Box<[Event]>,
    count: usize,
}

struct Set {
    epoll: OwnedFd,
    alarm: OwnedFd,
}

/// A set by itself, to be watched by another thread than its own.
#[derive(Clone)]
pub struct SetRef(Arc<Set>);

/// Events, in the order in which they came.
#[derive(Clone, Copy)]
pub struct Events<'a>(&'a [Event]);

/// Longest wait at a time: what the system call takes, and nobody notices an empty turn an hour.
const TIMEOUT_MS_MAX: u64 = 3_600_000;
const LISTENER: u64 = 1 << 32;
const BELL: u64 = 1 << 33;
const ALARM: u64 = 1 << 34;
const GUEST: u64 = 1 << 35;

/// Both ends of an empty set that gives at most `events_max` events at a time.
///
/// # Errors
/// The process has no file descriptor left.
pub fn set(events_max: usize) -> io::Result<(Watch, Poller)> {
    let epoll = epoll::create(CreateFlags::CLOEXEC)?;
    let alarm = timerfd_create(
        TimerfdClockId::Monotonic,
        TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK,
    )?;
    // Edge triggered, so it is never read: each time that it rings is a new edge.
    let flags = EventFlags::IN | EventFlags::ET;
    epoll::add(&epoll, &alarm, EventData::new_u64(ALARM), flags)?;
    let set = Arc::new(Set { epoll, alarm });
    let poller = Poller::at(&SetRef(set.clone()), events_max);
    let watch = Watch {
        set,
        alarm_ms: None,
    };
    Ok((watch, poller))
}

impl Watch {
    /// Makes the set wake up at `at_ms` at the latest, given the time now on the same clock. It
    /// may do so sooner: an alarm that is set for an earlier moment is left alone, so that what
    /// moves a deadline away with every packet costs nothing.
    #[inline]
    pub fn wake_by(&mut self, now_ms: u64, at_ms: u64) {
        if self.alarm_ms.is_none_or(|alarm_ms| alarm_ms > at_ms) {
            self.set_alarm(now_ms, at_ms);
        }
    }

    /// The alarm has rung: it has to be set again.
    pub fn alarm_rang(&mut self) {
        self.alarm_ms = None;
    }

    fn set_alarm(&mut self, now_ms: u64, at_ms: u64) {
        let left_ms = at_ms.saturating_sub(now_ms).clamp(1, TIMEOUT_MS_MAX);
        let once = Itimerspec {
            it_interval: timespec(0),
            it_value: timespec(left_ms),
        };
        let set = timerfd_settime(&self.set.alarm, TimerfdTimerFlags::empty(), &once);
        debug_assert!(set.is_ok(), "a timer takes a time: {set:?}");
        self.alarm_ms = Some(at_ms.min(now_ms + left_ms));
    }

    /// Watches a connection until its descriptor is closed or [`Watch::forget`]. If it has
    /// something already, the next wait says so.
    ///
    /// # Errors
    /// The system's limit on watches (`fs.epoll.max_user_watches`) is reached.
    pub fn add_connection(&self, socket: &OwnedFd, slot: u32) -> io::Result<()> {
        let flags = EventFlags::IN | EventFlags::OUT | EventFlags::RDHUP | EventFlags::ET;
        Ok(epoll::add(
            &self.set.epoll,
            socket,
            EventData::new_u64(u64::from(slot)),
            flags,
        )?)
    }

    /// Watches a listening socket, level triggered: as long as somebody waits to be accepted,
    /// every wait says so.
    ///
    /// # Errors
    /// As [`Watch::add_connection`].
    pub fn add_listener(&self, socket: &OwnedFd, index: u16) -> io::Result<()> {
        let data = EventData::new_u64(LISTENER | u64::from(index));
        Ok(epoll::add(&self.set.epoll, socket, data, EventFlags::IN)?)
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
        Ok(epoll::modify(&self.set.epoll, socket, data, flags)?)
    }

    /// Watches the shard's bell.
    ///
    /// # Errors
    /// As [`Watch::add_connection`].
    pub fn add_bell(&self, bell: &Bell) -> io::Result<()> {
        let flags = EventFlags::IN | EventFlags::ET;
        Ok(epoll::add(
            &self.set.epoll,
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
        Ok(epoll::delete(&self.set.epoll, socket)?)
    }
}

impl SetRef {
    /// Watches another set whole, level triggered: as long as anything in it has something, every
    /// wait at this one says so.
    ///
    /// # Errors
    /// As [`Watch::add_connection`].
    pub fn add_guest(&self, guest: &SetRef, index: u16) -> io::Result<()> {
        let data = EventData::new_u64(GUEST | u64::from(index));
        Ok(epoll::add(
            &self.0.epoll,
            &guest.0.epoll,
            data,
            EventFlags::IN,
        )?)
    }

    /// Ends [`SetRef::add_guest`].
    ///
    /// # Errors
    /// It is not in the set.
    pub fn forget_guest(&self, guest: &SetRef) -> io::Result<()> {
        Ok(epoll::delete(&self.0.epoll, &guest.0.epoll)?)
    }
}

impl Poller {
    /// A poller at `set`, beside the set's own, that takes at most `events_max` events at a time.
    pub fn at(set: &SetRef, events_max: usize) -> Poller {
        let none = Event {
            flags: EventFlags::empty(),
            data: EventData::new_u64(BELL),
        };
        Poller {
            set: set.0.clone(),
            events: vec![none; events_max].into_boxed_slice(),
            count: 0,
        }
    }

    /// Turns to another set. The events of the last wait are forgotten.
    pub fn turn_to(&mut self, set: &SetRef) {
        self.set = set.0.clone();
        self.count = 0;
    }

    /// The set that is waited at.
    pub fn set(&self) -> SetRef {
        SetRef(self.set.clone())
    }

    /// Waits for events for at most `timeout_ms`, for ever without. An interruption by a signal
    /// counts as none.
    ///
    /// # Errors
    /// The set is broken: a defect.
    #[inline]
    pub fn wait(&mut self, timeout_ms: Option<u64>) -> io::Result<Events<'_>> {
        let timeout = timeout_ms.map(|ms| timespec(ms.min(TIMEOUT_MS_MAX)));
        self.count = match epoll::wait(&self.set.epoll, &mut *self.events, timeout.as_ref()) {
            Ok(count) => count,
            Err(Errno::INTR) => 0,
            Err(error) => return Err(error.into()),
        };
        Ok(self.events())
    }

    /// The events of the last wait.
    #[inline]
    pub fn events(&self) -> Events<'_> {
        Events(&self.events[..self.count])
    }

    /// The event at `index` of those of the last wait.
    #[inline]
    pub fn event(&self, index: usize) -> Ready {
        self.events[index].into()
    }
}

impl Events<'_> {
    /// No events.
    pub const NONE: Events<'static> = Events(&[]);
}

impl Iterator for Events<'_> {
    type Item = Ready;

    #[inline]
    fn next(&mut self) -> Option<Ready> {
        let (&first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(first.into())
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.0.len(), Some(self.0.len()))
    }
}

impl ExactSizeIterator for Events<'_> {}

impl From<Event> for Ready {
    #[inline]
    fn from(Event { flags, data }: Event) -> Ready {
        let data = data.u64();
        let source = if data < LISTENER {
            Source::Connection(data as u32)
        } else if data == BELL {
            Source::Bell
        } else if data == ALARM {
            Source::Alarm
        } else if data >= GUEST {
            Source::Guest(data as u16)
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
}

fn timespec(ms: u64) -> Timespec {
    let ms = ms as i64;
    Timespec {
        tv_sec: ms / 1000,
        tv_nsec: (ms % 1000) * 1_000_000,
    }
}

impl AsFd for Poller {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.set.epoll.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::net::{Shutdown, TcpListener, TcpStream};
    use std::time::{Duration, Instant};

    fn pair() -> (TcpStream, OwnedFd) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (server, _) = listener.accept().unwrap();
        server.set_nonblocking(true).unwrap();
        (client, server.into())
    }

    fn wait(poller: &mut Poller) -> Vec<Ready> {
        poller.wait(Some(5000)).unwrap().collect()
    }

    #[test]
    fn a_connection_reports_edges() {
        let (mut client, server) = pair();
        let (watch, mut poller) = set(8).unwrap();
        client.write_all(b"early").unwrap();
        watch.add_connection(&server, 7).unwrap();
        let ready = wait(&mut poller)[0];
        assert_eq!(ready.source, Source::Connection(7));
        assert!(ready.readable && ready.writable && !ready.peer_ended && !ready.dead);
        // Not read, but reported already.
        assert_eq!(poller.wait(Some(0)).unwrap().len(), 0);
        client.write_all(b"more").unwrap();
        assert!(wait(&mut poller)[0].readable);
        client.shutdown(Shutdown::Write).unwrap();
        let ready = wait(&mut poller)[0];
        assert!(ready.peer_ended && !ready.dead);
        drop(server);
        assert_eq!(client.read(&mut [0; 8]).unwrap_or(0), 0);
        assert_eq!(poller.wait(Some(0)).unwrap().len(), 0);
    }

    #[test]
    fn the_alarm_rings_at_the_earliest_time_asked_for_and_once() {
        let (mut watch, mut poller) = set(8).unwrap();
        let began = Instant::now();
        watch.wake_by(1000, 1_000_000);
        watch.wake_by(1000, 1020);
        watch.wake_by(1000, 1500);
        assert_eq!(wait(&mut poller)[0].source, Source::Alarm);
        assert!(began.elapsed() >= Duration::from_millis(20));
        assert_eq!(poller.wait(Some(0)).unwrap().len(), 0);
        watch.alarm_rang();
        // What is due already rings as well, though not before the next wait.
        watch.wake_by(2000, 1000);
        assert_eq!(wait(&mut poller)[0].source, Source::Alarm);
        assert_eq!(poller.wait(Some(10)).unwrap().len(), 0);
    }

    #[test]
    fn a_set_within_a_set_is_ready_until_it_is_waited_at() {
        let (mut client, server) = pair();
        let (watch, inner) = set(8).unwrap();
        let (_outer_watch, mut outer) = set(8).unwrap();
        watch.add_connection(&server, 7).unwrap();
        outer.set().add_guest(&inner.set(), 3).unwrap();
        for _ in 0..2 {
            assert_eq!(wait(&mut outer)[0].source, Source::Guest(3));
        }
        let mut room = Poller::at(&outer.set(), 8);
        room.turn_to(&inner.set());
        assert_eq!(wait(&mut room)[0].source, Source::Connection(7));
        assert_eq!(outer.wait(Some(0)).unwrap().len(), 0);
        client.write_all(b"more").unwrap();
        assert_eq!(wait(&mut outer)[0].source, Source::Guest(3));
        outer.set().forget_guest(&inner.set()).unwrap();
        assert_eq!(outer.wait(Some(0)).unwrap().len(), 0);
        assert_eq!(wait(&mut room)[0].source, Source::Connection(7));
    }

    #[test]
    fn a_reset_is_dead() {
        let (client, server) = pair();
        let (watch, mut poller) = set(8).unwrap();
        watch.add_connection(&server, 0).unwrap();
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
        let (watch, mut poller) = set(8).unwrap();
        watch.add_listener(&listener, 3).unwrap();
        watch.pause_listener(&listener, 3, true).unwrap();
        let _client = TcpStream::connect(address).unwrap();
        assert_eq!(poller.wait(Some(10)).unwrap().len(), 0);
        watch.pause_listener(&listener, 3, false).unwrap();
        for _ in 0..2 {
            assert_eq!(wait(&mut poller)[0].source, Source::Listener(3));
        }
    }
}
