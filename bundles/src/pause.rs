//! The pause program and its root file system, shared by the sandboxes of all Pods.

use std::fs::{self, DirBuilder, Permissions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

/// The program: static, about a kilobyte; see `pause/pause.rs` for what it does.
pub const PAUSE: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/pause"));

/// Where the program is in its root file system.
pub const PATH: &str = "/pause";

/// The mount points of the sandbox's `config.json`; the root file system is mounted read-only.
const MOUNT_POINTS: [&str; 2] = ["dev", "proc"];

/// Why the pause program could not be installed.
#[derive(Debug, thiserror::Error)]
#[error(
    "cannot install the pause program at {}: {source}; make its directory writable or choose another --root",
    path.display()
)]
pub struct InstallError {
    path: PathBuf,
    source: io::Error,
}

/// Puts the pause program's root file system below `dir` (made with mode 0700 if absent) and returns its
/// path, `dir/rootfs`.
///
/// Safe to call at any time, also by several processes and while sandboxes run from it: the program is
/// replaced as a whole, only when it differs, and running ones keep the file that they started from.
///
/// # Errors
///
/// When a file or directory cannot be made. What was there before is whole then.
pub fn install(dir: &Path) -> Result<PathBuf, InstallError> {
    let rootfs = dir.join("rootfs");
    make_dir(dir, 0o700)?;
    // The program runs as a user without privileges, to whom its root must be open.
    make_dir(&rootfs, 0o755)?;
    for name in MOUNT_POINTS {
        make_dir(&rootfs.join(name), 0o755)?;
    }
    let program = rootfs.join(PATH.trim_start_matches('/'));
    if !is_installed(&program) {
        write_program(dir, &program).map_err(|source| InstallError {
            path: program,
            source,
        })?;
    }
    Ok(rootfs)
}

/// Makes a directory with exactly `mode`, whatever the umask; one that is there is left as it is.
fn make_dir(path: &Path, mode: u32) -> Result<(), InstallError> {
    let made = match DirBuilder::new().mode(mode).create(path) {
        Ok(()) => fs::set_permissions(path, Permissions::from_mode(mode)),
        Err(e) if e.kind() == ErrorKind::AlreadyExists => match fs::symlink_metadata(path) {
            Ok(metadata) if metadata.is_dir() => Ok(()),
            Ok(_) => Err(ErrorKind::NotADirectory.into()),
            Err(e) => Err(e),
        },
        Err(e) => Err(e),
    };
    made.map_err(|source| InstallError {
        path: path.to_owned(),
        source,
    })
}

fn is_installed(program: &Path) -> bool {
    let whole = fs::symlink_metadata(program)
        .is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o7777 == 0o555);
    whole && fs::read(program).is_ok_and(|content| content == PAUSE)
}

/// Writes the program beside its root file system and renames it to its place once it is on the disk.
fn write_program(dir: &Path, program: &Path) -> io::Result<()> {
    let mut file = NamedTempFile::with_prefix_in(".pause", dir)?;
    file.write_all(PAUSE)?;
    file.as_file()
        .set_permissions(Permissions::from_mode(0o555))?;
    file.as_file().sync_all()?;
    // Closed first: a program that is open for writing cannot be executed.
    file.into_temp_path().persist(program).map_err(|e| e.error)
}

#[cfg(test)]
mod tests {
    use std::process::{Child, Command, Stdio};

    use super::*;

