//! One thread for all shards that have little to do.
//!
//! A shard's thread that is woken for every few messages spends most of its time on waking up and
//! falling asleep, and two such threads spend it twice: a burst of three messages to sockets of two
//! shards wakes both. So the thread of the first shard is the *host*. A shard that has had little
//! to do for a while becomes its *guest*: its epoll set is watched in the host's, its thread parks,
//! and the host runs its turns when something comes, in the same wait in which its own sockets
//! had something. As soon as the host has much to do guests go home, half of them at a time, until
//! it has not; and whoever had to go home soon stays there longer the next time.
//!
//! What a turn does, and who owns which client, is the same in either case: only the thread differs
//! (see [`super::helm`]).

use super::helm::Helm;
use crate::net::poller::SetRef;
use crate::net::{Poller, Source};
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::{self, Thread};
use std::time::Duration;

/// The shard whose thread is the host.
pub const HOST: u16 = 0;
/// How busy a shard and the host may be together for the shard to become a guest.
const ENTER_PER_CENT_MAX: u64 = 50;
/// How busy the host may be before guests go home.
const STAY_PER_CENT_MAX: u64 = 75;
/// Connections of a guest. The system looks through all of a set when it is put into another, which
/// takes it less than a millisecond for so many.
pub const CONNECTIONS_MAX: usize = 4096;
/// Events of a guest that are taken at a time.
const EVENTS_MAX: usize = 256;

/// Who lets another thread work for it, and how much that one has to do.
pub struct House {
    state: Mutex<State>,
    /// Share of the time that the host was not waiting lately, in per cent, and what those have
    /// used who came since.
    busy_per_cent: AtomicU64,
}

#[derive(Default)]
struct State {
    /// The host's set, while it takes guests.
    host: Option<SetRef>,
    guests: Vec<Guest>,
}

struct Guest {
    shard: u16,
    set: SetRef,
    thread: Thread,
}

impl Default for House {
    /// A house without a host.
    fn default() -> House {
        House {
            state: Mutex::default(),
            // Until that is known nobody moves in.
            busy_per_cent: AtomicU64::new(100),
        }
    }
}

impl House {
    /// The calling thread is the host, which waits at `poller`, and takes guests from now on. What
    /// comes back is for [`House::serve`].
    pub fn open(&self, poller: &Poller) -> Poller {
        self.state().host = Some(poller.set());
        Poller::at(&poller.set(), EVENTS_MAX)
    }

    /// In the host's thread, now and then: how busy it was since the last time. Sends guests home
    /// if that is too much.
    pub fn set_busy(&self, per_cent: u64) {
        self.busy_per_cent.store(per_cent, Ordering::Relaxed);
        if per_cent > STAY_PER_CENT_MAX {
            let mut state = self.state();
            let staying = state.guests.len() / 2;
            state.send_home(staying, |_| true);
        }
    }

    /// Whether a shard that is so busy may become a guest.
    #[inline]
    pub fn takes(&self, per_cent: u64) -> bool {
        per_cent + self.busy_per_cent.load(Ordering::Relaxed) <= ENTER_PER_CENT_MAX
    }

    /// The calling thread is `shard`'s, waits at `poller` and was so busy lately: the host waits
    /// for it from now on. False: there is no host any more, others came first, or the system's
    /// limit on watches is reached.
    pub fn enter(&self, shard: u16, poller: &Poller, per_cent: u64) -> bool {
        let mut state = self.state();
        let Some(host) = state.host.as_ref() else {
            return false;
        };
        let (set, thread) = (poller.set(), thread::current());
        if !self.takes(per_cent) || host.add_guest(&set, shard).is_err() {
            return false;
        }
        self.busy_per_cent.fetch_add(per_cent, Ordering::Relaxed);
        state.guests.push(Guest { shard, set, thread });
        true
    }

    /// Waits in a guest's thread, for at most `time`. True: it is still a guest.
    pub fn stay(&self, shard: u16, time: Duration) -> bool {
        if self.set_of(shard).is_some() {
            // A guest that is sent home in between is unparked already, and this returns at once.
            thread::park_timeout(time);
        }
        self.set_of(shard).is_some()
    }

    /// In the host's thread: runs the turns of the guests of whom `found`, its last wait, says that
    /// they have something. `room` takes their events.
    pub fn serve(&self, found: &Poller, room: &mut Poller, helms: &[Helm]) -> io::Result<()> {
        for ready in found.events() {
            let Source::Guest(shard) = ready.source else {
                continue;
            };
            // One of those before it may have been the last, and have sent all home.
            let Some(set) = self.set_of(shard) else {
                continue;
            };
            // Whoever has the helm runs a turn; the set stays ready, so the next wait comes back.
            let Some(mut seat) = helms[usize::from(shard)].try_take() else {
                continue;
            };
            room.turn_to(&set);
            let events = room.wait(Some(0))?;
            let ends = seat.as_mut().is_none_or(|driver| {
                driver.turn_as_guest(events);
                driver.ended()
            });
            if ends {
                // That its own thread has to see.
                self.state().send_home(0, |guest| guest.shard == shard);
            }
        }
        Ok(())
    }

    /// The host ends: everybody waits for themselves again.
    pub fn close(&self) {
        let mut state = self.state();
        state.send_home(0, |_| true);
        state.host = None;
    }

    fn set_of(&self, shard: u16) -> Option<SetRef> {
        let state = self.state();
        let guest = state.guests.iter().find(|guest| guest.shard == shard);
        guest.map(|guest| guest.set.clone())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A panic ends the process, so nobody sees what it left half done.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Of the guests from this one on, in the order in which they came.
    fn send_home(&mut self, first: usize, is_meant: impl Fn(&Guest) -> bool) {
        for guest in self.guests.extract_if(first.., |guest| is_meant(guest)) {
            let forgotten = self.host.as_ref().map(|host| host.forget_guest(&guest.set));
            debug_assert!(matches!(forgotten, Some(Ok(()))), "{forgotten:?}");
            guest.thread.unpark();
        }
    }
}
