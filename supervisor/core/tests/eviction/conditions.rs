//! The machine's conditions and how long they last.

use carob_core::eviction::{NodeCondition, Signal, Thresholds};

use crate::given::{at, hard, left, look, manager, memory_left};

#[test]
fn each_signal_has_its_condition() {
    for (signal, condition) in [
        (Signal::MemoryAvailable, "MemoryPressure"),
        (Signal::NodefsAvailable, "DiskPressure"),
        (Signal::NodefsInodesFree, "DiskPressure"),
        (Signal::ImagefsAvailable, "DiskPressure"),
        (Signal::ImagefsInodesFree, "DiskPressure"),
        (Signal::PidAvailable, "PIDPressure"),
    ] {
        let mut manager = manager(&hard(&[&format!("{signal}<10%")]));
        let outlook = look(&mut manager, &left(signal, 1), 0);
        let names: Vec<_> = outlook.conditions.iter().map(|c| c.as_str()).collect();
        assert_eq!(names, [condition], "{signal}");
    }
}

#[test]
fn a_condition_lingers_for_five_minutes_after_the_last_crossing() {
    let mut manager = manager(&hard(&["memory.available<100Mi"]));
    look(&mut manager, &memory_left(10), 0);
    look(&mut manager, &memory_left(10), 20);
    for second in [30, 319] {
        let outlook = look(&mut manager, &memory_left(500), second);
        assert_eq!(
            outlook.conditions,
            [NodeCondition::MemoryPressure],
            "{second}"
        );
        assert!(outlook.starved().is_none());
    }
    let outlook = look(&mut manager, &memory_left(500), 315);
    assert_eq!(outlook.look_again, at(320), "when it is over");
    assert!(
        look(&mut manager, &memory_left(500), 320)
            .conditions
            .is_empty()
    );
}

#[test]
fn a_quiet_machine_is_looked_at_every_ten_seconds() {
    let mut manager = manager(&Thresholds::kubelet());
    assert_eq!(look(&mut manager, &memory_left(500), 7).look_again, at(17));
}
