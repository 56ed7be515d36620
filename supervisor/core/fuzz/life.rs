//! Lives that the fuzzer makes up: the simulation of `tests/simulation`, with its choices read from the input.

#![no_main]

#[path = "../tests/kit/mod.rs"]
mod kit;

#[path = "../tests/simulation/calls.rs"]
mod calls;
#[path = "../tests/simulation/check/mod.rs"]
mod check;
#[allow(dead_code, reason = "seeds are for the test")]
#[path = "../tests/simulation/choices.rs"]
mod choices;
#[path = "../tests/simulation/life.rs"]
mod life;
#[path = "../tests/simulation/scenario.rs"]
mod scenario;
#[path = "../tests/simulation/world.rs"]
mod world;

use choices::{Choices, shrink};
use libfuzzer_sys::fuzz_target;
use life::live;

fuzz_target!(|input: &[u8]| {
    let (pairs, _) = input.as_chunks::<2>();
    let list: Vec<u32> = pairs
        .iter()
        .map(|p| u16::from_le_bytes(*p).into())
        .collect();
    if live(&mut Choices::from_list(list.clone()), false)
        .broken
        .is_none()
    {
        return;
    }
    let small = shrink(list, 3_000, |list| {
        let mut choices = Choices::from_list(list.to_vec());
        live(&mut choices, false).broken.is_some()
    });
    let report = live(&mut Choices::from_list(small), true);
    let trace = report.trace.join("\n");
    panic!(
        "{:?}\nThe smallest life that fails:\n{trace}",
        report.broken
    );
});
