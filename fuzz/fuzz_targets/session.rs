//! Session operations: the input decides what the clients, the network, the clock and the shards of
//! the simulation do, one choice a byte. Its model watches every packet; see `tests/sim`.
#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../tests/sim/main.rs"]
#[allow(dead_code, unused_imports)]
mod sim;

fuzz_target!(|tape: &[u8]| {
    sim::play(tape);
});
