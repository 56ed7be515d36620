//! Files that are all replaced at one moment, whoever reads them (kubelet: pkg/volume/util/atomic_writer.go).
//!
//! ```text
//! ..2026_11_21_09_30_00.1f2e/   the files of one moment
//! ..data -> ..2026_11_21_…      exchanged by one rename
//! key -> ..data/key             what containers open
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, DirBuilder, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{
    DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt, chown, symlink,
};
use std::path::{Path, PathBuf};

use carob_core::config::File;
use jiff::Timestamp;

use super::remove::remove_tree;

const DATA: &str = "..data";
const NEW_DATA: &str = "..data_tmp";
/// What a kubelet adds for an `fsGroup` to files that nobody may write (`roMask`, pkg/volume/volume_linux.go).
const GROUP_READS: u32 = 0o440;
/// And to directories.
const GROUP_ENTERS: u32 = 0o2550;

/// Makes the directory's files these and no others. Nothing is touched when they are so already.
pub(super) fn write(
    dir: &Path,
    files: &BTreeMap<String, File>,
    fs_group: Option<u32>,
) -> io::Result<()> {
    let current = fs::read_link(dir.join(DATA)).ok();
    let same = match &current {
        Some(current) => is(&dir.join(current), files, fs_group),
        None => false,
    };
    let data = match current.filter(|_| same) {
        Some(current) => current,
        None => {
            let new = write_new(dir, files, fs_group)?;
            let link = dir.join(NEW_DATA);
            match fs::remove_file(&link) {
                Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
                _ => {}
            }
            symlink(&new, &link)?;
            fs::rename(&link, dir.join(DATA))?;
            new
        }
    };
    show(dir, files)?;
    clean(dir, files, &data)
}

/// Writes the files into a directory of their own; gives its name.
fn write_new(
    dir: &Path,
    files: &BTreeMap<String, File>,
    fs_group: Option<u32>,
) -> io::Result<PathBuf> {
    let now = Timestamp::now();
    let time = now.strftime("%Y_%m_%d_%H_%M_%S");
    let name = PathBuf::from(format!("..{time}.{:09}", now.subsec_nanosecond()));
    let new = dir.join(&name);
    make_dir(&new, fs_group)?;
    for (path, file) in files {
        let target = new.join(path);
        make_parents(&new, &target, fs_group)?;
        let mut options = OpenOptions::new();
        let mut made = options
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&target)?;
        made.write_all(&file.bytes)?;
        if let Some(group) = fs_group {
            chown(&target, None, Some(group))?;
        }
        made.set_permissions(Permissions::from_mode(mode(file, fs_group)))?;
    }
    Ok(name)
}

fn mode(file: &File, fs_group: Option<u32>) -> u32 {
    file.mode | fs_group.map_or(0, |_| GROUP_READS)
}

fn make_parents(top: &Path, file: &Path, fs_group: Option<u32>) -> io::Result<()> {
    let Some(parent) = file.parent() else {
        return Ok(());
    };
    if parent == top || parent.is_dir() {
        return Ok(());
    }
    make_parents(top, parent, fs_group)?;
    make_dir(parent, fs_group)
}

fn make_dir(path: &Path, fs_group: Option<u32>) -> io::Result<()> {
    DirBuilder::new().mode(0o700).create(path)?;
    if let Some(group) = fs_group {
        chown(path, None, Some(group))?;
    }
    // Whatever the umask is.
    let mode = 0o755 | fs_group.map_or(0, |_| GROUP_ENTERS);
    fs::set_permissions(path, Permissions::from_mode(mode))
}

/// Whether a directory has exactly these files.
fn is(dir: &Path, files: &BTreeMap<String, File>, fs_group: Option<u32>) -> bool {
    let same = |(path, file): (&String, &File)| {
        let path = dir.join(path);
        let meta = fs::symlink_metadata(&path);
        meta.is_ok_and(|meta| meta.is_file() && meta.mode() & 0o777 == mode(file, fs_group))
            && fs::read(&path).is_ok_and(|bytes| bytes == file.bytes)
    };
    files.iter().all(same) && count(dir).is_ok_and(|count| count == files.len())
}

fn count(dir: &Path) -> io::Result<usize> {
    let mut files = 0;
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        files += match entry.file_type()?.is_dir() {
            true => count(&entry.path())?,
            false => 1,
        };
    }
    Ok(files)
}

/// Links to the files, and to the directories that they are in.
fn show(dir: &Path, files: &BTreeMap<String, File>) -> io::Result<()> {
    for name in tops(files) {
        match symlink(Path::new(DATA).join(name), dir.join(name)) {
            Err(e) if e.kind() != io::ErrorKind::AlreadyExists => return Err(e),
            _ => {}
        }
    }
    Ok(())
}

