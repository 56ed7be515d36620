//! A directory of certificates without a `hosts.toml`, as Docker has it: `*.crt` are authorities, `*.cert` are for
//! us to show, each with the `*.key` of the same name.

use std::path::Path;

use super::Tls;
use crate::image::error::{IoContext, Result};

pub(super) fn of(directory: &Path) -> Result<Tls> {
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(directory).at("read", directory)? {
        paths.push(entry.at("read", directory)?.path());
    }
    paths.sort();
    let mut tls = Tls::default();
    for path in paths {
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("crt") => tls.authorities.push(path),
            Some("cert") => tls
                .client
                .push((path.clone(), Some(path.with_extension("key")))),
            _ => {}
        }
    }
    Ok(tls)
}
