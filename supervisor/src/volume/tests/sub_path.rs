//! `subPath`: good ones, bad ones, and ones that are exchanged meanwhile (C25).

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use carob_core::pod::HostPathType;
use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};

use super::super::*;
use super::place::{Place, UID, alive, disk, host_path, in_place, memory, mode, tree};

fn with_volume(test: impl FnOnce(&Place, &Volume, &Path) + Send) {
    in_place(|place| {
        let volume = disk("shared");
        place
            .volumes
            .setup(UID, std::slice::from_ref(&volume), None)
            .unwrap();
        test(place, &volume, &place.empty_dir("shared"));
    });
}

#[test]
fn missing_directories_are_made_with_the_volumes_mode() {
    with_volume(|place, volume, path| {
        fs::set_permissions(path, fs::Permissions::from_mode(0o2775)).unwrap();
        let source = place.source(volume, "a/b//./c/").unwrap();
        assert_eq!(source, place.pod().join("volume-subpaths/shared/app/0"));
        for made in ["a", "a/b", "a/b/c"] {
            assert_eq!(mode(&path.join(made)), 0o2775, "{made}");
        }
        fs::write(source.join("file"), "x").unwrap();
        assert!(path.join("a/b/c/file").exists());
        let other = place
            .volumes
            .mount_source(UID, "app", 1, volume, Some("a"))
            .unwrap();
        assert!(other.join("b/c/file").exists());
        let whole = place
            .volumes
            .mount_source(UID, "web", 0, volume, Some("."))
            .unwrap();
        assert!(whole.join("a").exists());
        place.volumes.teardown(UID).unwrap();
        assert!(tree(&place.root.join("pods")).is_empty());
    });
}

#[test]
fn a_file_can_be_mounted_and_again_is_the_same() {
    with_volume(|place, volume, path| {
        fs::write(path.join("conf"), "one").unwrap();
        let source = place.source(volume, "conf").unwrap();
        assert_eq!(fs::read_to_string(&source).unwrap(), "one");
        assert_eq!(place.source(volume, "conf").unwrap(), source);
        assert_eq!(mounts::below(&place.pod()).unwrap().len(), 1);
        // A restarted container gets what is there now, be it a directory.
        fs::remove_file(path.join("conf")).unwrap();
        fs::create_dir_all(path.join("conf/d")).unwrap();
        assert_eq!(place.source(volume, "conf").unwrap(), source);
        assert!(source.join("d").is_dir());
        assert_eq!(mounts::below(&place.pod()).unwrap().len(), 1);
        place.volumes.teardown(UID).unwrap();
    });
}

#[test]
fn it_works_in_memory_and_on_the_host() {
    in_place(|place| {
        let volumes = [
            memory("m", None),
            host_path(&place.host, HostPathType::Directory),
        ];
        place.volumes.setup(UID, &volumes, None).unwrap();
        for volume in &volumes {
            let source = place.source(volume, "sub").unwrap();
            fs::write(source.join("file"), "x").unwrap();
        }
        assert!(place.empty_dir("m").join("sub/file").exists());
        place.volumes.teardown(UID).unwrap();
        assert!(place.host.join("sub/file").exists());
        assert!(mounts::below(&place.pod()).unwrap().is_empty());
    });
}

#[test]
fn b17_paths_that_lead_out_are_refused_and_make_nothing() {
    with_volume(|place, volume, path| {
        let canary = place.canary();
        symlink(&canary, path.join("absolute")).unwrap();
        let up = "../".repeat(20) + canary.to_str().unwrap().trim_start_matches('/');
        symlink(up, path.join("up")).unwrap();
        symlink("/proc/self/root", path.join("magic")).unwrap();
        symlink("nowhere", path.join("dangling")).unwrap();
        symlink("loop", path.join("loop")).unwrap();
        fs::write(path.join("file"), "").unwrap();
        fs::create_dir(path.join("in")).unwrap();
        symlink("in", path.join("good")).unwrap();
        let before = tree(path);
        for bad in [
            "/etc",
            "..",
            "a/../b",
            "a\0",
            "absolute",
            "absolute/canary",
            "absolute/new",
            "up",
            "up/new",
            "magic",
            "magic/etc",
            "dangling",
            "dangling/x",
            "loop",
            "loop/x",
            "file/x",
        ] {
            let error = place.source(volume, bad).unwrap_err();
            assert!(
                matches!(error, VolumeError::SubPath { .. }),
                "{bad}: {error}"
            );
        }
        assert_eq!(tree(path), before);
        assert_eq!(fs::read_dir(&canary).unwrap().count(), 1);
        assert!(mounts::below(&place.pod()).unwrap().is_empty());
        // A link that stays within is good.
        place.source(volume, "good/new").unwrap();
        assert!(path.join("in/new").is_dir());
        let error = place.source(volume, "absolute").unwrap_err().to_string();
        assert!(
            error.contains("outside the volume") && error.contains("\"app\""),
            "{error}"
        );
    });
}

#[test]
fn c25_a_directory_swapped_for_a_link_never_leads_out() {
    with_volume(|place, volume, path| {
        let canary = place.canary();
        fs::create_dir(path.join("dir")).unwrap();
        symlink(&canary, path.join("link")).unwrap();
        let (done, swaps) = (AtomicBool::new(false), AtomicUsize::new(0));
        let (mut inside, mut refused, mut wrong) = (0, 0, None);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let (dir, link) = (path.join("dir"), path.join("link"));
                let exchange = RenameFlags::RENAME_EXCHANGE;
                while !done.load(Ordering::Relaxed) {
                    renameat2(AT_FDCWD, &dir, AT_FDCWD, &link, exchange).unwrap();
                    swaps.fetch_add(1, Ordering::Relaxed);
                }
            });
            for round in 0.. {
                if swaps.load(Ordering::Relaxed) > 10_000 && inside > 20 && refused > 20 {
                    break;
                }
                let sub_path = if round % 2 == 0 { "dir" } else { "dir/new" };
                match place.source(volume, sub_path) {
                    Ok(source) if source.join("canary").exists() => {
                        wrong = Some("the mount leads outside".to_owned());
                        break;
                    }
                    Ok(_) => inside += 1,
                    Err(VolumeError::SubPath { .. }) => refused += 1,
                    Err(error) => {
                        wrong = Some(error.to_string());
                        break;
                    }
                }
            }
            done.store(true, Ordering::Relaxed);
        });
        assert_eq!(wrong, None);
        assert_eq!(fs::read_dir(&canary).unwrap().count(), 1, "made outside");
        place.volumes.teardown(UID).unwrap();
        assert!(alive(&canary));
    });
}
