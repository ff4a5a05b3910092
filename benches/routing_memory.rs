//! Resident bytes a subscription and a retained message, and what is left when all are gone.
//!
//! `cargo bench --bench routing_memory`. Every shape runs in a process of its own, with the
//! allocator of the product; the session's own list of filter ids counts too.

use std::process::{Command, ExitCode};
use std::sync::Arc;

use ringmq::routing::{ClientKey, Directory, FilterId, QoS, Retained, Router, Subscription};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const COUNT: u32 = 1_000_000;
/// What is stored, and the most bytes that one of it may take.
const SHAPES: [(&str, usize); 8] = [
    ("exact", 200),
    ("plus", 200),
    ("multi", 200),
    ("exact+directory", 200),
    ("plus+directory", 200),
    ("multi+directory", 200),
    ("crowd", 75),
    ("retained", 140),
];

fn main() -> ExitCode {
    let shape = std::env::args()
        .skip(1)
        .find(|argument| SHAPES.iter().any(|(shape, _)| shape == argument));
    if let Some(shape) = shape {
        measure(&shape);
        return ExitCode::SUCCESS;
    }
    let this = std::env::current_exe().expect("a running program has a path");
    println!("{COUNT} entries, resident bytes each (the rest: of all that is resident, after)");
    let mut is_within = true;
    for (shape, budget) in SHAPES {
        let output = Command::new(&this).arg(shape).output();
        let output = output.expect("this program runs");
        assert!(output.status.success(), "{shape}");
        let text = String::from_utf8_lossy(&output.stdout);
        let each = text
            .split_whitespace()
            .nth(1)
            .and_then(|each| each.parse().ok());
        let each: usize = each.expect("the second word is the number of bytes");
        let mark = if each > budget { "  OVER" } else { "" };
        is_within &= each <= budget;
        println!("{}   budget {budget:4}{mark}", text.trim_end());
    }
    match is_within {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
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
