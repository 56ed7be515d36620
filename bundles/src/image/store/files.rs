//! Files that are either old or new, never half written, also after a power cut.

use std::fs::{self, DirBuilder, File, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::Path;

use serde::Serialize;
use serde::de::DeserializeOwned;
use tempfile::TempDir;

use crate::image::error::{IoContext, Result};

/// Makes a directory for root alone, with its parents.
pub(super) fn make_private_dir(path: &Path) -> Result<()> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .at("create", path)
}

/// Makes a directory (0700) of a new name in `parent`, removed with its content when dropped.
pub(super) fn temporary_dir(parent: &Path, prefix: &str) -> Result<TempDir> {
    let mut builder = tempfile::Builder::new();
    builder
        .prefix(prefix)
        .permissions(Permissions::from_mode(0o700));
    builder
        .tempdir_in(parent)
        .at("create a directory in", parent)
}

/// Writes a file (0600) by way of a temporary one beside it.
pub(super) fn write(path: &Path, content: &[u8]) -> Result<()> {
    replace(path, content, true)
}

/// The same for what means nothing after a power cut, without waiting for the disk.
pub(super) fn write_volatile_json(path: &Path, value: &impl Serialize) -> Result<()> {
    let text = serde_json::to_vec(value)
        .map_err(io::Error::other)
        .at("write", path)?;
    replace(path, &text, false)
}

fn replace(path: &Path, content: &[u8], durable: bool) -> Result<()> {
    let parent = path.parent().unwrap_or(Path::new("/"));
    let work = || -> io::Result<()> {
        let mut file = tempfile::Builder::new()
            .prefix(".new-")
            .tempfile_in(parent)?;
        file.write_all(content)?;
        if durable {
            file.as_file().sync_all()?;
        }
        file.persist(path).map_err(|error| error.error)?;
        if durable { sync_dir(parent) } else { Ok(()) }
    };
    work().at("write", path)
}

pub(super) fn write_json(path: &Path, value: &impl Serialize) -> Result<()> {
    let text = serde_json::to_vec_pretty(value)
        .map_err(io::Error::other)
        .at("write", path)?;
    write(path, &text)
}

/// `None` when there is no such file.
pub(super) fn read_json<T: DeserializeOwned>(path: &Path) -> Result<Option<T>> {
    match fs::read(path) {
        Ok(text) => serde_json::from_slice(&text)
            .map(Some)
            .map_err(io::Error::from)
            .at("read", path),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).at("read", path),
    }
}

/// Makes the names in a directory durable.
pub(super) fn sync_dir(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// Names in a directory that are text, without our own temporary files.
pub(super) fn names(path: &Path) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(path).at("list", path)? {
        if let Ok(name) = entry.at("list", path)?.file_name().into_string()
            && !name.starts_with('.')
        {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}

/// Removes a file that may be gone already.
pub(super) fn remove_file(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error).at("remove", path),
        _ => Ok(()),
    }
}
