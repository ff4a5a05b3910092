//! When a shard has nothing to do: what it waits for, and who works for it meanwhile.

use super::super::host::{self, HOST};
use super::Driver;
use super::close::Closing;
use crate::net::Events;
use rustix::time::{ClockId, Timespec, clock_gettime};
use std::collections::VecDeque;
use std::time::Duration;

/// Longest sleep, in milliseconds: after it the executor's other tasks get their turn.
const SLEEP_MS_MAX: u64 = 1000;
/// How often a shard looks back at what it did, in milliseconds.
const WINDOW_MS: u64 = 50;

/// What a connection holds beside what the shard knows of, about, in bytes: TLS more, others less.
const CONNECTION_BYTES: usize = 1024;

/// Mail that is cheaper to work off for a sleeper than to wake it for, in messages. More is
/// enough for two cores.
pub(super) const HELP_MESSAGES_MAX: usize = 4096;
/// Share of its own time that a shard may be using and still work for others.
const HELP_PER_CENT_MAX: u64 = 70;

/// A shard that uses no more of its thread for so long has little to do, in per cent and
/// milliseconds.
const CALM_PER_CENT_MAX: u64 = 40;
const CALM_MS: u64 = 500;
/// Whoever was a guest for less than this has come too soon, and is not calm before twice as long
/// a time the next time, up to a maximum; in milliseconds.
const STAY_MS_MIN: u64 = 10_000;
const CALM_MS_MAX: u64 = 8_000;

/// How long input gathers, where it comes in bursts. What a turn costs beside the messages in it
/// is spread over more of them; network cards moderate their interrupts for the same reason.
const GATHER: Duration = Duration::from_micros(250);
/// Turns in a window from which on gathering is tried.
const GATHER_TURNS_MIN: u32 = 25;
/// Ready sources that a wait has to find after gathering for it to have been worth its timer.
const GATHER_EVENTS_MIN: usize = 3;
/// Times in a row that it may be in vain.
const GATHER_PATIENCE: u8 = 4;
/// Windows without it after that, at most.
const GATHER_PAUSE_MAX: u8 = 16;

/// How to wait for the next turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rest {
    /// Not at all: look what else has come.
    None,
    /// For a moment: mail waits for room elsewhere.
    Moment,
    /// So long whatever comes, then as [`Rest::Sleep`].
    Gather(Duration),
    /// Until something comes.
    Sleep,
    /// As [`Rest::Sleep`], and another thread may do the waiting (see [`super::super::host`]). With
    /// the share that the shard uses of its own, in per cent.
    Enter(u64),
}

/// How much of its time the shard's thread has used lately.
pub(super) struct Share {
    measured_ms: u64,
    used_ms: u64,
    per_cent: u64,
    /// Since when it has been little, and how long that has to last before it counts.
    calm_since_ms: u64,
    calm_ms: u64,
}

/// Whether input comes in bursts, so that waiting for more of it pays.
#[derive(Default)]
pub(super) struct Gathering {
    turns: u32,
    is_on: bool,
    in_vain: u8,
    /// Windows to go without, and how many it will be next time.
    paused: u8,
    pause: u8,
}

impl Driver {
    /// Tells the shards that this turn has posted to, or runs their turns where that is cheaper;
    /// then says how to wait. From then on the shard counts as asleep if there is nothing to do.
    pub fn rest(&mut self) -> Rest {
        self.settle();
        self.look_back();
        // Here and not in the turn, which another thread may run: it is the thread's own heap.
        self.look_for_ebb();
        if self.has_more() {
            return Rest::None;
        }
        if self.out.is_congested() {
            return Rest::Moment;
        }
        self.mailbox.bell().listen();
        if !self.mailbox.is_empty() {
            return Rest::None;
        }
        let longest_ms = self.now.ms + SLEEP_MS_MAX;
        let due = [self.next_due_ms(), self.ebb.due_ms(), Some(longest_ms)];
        let wake_ms = due.into_iter().flatten().min();
        self.watch
            .wake_by(self.now.ms, wake_ms.unwrap_or(longest_ms));
        if self.may_enter() {
            return Rest::Enter(self.share.per_cent);
        }
        match self.gathering.is_on {
            true => Rest::Gather(GATHER),
            false => Rest::Sleep,
        }
    }

