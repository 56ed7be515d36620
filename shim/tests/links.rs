//! Symbolic links of images and volumes: mounts follow them inside the container's root, never out of it.

mod harness;

use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use serde_json::{Value, json};

use harness::{Shim, config, host_mounts, push, refused};

/// A bind of a file or directory of the machine.
fn bind(source: &Path, destination: &str) -> Value {
    let options = ["rbind", "rw"];
    json!({ "destination": destination, "type": "bind", "source": source, "options": options })
}

/// A directory of the machine that nobody may put anything into.
struct Canary(std::path::PathBuf);

impl Canary {
    fn new(shim: &Shim) -> Self {
        let path = shim.dir.path().join("canary");
        std::fs::create_dir(&path).expect("made");
        Self(path)
    }

    #[track_caller]
    fn must_be_untouched(&self) {
        assert_eq!(std::fs::read_dir(&self.0).expect("listed").count(), 0);
        let below = |point: &String| Path::new(point).starts_with(&self.0);
        assert!(!host_mounts().keys().any(below));
    }
}

#[test]
fn c17_files_are_mounted_where_links_of_the_image_lead() {
    let mut shim = Shim::start();
    let canary = Canary::new(&shim);
    let base = shim.dir.path().join("base");
    let outside = canary.0.display().to_string();
    let mut spec = config(&[
        "sh",
        "-c",
        "cat /etc/resolv.conf /etc/hosts /etc/hostname /etc/mtab; readlink /etc/hosts",
    ]);
    for (name, target) in [
        (
            "resolv.conf",
            "../run/systemd/resolve/stub-resolv.conf".to_owned(),
        ),
        ("hosts", format!("{outside}/hosts")),
        (
            "hostname",
            format!("../../../../../../..{outside}/deeper/hostname"),
        ),
        ("mtab", "./mtab.real".to_owned()),
    ] {
        symlink(target, base.join("etc").join(name)).expect("linked");
        let source = shim.dir.path().join(name);
        std::fs::write(&source, format!("our {name}\n")).expect("written");
        push(&mut spec, bind(&source, &format!("/etc/{name}")));
    }
    let (status, text) = shim.run_container("c1", spec);
    let wanted = format!("our resolv.conf\nour hosts\nour hostname\nour mtab\n{outside}/hosts\n");
    assert_eq!((status, text), (0, wanted));
    canary.must_be_untouched();
}

#[test]
fn c17_a_directory_is_mounted_where_a_link_leads() {
    let mut shim = Shim::start();
    let canary = Canary::new(&shim);
    symlink(canary.0.join("sub"), shim.dir.path().join("base/data/link")).expect("linked");
    let volume = shim.dir.path().join("volume");
    std::fs::create_dir(&volume).expect("made");
    let mut spec = config(&["sh", "-c", "echo written >/data/link/file"]);
    push(&mut spec, bind(&volume, "/data/link"));
    assert_eq!(shim.run_container("c1", spec), (0, String::new()));
    let written = std::fs::read_to_string(volume.join("file")).expect("it is in the volume");
    assert_eq!(written, "written\n");
    canary.must_be_untouched();
}

#[test]
fn c17_links_in_a_circle_are_named() {
    let mut shim = Shim::start();
    let base = shim.dir.path().join("base");
    symlink("b", base.join("etc/a")).expect("linked");
    symlink("a", base.join("etc/b")).expect("linked");
    let mut spec = config(&["true"]);
    push(&mut spec, bind("/dev/null".as_ref(), "/etc/a"));
    let (_, why) = refused(shim.create("c1", spec));
    assert!(
        why.contains("the image's /etc/a") && why.contains("circle"),
        "{why}"
    );
}

#[test]
fn c6_a_link_into_proc_is_no_mount_point() {
    let mut shim = Shim::start();
    let link = shim.dir.path().join("base/etc/hosts");
    symlink("../proc/self/attr/exec", link).expect("linked");
    let mut spec = config(&["true"]);
    push(&mut spec, bind("/dev/null".as_ref(), "/etc/hosts"));
    let (_, why) = refused(shim.create("c1", spec));
    let wanted = "the image's /etc/hosts leads to /proc/self/attr/exec and can't be mounted over";
    assert!(why.contains(wanted), "{why}");
}

#[test]
fn c7_proc_sys_and_dev_that_are_links_are_named_with_a_way_out() {
    let mut shim = Shim::start();
    let canary = Canary::new(&shim);
    for name in ["proc", "sys", "dev"] {
        let path = shim.dir.path().join("base").join(name);
        std::fs::remove_dir(&path).expect("removed");
        symlink(&canary.0, &path).expect("linked");
        let (_, why) = refused(shim.create(name, config(&["true"])));
        let what = if name == "dev" { "devices" } else { name };
        let what = if name == "sys" { "sysfs" } else { what };
        let wanted = format!(
            "the image's /{name} is a symbolic link to {}, so {what} can't be put there: \
             make it a directory in the image, or leave it out",
            canary.0.display()
        );
        assert_eq!(why, wanted);
        canary.must_be_untouched();
        std::fs::remove_file(&path).expect("removed");
        std::fs::create_dir(&path).expect("made");
    }
    assert!(shim.cgroups().is_empty());
}

#[test]
fn c2_c17_a_volume_that_changes_while_it_is_mounted_leads_nowhere() {
    let mut shim = Shim::start();
    let canary = Canary::new(&shim);
    let volume = shim.dir.path().join("volume");
    std::fs::create_dir_all(volume.join("sub/dir")).expect("made");
    symlink(&canary.0, volume.join("link")).expect("linked");
    let mut spec = config(&["true"]);
    push(&mut spec, bind(&volume, "/data"));
    push(&mut spec, bind("/dev/null".as_ref(), "/data/sub/dir/file"));
    push(&mut spec, bind("/tmp".as_ref(), "/data/sub/dir/deeper"));
    let (swaps, stop) = (AtomicU32::new(0), AtomicBool::new(false));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                // Another container of the Pod could do this.
                rustix::fs::renameat_with(
                    rustix::fs::CWD,
                    volume.join("sub"),
                    rustix::fs::CWD,
                    volume.join("link"),
                    rustix::fs::RenameFlags::EXCHANGE,
                )
                .expect("swapped");
                swaps.fetch_add(1, Ordering::Relaxed);
            }
        });
        let mut number = 0;
        while number < 20 || swaps.load(Ordering::Relaxed) < 10_000 {
            let id = format!("c{number}");
            // Either is right, depending on what was there at which moment.
            if shim.create(&id, spec.clone()).is_ok() {
                shim.kill(&id, "", 9, false)
                    .expect("it waits for its start");
                shim.wait(&id, "").expect("it ends");
                shim.delete(&id, "").expect("deleted");
            }
            number += 1;
        }
        stop.store(true, Ordering::Relaxed);
    });
    canary.must_be_untouched();
}
