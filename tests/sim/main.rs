//! The pure core simulated from a seed: shards with bounded mailboxes, clients of all versions,
//! pipes that deliver bytes in any pieces or break at any byte, slow readers, full mailboxes,
//! hand-overs, take-overs, wills, time jumps. A model of what MQTT promises watches every packet.
//!
//! By default 100,000 steps over fixed seeds. Millions, from a seed of one's own:
//!
//! ```text
//! SIM_STEPS=5000000 SIM_SEED=1 cargo test --release --test sim -- --nocapture
//! ```
//!
//! A failure says with which seed it comes again; `SIM_ONLY=seed` runs one world alone,
//! `SIM_TAPE=file` the one of an input that the fuzzer found, and `SIM_TRACE=1` tells everything
//! that happens in it.

mod client;
mod env;
mod mailboxes;
mod model;
mod node;
mod plan;
mod probe;
mod rng;
mod rogue;
mod store;
mod wire;
mod world;

use rng::Rng;
use world::{Summary, World};

const STEPS_DEFAULT: u64 = 100_000;
const SEED_DEFAULT: u64 = 1;

/// Says how to see a failure again.
struct Replay(u64);

impl Drop for Replay {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let seed = self.0;
            eprintln!("again: SIM_ONLY={seed} SIM_TRACE=1 cargo test --test sim worlds");
        }
    }
}

fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(
        text.parse()
            .unwrap_or_else(|_| panic!("{name} is a number, not {text:?}")),
    )
}

/// One world. Its length follows from the seed too, so that it is the same in any campaign.
fn simulate(seed: u64) -> Summary {
    let replay = Replay(seed);
    let mut rng = Rng::seeded(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let steps = rng.range(500, 7_000);
    let summary = World::new(rng, steps, number("SIM_TRACE").is_some()).run();
    std::mem::forget(replay);
    summary
}

/// One world in which `tape` decides, as long as it lasts: for the fuzzer.
pub fn play(tape: &[u8]) -> Summary {
    World::new(Rng::taped(tape), u64::MAX, number("SIM_TRACE").is_some()).run()
}

#[test]
fn worlds_keep_their_promises() {
    if let Some(seed) = number("SIM_ONLY") {
        println!("{:?}", simulate(seed));
        return;
    }
    if let Ok(tape) = std::env::var("SIM_TAPE") {
        println!(
            "{:?}",
            play(&std::fs::read(tape).expect("a file that the fuzzer left"))
        );
        return;
    }
    let steps_min = number("SIM_STEPS").unwrap_or(STEPS_DEFAULT);
    let mut seed = number("SIM_SEED").unwrap_or(SEED_DEFAULT);
    let mut total = Summary::default();
    while total.steps < steps_min {
        let one = simulate(seed);
        total.digest = total.digest.rotate_left(1) ^ one.digest;
        total.steps += one.steps;
        total.messages += one.messages;
        total.deliveries += one.deliveries;
        total.promises += one.promises;
        total.states += one.states;
        total.links += one.links;
        total.overflows += one.overflows;
        total.kept += one.kept;
        seed += 1;
    }
    println!("up to seed {seed}: {total:?}");
    // A world in which nothing happens keeps every promise.
    assert!(
        total.messages > steps_min / 50 && total.promises > total.messages / 2,
        "{total:?}"
    );
    assert!(
        total.deliveries > total.messages
            && total.overflows > 100
            && total.kept > total.messages / 10,
        "{total:?}"
    );
}

#[test]
fn a_seed_is_a_world() {
    for seed in 1..4 {
        assert_eq!(simulate(seed), simulate(seed), "seed {seed}");
    }
}

#[test]
fn a_tape_is_a_world() {
    let mut rng = Rng::seeded(7);
    let tape: Vec<u8> = (0..20_000).map(|_| rng.below(256) as u8).collect();
    let one = play(&tape);
    assert_eq!(one, play(&tape));
    assert_ne!(one.digest, play(&tape[1..]).digest);
    // The shortest are worlds too.
    for len in 0..60 {
        play(&tape[..len]);
    }
}
