//! `configMap`, `secret`, `downwardAPI` and `projected`: where a kubelet has them, and on what.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use carob_core::config::{File, PayloadError};
use carob_core::pod::{FileForm, FileVolume, Medium};

use super::error::VolumeError;
use super::{VOLUMES, atomic, empty_dir};

/// Tells the files of a volume.
pub type Payload<'a> = dyn Fn(&FileVolume) -> Result<BTreeMap<String, File>, PayloadError> + 'a;

/// Where a volume is.
pub(super) fn path(pod: &Path, form: FileForm, name: &str) -> PathBuf {
    let plugin = match form {
        FileForm::ConfigMap => "kubernetes.io~configmap",
        FileForm::Secret => "kubernetes.io~secret",
        FileForm::DownwardApi => "kubernetes.io~downward-api",
        FileForm::Projected => "kubernetes.io~projected",
    };
    pod.join(VOLUMES).join(plugin).join(name)
}

/// Makes its directory: in memory, where there may be secrets in it, as a kubelet does (`wrappedVolumeSpec` of the
/// plugins).
pub(super) fn set_up(path: &Path, form: FileForm) -> Result<(), VolumeError> {
    let medium = match form {
        FileForm::ConfigMap => Medium::Disk,
        FileForm::Secret | FileForm::DownwardApi | FileForm::Projected => Medium::Memory,
    };
    empty_dir::set_up(path, medium, None, None)
}

/// Writes its files, unless they are there already.
pub(super) fn write(
    path: &Path,
    name: &str,
    volume: &FileVolume,
    fs_group: Option<u32>,
    payload: &Payload<'_>,
) -> Result<(), VolumeError> {
    let files = payload(volume).map_err(|source| VolumeError::Payload {
        volume: name.to_owned(),
        source,
    })?;
    atomic::write(path, &files, fs_group)
        .map_err(|e| VolumeError::file("write the files of", path, e))
}
