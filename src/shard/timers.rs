//! Deadlines. Each connection and each session without one has at most one live alarm; when it
//! rings, what is really due is looked up, so traffic never touches the calendar.

use super::close::Ending;
use super::conn::{Pause, Phase};
use super::{Effects, Refusal, Shard};
use crate::auth::Verdict;
use crate::base::{ConnId, Now};
use crate::codec::ReasonCode;

/// How often retained messages are swept for expired ones, in milliseconds, and in how long all of
/// them are, save those that have expired: they go as fast as slices of work allow. They are
/// delivered to nobody, but until then they take the room of others.
const SWEEP_MS: u64 = 1_000;
const SWEEP_ALL_MS: u64 = 60_000;
/// Alarms of one step, and those among them that end a connection. Clients that came together are
/// due together, and to turn away thousands of them in one turn is a pause for everybody else: each
/// takes a packet and a close, some 20 us, where an alarm that is put off takes next to nothing.
const TICK_ALARMS_MAX: usize = 64;
const TICK_ENDS_MAX: usize = 4;

/// What an alarm is about.
#[derive(Clone, Copy, Debug)]
pub(super) enum Alarm {
    /// CONNECT deadline or keep alive.
    Connection(ConnId),
    /// Will delay or session expiry.
    Session(u32),
    /// Expired retained messages.
    Sweep,
    /// Clients about whom nobody could say.
    AskAgain,
}

impl Shard {
    /// Wakes the connection at `deadline_ms`, unless it is woken earlier anyway.
    pub(super) fn arm_connection(&mut self, deadline_ms: u64, id: ConnId) {
        let conn = self.conns.get_mut(id.0).expect("looked up by the caller");
        if conn.alarm_ms > deadline_ms {
            conn.alarm_ms = deadline_ms;
            self.alarms.arm(deadline_ms, Alarm::Connection(id));
        }
    }

    /// Wakes a session without a connection when its will or its end is due.
    pub(super) fn arm_session(&mut self, slot: u32) {
        let session = self
            .sessions
            .get_mut(slot)
            .expect("looked up by the caller");
        let deadline = session.deadline_ms();
        if session.alarm_ms > deadline {
            session.alarm_ms = deadline;
            self.alarms.arm(deadline, Alarm::Session(slot));
        }
    }

    pub(super) fn arm_sweep(&mut self, now: Now) {
        if !self.sweep_armed {
            self.sweep_armed = true;
            self.alarms.arm(now.ms + SWEEP_MS, Alarm::Sweep);
        }
    }

    pub(super) fn handle_tick(&mut self, now: Now, fx: &mut Effects) {
        self.go_on_revising(now, fx);
        for _ in 0..TICK_ALARMS_MAX {
            if self.slices.is_spent() {
                break;
            }
            if self.ringing.len() == 0 {
                match self.alarms.pop_due(now.ms) {
                    Some(alarms) => self.ringing = alarms.into_iter(),
                    None => break,
                }
            }
            if let Some(alarm) = self.ringing.next() {
                self.ring(now, alarm, fx);
            }
        }
        // Alarms have their own slice, or a crowd of them would keep the others waiting.
        self.slices.begin();
        self.go_on(now, fx);
    }

    fn ring(&mut self, now: Now, alarm: Alarm, fx: &mut Effects) {
        self.slices.spend(1);
        match alarm {
            Alarm::Connection(id) => self.wake_connection(now, id, fx),
            Alarm::Session(slot) => self.wake_session(now, slot, fx),
            Alarm::AskAgain => self.ask_again(now, fx),
            Alarm::Sweep => {
                let sweeps = (SWEEP_ALL_MS / SWEEP_MS) as usize;
                self.sweep_retained(now, self.retained.len().div_ceil(sweeps));
            }
        }
    }

    fn wake_connection(&mut self, now: Now, id: ConnId, fx: &mut Effects) {
        // The slot may have another connection by now, with an alarm of its own.
        let Some(conn) = self
            .conns
            .get_mut(id.0)
            .filter(|conn| conn.alarm_ms <= now.ms)
        else {
            return;
        };
        conn.alarm_ms = u64::MAX;
        if conn.pause == Some(Pause::Undecided) {
            return self.wake_undecided(now, id, fx);
        }
        if conn.pause == Some(Pause::Turn) {
            // It may have said much that was not looked at yet.
            conn.last_packet_ms = now.ms;
        }
        let (deadline, ending, why) = match conn.phase {
            Phase::Up => {
                let silence = match conn.silence_ms_max {
                    0 => u64::MAX,
                    ms => conn.last_packet_ms + u64::from(ms),
                };
                let session = self.sessions.get(conn.session);
                let access = session.and_then(|session| session.access.as_deref());
                match access.map_or(u64::MAX, |access| access.ends_ms) {
                    u64::MAX if silence == u64::MAX => return,
                    ends if ends <= silence => (ends, Ending::Expired, Refusal::Expired),
                    _ => (silence, Ending::KeepAlive, Refusal::KeepAliveTimeout),
                }
            }
            _ => {
                let deadline = conn.opened_ms + self.options.mqtt.connect_timeout_ms;
                (deadline, Ending::PeerClosed, Refusal::ConnectTimeout)
            }
        };
        let slot = conn.session;
        if now.ms < deadline {
            if let Some(session) = self.sessions.get_mut(slot) {
                session.drop_idle_flow();
            }
            return self.arm_connection(deadline, id);
        }
        match ending {
            Ending::PeerClosed => self.drop_silently(id, why, fx),
            _ => {
                self.counters.refuse(why);
                self.end(now, id, ending, fx);
            }
        }
        self.slices.spend_part(TICK_ENDS_MAX);
    }

    /// Whoever decides about a client has taken too long: the answer is that nobody can say.
    fn wake_undecided(&mut self, now: Now, id: ConnId, fx: &mut Effects) {
        let conn = self.conns.get(id.0).expect("looked up by the caller");
        let deadline = conn.last_packet_ms + self.options.mqtt.verdict_timeout_ms;
        if now.ms < deadline {
            return self.arm_connection(deadline, id);
        }
        let attempt = (id, conn.attempt);
        let verdict = Verdict::Refuse(ReasonCode::ServerUnavailable);
        self.handle_verdict(now, attempt, verdict, fx);
        self.slices.spend_part(TICK_ENDS_MAX);
    }

    fn wake_session(&mut self, now: Now, slot: u32, fx: &mut Effects) {
        let Some(session) = self.sessions.get_mut(slot).filter(|s| s.alarm_ms <= now.ms) else {
            return;
        };
        session.alarm_ms = u64::MAX;
        if session.conn.is_some() {
            return;
        }
        if session.ends_ms() <= now.ms {
            self.end_session(now, slot, fx);
            return;
        }
        if session.will_due_ms() <= now.ms
            && let Some(will) = session.will.take()
        {
            self.publish_will(now, &will, fx);
            self.keep_left(now, slot);
        }
        self.arm_session(slot);
    }
}
