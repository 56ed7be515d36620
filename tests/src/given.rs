//! What the tests are given by `scripts/test`: programs, images, a registry; and a root that has the images.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, iter};

use nix::fcntl::{Flock, FlockArg};

/// The images that a test's own root has, as `NAME:1`.
const IMAGES: [&str; 3] = ["busybox", "nginx", "nonroot"];

/// The directory of the programs: `CAROB_BIN_DIR`, else where cargo puts them beside this program.
pub fn bin_dir() -> PathBuf {
    let dir = env::var_os("CAROB_BIN_DIR")
        .map(PathBuf::from)
        .or_else(|| Some(this_program().parent()?.parent()?.to_owned()))
        .expect("this program has a path");
    let built = dir.join("carob");
    assert!(
        built.is_file(),
        "{built:?} is missing: run scripts/test e2e, or build the programs and set CAROB_BIN_DIR"
    );
    dir
}

/// The shim that the programs use.
pub fn shim() -> PathBuf {
    bin_dir().join("containerd-shim-carob-v1")
}

/// The directory with an OCI layout per image: busybox, nginx, nonroot, layers.
pub fn images() -> PathBuf {
    required("CAROB_IMAGES").into()
}

/// The directory of the tasks of the containerd that runs the containers, when one does.
pub fn tasks() -> Option<PathBuf> {
    let state = env::var_os("CAROB_CONTAINERD_STATE")?;
    Some(Path::new(&state).join("io.containerd.runtime.v2.task/carob"))
}

/// Host and port of a registry that has them.
pub fn registry() -> String {
    required("CAROB_REGISTRY")
}

fn required(name: &str) -> String {
    env::var(name).unwrap_or_else(|_| panic!("{name} is not set: run scripts/test e2e, which does"))
}

fn this_program() -> PathBuf {
    env::current_exe().expect("this program has a path")
}

/// Copies a root that has the images to `root`. It is made by the first test that wants it, in cargo's own
/// directory, and again when the images or the program have changed.
pub(crate) fn copy_root(root: &Path) {
    let target = this_program();
    let target = target.ancestors().nth(3).expect("cargo's target directory");
    let kept = target.join("tmp/e2e");
    fs::create_dir_all(&kept).expect("cargo's directory is ours");
    let lock = OpenOptions::new()
        .create(true)
        .append(true)
        .open(kept.join("lock"))
        .expect("cargo's directory is ours");
    let _lock = Flock::lock(lock, FlockArg::LockExclusive).expect("a file can be locked");
    let with_images = kept.join("root");
    let stamp = stamp();
    if fs::read_to_string(kept.join("stamp")).is_ok_and(|found| found == stamp) {
        return copy(&with_images, root);
    }
    if with_images.exists() {
        fs::remove_dir_all(&with_images).expect("an old root can be removed");
    }
    for name in IMAGES {
        let imported = Command::new(bin_dir().join("carob"))
            .args(["image", "import", "--name", &format!("{name}:1"), "--root"])
            .arg(&with_images)
            .arg("--state")
            .arg(kept.join("state"))
            .arg(images().join(name))
            .output()
            .expect("carob can be started");
        assert!(imported.status.success(), "import of {name}: {imported:?}");
    }
    fs::write(kept.join("stamp"), stamp).expect("cargo's directory is ours");
    copy(&with_images, root);
}

/// Tells one set of images and program from another.
fn stamp() -> String {
    let files = iter::once(bin_dir().join("carob")).chain(
        IMAGES
            .iter()
            .map(|name| images().join(name).join("index.json")),
    );
    // With containerd, the images are its own.
    let place = env::var("CAROB_CONTAINERD_STATE").unwrap_or_default();
    files
        .map(|file| {
            let meta = fs::metadata(&file).unwrap_or_else(|e| panic!("{file:?}: {e}"));
            format!(
                "{file:?} {} {}.{}\n",
                meta.size(),
                meta.mtime(),
                meta.mtime_nsec()
            )
        })
        .chain([place])
        .collect()
}

fn copy(from: &Path, to: &Path) {
    let copied = Command::new("cp")
        .args(["-a", "--reflink=auto"])
        .args([from, to])
        .status()
        .expect("cp is there");
    assert!(copied.success(), "cannot copy {from:?} to {to:?}");
}
