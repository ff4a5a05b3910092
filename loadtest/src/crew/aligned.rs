//! This process's clock made that of the leader.

use crate::measure::clock;

/// Looks of which the best counts.
const LOOKS: usize = 64;
/// The most that the clock moves at a time, in nanoseconds: with some hundred looks a second that
/// follows any quartz, and no span of time that is measured meanwhile changes by more.
const STEP_NS: i64 = 500;

/// What is known of the distance between the two clocks.
#[derive(Debug)]
pub struct Aligned {
    is_same: bool,
    looks: [Look; LOOKS],
    count: usize,
    error_ns: u64,
}

/// One question to the leader and its answer.
#[derive(Clone, Copy, Debug, Default)]
struct Look {
    /// The leader's time less that of this host, if the answer took as long as the question.
    offset_ns: i64,
    /// Both together took so long: the offset is at most half of it away from the truth.
    round_trip_ns: u64,
}

impl Aligned {
    pub fn new(is_same: bool) -> Aligned {
        Aligned {
            is_same,
            looks: [Look::default(); LOOKS],
            count: 0,
            error_ns: 0,
        }
    }

    /// Whether enough was seen to begin.
    pub fn is_known(&self) -> bool {
        self.is_same || self.count >= LOOKS
    }

    /// By how much the clock may be wrong: half of the shortest round trip, and what it has still
    /// to move.
    pub fn error_ns(&self) -> u64 {
        self.error_ns
    }

    /// A question was sent at `asked_ns` and answered at `answered_ns`, both on this host's own
    /// clock; the leader's said `leader_ns`.
    pub fn look(&mut self, asked_ns: u64, leader_ns: u64, answered_ns: u64) {
        if self.is_same {
            return;
        }
        let middle_ns = asked_ns + (answered_ns - asked_ns) / 2;
        self.looks[self.count % LOOKS] = Look {
            offset_ns: leader_ns.wrapping_sub(middle_ns).cast_signed(),
            round_trip_ns: answered_ns - asked_ns,
        };
        self.count += 1;
        if self.count < LOOKS {
            return;
        }
        let best = self.looks.iter().min_by_key(|look| look.round_trip_ns);
        let best = best.copied().unwrap_or_default();
        let now_ns = clock::offset_ns();
        let way_ns = best.offset_ns.saturating_sub(now_ns);
        let step_ns = match self.count == LOOKS {
            // Nothing is measured yet.
            true => way_ns,
            false => way_ns.clamp(-STEP_NS, STEP_NS),
        };
        clock::set_offset_ns(now_ns + step_ns);
        self.error_ns = best.round_trip_ns / 2 + (way_ns - step_ns).unsigned_abs();
    }
}

/// What processes with the same monotonic clock have in common: the boot of the host and its
/// time namespace.
pub fn clock_name() -> String {
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id");
    let namespace = std::fs::read_link("/proc/self/ns/time");
    match (boot, namespace) {
        (Ok(boot), Ok(namespace)) => format!("{} {}", boot.trim(), namespace.display()),
        // Without the one there are no namespaces; without the other nothing is known.
        (Ok(boot), Err(_)) => boot.trim().to_owned(),
        (Err(_), _) => format!("process {}", std::process::id()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn follows_the_quickest_answer_and_moves_slowly() {
        let mut aligned = Aligned::new(false);
        // The leader is a second ahead; one answer of all took no longer than its question.
        for look in 0..LOOKS as u64 {
            assert!(!aligned.is_known());
            let late_ns = if look == 20 { 0 } else { 3_000 };
            aligned.look(10_000, 1_000_010_500, 11_000 + late_ns);
        }
        assert!(aligned.is_known());
        assert_eq!(clock::offset_ns(), 1_000_000_000);
        assert_eq!(aligned.error_ns(), 500);
        // It drifts away by two steps.
        for look in 0..LOOKS as u64 {
            aligned.look(20_000, 1_000_021_500, 21_000);
            let moved = (look as i64 + 1).min(2) * STEP_NS;
            if look > 44 {
                assert_eq!(clock::offset_ns(), 1_000_000_000 + moved);
            }
        }
        assert_eq!(aligned.error_ns(), 500);
        clock::set_offset_ns(0);
    }

    #[test]
    fn the_same_clock_is_left_alone() {
        let mut aligned = Aligned::new(true);
        aligned.look(1, 1_000_000, 3);
        assert!(aligned.is_known() && aligned.error_ns() == 0);
        assert_eq!(clock_name(), clock_name());
    }
}