fn tops(files: &BTreeMap<String, File>) -> BTreeSet<&str> {
    let first = |path| str::split(path, '/').next().unwrap_or(path);
    files.keys().map(|path| first(path)).collect()
}

/// Removes links to files that are not any more, and the files of earlier moments.
fn clean(dir: &Path, files: &BTreeMap<String, File>, data: &Path) -> io::Result<()> {
    let tops = tops(files);
    for entry in fs::read_dir(dir)? {
        let name = entry?.file_name();
        let text = name.to_string_lossy();
        if text == DATA || data == Path::new(&name) || tops.contains(&*text) {
            continue;
        }
        remove_tree(&dir.join(&name)).map_err(io::Error::other)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(list: &[(&str, &str, u32)]) -> BTreeMap<String, File> {
        let file = |(path, text, mode): &(&str, &str, u32)| {
            let bytes = text.as_bytes().to_vec();
            (path.to_string(), File { bytes, mode: *mode })
        };
        list.iter().map(file).collect()
    }

    fn seen(dir: &Path) -> Vec<String> {
        let names = fs::read_dir(dir).unwrap();
        let names = names.map(|e| e.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<_> = names.filter(|name| !name.starts_with("..2")).collect();
        names.sort();
        names
    }

    #[test]
    fn files_change_together_and_the_old_ones_go() {
        let temp = tempfile::tempdir().unwrap();
        let dir = temp.path();
        write(
            dir,
            &files(&[("a", "1", 0o644), ("b/c/d", "2", 0o400)]),
            None,
        )
        .unwrap();
        assert_eq!(seen(dir), ["..data", "a", "b"]);
        assert_eq!(fs::read_to_string(dir.join("b/c/d")).unwrap(), "2");
        let mode = |name: &str| fs::metadata(dir.join(name)).unwrap().mode() & 0o7777;
        assert_eq!(
            (mode("a"), mode("b/c/d"), mode("b/c")),
            (0o644, 0o400, 0o755)
        );
        assert_eq!(fs::read_link(dir.join("a")).unwrap(), Path::new("..data/a"));

        let before = fs::read_link(dir.join(DATA)).unwrap();
        let open = fs::File::open(dir.join("a")).unwrap();
        write(
            dir,
            &files(&[("a", "3", 0o644), ("e", "4", 0o644)]),
            Some(1234),
        )
        .unwrap();
        assert_ne!(fs::read_link(dir.join(DATA)).unwrap(), before);
        assert!(!dir.join(before).exists());
        assert_eq!(seen(dir), ["..data", "a", "e"]);
        assert_eq!(fs::read_to_string(dir.join("a")).unwrap(), "3");
        assert_eq!(fs::metadata(dir.join("e")).unwrap().gid(), 1234);
        // Who had the old one open keeps it.
        assert_eq!(io::read_to_string(open).unwrap(), "1");
    }

    #[test]
    fn what_is_so_already_is_not_touched() {
        let temp = tempfile::tempdir().unwrap();
        let dir = temp.path();
        for group in [None, Some(1234)] {
            write(dir, &files(&[("a/b", "1", 0o600)]), group).unwrap();
            let before = fs::read_link(dir.join(DATA)).unwrap();
            write(dir, &files(&[("a/b", "1", 0o600)]), group).unwrap();
            assert_eq!(fs::read_link(dir.join(DATA)).unwrap(), before);
        }
        for other in [
            files(&[("a/b", "2", 0o600)]),
            files(&[("a/b", "2", 0o640)]),
            files(&[("a/b", "2", 0o640), ("c", "", 0o640)]),
            files(&[]),
        ] {
            let before = fs::read_link(dir.join(DATA)).unwrap();
            write(dir, &other, None).unwrap();
            assert_ne!(fs::read_link(dir.join(DATA)).unwrap(), before);
        }
        assert_eq!(seen(dir), ["..data"]);
    }

    #[test]
    fn f02_what_a_killed_writer_left_is_no_hindrance() {
        let temp = tempfile::tempdir().unwrap();
        let dir = temp.path();
        symlink("nowhere", dir.join(NEW_DATA)).unwrap();
        fs::create_dir(dir.join("..2020_01_01_00_00_00.1")).unwrap();
        symlink("..data/gone", dir.join("gone")).unwrap();
        write(dir, &files(&[("a", "1", 0o644)]), None).unwrap();
        assert_eq!(seen(dir), ["..data", "a"]);
        assert_eq!(fs::read_dir(dir).unwrap().count(), 3);
    }
}
