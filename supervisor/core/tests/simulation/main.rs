//! Simulated lives of random Pods: fake clock, runtime and supervisor crashes; invariants after every step.
//!
//! `cargo test -p carob-core --test simulation` lives 100,000 of them. `LIVES=1000000` lives more,
//! `SEED=17` lives one again, makes it smaller if it fails, and prints what happened.

#[path = "../kit/mod.rs"]
mod kit;

mod calls;
mod check;
mod choices;
mod life;
mod scenario;
mod world;

use choices::{Choices, shrink};
use life::live;

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().expect("a number"))
}

/// What the lives have come across, to see that they are no dull ones.
#[derive(Debug, Default)]
struct Tally {
    lives: u64,
    steps: u64,
    crashes: u64,
    done: u64,
}

#[test]
fn every_life_keeps_the_invariants() {
    if let Some(seed) = number("SEED") {
        return explain(seed);
    }
    let lives = number("LIVES").unwrap_or(100_000);
    let threads = std::thread::available_parallelism().map_or(1, |n| n.get() as u64);
    let next = std::sync::atomic::AtomicU64::new(0);
    let broken = std::sync::atomic::AtomicU64::new(u64::MAX);
    let total = std::sync::Mutex::new(Tally::default());
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                use std::sync::atomic::Ordering::Relaxed;
                let mut tally = Tally::default();
                loop {
                    let seed = next.fetch_add(1, Relaxed);
                    if seed >= lives || broken.load(Relaxed) < u64::MAX {
                        break;
                    }
                    let report = live(&mut Choices::from_seed(seed), false);
                    if report.broken.is_some() {
                        broken.fetch_min(seed, Relaxed);
                    }
                    tally.lives += 1;
                    tally.steps += report.steps;
                    tally.crashes += report.crashes;
                    tally.done += u64::from(report.done);
                }
                let mut total = total.lock().expect("no panic");
                total.lives += tally.lives;
                total.steps += tally.steps;
                total.crashes += tally.crashes;
                total.done += tally.done;
            });
        }
    });
    let seed = broken.into_inner();
    if seed < u64::MAX {
        explain(seed);
        panic!("seed {seed} broke an invariant and then didn't: it is not deterministic");
    }
    let total = total.into_inner().expect("no panic");
    println!("{total:?}");
    // Lives that all end at once, or never, would prove nothing.
    assert!(total.steps > 10 * total.lives);
    assert!(total.crashes > total.lives / 10);
    assert!(total.done > total.lives / 5 && total.done < total.lives * 9 / 10);
}

/// Lives a seed again; if it fails, finds the smallest life that fails alike and tells it.
fn explain(seed: u64) {
    let mut choices = Choices::from_seed(seed);
    let report = live(&mut choices, true);
    let Some(broken) = report.broken else {
        println!("{}", report.trace.join("\n"));
        return;
    };
    let alike = |text: &str| text.replace(|c: char| c.is_ascii_digit(), "");
    let kind = alike(&broken);
    let small = shrink(choices.made, 3_000, |list| {
        let mut choices = Choices::from_list(list.to_vec());
        let report = live(&mut choices, false);
        report.broken.is_some_and(|b| alike(&b) == kind)
    });
    let report = live(&mut Choices::from_list(small), true);
    let trace = report.trace.join("\n");
    panic!("SEED={seed} {broken}\nThe smallest life that fails alike:\n{trace}");
}
