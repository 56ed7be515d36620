//! Simulated lives of random Pods: fake clock, runtime and supervisor crashes; invariants after every step.
//!
//! `cargo test -p carob-core --test simulation` lives 100,000 of them. `LIVES=1000000` lives more,
//! `SEED=17` lives one again, makes it smaller if it fails, and prints what happened. A fuzzer makes lives up in
//! `supervisor/core/fuzz`.
//!
//! What befalls them (`scenario`, `world`, `calls`): deletions with any grace, at any time and several;
//! calls that are slow, fail, or leave half of what they make; exits, also before the start is known; OOM;
//! pause programs and shims that die; probes that flip, fail or can't be asked; hooks that are slow or fail; news that comes late, twice, or after its container is gone; the
//! wall clock set; the supervisor killed at any time and on either side of writing a decision down.
//!
//! What must hold (`check`), and which deliberate mistakes in the engine broke it when tried by hand:
//!
//! | invariant | mistake that it caught |
//! |---|---|
//! | one live sandbox | a failed sandbox is not removed before the next |
//! | one live instance of a container, each with its own number | numbers of unstarted instances used again |
//! | one action in flight per target | `act` ignores what is in flight |
//! | init containers first, in order, in each sandbox | a failed one counts as done; one of the last sandbox does |
//! | starts in the manifest's order | `turn` ignored |
//! | restart policy | `OnFailure` restarts after 0; `Never` after 1; a new sandbox with `Never` |
//! | crash back-off | not awaited; not doubled; reset after 5 minutes |
//! | images, creation, sandboxes not tried again too soon | each delay set to 0 |
//! | no signal without a reason | one ended container ends the Pod |
//! | no SIGKILL before the grace ends and 2 s after the stop signal | grace ignored; 2 s dropped; always forced |
//! | SIGKILL no later than asked for | a longer grace wins |
//! | sidecars stopped last, in reverse order | all at once |
//! | nothing built in a deleted or terminal Pod | deletion unheard while the sandbox is replaced |
//! | volumes stay as long as the Pod, and no longer | removed with each sandbox; left by a Pod that is deleted between two |
//! | removal from the inside out | sandbox removed first; unstarted containers forgotten; stale exits folded |
//! | a terminal phase is final | phase found anew each time |
//! | restart counts never fall; one state each; ready means running | sidecars left out of `Ready` |
//! | sleeps no longer than any back-off, does not spin | |
//! | started and ready are what probes and hooks say | readiness forgotten; a container started before its postStart hook is done; counts lost with an instance |
//! | each probe in its time, one in flight | initial delay dropped; others before the startup probe has succeeded; a second one in flight |
//! | the next init container after a sidecar has started | as soon as it runs |
//! | stop signal after the preStop hook, SIGKILL after the probe's own grace | not waited for; grace taken for 0 |
//! | a probe restarts by the policy, its back-off counts from the end before | `OnFailure` does not; no back-off at all |
//! | a rule about the exit code wins over the policy | ignored |
//! | a step that changes the record asks for it to be written | it does not |
//! | a step that only probes decides what a whole step would | its time to end forgotten |
//! | comes to rest with all that should run, or done with nothing left | no wake-up for a back-off; actions in flight survive a crash; failed signals or those of before a crash not sent again; deadline ignored |
//! | what is written is what is read | |

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
