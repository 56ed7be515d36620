//! Which Pods begin under pressure.

use carob_core::eviction::{NodeCondition, admit};

use crate::given::pod;

#[test]
fn memory_pressure_keeps_away_those_that_ask_for_nothing() {
    let under = [NodeCondition::MemoryPressure];
    assert_eq!(admit(&pod("burstable", 0, "1Mi"), &under), Ok(()));
    let rejection = admit(&pod("best-effort", 0, "0"), &under).expect_err("a rejection");
    assert_eq!(
        (rejection.reason, &*rejection.message),
        ("Evicted", "The node had condition: [MemoryPressure]. ")
    );
}

#[test]
fn disk_and_pid_pressure_keep_all_away() {
    for (under, message) in [
        (
            vec![NodeCondition::DiskPressure],
            "The node had condition: [DiskPressure]. ",
        ),
        (
            vec![NodeCondition::PidPressure],
            "The node had condition: [PIDPressure]. ",
        ),
        (
            vec![NodeCondition::MemoryPressure, NodeCondition::DiskPressure],
            "The node had condition: [MemoryPressure DiskPressure]. ",
        ),
    ] {
        let rejection = admit(&pod("p", 0, "1Mi"), &under).expect_err("a rejection");
        assert_eq!(rejection.message, message);
    }
}

#[test]
fn critical_pods_always_begin() {
    let under = [NodeCondition::MemoryPressure, NodeCondition::PidPressure];
    assert_eq!(admit(&pod("p", 2_000_000_000, "0"), &under), Ok(()));
    assert!(admit(&pod("p", 1_999_999_999, "0"), &under).is_err());
}

#[test]
fn without_pressure_all_begin() {
    assert_eq!(admit(&pod("p", 0, "0"), &[]), Ok(()));
}
