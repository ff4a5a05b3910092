//! Who has to send a PINGREQ next. Everybody has the same interval, so a queue in the order of
//! the last turn is a timer: 16 bytes a connection.

use std::collections::VecDeque;

#[derive(Debug, Default)]
pub struct Pings {
    /// When, and whose. It counts only if that client still expects its turn then.
    queue: VecDeque<(u64, u32)>,
    /// 0: no keep-alive.
    interval_ns: u64,
}

impl Pings {
    /// `keep_alive_s` as in CONNECT. Pings come at three quarters of it (MQTT-3.1.2-20 wants them
    /// within it).
    pub fn new(keep_alive_s: u16) -> Pings {
        let mut pings = Pings::default();
        pings.shorten(keep_alive_s);
        pings
    }

    /// The broker wants a shorter interval than was asked for (Server Keep Alive,
    /// MQTT-3.2.2-21).
    pub fn shorten(&mut self, keep_alive_s: u16) {
        let interval_ns = u64::from(keep_alive_s) * 750_000_000;
        if interval_ns != 0 && (self.interval_ns == 0 || interval_ns < self.interval_ns) {
            self.interval_ns = interval_ns;
        }
    }

    /// The client's next turn comes after one interval; gives that time, 0 without keep-alive.
    pub fn push(&mut self, client: u32, now_ns: u64) -> u64 {
        if self.interval_ns == 0 {
            return 0;
        }
        self.queue.push_back((now_ns + self.interval_ns, client));
        now_ns + self.interval_ns
    }

    /// A turn that has come: when and whose.
    pub fn pop(&mut self, now_ns: u64) -> Option<(u64, u32)> {
        let due = *self.queue.front()?;
        if due.0 > now_ns {
            return None;
        }
        self.queue.pop_front()
    }

    pub fn next_due_ns(&self) -> Option<u64> {
        self.queue.front().map(|(due_ns, _)| *due_ns)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn come_in_turn_at_three_quarters() {
        let mut pings = Pings::new(60);
        pings.push(7, 1000);
        pings.push(8, 2000);
        assert_eq!(pings.next_due_ns(), Some(45_000_001_000));
        assert_eq!(pings.pop(45_000_000_999), None);
        assert_eq!(pings.pop(45_000_001_000), Some((45_000_001_000, 7)));
        assert_eq!(pings.pop(45_000_001_000), None);
        pings.shorten(90);
        pings.shorten(4);
        pings.push(7, 0);
        assert_eq!(pings.queue.back(), Some(&(3_000_000_000, 7)));
    }

    #[test]
    fn never_come_without_keep_alive() {
        let mut pings = Pings::new(0);
        assert_eq!(pings.push(1, 0), 0);
        assert_eq!(pings.next_due_ns(), None);
    }
}
