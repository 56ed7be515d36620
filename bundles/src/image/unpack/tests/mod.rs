//! A place to unpack hostile and odd archives in.

mod kept;
mod refused;

use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::PathBuf;

use tempfile::TempDir;

use super::*;

/// A directory to unpack into, beside one that must never change.
struct Ground {
    _top: TempDir,
    layer: PathBuf,
    outside: PathBuf,
}

impl Ground {
    fn new() -> Self {
        let top = TempDir::new().unwrap();
        let (layer, outside) = (top.path().join("layer"), top.path().join("outside"));
        fs::create_dir(&layer).unwrap();
        fs::create_dir(&outside).unwrap();
        fs::write(outside.join("canary"), "alive").unwrap();
        fs::set_permissions(&outside, fs::Permissions::from_mode(0o751)).unwrap();
        Self {
            _top: top,
            layer,
            outside,
        }
    }

    fn limited(&self, archive: &[u8], limits: &Limits) -> Result<Unpacked, LayerError> {
        let result = unpack(
            archive,
            &self.layer,
            limits,
            &Cancel::default(),
            &mut |_| {},
        );
        assert_eq!(
            fs::read_to_string(self.outside.join("canary")).unwrap(),
            "alive"
        );
        assert_eq!(
            fs::read_dir(&self.outside).unwrap().count(),
            1,
            "something was made outside"
        );
        let status = fs::symlink_metadata(&self.outside).unwrap();
        assert_eq!(
            (status.mode() & 0o7777, status.uid()),
            (0o751, 0),
            "the mode outside was changed"
        );
        assert_eq!(
            fs::metadata(self.outside.join("canary")).unwrap().nlink(),
            1
        );
        result
    }

    fn unpack(&self, archive: &[u8]) -> Result<Unpacked, LayerError> {
        self.limited(archive, &Limits::default())
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.layer.join(name)).unwrap()
    }

    fn whiteout(&self, name: &str) -> bool {
        let status = fs::symlink_metadata(self.layer.join(name)).unwrap();
        status.file_type().is_char_device() && status.rdev() == 0
    }

    fn opaque(&self, name: &str) -> bool {
        let mut value = [0; 8];
        rustix::fs::lgetxattr(self.layer.join(name), "trusted.overlay.opaque", &mut value)
            .is_ok_and(|length| &value[..length] == b"y")
    }
}
