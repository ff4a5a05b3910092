//! What happened to the connections of a fleet.

use super::fault::Faults;
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
    /// From the intended beginning to CONNACK.
    pub connect: Latency,
    pub last_connack_ns: u64,
    pub pings: u64,
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
        self.connect.merge(&other.connect);
        self.last_connack_ns = self.last_connack_ns.max(other.last_connack_ns);
        self.pings += other.pings;
    }
}
