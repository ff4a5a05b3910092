//! What connections were promised in CONNACK. A reload changes what is announced from then on, and
//! takes nothing back: a client that keeps to its own CONNACK is never at fault.
//!
//! All connections of one time were told the same, so each has but the number of its announcement.

use super::conn::{Conn, Phase};
use super::options::Announced;
use crate::base::Paged;

/// All announcements that connections hold the broker to, and the present one.
pub(super) struct Promises {
    made: Vec<Announced>,
    present: u8,
}

impl Promises {
    pub fn new(announced: Announced) -> Promises {
        Promises {
            made: vec![announced],
            present: 0,
        }
    }

    /// The number of what is announced now.
    pub fn present(&self) -> u8 {
        self.present
    }

    /// What was announced under `number`.
    #[inline]
    pub fn of(&self, number: u8) -> &Announced {
        &self.made[usize::from(number)]
    }

    /// Something else is announced from now on. Numbers that none of `conns` has are used again.
    pub fn announce(&mut self, announced: Announced, conns: &Paged<Conn>) {
        let mut in_use = vec![false; self.made.len()];
        for (_, conn) in conns.iter_from(0) {
            in_use[usize::from(conn.announced)] |= conn.phase == Phase::Up;
        }
        let known = self.made.iter().position(|made| *made == announced);
        let free = || in_use.iter().position(|used| !used);
        let at = known.or_else(free).unwrap_or(self.made.len());
        // Should all numbers be taken, the last one is what gives way.
        let present = u8::try_from(at).unwrap_or(u8::MAX);
        match self.made.get_mut(usize::from(present)) {
            Some(made) => *made = announced,
            None => self.made.push(announced),
        }
        self.present = present;
    }
}
