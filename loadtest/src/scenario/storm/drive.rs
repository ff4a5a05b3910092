//! One executor's part of a storm.

use super::{Gate, Outcome, Storm};
use crate::net::ramp::Retry;
use crate::run::Shared;
use crate::scenario::devices::{Crowd, DeviceOptions, Intent};
use ringmq::codec::Version;
use std::io;

/// # Errors
/// The epoll set does not work.
pub async fn drive(storm: &Storm, shard: usize, shared: &Shared) -> io::Result<Outcome> {
    let options = DeviceOptions {
        qos: storm.options.qos,
        session_expiry_s: storm.options.session_expiry_s,
    };
    let total = storm.options.clients;
    let mut crowd = Crowd::new(&storm.common, options, total, (shard, shared))?;
    let ramp = storm.common.ramp(shard, crowd.clients());
    crowd.connect(ramp).await?;
    crowd
        .meet(Gate::Connected as usize, storm.options.hold_ns)
        .await?;
    let mut outcome = Outcome {
        connected: crowd.up().count() as u64,
        first: crowd.take_stats(),
        ..Outcome::default()
    };
    // Who ends the run before its storm gets none.
    if !shared.is_stopping() {
        cut_off(storm, &mut crowd).await?;
        outcome.began_ns = crowd.fleet.now_ns;
        come_back(storm, shard, &mut crowd).await?;
        crowd.meet(Gate::Back as usize, 0).await?;
        outcome.back = crowd.up().count() as u64;
        greet_all(storm, &mut crowd, shared).await?;
        crowd.meet(Gate::Received as usize, 0).await?;
        outcome.again = crowd.take_stats();
    }
    crowd.devices.tally.lost = crowd.devices.missing(crowd.up());
    outcome.busy = crowd.busy();
    outcome.sessions_left = leave(storm, shard, &mut crowd, shared).await?;
    outcome.sessions_left = outcome.sessions_left.min(outcome.connected);
    outcome.tally = crowd.devices.tally;
    outcome.counts = crowd.devices.counts;
    outcome.latency = crowd.devices.latency.into_all();
    Ok(outcome)
}

/// Closes every device's connection without a word, and publishes what they miss.
async fn cut_off(storm: &Storm, crowd: &mut Crowd<'_>) -> io::Result<()> {
    crowd.cut_off().await?;
    crowd.meet(Gate::Dropped as usize, 0).await?;
    for _ in 0..storm.missed() {
        crowd.enqueue(0..crowd.devices.count());
    }
    crowd.publish(storm.options.deadline_ns).await?;
    crowd
        .meet(Gate::Missed as usize, storm.options.away_ns)
        .await
}

async fn come_back(storm: &Storm, shard: usize, crowd: &mut Crowd<'_>) -> io::Result<()> {
    crowd.devices.intent = Intent::Resume;
    let retry = Retry {
        after_ns: storm.options.retry_ns,
        until_ns: crowd.fleet.now_ns + storm.options.deadline_ns,
    };
    let ramp = storm
        .common
        .ramp(shard, 0..crowd.devices.count())
        .with_retry(retry);
    crowd.connect(ramp).await
}

/// One message to everybody who is back: it shows that the subscriptions are.
async fn greet_all(storm: &Storm, crowd: &mut Crowd<'_>, shared: &Shared) -> io::Result<()> {
    if !shared.is_stopping() {
        let back: Vec<u32> = crowd.up().collect();
        crowd.enqueue(back.into_iter());
    }
    crowd.publish(storm.options.drain_ns).await?;
    crowd.receive(storm.options.drain_ns).await
}

/// Leaves no sessions behind: v5 ends them with DISCONNECT, 3.x by connecting once more. A run that
/// is ended early does not take the time for it: gives the number of sessions that may be left.
async fn leave(
    storm: &Storm,
    shard: usize,
    crowd: &mut Crowd<'_>,
    shared: &Shared,
) -> io::Result<u64> {
    if storm.options.session_expiry_s.is_none() {
        crowd.leave_all(false).await?;
        return Ok(0);
    }
    let is_v5 = storm.common.version == Version::V5;
    let all = u64::from(crowd.devices.count());
    let left = match is_v5 {
        true => all - crowd.up().count() as u64,
        false => all,
    };
    crowd.leave_all(true).await?;
    if shared.is_stopping() {
        return Ok(left);
    }
    if !is_v5 {
        crowd.devices.intent = Intent::End;
        let ramp = storm.common.ramp(shard, 0..crowd.devices.count());
        crowd.connect(ramp).await?;
        crowd.leave_all(false).await?;
    }
    Ok(0)
}
