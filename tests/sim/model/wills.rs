//! Wills: who is owed one, and from when on (MQTT-3.1.2-8, -10, MQTT-3.1.3-9).

use super::{Message, Model};

/// The will of one connection.
#[derive(Clone, Copy, Debug)]
pub struct Will {
    pub delay_s: u32,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// The connection stands.
    Armed,
    /// It goes out at this monotonic millisecond, unless the client is back before.
    Due(u64),
    /// It goes out, or has gone, or may have.
    Out,
    /// It must not go out.
    Cancelled,
}

impl Will {
    /// One for a connection that is being made.
    pub fn new(delay_s: u32) -> Will {
        Will {
            delay_s,
            state: State::Armed,
        }
    }

    pub(super) fn is_cancelled(&self) -> bool {
        self.state == State::Cancelled
    }
}

impl Message {
    /// The connection ended; `ends_ms`: when the session does.
    pub(super) fn will_released(&mut self, with_will: bool, now_ms: u64, ends_ms: u64, step: u64) {
        let will = self.will.as_mut().expect("a will");
        if !with_will {
            will.state = State::Cancelled;
            self.finished = Some(step);
            return;
        }
        let due_ms = (now_ms + u64::from(will.delay_s) * 1000).min(ends_ms);
        if due_ms <= now_ms {
            will.state = State::Out;
            self.sent = step;
            self.accepted = Some(step);
        } else {
            will.state = State::Due(due_ms);
        }
    }

    /// The client is back: with its session, or (`ended`) without.
    pub(super) fn will_met(&mut self, ended: bool, now_ms: u64, step: u64) {
        let will = self.will.as_mut().expect("a will");
        let State::Due(due_ms) = will.state else {
            return;
        };
        if ended {
            will.state = State::Out;
            self.sent = self.sent.min(step);
            self.accepted = Some(step);
        } else if now_ms < due_ms {
            will.state = State::Cancelled;
            self.finished = Some(step);
        } else {
            // Due, and maybe nobody had looked at the clock.
            will.state = State::Out;
            self.sent = self.sent.min(step);
        }
    }

    /// Whether it is a will that may yet be sent.
    pub(super) fn waits(&self) -> bool {
        self.will
            .is_some_and(|will| !matches!(will.state, State::Out | State::Cancelled))
    }

    /// Time passes. A will that is due may come from now on.
    fn will_waits(&mut self, now_ms: u64, step: u64) {
        if let Some(will) = &self.will
            && let State::Due(due_ms) = will.state
            && due_ms <= now_ms
        {
            self.sent = self.sent.min(step);
        }
    }
}

impl Model {
    /// Time passed.
    pub fn pass(&mut self, now_ms: u64, step: u64) {
        for server in &self.servers {
            if let Some(number) = server.will {
                self.messages[number as usize].will_waits(now_ms, step);
            }
        }
    }

    /// The broker ends: wills go out at once.
    pub fn shut_down(&mut self, step: u64) {
        for message in &mut self.messages {
            if message.waits() {
                message.sent = message.sent.min(step);
            }
        }
    }

    /// At a quiet moment, with every alarm rung: a will that is due has gone out.
    pub(super) fn settle_wills(&mut self, now_ms: u64, step: u64) {
        for server in &mut self.servers {
            let Some(number) = server.will else { continue };
            let message = &mut self.messages[number as usize];
            let Some(Will {
                state: State::Due(due_ms),
                ..
            }) = message.will
            else {
                continue;
            };
            if due_ms + 2 * ringmq::base::calendar::BUCKET_MS <= now_ms {
                let will = message.will.as_mut().expect("looked at just now");
                will.state = State::Out;
                message.accepted = Some(step);
                server.will = None;
            }
        }
    }
}
