//! Resident bytes a subscription and a retained message, and what is left when all are gone.
//!
//! `cargo bench --bench routing_memory`. Every shape runs in a process of its own, with the
//! allocator of the product; the session's own list of filter ids counts too.

use std::process::Command;
use std::sync::Arc;

use ringmq::routing::{ClientKey, Directory, FilterId, QoS, Retained, Router, Subscription};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const COUNT: u32 = 1_000_000;
const SHAPES: [&str; 8] = [
    "exact",
    "plus",
    "multi",
    "exact+directory",
    "plus+directory",
    "multi+directory",
    "crowd",
    "retained",
];

fn main() {
    let shape = std::env::args()
        .skip(1)
        .find(|argument| SHAPES.contains(&argument.as_str()));
    if let Some(shape) = shape {
        return measure(&shape);
    }
    let this = std::env::current_exe().expect("a running program has a path");
    println!("{COUNT} entries, resident bytes each (the rest: of all that is resident, after)");
    for shape in SHAPES {
        let status = Command::new(&this)
            .arg(shape)
            .status()
            .expect("this program runs");
        assert!(status.success(), "{shape}");
    }
}

fn measure(shape: &str) {
    let before = resident_bytes();
    if shape == "retained" {
        let mut retained = Retained::new(42, |_: &u64| 8);
        for device in 0..COUNT {
            retained.insert(&filter("exact", device), u64::from(device));
        }
        report(shape, before, retained.bytes());
        for device in 0..COUNT {
            retained.remove(&filter("exact", device));
        }
        return report_rest(before);
    }
    let directory = shape
        .contains("directory")
        .then(|| Arc::new(Directory::new(42)));
    let mut router = Router::new(0, directory, 42);
    let mut of_sessions: Vec<FilterId> = Vec::with_capacity(COUNT as usize);
    for device in 0..COUNT {
        let subscription = Subscription {
            identifier: None,
            qos: QoS::AtLeastOnce,
            no_local: false,
            retain_as_published: false,
        };
        let filter = filter(shape, device);
        of_sessions.push(
            router
                .subscribe(ClientKey(device), &filter, subscription)
                .id,
        );
    }
    report(shape, before, router.stats().bytes);
    for (client, id) in (0..).map(ClientKey).zip(of_sessions) {
        assert!(router.remove(client, id));
    }
    report_rest(before);
}

/// Filters of 27 to 32 bytes, as fleets have them.
fn filter(shape: &str, device: u32) -> String {
    match shape.split('+').next() {
        Some("exact") => format!("fleet/site{}/dev{device}/command", device % 100),
        Some("plus") => format!("fleet/+/dev{device}/command/set"),
        Some("multi") => format!("fleet/site{}/dev{device}/cmd/#", device % 100),
        _ => "fleet/all".to_owned(),
    }
}

fn report(shape: &str, before: usize, own_estimate: usize) {
    let each = (resident_bytes() - before) / COUNT as usize;
    print!(
        "{shape:16} {each:4}   (by its own count {:4})",
        own_estimate / COUNT as usize
    );
}

fn report_rest(before: usize) {
    // The allocator gives pages back a little later, when it is used.
    std::thread::sleep(std::time::Duration::from_millis(200));
    for size in 0..10_000 {
        std::hint::black_box(vec![0_u8; size]);
    }
    let rest = resident_bytes().saturating_sub(before);
    println!("   rest {:6} KiB", rest / 1024);
}

fn resident_bytes() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").expect("Linux has it");
    let pages = statm
        .split(' ')
        .nth(1)
        .and_then(|pages| pages.parse::<usize>().ok());
    pages.expect("the second number is the resident set") * 4096
}
