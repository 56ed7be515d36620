//! Configurations made here beside containerd's own default one, which `ctr oci spec` prints.

#![allow(clippy::unwrap_used, reason = "a test ends there")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use carob_bundles::image::config::ImageConfig;
use carob_bundles::image::users::Users;
use carob_bundles::spec::{self, ContainerInput, Machine, PodFiles};
use carob_core::parse::parse_manifest;
use serde_json::Value;

/// What containerd makes.
fn theirs() -> Value {
    let output = Command::new("ctr").args(["oci", "spec"]).output().unwrap();
    assert!(output.status.success());
    serde_json::from_slice(&output.stdout).unwrap()
}

/// What a container of a Pod that asks for nothing gets.
fn ours() -> Value {
    let manifest = b"{apiVersion: v1, kind: Pod, metadata: {name: p}, spec: {containers: [{name: c, image: i}]}}";
    let pod = parse_manifest(manifest, "pod.yaml", &mut || "uid".to_owned())
        .unwrap()
        .pods
        .remove(0);
    let spec = spec::container(&ContainerInput {
        pod: &pod,
        container: &pod.spec.containers[0],
        image: &ImageConfig {
            entrypoint: vec!["/app".into()],
            ..ImageConfig::default()
        },
        image_name: "i",
        users: &Users::default(),
        command: &[],
        args: &[],
        env: &[],
        hostname: "p",
        sandbox_id: "s",
        sandbox_pid: 1,
        cgroups_path: Path::new("/c"),
        files: PodFiles::default(),
        termination_log: None,
        mounts: &[],
        seccomp_root: Path::new("/nonexistent"),
        seccomp_default: false,
        pids_limit: None,
        machine: &Machine::detect().unwrap(),
    });
    serde_json::to_value(spec.unwrap()).unwrap()
}

fn strings(list: &Value) -> BTreeSet<String> {
    let list = list.as_array().unwrap();
    list.iter()
        .map(|entry| entry.as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn capabilities_are_containerds() {
    let (ours, theirs) = (ours(), theirs());
    let available = Machine::detect().unwrap().capabilities;
    let available: BTreeSet<_> = available.iter().map(|c| format!("CAP_{c}")).collect();
    for set in ["bounding", "effective", "permitted"] {
        let theirs = strings(&theirs["process"]["capabilities"][set]);
        let expected: BTreeSet<_> = theirs.intersection(&available).cloned().collect();
        assert!(!expected.is_empty());
        assert_eq!(
            strings(&ours["process"]["capabilities"][set]),
            expected,
            "{set}"
        );
    }
}

#[test]
fn mounts_are_containerds() {
    let by_place = |spec: &Value| -> BTreeMap<String, Value> {
        let mounts = spec["mounts"].as_array().unwrap().iter();
        mounts
            .map(|m| (m["destination"].as_str().unwrap().to_owned(), m.clone()))
            .collect()
    };
    let (mut ours, mut theirs) = (by_place(&ours()), by_place(&theirs()));
    // For Pods containerd leaves out the one and adds the other.
    assert!(theirs.remove("/run").is_some());
    assert!(ours.remove("/sys/fs/cgroup").is_some());
    assert_eq!(ours, theirs);
}

#[test]
fn what_containerd_hides_is_hidden() {
    let (ours, theirs) = (ours(), theirs());
    let [ours, theirs] = [&ours["linux"], &theirs["linux"]];
    assert_eq!(
        strings(&ours["readonlyPaths"]),
        strings(&theirs["readonlyPaths"])
    );
    let missing: Vec<_> = strings(&theirs["maskedPaths"])
        .difference(&strings(&ours["maskedPaths"]))
        .cloned()
        .collect();
    assert_eq!(missing, [""; 0]);
}
