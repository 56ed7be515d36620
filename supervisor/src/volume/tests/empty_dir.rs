//! `emptyDir` on disk and in memory.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;

use nix::sys::statfs::{TMPFS_MAGIC, statfs};

use super::super::*;
use super::place::{UID, disk, in_place, memory, mode, tree};

#[test]
fn one_on_disk_is_open_to_all_and_keeps_its_files() {
    in_place(|place| {
        let volumes = [disk("cache"), disk("other")];
        place.volumes.setup(UID, &volumes, None).unwrap();
        let path = place.empty_dir("cache");
        assert_eq!(mode(&path), 0o777);
        for above in [place.root.clone(), place.root.join("pods"), place.pod()] {
            assert_eq!(mode(&above), 0o700, "{}", above.display());
        }
        let source = place.volumes.mount_source(UID, "app", 0, &volumes[0], None);
        assert_eq!(source.unwrap(), path);
        fs::write(path.join("file"), "x").unwrap();
        fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o711)).unwrap();
        place.volumes.setup(UID, &volumes, Some(5)).unwrap();
        assert!(path.join("file").exists());
        assert_eq!(mode(&path), 0o711, "a volume in use is left as it is");
        place.volumes.teardown(UID).unwrap();
        place.volumes.teardown(UID).unwrap();
        assert!(tree(&place.root.join("pods")).is_empty());
    });
}

#[test]
fn one_that_was_being_made_is_finished() {
    in_place(|place| {
        let path = place.empty_dir("cache");
        fs::create_dir_all(path.parent().unwrap().join(".cache.new")).unwrap();
        place.volumes.setup(UID, &[disk("cache")], None).unwrap();
        assert_eq!(mode(&path), 0o777);
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
    });
}

#[test]
fn fs_group_owns_it_and_new_files_in_it() {
    in_place(|place| {
        let volumes = [disk("d"), memory("m", None)];
        place.volumes.setup(UID, &volumes, Some(4321)).unwrap();
        for (name, expected) in [("d", 0o2777), ("m", 0o3777)] {
            let path = place.empty_dir(name);
            assert_eq!(mode(&path), expected, "{name}");
            assert_eq!(fs::metadata(&path).unwrap().gid(), 4321);
            fs::write(path.join("new"), "").unwrap();
            assert_eq!(fs::metadata(path.join("new")).unwrap().gid(), 4321);
        }
        place.volumes.teardown(UID).unwrap();
    });
}

#[test]
fn one_in_memory_holds_as_much_as_its_limit() {
    in_place(|place| {
        let volumes = [memory("m", Some(1 << 20)), memory("zero", Some(0))];
        place.volumes.setup(UID, &volumes, None).unwrap();
        let path = place.empty_dir("m");
        assert_eq!(statfs(&path).unwrap().filesystem_type(), TMPFS_MAGIC);
        assert_eq!(mode(&path), 0o1777);
        fs::write(path.join("fits"), vec![0; 900 << 10]).unwrap();
        let error = fs::write(path.join("more"), vec![0; 200 << 10]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::StorageFull);
        // 0 is no limit of its own, as without one.
        assert!(statfs(&place.empty_dir("zero")).unwrap().blocks() > 0);

        place.volumes.setup(UID, &volumes, None).unwrap();
        assert!(path.join("fits").exists(), "mounted twice");
        place.volumes.teardown(UID).unwrap();
        assert!(tree(&place.root.join("pods")).is_empty());
        assert!(mounts::below(&place.root).unwrap().is_empty());
    });
}

#[test]
fn a_volume_that_is_not_set_up_is_no_mount_source() {
    in_place(|place| {
        let error = place.source(&disk("cache"), "").unwrap_err();
        assert!(matches!(error, VolumeError::NotSetUp { .. }), "{error}");
    });
}

#[test]
fn names_that_are_no_file_names_change_nothing() {
    in_place(|place| {
        let before = tree(&place.root);
        for bad in ["..", "../../x", "", "a/b"] {
            assert!(place.volumes.setup(bad, &[disk("v")], None).is_err());
            assert!(
                place
                    .volumes
                    .setup(UID, &[disk("v"), disk(bad)], None)
                    .is_err()
            );
            assert!(place.volumes.teardown(bad).is_err());
            assert!(place.volumes.remove_pod(bad).is_err());
            assert!(
                place
                    .volumes
                    .mount_source(UID, bad, 0, &disk("v"), None)
                    .is_err()
            );
        }
        assert_eq!(tree(&place.root), before);
    });
}
