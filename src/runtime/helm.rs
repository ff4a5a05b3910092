//! Who runs a shard's turn: nearly always its own thread, and while that sleeps whoever has a
//! little mail for it, or its host.
//!
//! Waking a thread on another core costs both cores more than a few deliveries do: an eventfd
//! written, an interrupt to a core that idles, two switches; on a virtual machine 30 to 50 µs of
//! CPU against half a microsecond a delivery. So a shard that has posted little mail to one that
//! sleeps takes that one's helm, if nobody has it, and runs one turn of it right there: the mail is
//! taken, sockets are written, and the sleeper sleeps on. With more mail, or little time of its
//! own, it rings instead, and both cores work. A shard with little to do at all lets another thread
//! wait at its sockets too: see [`super::host`].
//!
//! A shard stays what it was, a value that one thread at a time works on; the helm is what says
//! which. It is only ever waited for by the shard's own thread, for at most a turn, and taken by
//! others only with `try_lock`, so no two threads wait for each other.

use super::driver::Driver;
use std::sync::{Mutex, MutexGuard, PoisonError, TryLockError};

/// The helm of one shard. Empty before the shard has started and after it has ended.
#[derive(Default)]
pub struct Helm(Mutex<Option<Driver>>);

impl Helm {
    /// For the shard's own thread: waits until nobody else has it.
    #[inline]
    pub fn take(&self) -> MutexGuard<'_, Option<Driver>> {
        // A panic ends the process, so nobody sees what it left half done.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// For others: the helm, unless somebody has it.
    pub fn try_take(&self) -> Option<MutexGuard<'_, Option<Driver>>> {
        match self.0.try_lock() {
            Ok(seat) => Some(seat),
            Err(TryLockError::Poisoned(seat)) => Some(seat.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }

    /// For others, who know that the shard sleeps and has mail: runs a turn of it. False: its own
    /// thread, or somebody else, is at it, or it has ended.
    pub fn run_asleep(&self) -> bool {
        match self.try_take().as_deref_mut() {
            Some(Some(driver)) => {
                driver.turn_asleep();
                true
            }
            _ => false,
        }
    }
}
