//! What everything in a world shares: randomness, time, the network and the model.

use super::model::Model;
use super::plan::Plan;
use super::rng::Rng;
use super::store::Kept;
use super::wire::{Link, Place, Terms, Who};
use ringmq::base::Now;

/// Unix time at the beginning, in milliseconds.
const EPOCH_MS: u64 = 1_700_000_000_000;

pub struct Env {
    pub rng: Rng,
    pub plan: Plan,
    pub model: Model,
    pub kept: Kept,
    pub links: Vec<Link>,
    /// Steps made.
    pub step: u64,
    pub now_ms: u64,
    /// No faults and no new work any more: everything drains.
    pub calm: bool,
    pub digest: u64,
    pub trace: bool,
}

impl Env {
    pub fn new(mut rng: Rng, steps: u64, trace: bool) -> Env {
        let plan = Plan::draw(&mut rng, steps);
        let model = Model::new(plan.clients, plan.lossy);
        Env {
            rng,
            plan,
            model,
            kept: Kept::default(),
            links: Vec::new(),
            step: 0,
            now_ms: 1_000,
            calm: false,
            digest: 0xcbf2_9ce4_8422_2325,
            trace,
        }
    }

    /// The time as shards are told.
    pub fn now(&self) -> Now {
        Now {
            ms: self.now_ms,
            unix_ms: EPOCH_MS + self.now_ms,
        }
    }

    /// Opens a connection.
    pub fn open(&mut self, who: Who, terms: Terms) -> usize {
        let mut link = Link::new(who, terms);
        link.heard_ms = self.now_ms;
        self.links.push(link);
        self.links.len() - 1
    }

    /// Whether the broker cannot make a client of this link any more, or has done so already: a
    /// client does not connect anew while an older CONNECT of its own may still be read.
    pub fn is_settled(&self, link: usize) -> bool {
        let link = &self.links[link];
        link.established || link.place == Place::Gone
    }

    /// Adds to the fingerprint of this run.
    pub fn fold(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.digest = (self.digest ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }

    /// Says what happens, if somebody wants to know.
    pub fn say(&self, what: impl FnOnce() -> String) {
        if self.trace {
            eprintln!("{:6} {:7}ms {}", self.step, self.now_ms, what());
        }
    }
}
