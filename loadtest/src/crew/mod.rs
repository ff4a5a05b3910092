//! Several processes, on this host or on several, that are one load: each has its own limit of
//! open files. One of them leads: it tells the others what to do, says when all have come to a
//! gate, adds their counters up, and has the report made of everybody's outcomes.
//!
//! They talk in lines of JSON over TCP: a worker asks, the leader answers, some hundred times a
//! second, so that each answer is also a look at the leader's clock.

mod aligned;
mod lead;
mod said;
mod work;

pub use lead::{Crew, Place};
pub use work::{Link, Task, work};
