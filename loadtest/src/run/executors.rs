//! One glommio executor a shard, each on a thread of its own.

use super::shared::{Ended, Shared, Totals};
use super::watch::Samples;
use crate::report::Report;
use glommio::{LocalExecutorBuilder, Placement};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::sync::Arc;
use std::thread::JoinHandle;

/// Entries in a ring: sockets are not in it, so it holds a few sleeps.
const RING_DEPTH: usize = 128;
/// Registered buffers, in bytes: no file is read through the ring.
const IO_MEMORY_BYTES: usize = 64 * 1024;

/// One kind of load, as [`super::run`] needs it.
pub trait Scenario: Send + Sync + Sized + 'static {
    /// What one executor found out; from another process it comes in words.
    type Outcome: Serialize + DeserializeOwned + Send + 'static;

    /// The part of one executor. It ends early if [`Shared::is_stopping`].
    ///
    /// # Errors
    /// A sentence: something in this host does not work.
    fn drive(
        &self,
        shard: usize,
        shared: &Shared,
    ) -> impl Future<Output = Result<Self::Outcome, String>>;

    /// When samples are to be taken, as far as it is known, in this order.
    fn marks(&self, shared: &Shared) -> Vec<u64>;

    /// How things are now; `before` is a second ago.
    fn progress(&self, shared: &Shared, now: &Totals, before: &Totals) -> String;

    /// How much of what takes long is done, from 0 to 1, if it is known.
    fn done(&self, shared: &Shared, now: &Totals) -> Option<f64>;

    /// What there is to be said in the end.
    fn report(&self, outcomes: Vec<Self::Outcome>, samples: &Samples) -> Report;
}

/// Starts the thread of one executor.
///
/// # Errors
/// The system has no thread left.
pub fn spawn<S: Scenario>(
    scenario: Arc<S>,
    shared: Arc<Shared>,
    shard: usize,
) -> Result<JoinHandle<Result<S::Outcome, String>>, String> {
    let name = format!("load-{shard}");
    let body = move || {
        let _ended = Ended(&shared);
        let executor = LocalExecutorBuilder::new(Placement::Unbound)
            .name("load")
            .ring_depth(RING_DEPTH)
            .io_memory(IO_MEMORY_BYTES)
            .make()
            .map_err(|error| ring_error(&error.to_string()))?;
        let outcome = executor.run(scenario.drive(shard, &shared));
        if outcome.is_err() {
            shared.stop();
        }
        outcome
    };
    std::thread::Builder::new()
        .name(name)
        .spawn(body)
        .map_err(|error| format!("no thread for an executor: {error}"))
}

fn ring_error(text: &str) -> String {
    format!(
        "this host gives no io_uring ring ({text}): it needs a kernel of at least 5.8 that allows \
         io_uring, and 512 KiB of locked memory (`ulimit -l 512`)"
    )
}
