//! When a threshold is crossed, and how it is written.

use carob_core::eviction::{Amount, Signal, ThresholdError, Thresholds};

use crate::given::{at, hard, left, look, manager, memory_left, texts};

#[test]
fn a_kubelets_defaults() {
    let thresholds = Thresholds::kubelet().parse().expect("thresholds");
    let shown: Vec<_> = thresholds.iter().map(ToString::to_string).collect();
    assert_eq!(
        shown,
        [
            "memory.available<100Mi",
            "nodefs.available<10%",
            "nodefs.inodesFree<5%",
            "imagefs.available<15%",
            "imagefs.inodesFree<5%",
        ]
    );
    assert!(
        thresholds
            .iter()
            .all(|t| t.is_hard() && t.min_reclaim.is_none())
    );
}

#[test]
fn soft_thresholds_have_a_grace_period_and_all_a_minimum_reclaim() {
    let thresholds = Thresholds {
        hard: texts(&["memory.available<100Mi"]),
        soft: texts(&["memory.available<1.5Gi", "pid.available<12.5%"]),
        soft_grace_period: texts(&["memory.available=1m30s", "pid.available=5s"]),
        minimum_reclaim: texts(&["memory.available=0Mi"]),
    };
    let parsed = thresholds.parse().expect("thresholds");
    let graces: Vec<_> = parsed.iter().map(|t| t.grace_ms).collect();
    assert_eq!(graces, [0, 90_000, 5_000]);
    assert_eq!(parsed[2].value, Amount::Percent(12.5));
    assert!(parsed[1].min_reclaim.is_some() && parsed[2].min_reclaim.is_none());
}

#[test]
fn zero_and_a_hundred_percent_are_no_threshold() {
    let parsed = hard(&["nodefs.available<0%", "pid.available<100%"]).parse();
    assert_eq!(parsed, Ok(Vec::new()));
}

#[test]
fn bad_statements_are_named() {
    let error = |thresholds: &Thresholds| match thresholds.parse() {
        Err(error) => error.to_string(),
        Ok(parsed) => panic!("{parsed:?}"),
    };
    for (statement, says) in [
        ("memory.free<1Gi", "\"memory.free\" is no eviction signal"),
        ("memory.available", "is not of the form SIGNAL<AMOUNT"),
        ("memory.available=1Gi", "is not of the form SIGNAL<AMOUNT"),
        ("memory.available>1Gi", "write < before it"),
        ("memory.pressure<10%", "write > before it"),
        ("memory.pressure>10", "must be a percentage of time"),
        ("memory.available<1gi", "is not a quantity"),
        ("memory.available<-1Gi", "must not be negative"),
        ("memory.available<0", "must be more than nothing"),
        ("nodefs.available<101%", "between 0% and 100%"),
        ("nodefs.available<NaN%", "between 0% and 100%"),
        ("nodefs.available<%", "between 0% and 100%"),
        ("", "is not of the form"),
    ] {
        let message = error(&hard(&[statement]));
        assert!(message.contains(says), "{statement}: {message}");
    }
    assert!(error(&hard(&["pid.available<1", "pid.available<2"])).contains("two thresholds"));
    let soft = |grace: &[&str]| Thresholds {
        soft: texts(&["pid.available<10"]),
        soft_grace_period: texts(grace),
        ..Thresholds::default()
    };
    assert_eq!(
        soft(&[]).parse(),
        Err(ThresholdError::NoGrace(Signal::PidAvailable))
    );
    assert!(error(&soft(&["pid.available=0s"])).contains("above zero"));
    assert!(
        error(&soft(&["pid.available=1s", "memory.available=1s"])).contains("no soft threshold")
    );
    let reclaim = Thresholds {
        minimum_reclaim: texts(&["pid.available=5"]),
        ..hard(&["memory.available<1Gi"])
    };
    assert!(error(&reclaim).contains("a minimum reclaim is given for pid.available"));
}

#[test]
fn a_hard_threshold_acts_at_once_and_below_its_limit_only() {
    for (available, acts) in [(100, false), (99, true), (0, true), (-1, true)] {
        let mut manager = manager(&hard(&["memory.available<100Mi"]));
        let outlook = look(&mut manager, &memory_left(available), 0);
        assert_eq!(outlook.starved().is_some(), acts, "{available}");
    }
}