    fn installed() -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let rootfs = install(&dir.path().join("pause")).unwrap();
        (dir, rootfs.join("pause"))
    }

    /// A process that does not outlive its test.
    struct Running(Child);

    impl Running {
        /// Starts a program that was just written: for a moment a process that another test forks may
        /// still hold it open for writing.
        fn spawn(command: &mut Command) -> Self {
            loop {
                match command.stdin(Stdio::null()).stdout(Stdio::null()).spawn() {
                    Err(e) if e.kind() == ErrorKind::ExecutableFileBusy => std::thread::yield_now(),
                    other => return Self(other.unwrap()),
                }
            }
        }

        fn wait(&mut self) -> Option<i32> {
            self.0.wait().unwrap().code()
        }
    }

    impl Drop for Running {
        fn drop(&mut self) {
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }

    /// Waits until the process is asleep in `rt_sigtimedwait`, that is, has set itself up.
    fn wait_until_asleep(pid: u32) {
        let number = if cfg!(target_arch = "x86_64") {
            "128 "
        } else {
            "137 "
        };
        let path = format!("/proc/{pid}/syscall");
        while !fs::read_to_string(&path).unwrap().starts_with(number) {
            std::thread::yield_now();
        }
    }

    fn signal(pid: u32, name: &str) {
        let status = Command::new("kill")
            .args([&format!("-{name}"), &pid.to_string()])
            .status();
        assert!(status.unwrap().success());
    }

    #[test]
    fn is_small_and_static() {
        assert!(PAUSE.len() < 8 << 10, "{} bytes", PAUSE.len());
        assert_eq!(&PAUSE[..5], b"\x7fELF\x02", "a 64-bit ELF file");
        let word = |at: usize, size: usize| {
            PAUSE[at..at + size]
                .iter()
                .rev()
                .fold(0usize, |n, b| n << 8 | usize::from(*b))
        };
        assert_eq!(word(16, 2), 2, "type EXEC: not relocated when it starts");
        let (offset, size, count) = (word(32, 8), word(54, 2), word(56, 2));
        let kinds: Vec<_> = (0..count).map(|i| word(offset + i * size, 4)).collect();
        assert!(kinds.contains(&1), "has a LOAD segment");
        assert!(
            !kinds.contains(&2) && !kinds.contains(&3),
            "neither DYNAMIC nor INTERP: {kinds:?}"
        );
    }

    #[test]
    fn sigterm_and_sigint_end_it_with_0() {
        let (_dir, program) = installed();
        for name in ["TERM", "INT"] {
            let mut running = Running::spawn(&mut Command::new(&program));
            let pid = running.0.id();
            wait_until_asleep(pid);
            signal(pid, "STOP");
            signal(pid, "CONT");
            signal(pid, "CHLD");
            wait_until_asleep(pid);
            signal(pid, name);
            assert_eq!(running.wait(), Some(0), "{name}");
        }
    }

    #[test]
    fn touches_few_pages() {
        let (_dir, program) = installed();
        let running = Running::spawn(&mut Command::new(&program));
        let pid = running.0.id();
        wait_until_asleep(pid);
        let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap();
        let pss = rollup.lines().find_map(|l| l.strip_prefix("Pss:")).unwrap();
        let pss: u32 = pss.trim().trim_end_matches(" kB").parse().unwrap();
        assert!(pss <= 16, "{pss} kB");
    }

    #[test]
    fn reaps_orphans_as_the_first_process_of_a_namespace() {
        let (_dir, program) = installed();
        // unshare forks the program as process 1 and waits for it; nsenter forks a child into the
        // namespace, whose own child is left an orphan.
        let mut unshare = Running::spawn(
            Command::new("unshare")
                .args(["--pid", "--fork", "--kill-child"])
                .arg(&program),
        );
        let children_of = |pid: u32| {
            let path = format!("/proc/{pid}/task/{pid}/children");
            fs::read_to_string(path).unwrap().trim().to_owned()
        };
        let pause: u32 = loop {
            if let Ok(pid) = children_of(unshare.0.id()).parse() {
                break pid;
            }
        };
        while fs::read_link(format!("/proc/{pause}/exe")).unwrap() != program {
            std::thread::yield_now();
        }
        wait_until_asleep(pause);

        let mut parent = Command::new("nsenter")
            .args(["--pid", "--target", &pause.to_string()])
            .args(["sh", "-c", "exec 3<&0; (read line <&3; exit 3) & echo left"])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let hold = parent.stdin.take();
        assert!(parent.wait().unwrap().success());
        let orphan = children_of(pause);
        assert_ne!(orphan, "", "process 1 adopts it");
        drop(hold);
        // It stays a zombie for ever unless it is reaped.
        while Path::new("/proc").join(&orphan).exists() {
            std::thread::yield_now();
        }
        signal(pause, "TERM");
        assert_eq!(unshare.wait(), Some(0));
    }

    #[test]
    fn installs_again_and_repairs() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("pause");
        let rootfs = install(&root).unwrap();
        let program = rootfs.join("pause");
        let inode = |path: &Path| std::os::unix::fs::MetadataExt::ino(&fs::metadata(path).unwrap());
        let first = inode(&program);
        assert_eq!(install(&root).unwrap(), rootfs);
        assert_eq!(inode(&program), first, "left as it is");

        fs::set_permissions(&program, Permissions::from_mode(0o755)).unwrap();
        fs::write(&program, b"truncated").unwrap();
        install(&root).unwrap();
        assert_eq!(fs::read(&program).unwrap(), PAUSE);
        assert_eq!(
            fs::metadata(&program).unwrap().permissions().mode() & 0o7777,
            0o555
        );
        assert_eq!(
            fs::read_dir(&root).unwrap().count(),
            1,
            "no temporary file left"
        );
    }

    #[test]
    fn a_symbolic_link_in_its_place_is_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("pause");
        let rootfs = install(&root).unwrap();
        let canary = dir.path().join("canary");
        fs::write(&canary, b"alive").unwrap();
        fs::remove_file(rootfs.join("pause")).unwrap();
        std::os::unix::fs::symlink(&canary, rootfs.join("pause")).unwrap();
        install(&root).unwrap();
        assert_eq!(fs::read(&canary).unwrap(), b"alive");
        assert!(
            fs::symlink_metadata(rootfs.join("pause"))
                .unwrap()
                .is_file()
        );
    }

    #[test]
    fn an_unusable_directory_is_named() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("file"), b"").unwrap();
        let error = install(&dir.path().join("file")).unwrap_err().to_string();
        assert!(error.contains("/file: not a directory; make"), "{error}");
    }
}
