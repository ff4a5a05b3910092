//! What connections that do nothing take: in the broker, in the load tester and in the kernel.

use crate::report::{Report, Section, Value};
use crate::run::{Sample, Samples};
use crate::scenario::summary;

/// What the load tester and the kernel grew by. The kernel's part is what this host's memory in
/// use grew by without the two processes', and is told only if the broker's is known.
pub fn own(before: &Sample, held: &Sample, connections: u64, report: &mut Report) {
    let growth = |of: fn(&Sample) -> Option<u64>| Some(of(held)? as i64 - of(before)? as i64);
    let section = report.section("memory for all connections");
    let Some(own) = growth(|sample| sample.own_resident_bytes) else {
        return;
    };
    each(section, OWN, own, connections);
    let broker = growth(|sample| Some(sample.broker?.resident_bytes));
    let host = growth(|sample| sample.host_used_bytes);
    if let (Some(broker), Some(host)) = (broker, host) {
        each(section, KERNEL, host - own - broker, connections);
    }
}

/// Keys and labels: of all, and of one connection.
type Names = [(&'static str, &'static str); 2];

const OWN: Names = [
    ("own_growth_bytes", "load tester"),
    ("own_bytes_per_connection", "  a connection"),
];
const KERNEL: Names = [
    ("kernel_growth_bytes", "kernel, both ends"),
    ("kernel_bytes_per_connection", "  a connection"),
];

fn each(section: &mut Section, names: Names, bytes: i64, connections: u64) {
    let [(key, label), (key_each, label_each)] = names;
    section.add(key, label, Value::Bytes(bytes)).add(
        key_each,
        label_each,
        Value::Bytes(bytes / connections.max(1) as i64),
    );
}

/// The broker's memory before, with all connections, and after, and what connecting took.
pub fn broker(samples: &Samples, connections: u64, report: &mut Report) {
    let of = |sample: Option<&Sample>| sample?.broker;
    let before = of(samples.before.as_ref());
    let held = of(samples.mark(1));
    let (Some(before), Some(held)) = (before, held) else {
        return;
    };
    let connections = connections.max(1);
    let growth = held.resident_bytes as i64 - before.resident_bytes as i64;
    let section = report.section("broker");
    section
        .add(
            "resident_before_bytes",
            "memory before",
            summary::memory(before.resident_bytes),
        )
        .add(
            "resident_held_bytes",
            "memory with all",
            summary::memory(held.resident_bytes),
        )
        .add(
            "bytes_per_connection",
            "a connection",
            Value::Bytes(growth / connections as i64),
        );
    if let Some(back) = of(samples.marks.get(3)) {
        section.add(
            "resident_back_bytes",
            "memory with all again",
            summary::memory(back.resident_bytes),
        );
    }
    // If it was ended early it was not given the time to let go of what it had.
    let after = samples.after.as_ref().filter(|_| !samples.was_interrupted);
    if let Some(after) = of(after) {
        section.add(
            "resident_after_bytes",
            "memory after",
            summary::memory(after.resident_bytes),
        );
    }
    if let Some(connected) = of(samples.marks.first()) {
        let each = connected.cpu_ns.saturating_sub(before.cpu_ns) as f64 / connections as f64;
        section.add(
            "broker_cpu_us_per_connection",
            "CPU to connect one",
            Value::Cost(each),
        );
    }
}