    /// In the shard's own thread while another one runs its turns, now and then.
    pub fn keep_house(&mut self) {
        self.now = self.clock.read();
        self.look_for_ebb();
    }

    fn may_enter(&self) -> bool {
        self.id.0 != HOST
            && self.share.is_calm()
            && self.conns.len() <= host::CONNECTIONS_MAX
            && self.house.takes(self.share.per_cent)
    }

    /// Gives back what the thread's heap has to spare.
    fn look_for_ebb(&mut self) {
        let connections = self.conns.len() * CONNECTION_BYTES;
        let held_bytes = self.shard.held_bytes() + self.fx.out.left() + connections;
        if self.ebb.look(self.now.ms, held_bytes) {
            self.give_back();
        }
    }

    /// In the shard's own thread, which waits for itself again.
    pub fn come_home(&mut self) {
        let now_ms = self.clock.read().ms;
        self.share.come_home(now_ms);
    }

    /// Awake again: whoever has mail need not say so.
    #[inline]
    pub fn rise(&self) {
        self.mailbox.bell().ignore();
    }

    /// What a wait after [`Rest::Gather`] found at once.
    pub fn gathered(&mut self, events: usize) {
        self.gathering.found(events);
    }

    /// A turn for the mail that is here, run by another shard's thread while this one's sleeps.
    pub fn turn_asleep(&mut self) {
        self.turns_asleep += 1;
        self.turn(Events::NONE);
        // Not by running turns: whoever runs this one would be in a third shard then.
        self.out.ring();
        self.sleep_on();
    }

    /// A turn for what the host's thread has found at this shard's set.
    pub fn turn_as_guest(&mut self, events: Events<'_>) {
        self.turns_asleep += 1;
        self.mailbox.bell().ignore();
        self.turn(events);
        self.settle();
        self.mailbox.bell().listen();
        self.sleep_on();
    }

    fn sleep_on(&mut self) {
        if self.has_more() || self.out.is_congested() || self.ended {
            self.mailbox.bell().ring();
        } else if let Some(due_ms) = self.next_due_ms() {
            self.watch.wake_by(self.now.ms, due_ms);
        }
    }

    /// Mail that was posted in this turn becomes known.
    pub(super) fn settle(&mut self) {
        let helps = self.posted <= HELP_MESSAGES_MAX && self.share.per_cent < HELP_PER_CENT_MAX;
        for to in self.out.take_untold().iter() {
            let bell = self.out.bell(to);
            if bell.is_heard() && !(helps && self.helms[usize::from(to)].run_asleep()) {
                bell.ring();
            }
        }
    }

    fn look_back(&mut self) {
        self.gathering.turns += 1;
        if self.now.ms >= self.share.measured_ms + WINDOW_MS {
            self.share.measure(self.now.ms);
            // A single shard has nobody to tell: its turns cost little beside what is in them.
            if self.shards > 1 {
                self.gathering.look_back();
            }
        }
    }

    /// Whether there is more to do at once.
    #[inline]
    fn has_more(&self) -> bool {
        if !self.drained.is_empty()
            || !self.mailbox.is_empty()
            || !self.batch.as_slice().is_empty()
            || self.is_due()
        {
            return true;
        }
        let waiting = !self.to_read.is_empty()
            || !self.dirty.is_empty()
            || !self.newcomers.is_empty()
            || !self.leavers.is_empty()
            || [&self.closings, &self.openings, &self.proxies]
                .iter()
                .any(|line| Closing::is_due(line, self.now.ms));
        waiting && !self.out.is_congested()
    }

    /// Whether the shard has something to do at this time.
    #[inline]
    pub(super) fn is_due(&self) -> bool {
        let due_ms = self.shard.next_deadline_ms();
        due_ms.is_some_and(|due_ms| due_ms <= self.now.ms)
    }

    /// When a turn is due though nothing comes, in monotonic milliseconds.
    fn next_due_ms(&self) -> Option<u64> {
        let first = |line: &VecDeque<Closing>| line.front().map(|closing| closing.deadline_ms);
        let listening = self
            .listeners
            .iter()
            .filter_map(|l| l.paused_until_ms)
            .min();
        let due = [
            self.shard.next_deadline_ms(),
            first(&self.closings),
            first(&self.openings),
            first(&self.proxies),
            listening,
        ];
        due.into_iter().flatten().min()
    }
}

