//! Removing volumes, and nothing else (F30, C26).

use std::collections::HashSet;
use std::fs;
use std::os::unix::fs::symlink;
use std::process::{Command, Stdio};

use nix::sys::stat::{Mode, mkdirat};

use super::super::*;
use super::place::{UID, alive, bind, disk, in_place, memory, tree};

#[test]
fn f30_a_canary_behind_a_bind_mount_survives() {
    in_place(|place| {
        place
            .volumes
            .setup(UID, &[disk("v"), memory("m", None)], None)
            .unwrap();
        let canary = place.canary();
        for volume in ["v", "m"] {
            let deep = place.empty_dir(volume).join("a/b c\\d");
            fs::create_dir_all(&deep).unwrap();
            bind(&canary, &deep);
            bind(&canary, &deep);
        }
        place.volumes.teardown(UID).unwrap();
        assert!(alive(&canary));
        assert!(tree(&place.root.join("pods")).is_empty());
        assert!(mounts::below(&place.root).unwrap().is_empty());
    });
}

#[test]
fn f30_a_mount_in_use_stops_the_removal_until_it_is_free() {
    in_place(|place| {
        place.volumes.setup(UID, &[disk("v")], None).unwrap();
        let canary = place.canary();
        let inside = place.empty_dir("v").join("inside");
        fs::create_dir(&inside).unwrap();
        fs::write(place.empty_dir("v").join("file"), "x").unwrap();
        bind(&canary, &inside);
        let mut user = Command::new("cat")
            .current_dir(&inside)
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        let error = place.volumes.teardown(UID).unwrap_err();
        assert!(
            matches!(&error, VolumeError::Busy { path } if *path == inside),
            "{error}"
        );
        assert!(alive(&canary));
        assert!(
            place.empty_dir("v").join("file").exists(),
            "something was removed"
        );
        drop(user.stdin.take());
        user.wait().unwrap();
        place.volumes.teardown(UID).unwrap();
        assert!(alive(&canary));
        assert!(!place.pod().exists());
    });
}

#[test]
fn f30_what_is_mounted_after_the_unmounting_is_not_entered() {
    in_place(|place| {
        let canary = place.canary();
        let top = place.root.join("tree");
        fs::create_dir_all(top.join("x/mounted")).unwrap();
        fs::write(top.join("x/file"), "").unwrap();
        // Of the same device, so that only the mount point tells.
        bind(&canary, &top.join("x/mounted"));
        let error = remove_tree(&top).unwrap_err();
        assert!(matches!(&error, VolumeError::Mounted { .. }), "{error}");
        fs::write(top.join("single"), "").unwrap();
        bind(&canary.join("canary"), &top.join("single"));
        assert!(remove_tree(&top.join("single")).is_err());
        assert!(alive(&canary));
        assert!(remove_tree(&top.join("x/mounted")).is_err());
        assert!(alive(&canary));
    });
}

#[test]
fn c26_links_are_removed_not_followed() {
    in_place(|place| {
        place.volumes.setup(UID, &[disk("v")], None).unwrap();
        let canary = place.canary();
        let path = place.empty_dir("v");
        symlink(&canary, path.join("dir")).unwrap();
        symlink(canary.join("canary"), path.join("file")).unwrap();
        fs::hard_link(canary.join("canary"), path.join("hard")).unwrap();
        place.volumes.teardown(UID).unwrap();
        assert!(alive(&canary));
        assert!(!place.pod().exists());
        // Even when the volume itself was exchanged for a link.
        place.volumes.setup(UID, &[disk("v")], None).unwrap();
        fs::remove_dir(&path).unwrap();
        symlink(&canary, &path).unwrap();
        assert!(place.volumes.setup(UID, &[disk("v")], None).is_err());
        assert!(place.source(&disk("v"), "sub").is_err());
        place.volumes.teardown(UID).unwrap();
        assert!(alive(&canary));
    });
}

#[test]
fn a_mount_point_reached_through_a_swapped_directory_is_not_unmounted() {
    in_place(|place| {
        place.volumes.setup(UID, &[disk("v")], None).unwrap();
        let (canary, path) = (place.canary(), place.empty_dir("v"));
        let outside = place.host.join("outside");
        fs::create_dir_all(outside.join("mnt")).unwrap();
        bind(&canary, &outside.join("mnt"));
        // The table was read when "a" was a directory; now it is a link to a place with a mount of that name.
        symlink(&outside, path.join("a")).unwrap();
        assert!(mounts::unmount(&place.pod(), &path.join("a/mnt")).is_err());
        assert!(alive(&outside.join("mnt")));
    });
}

#[test]
fn the_deepest_and_oddest_tree_is_removed() {
    in_place(|place| {
        place.volumes.setup(UID, &[disk("v")], None).unwrap();
        let top = place.empty_dir("v");
        // Deeper than any path name, stack or table of descriptors.
        let mut dir = beneath::open_dir(&top).unwrap();
        for _ in 0..3000 {
            mkdirat(&dir, "deep", Mode::S_IRWXU).unwrap();
            dir = beneath::open_child(&dir, Path::new("deep")).unwrap();
        }
        for i in 0..200 {
            fs::write(top.join(format!("{i}")), "").unwrap();
        }
        fs::create_dir(top.join(".carob-removing-0")).unwrap();
        fs::write(top.join(".carob-removing-0/x"), "").unwrap();
        fs::write(top.join(".carob-removing-1"), "").unwrap();
        use std::os::unix::ffi::OsStrExt;
        fs::create_dir(top.join(std::ffi::OsStr::from_bytes(b"\xff\n"))).unwrap();
        place.volumes.teardown(UID).unwrap();
        assert!(!place.pod().exists());
    });
}

#[test]
fn other_files_of_a_pod_stay_until_it_is_removed() {
    in_place(|place| {
        place.volumes.setup(UID, &[disk("v")], None).unwrap();
        fs::create_dir(place.pod().join("etc")).unwrap();
        fs::write(place.pod().join("etc/hosts"), "").unwrap();
        place.volumes.teardown(UID).unwrap();
        assert!(place.pod().join("etc/hosts").exists());
        place.volumes.remove_pod(UID).unwrap();
        place.volumes.remove_pod(UID).unwrap();
        assert!(!place.pod().exists());
    });
}

#[test]
fn what_a_killed_supervisor_left_is_named_and_pruned() {
    in_place(|place| {
        let volumes = [disk("v"), memory("m", None)];
        for uid in ["dead", "live"] {
            place.volumes.setup(uid, &volumes, None).unwrap();
            place
                .volumes
                .mount_source(uid, "app", 0, &volumes[1], Some("s"))
                .unwrap();
        }
        let live = HashSet::from(["live".to_owned()]);
        let next = Volumes::new(&place.root).unwrap();
        assert_eq!(next.leftovers(&live).unwrap(), ["dead"]);
        assert_eq!(next.prune(&live).unwrap(), ["dead"]);
        assert!(next.leftovers(&live).unwrap().is_empty());
        assert_eq!(
            mounts::below(&place.root.join("pods/live")).unwrap().len(),
            2
        );
        assert_eq!(next.prune(&HashSet::new()).unwrap(), ["live"]);
        assert!(tree(&place.root.join("pods")).is_empty());
        assert!(mounts::below(&place.root).unwrap().is_empty());
    });
}
