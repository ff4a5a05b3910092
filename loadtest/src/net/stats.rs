//! What happened to the connections of a fleet.

use super::fault::Faults;
use crate::measure::busy::Busy;
use crate::measure::latency::Latency;
use serde::{Deserialize, Serialize};

/// Connections begun, come up, refused and lost.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct FleetStats {
    /// Connections begun, retries included.
    pub attempts: u64,
    /// Clients that are up now.
    pub up: u64,
    /// Attempts that failed, by reason.
    pub refused: Faults,
    pub refused_count: u64,
    /// Clients that did not come up in the end.
    pub failed: u64,
    /// Clients that were up and were lost, by reason.
    pub lost: Faults,
    pub lost_count: u64,
    /// When the first and the last of them were, 0 if there were none.
    pub first_lost_ns: u64,
    pub last_lost_ns: u64,
    /// From the intended beginning to CONNACK.
    pub connect: Latency,
    pub last_connack_ns: u64,
    pub pings: u64,
    pub pace: Pace,
}

/// How the load tester itself kept up while it connected; of several executors the worst.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Pace {
    pub busy: Busy,
    /// Share of the time in which some waited because as many were under way as may be.
    pub full: f64,
    /// At a rate: by how much connections began after their times.
    pub lag: Latency,
}

impl Pace {
    pub fn merge(&mut self, other: &Pace) {
        self.busy = self.busy.max(other.busy);
        self.full = self.full.max(other.full);
        self.lag.merge(&other.lag);
    }
}

impl FleetStats {
    /// Takes in those of another fleet.
    pub fn merge(&mut self, other: FleetStats) {
        self.attempts += other.attempts;
        self.up += other.up;
        self.refused.merge(other.refused);
        self.refused_count += other.refused_count;
        self.failed += other.failed;
        self.lost.merge(other.lost);
        self.lost_count += other.lost_count;
        self.first_lost_ns = match (self.first_lost_ns, other.first_lost_ns) {
            (0, first_ns) | (first_ns, 0) => first_ns,
            (mine_ns, theirs_ns) => mine_ns.min(theirs_ns),
        };
        self.last_lost_ns = self.last_lost_ns.max(other.last_lost_ns);
        self.connect.merge(&other.connect);
        self.last_connack_ns = self.last_connack_ns.max(other.last_connack_ns);
        self.pings += other.pings;
        self.pace.merge(&other.pace);
    }
}