#[test]
fn a_percentage_is_of_the_capacity() {
    for (available, acts) in [(100, false), (99, true)] {
        let mut manager = manager(&hard(&["nodefs.inodesFree<10%"]));
        let seen = left(Signal::NodefsInodesFree, available);
        assert_eq!(look(&mut manager, &seen, 0).starved().is_some(), acts);
    }
}

#[test]
fn pressure_is_bad_above_its_limit() {
    for (stalled, acts) in [(100, false), (101, true)] {
        // Of a thousand hundredths.
        let mut manager = manager(&hard(&["memory.pressure>10%"]));
        let seen = left(Signal::MemoryPressure, stalled);
        assert_eq!(look(&mut manager, &seen, 0).starved().is_some(), acts);
    }
}

#[test]
fn what_was_not_seen_crosses_nothing() {
    let mut manager = manager(&Thresholds::kubelet());
    let outlook = look(&mut manager, &Default::default(), 0);
    assert!(outlook.met.is_empty() && outlook.conditions.is_empty());
}

#[test]
fn a_soft_threshold_acts_after_its_grace_period_without_a_break() {
    let thresholds = Thresholds {
        soft: texts(&["memory.available<100Mi"]),
        soft_grace_period: texts(&["memory.available=13s"]),
        ..Thresholds::default()
    };
    let mut manager = manager(&thresholds);
    let first = look(&mut manager, &memory_left(50), 0);
    assert!(first.starved().is_none());
    // The condition holds from the beginning.
    assert_eq!(first.conditions.len(), 1);
    assert_eq!(first.look_again, at(10));
    let second = look(&mut manager, &memory_left(50), 10);
    assert_eq!(second.look_again, at(13), "when the grace period ends");
    assert!(second.starved().is_none());
    assert!(look(&mut manager, &memory_left(50), 13).starved().is_some());
    assert!(
        look(&mut manager, &memory_left(100), 14)
            .starved()
            .is_none()
    );
    assert!(look(&mut manager, &memory_left(50), 15).starved().is_none());
    assert!(look(&mut manager, &memory_left(50), 28).starved().is_some());
}

#[test]
fn the_minimum_reclaim_holds_only_once_it_has_acted() {
    let thresholds = Thresholds {
        minimum_reclaim: texts(&["memory.available=50Mi"]),
        ..hard(&["memory.available<100Mi"])
    };
    let mut manager = manager(&thresholds);
    assert!(look(&mut manager, &memory_left(120), 0).starved().is_none());
    assert!(look(&mut manager, &memory_left(90), 1).starved().is_some());
    assert!(look(&mut manager, &memory_left(120), 2).starved().is_some());
    assert!(!manager.reclaimed(&memory_left(149)));
    assert!(manager.reclaimed(&memory_left(150)));
    assert!(look(&mut manager, &memory_left(150), 3).starved().is_none());
    assert!(look(&mut manager, &memory_left(120), 4).starved().is_none());
}

#[test]
fn memory_is_answered_first() {
    let mut manager = manager(&hard(&[
        "cpu.pressure>1%",
        "nodefs.available<10%",
        "memory.available<10%",
    ]));
    let mut seen = left(Signal::NodefsAvailable, 1);
    seen.extend(left(Signal::CpuPressure, 999));
    let outlook = look(&mut manager, &seen, 0);
    let signal = |outlook: &carob_core::eviction::Outlook| {
        outlook.starved().map(|(met, _)| met.threshold.signal)
    };
    assert_eq!(signal(&outlook), Some(Signal::NodefsAvailable));
    seen.extend(memory_left(1));
    assert_eq!(
        signal(&look(&mut manager, &seen, 1)),
        Some(Signal::MemoryAvailable)
    );
    // What no eviction helps against is only told.
    let outlook = look(&mut manager, &left(Signal::CpuPressure, 999), 2);
    assert!(outlook.starved().is_none() && outlook.met.len() == 1);
}
