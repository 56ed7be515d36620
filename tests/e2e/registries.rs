//! Registries of all kinds, on the command line; the cases are those of every backend.

use std::process::Command;

use carob_tests::{Home, Layer, Puller, Served, Web, busybox_with};
use serde_json::json;

fn with(case: impl Fn(&Puller<'_>)) {
    let home = Home::empty();
    case(&Puller {
        carob: &|| home.command(),
        dir: home.path(),
    });
}

#[test]
fn a_private_registry_is_reached_by_its_authority_and_a_password() {
    with(|puller| puller.uses_private_registries());
}

#[test]
fn mirrors_stand_in_for_a_registry() {
    with(|puller| puller.uses_mirrors());
}

#[test]
fn f17_each_refusal_of_a_registry_has_its_reason() {
    with(|puller| puller.tells_why_a_registry_refuses());
}

#[test]
fn f18_what_is_not_the_layer_is_never_unpacked() {
    with(|puller| puller.refuses_what_is_not_the_layer());
}

#[test]
fn f17_a_broken_pull_goes_on() {
    with(|puller| puller.goes_on_where_a_connection_broke());
}

#[test]
fn b44_a_layer_that_is_far_larger_than_it_looks_is_refused() {
    let home = Home::empty();
    // A file of one hole, which is a few bytes on the way.
    let file = home.path().join("bomb");
    let made = std::fs::File::create(&file).and_then(|file| file.set_len(1 << 40));
    made.unwrap();
    let archive = Command::new("tar")
        .args(["--create", "--sparse", "--format=posix", "--directory"])
        .arg(home.path())
        .arg("bomb")
        .output()
        .unwrap();
    assert!(archive.status.success(), "{archive:?}");
    let layers = vec![Layer::made(archive.stdout)];
    let layout = busybox_with(&home.path().join("layout"), json!({}), layers);
    let served = Served::new(&layout);
    let web = Web::new(move |request| served.answer(request));
    let pulled = home
        .carob(&["image", "pull", &format!("{}/bomb:1", web.address)])
        .expect(125);
    assert!(pulled.err().contains("is refused"), "{pulled:?}");
    assert!(pulled.err().contains("bytes"), "{pulled:?}");
    assert_eq!(
        home.carob(&["image", "ls"]).expect(0).out().lines().count(),
        1
    );
}
