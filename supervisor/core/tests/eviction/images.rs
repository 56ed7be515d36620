//! Which images go, and when.

use carob_core::eviction::{FileSystem, ImageGc, ImagePolicy, PresentImage};

use crate::given::at;

fn image(id: &str, size: u64) -> PresentImage {
    PresentImage {
        id: id.to_owned(),
        size,
        used: false,
        pinned: false,
    }
}

fn used(id: &str, size: u64) -> PresentImage {
    PresentImage {
        used: true,
        ..image(id, size)
    }
}

/// So many of 1000 bytes are left.
fn disk(available: u64) -> FileSystem {
    FileSystem {
        capacity: 1000,
        available,
    }
}

const POLICY: ImagePolicy = ImagePolicy {
    high_percent: 85,
    low_percent: 80,
    min_age_ms: 120_000,
    max_age_ms: None,
};

#[test]
fn nothing_goes_below_the_high_threshold() {
    let mut gc = ImageGc::default();
    let images = [image("a", 500)];
    gc.look(&images, at(0));
    assert!(
        gc.periodic(&POLICY, disk(160), &images, at(0))
            .images
            .is_empty()
    );
    assert_eq!(
        gc.periodic(&POLICY, disk(150), &images, at(0)).images,
        ["a"]
    );
}

#[test]
fn down_to_the_low_threshold_and_no_further() {
    let mut gc = ImageGc::default();
    let images = [image("a", 30), image("b", 30), image("c", 30)];
    gc.look(&images, at(0));
    let plan = gc.periodic(&POLICY, disk(150), &images, at(0));
    assert_eq!((plan.wanted, plan.found), (50, 60));
    assert_eq!(plan.images, ["a", "b"]);
}

#[test]
fn too_little_to_remove_shows() {
    let mut gc = ImageGc::default();
    let images = [image("a", 30), used("b", 900)];
    gc.look(&images, at(0));
    let plan = gc.periodic(&POLICY, disk(0), &images, at(0));
    assert_eq!((plan.wanted, plan.found), (200, 30));
}

#[test]
fn the_longest_unused_go_first() {
    let mut gc = ImageGc::default();
    gc.look(&[used("a", 1), used("b", 1), image("c", 1)], at(0));
    gc.look(&[image("a", 1), used("b", 1), image("c", 1)], at(10));
    let images = [image("a", 1), image("b", 1), image("c", 1)];
    gc.look(&images, at(20));
    assert_eq!(gc.all(&POLICY, &images, at(20)).images, ["c", "a", "b"]);
}

#[test]
fn new_images_are_spared_for_the_minimum_age() {
    let mut gc = ImageGc::default();
    gc.look(&[image("old", 1)], at(0));
    let images = [image("old", 1), image("new", 1)];
    gc.look(&images, at(10));
    assert_eq!(gc.all(&POLICY, &images, at(129)).images, ["old"]);
    assert_eq!(gc.all(&POLICY, &images, at(130)).images, ["old", "new"]);
}

#[test]
fn used_and_pinned_images_stay() {
    let mut gc = ImageGc::default();
    let pinned = PresentImage {
        pinned: true,
        ..image("pinned", 1)
    };
    let images = [used("used", 1), pinned, image("a", 1)];
    gc.look(&images, at(0));
    assert_eq!(gc.all(&POLICY, &images, at(999)).images, ["a"]);
    let full = gc.periodic(&POLICY, disk(0), &images, at(999));
    assert_eq!(full.images, ["a"]);
}

#[test]
fn images_that_nobody_uses_go_at_the_maximum_age() {
    let policy = ImagePolicy {
        max_age_ms: Some(3_600_000),
        ..POLICY
    };
    let mut gc = ImageGc::default();
    gc.look(&[], at(0));
    let images = [used("a", 1), image("b", 1)];
    gc.look(&images, at(0));
    let images = [image("a", 1), image("b", 1)];
    gc.look(&images, at(10));
    assert!(
        gc.periodic(&policy, disk(900), &images, at(3600))
            .images
            .is_empty()
    );
    assert_eq!(
        gc.periodic(&policy, disk(900), &images, at(3601)).images,
        ["b", "a"]
    );
}

#[test]
fn thresholds_that_make_no_sense_are_refused() {
    for (high, low, good) in [
        (85, 80, true),
        (100, 100, true),
        (80, 85, false),
        (101, 80, false),
    ] {
        let policy = ImagePolicy {
            high_percent: high,
            low_percent: low,
            ..POLICY
        };
        assert_eq!(policy.checked().is_ok(), good, "{high} {low}");
    }
}
