//! Writing the files that a container finds in its `/etc`.

use std::fs::{self, DirBuilder, OpenOptions, Permissions};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use super::error::NetworkError;

/// The texts; see [`super::hosts`] and [`super::resolv`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EtcFiles {
    /// `/etc/hosts`
    pub hosts: String,
    /// `/etc/hostname`
    pub hostname: String,
    /// `/etc/resolv.conf`
    pub resolv_conf: String,
}

/// Where the files are on the host, to be bind-mounted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EtcPaths {
    /// `/etc/hosts`
    pub hosts: PathBuf,
    /// `/etc/hostname`
    pub hostname: PathBuf,
    /// `/etc/resolv.conf`
    pub resolv_conf: PathBuf,
}

impl EtcFiles {
    /// Writes the files, each whole or not at all, mode 0644 in a directory of mode 0755: a container with any user
    /// reads them. Directories made above it are 0700.
    ///
    /// A file written again is a new one: containers that have the old one mounted keep it.
    pub fn write(&self, dir: &Path) -> Result<EtcPaths, NetworkError> {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(dir)
            .and_then(|()| fs::set_permissions(dir, Permissions::from_mode(0o755)))
            .map_err(|e| NetworkError::file("create", dir, e))?;
        let write = |name: &str, text: &str| {
            let path = dir.join(name);
            write_file(dir, &path, name, text)
                .map(|()| path.clone())
                .map_err(|e| NetworkError::file("write", &path, e))
        };
        Ok(EtcPaths {
            hosts: write("hosts", &self.hosts)?,
            hostname: write("hostname", &self.hostname)?,
            resolv_conf: write("resolv.conf", &self.resolv_conf)?,
        })
    }
}

fn write_file(dir: &Path, path: &Path, name: &str, text: &str) -> std::io::Result<()> {
    let temporary = dir.join(format!(".{name}.new"));
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o644)
        .open(&temporary)?;
    // Whatever the umask is.
    file.set_permissions(Permissions::from_mode(0o644))?;
    file.write_all(text.as_bytes())?;
    fs::rename(&temporary, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_readable_by_all_and_replaced_whole() {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().join("pods/uid/etc");
        let mut files = EtcFiles {
            hosts: "h\n".into(),
            hostname: "web\n".into(),
            resolv_conf: String::new(),
        };
        let paths = files.write(&dir).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
        assert_eq!(mode(&paths.resolv_conf), 0o644);
        assert_eq!(mode(&dir), 0o755);
        assert_eq!(mode(dir.parent().unwrap()), 0o700);
        let old = fs::File::open(&paths.hosts).unwrap();
        files.hosts = "other\n".into();
        files.write(&dir).unwrap();
        assert_eq!(fs::read_to_string(&paths.hosts).unwrap(), "other\n");
        assert_eq!(std::io::read_to_string(old).unwrap(), "h\n");
        assert_eq!(fs::read_dir(&dir).unwrap().count(), 3);
    }
}