impl Default for Share {
    fn default() -> Share {
        Share {
            measured_ms: 0,
            used_ms: 0,
            per_cent: 0,
            calm_since_ms: 0,
            calm_ms: CALM_MS,
        }
    }
}

impl Share {
    fn measure(&mut self, now_ms: u64) {
        let Timespec { tv_sec, tv_nsec } = clock_gettime(ClockId::ThreadCPUTime);
        let used_ms = tv_sec as u64 * 1000 + tv_nsec as u64 / 1_000_000;
        // Measured on whichever thread runs the turn: only the shard's own looks back.
        self.per_cent = (used_ms - self.used_ms) * 100 / (now_ms - self.measured_ms).max(1);
        self.used_ms = used_ms;
        self.measured_ms = now_ms;
        if self.per_cent > CALM_PER_CENT_MAX {
            self.calm_since_ms = now_ms;
        }
    }

    /// Whether little was used for a while.
    fn is_calm(&self) -> bool {
        self.measured_ms >= self.calm_since_ms + self.calm_ms
    }

    /// What was measured last is from before the shard was a guest.
    fn come_home(&mut self, now_ms: u64) {
        self.calm_ms = match now_ms - self.measured_ms < STAY_MS_MIN {
            true => (self.calm_ms * 2).min(CALM_MS_MAX),
            false => CALM_MS,
        };
        self.measure(now_ms);
        self.calm_since_ms = now_ms;
    }
}

impl Gathering {
    fn look_back(&mut self) {
        let busy = std::mem::take(&mut self.turns) >= GATHER_TURNS_MIN;
        self.is_on = busy && self.paused == 0;
        self.paused = self.paused.saturating_sub(1);
    }

    fn found(&mut self, events: usize) {
        if events >= GATHER_EVENTS_MIN {
            (self.in_vain, self.pause) = (0, 0);
            return;
        }
        self.in_vain += 1;
        if self.in_vain == GATHER_PATIENCE {
            self.in_vain = 0;
            self.is_on = false;
            self.pause = (self.pause * 2).clamp(1, GATHER_PAUSE_MAX);
            self.paused = self.pause;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(gathering: &mut Gathering, turns: u32) -> bool {
        gathering.turns = turns;
        gathering.look_back();
        gathering.is_on
    }

    #[test]
    fn gathers_only_while_turns_are_many_and_it_finds_more() {
        let mut gathering = Gathering::default();
        assert!(!window(&mut gathering, GATHER_TURNS_MIN - 1));
        assert!(window(&mut gathering, GATHER_TURNS_MIN));
        for _ in 0..100 {
            gathering.found(1);
            gathering.found(GATHER_EVENTS_MIN);
        }
        assert!(gathering.is_on, "now and then in vain");
        assert!(!window(&mut gathering, 1));
    }

    #[test]
    fn whoever_is_sent_home_soon_stays_there_longer() {
        let mut share = Share::default();
        let mut now_ms = 0;
        let mut next = |stayed_ms: u64| {
            let home_ms = now_ms;
            while !share.is_calm() {
                now_ms += WINDOW_MS;
                share.measured_ms = now_ms;
            }
            let waited_ms = now_ms - home_ms;
            now_ms += stayed_ms;
            share.come_home(now_ms);
            waited_ms
        };
        let waited: Vec<u64> = [100, 100, 100, STAY_MS_MIN, 100].map(&mut next).to_vec();
        assert_eq!(waited, [500, 1000, 2000, 4000, 500]);
        assert_eq!((0..20).map(|_| next(0)).max(), Some(CALM_MS_MAX));
    }

    #[test]
    fn in_vain_it_is_tried_ever_more_rarely() {
        let mut gathering = Gathering::default();
        let mut tried = 0;
        for _ in 0..1000 {
            if window(&mut gathering, 1000) {
                tried += 1;
                for _ in 0..GATHER_PATIENCE {
                    gathering.found(1);
                }
                assert!(!gathering.is_on);
            }
        }
        assert!((50..80).contains(&tried), "{tried} of 1000 windows");
    }
}
