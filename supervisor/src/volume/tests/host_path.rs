//! `hostPath` with each type (B18).

use std::fs;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use carob_core::pod::HostPathType;
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;

use super::place::{Place, UID, host_path, in_place, mode};

fn try_path(place: &Place, path: &Path, kind: HostPathType) -> Result<PathBuf, String> {
    let volume = host_path(path, kind);
    place
        .volumes
        .setup(UID, std::slice::from_ref(&volume), None)
        .and_then(|()| place.volumes.mount_source(UID, "app", 0, &volume, None))
        .map_err(|error| error.to_string())
}

#[test]
fn b18_what_is_there_must_be_of_the_type() {
    use HostPathType::*;
    in_place(|place| {
        let at = |name: &str| place.host.join(name);
        fs::create_dir(at("dir")).unwrap();
        fs::write(at("file"), "").unwrap();
        let _socket = UnixListener::bind(at("socket")).unwrap();
        mkfifo(&at("fifo"), Mode::S_IRWXU).unwrap();
        symlink("dir", at("link")).unwrap();
        symlink("loop", at("loop")).unwrap();
        let things = [
            (at("dir"), "Directory"),
            (at("file"), "File"),
            (at("socket"), "Socket"),
            (PathBuf::from("/dev/null"), "CharDevice"),
        ];
        let words = [
            (Directory, "directory"),
            (DirectoryOrCreate, "directory"),
            (File, "file"),
            (FileOrCreate, "file"),
            (Socket, "socket file"),
            (CharDevice, "character device"),
            (BlockDevice, "block device"),
        ];
        for (path, is) in &things {
            assert_eq!(try_path(place, path, Unset).unwrap(), *path);
            for (kind, word) in words {
                let result = try_path(place, path, kind);
                if kind.to_string().trim_end_matches("OrCreate") == *is {
                    assert_eq!(result.unwrap(), *path);
                } else {
                    let path = path.display();
                    assert_eq!(
                        result.unwrap_err(),
                        format!("hostPath type check failed: {path} is not a {word}, it's a {is}")
                    );
                }
            }
        }
        assert_eq!(try_path(place, &at("link"), Directory).unwrap(), at("dir"));
        let error = try_path(place, &at("fifo"), File).unwrap_err();
        assert!(error.contains("unable to determine its type"), "{error}");
        assert_eq!(try_path(place, &at("fifo"), Unset).unwrap(), at("fifo"));
        for kind in [Unset, File, Directory, DirectoryOrCreate] {
            let error = try_path(place, &at("loop"), kind).unwrap_err();
            assert!(error.contains("loop"), "{error}");
        }
    });
}

#[test]
fn b18_what_is_missing_is_an_error_or_made() {
    use HostPathType::*;
    in_place(|place| {
        for kind in [Directory, File, Socket, CharDevice, BlockDevice] {
            let path = place.host.join("missing");
            let error = try_path(place, &path, kind).unwrap_err();
            assert_eq!(error, format!("hostPath {} doesn't exist", path.display()));
            assert!(!path.exists());
        }
        let path = place.host.join("made/a/b");
        assert_eq!(try_path(place, &path, DirectoryOrCreate).unwrap(), path);
        assert_eq!(mode(&path), 0o755);
        assert_eq!(mode(path.parent().unwrap()), 0o755);
        let path = place.host.join("unset");
        assert_eq!(try_path(place, &path, Unset).unwrap(), path);
        assert_eq!(mode(&path), 0o755);
        let path = place.host.join("made/file");
        assert_eq!(try_path(place, &path, FileOrCreate).unwrap(), path);
        assert_eq!(mode(&path), 0o644);
        let path = place.host.join("no-such-dir/file");
        let error = try_path(place, &path, FileOrCreate).unwrap_err();
        assert!(error.contains("no-such-dir/file"), "{error}");
        // And nothing of the host goes with the Pod.
        place.volumes.remove_pod(UID).unwrap();
        assert!(place.host.join("made/file").exists());
    });
}

#[test]
fn paths_that_kubernetes_refuses_are_refused() {
    in_place(|place| {
        for bad in ["relative", "/tmp/../etc", "", "/tmp/a\0b"] {
            let error = try_path(place, Path::new(bad), HostPathType::DirectoryOrCreate);
            let error = error.unwrap_err();
            assert!(error.starts_with("invalid HostPath"), "{error}");
        }
    });
}
