//! Reading manifests for the commands that take one.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use anyhow::{Context, ensure};
use carob_core::parse::{Manifest, ManifestErrors, parse_manifest};

use crate::machine;

/// How many bytes of a manifest are read: one more than the parser takes, which says that it is too large.
pub const MAX: u64 = (3 << 20) + 1;

/// A manifest's text and what to call it.
pub struct Text {
    name: String,
    bytes: Vec<u8>,
}

/// Reads a file, or standard input for `-`.
///
/// # Errors
/// The system's answer, with the name.
pub fn read(file: &Path) -> anyhow::Result<Text> {
    let mut bytes = Vec::new();
    let (name, read) = if file == Path::new("-") {
        (
            "standard input".to_owned(),
            io::stdin().lock().take(MAX).read_to_end(&mut bytes),
        )
    } else {
        let read = File::open(file).and_then(|f| f.take(MAX).read_to_end(&mut bytes));
        (file.display().to_string(), read)
    };
    read.with_context(|| format!("cannot read the manifest {name}"))?;
    Ok(Text { name, bytes })
}

/// The Pods of a manifest that must have some.
///
/// # Errors
/// When it has only ConfigMaps and Secrets.
pub fn need_pods(text: &Text, manifest: &Manifest) -> anyhow::Result<()> {
    ensure!(
        !manifest.pods.is_empty(),
        "{}: there is no Pod in it, only ConfigMaps and Secrets",
        text.name
    );
    Ok(())
}

/// Parses it; the inner error is what is wrong with the manifest.
///
/// # Errors
/// When the machine gives no UIDs.
pub fn parse(text: &Text) -> anyhow::Result<Result<Manifest, ManifestErrors>> {
    parse_noting(text, &mut Vec::new())
}

/// The same; notes the UIDs that Pods were given, as the manifest has none for them.
///
/// # Errors
/// When the machine gives no UIDs.
pub fn parse_noting(
    text: &Text,
    made_uids: &mut Vec<String>,
) -> anyhow::Result<Result<Manifest, ManifestErrors>> {
    let mut failed = None;
    let mut make_uid = || {
        let uid = machine::new_uid().unwrap_or_else(|error| {
            failed = Some(error);
            String::new()
        });
        made_uids.push(uid.clone());
        uid
    };
    let parsed = parse_manifest(&text.bytes, &text.name, &mut make_uid);
    match failed {
        Some(error) => Err(error).context("cannot make a UID for a Pod"),
        None => Ok(parsed),
    }
}
