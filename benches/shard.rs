//! Times of a whole shard, bytes in and bytes out, and of a mailbox: `cargo bench --bench shard`.
//!
//! What each may cost is stated in instructions, which hold on any machine: `benches/instructions`.

#[allow(dead_code, reason = "what is only counted is not timed")]
#[path = "instructions/codec.rs"]
mod codec;
#[allow(dead_code, reason = "what is only counted is not timed")]
#[path = "instructions/shard.rs"]
mod shard;

use codec::packet;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use ringmq::codec::QoS;
use ringmq::runtime::mesh::{self, Outgoing};
use shard::Bench;
use std::hint::black_box;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const TOPIC: &str = "fleet/000123/telemetry";
const PAYLOAD: [u8; 64] = [b'x'; 64];

criterion_group!(benches, session, mailbox);
criterion_main!(benches);

/// A PUBLISH from one connection to so many others.
fn session(c: &mut Criterion) {
    let mut group = c.benchmark_group("publish");
    for subscribers in [1, 100, 1_000] {
        let mut bench = Bench::new(subscribers, QoS::AtMostOnce);
        let packet = packet(QoS::AtMostOnce, 0);
        group.throughput(Throughput::Elements(subscribers.into()));
        group.bench_function(format!("qos0/to_{subscribers}"), |b| {
            b.iter(|| bench.send(0, black_box(&packet)));
        });
    }
    let mut bench = Bench::new(1, QoS::AtLeastOnce);
    let mut round = 0;
    group.throughput(Throughput::Elements(1));
    group.bench_function("qos1/to_1", |b| {
        b.iter(|| {
            round += 1;
            bench.acknowledged(round)
        });
    });
    group.finish();
}

fn mailbox(c: &mut Criterion) {
    let (mailboxes, addresses) = mesh::mailboxes::<u64>(1, 1024).expect("a bell");
    let mut outgoing = Outgoing::new(addresses);
    c.bench_function("mailbox/post_and_take", |b| {
        b.iter(|| {
            outgoing.post(0, black_box(7));
            mailboxes[0].take()
        });
    });
}
