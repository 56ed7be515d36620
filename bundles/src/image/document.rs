//! Reads manifests and indexes, and refuses what the OCI and Docker formats do not allow.

use oci_spec::image::{Descriptor, ImageIndex, ImageManifest, MediaType};
use serde_json::Value;

use super::digest::Digest;
use super::error::{ImageError, Result};
use super::platform::Host;

/// The largest manifest, index or configuration that is read (the OCI distribution specification asks
/// registries for 4 MiB).
pub(crate) const MAX_DOCUMENT: u64 = 4 << 20;

pub(crate) const DOCKER_INDEX: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
pub(crate) const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
const DOCKER_CONFIG: &str = "application/vnd.docker.container.image.v1+json";
const DOCKER_LAYERS: &[&str] = &[
    "application/vnd.docker.image.rootfs.diff.tar",
    "application/vnd.docker.image.rootfs.diff.tar.gzip",
    "application/vnd.docker.image.rootfs.diff.tar.zstd",
];

/// Where a document leads on this machine.
#[derive(Debug)]
pub enum Step {
    /// An index: this is the document to read next.
    Document(Blob),
    /// A manifest: these are the image's blobs.
    Image(Manifest),
}

/// An index may point to an index; no tool nests deeper.
pub const MAX_DEPTH: usize = 3;

/// Reads a document whose digest has been checked, as [`parse`] does: what it is, and where it leads.
///
/// # Errors
/// [`ImageError::Refused`], which calls it `what`.
pub fn follow(what: &str, bytes: &[u8], media_type: Option<&str>) -> Result<(Blob, Step)> {
    let parsed = parse(what, bytes, media_type)?;
    let blob = Blob {
        media_type: parsed.media_type(bytes),
        digest: Digest::of(bytes),
        size: bytes.len() as u64,
    };
    let step = match parsed {
        Document::Manifest(manifest) => Step::Image(manifest),
        Document::Index(entries) => {
            let host = Host::current();
            let entry = host
                .choose(&entries)
                .ok_or_else(|| ImageError::refused(what, format!("it has no image for {host}")))?;
            Step::Document(self::blob(what, entry)?)
        }
    };
    Ok((blob, step))
}

/// What a manifest's URL or blob can hold.
#[derive(Debug)]
pub(crate) enum Document {
    Index(Vec<Descriptor>),
    Manifest(Manifest),
}

/// The checked content of an image manifest.
#[derive(Debug, Clone)]
pub struct Manifest {
    /// The configuration.
    pub config: Blob,
    /// The base first.
    pub layers: Vec<Blob>,
}

/// A blob as a manifest names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Blob {
    /// What it is.
    pub media_type: String,
    /// Of its content.
    pub digest: Digest,
    /// Bytes.
    pub size: u64,
}

impl Document {
    /// The media type that the document itself names, else that of its kind.
    pub(crate) fn media_type(&self, bytes: &[u8]) -> String {
        #[derive(serde::Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Named {
            media_type: Option<String>,
        }
        let named = serde_json::from_slice::<Named>(bytes).ok();
        let kind = match self {
            Self::Index(_) => MediaType::ImageIndex,
            Self::Manifest(_) => MediaType::ImageManifest,
        };
        named
            .and_then(|named| named.media_type)
            .unwrap_or_else(|| kind.to_string())
    }
}

/// Reads a document whose digest has been checked. `media_type` is what the registry or the pointing
/// descriptor says; a `mediaType` within must agree with it (CVE-2021-41190).
pub(crate) fn parse(what: &str, bytes: &[u8], media_type: Option<&str>) -> Result<Document> {
    let refuse = |reason: &str| Err(ImageError::refused(what, reason));
    let value: Value = serde_json::from_slice(bytes)
        .map_err(|error| ImageError::refused(what, format!("it is not JSON: {error}")))?;
    let Value::Object(fields) = &value else {
        return refuse("it is not a JSON object");
    };
    if fields.contains_key("fsLayers") || fields.get("schemaVersion") == Some(&Value::from(1)) {
        return refuse(
            "it has Docker's schema 1, obsolete since 2015: push the image again with a current tool",
        );
    }
    if fields.get("schemaVersion") != Some(&Value::from(2)) {
        return refuse("its schemaVersion is not 2");
    }
    let is_manifest = fields.contains_key("layers") || fields.contains_key("config");
    if is_manifest == fields.contains_key("manifests") {
        return refuse(if is_manifest {
            "it has both layers and manifests, so that it means different things to different readers"
        } else {
            "it has neither layers nor manifests"
        });
    }
    let own_type = fields.get("mediaType").and_then(Value::as_str);
    for media_type in own_type.into_iter().chain(media_type) {
        let expected = match MediaType::from(media_type) {
            MediaType::ImageManifest => true,
            MediaType::ImageIndex => false,
            MediaType::Other(other) if other == DOCKER_MANIFEST => true,
            MediaType::Other(other) if other == DOCKER_INDEX => false,
            // Registries that know no better.
            MediaType::Other(other) if other.starts_with("application/json") => continue,
            _ => {
                let reason = format!("media type {media_type:?} is no image");
                return Err(ImageError::refused(what, reason));
            }
        };
        if expected != is_manifest {
            let reason = format!("its content does not fit its media type {media_type:?}");
            return Err(ImageError::refused(what, reason));
        }
    }
    let malformed =
        |error: serde_json::Error| ImageError::refused(what, format!("it is malformed: {error}"));
    if is_manifest {
        let manifest: ImageManifest = serde_json::from_value(value).map_err(malformed)?;
        check_manifest(what, &manifest).map(Document::Manifest)
    } else {
        let index: ImageIndex = serde_json::from_value(value).map_err(malformed)?;
        Ok(Document::Index(index.manifests().clone()))
    }
}

fn check_manifest(what: &str, manifest: &ImageManifest) -> Result<Manifest> {
    let refuse = |reason: String| Err(ImageError::refused(what, reason));
    let config = manifest.config();
    match config.media_type() {
        MediaType::ImageConfig => {}
        MediaType::Other(other) if other == DOCKER_CONFIG => {}
        other => {
            return refuse(format!(
                "its configuration is {other}, which is no container image"
            ));
        }
    }
    for layer in manifest.layers() {
        if layer.urls().as_ref().is_some_and(|urls| !urls.is_empty()) {
            return refuse("it has layers that are to be fetched from other places".into());
        }
        match layer.media_type() {
            MediaType::ImageLayer | MediaType::ImageLayerGzip | MediaType::ImageLayerZstd => {}
            MediaType::ImageLayerNonDistributable
            | MediaType::ImageLayerNonDistributableGzip
            | MediaType::ImageLayerNonDistributableZstd => {}
            MediaType::Other(other) if DOCKER_LAYERS.contains(&other.as_str()) => {}
            other => return refuse(format!("a layer is {other}, which cannot be unpacked")),
        }
    }
    let config = blob(what, config)?;
    if config.size > MAX_DOCUMENT {
        return refuse(format!(
            "its configuration is larger than {MAX_DOCUMENT} bytes"
        ));
    }
    let layers = manifest
        .layers()
        .iter()
        .map(|layer| blob(what, layer))
        .collect::<Result<_>>()?;
    Ok(Manifest { config, layers })
}

/// The checked digest and size of a descriptor.
pub(crate) fn blob(what: &str, descriptor: &Descriptor) -> Result<Blob> {
    let digest = descriptor.digest().to_string().parse::<Digest>();
    Ok(Blob {
        media_type: descriptor.media_type().to_string(),
        digest: digest.map_err(|error| ImageError::refused(what, error.to_string()))?,
        size: descriptor.size(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn descriptor(kind: &str) -> Value {
        json!({"mediaType": format!("application/vnd.{kind}"), "size": 3, "digest": Digest::of(kind.as_bytes())})
    }

    fn manifest() -> Value {
        json!({
            "schemaVersion": 2,
            "config": descriptor("oci.image.config.v1+json"),
            "layers": [descriptor("oci.image.layer.v1.tar+gzip")],
        })
    }

    fn error(value: &Value, media_type: Option<&str>) -> String {
        parse("manifest", value.to_string().as_bytes(), media_type)
            .unwrap_err()
            .to_string()
    }

    #[test]
    fn b41_c32_wrong_manifests_are_refused() {
        let with = |key: &str, value: Value| {
            let mut changed = manifest();
            changed[key] = value;
            changed
        };
        let oci = "application/vnd.oci.image.manifest.v1+json";
        assert!(matches!(
            parse("m", manifest().to_string().as_bytes(), Some(oci)),
            Ok(Document::Manifest(m)) if m.layers.len() == 1
        ));
        assert!(error(&with("manifests", json!([])), None).contains("both layers and manifests"));
        assert!(error(&json!({"schemaVersion": 1, "fsLayers": []}), None).contains("schema 1"));
        assert!(error(&json!({"schemaVersion": 2}), None).contains("neither"));
        assert!(error(&with("schemaVersion", json!(3)), None).contains("schemaVersion"));
        assert!(error(&manifest(), Some(DOCKER_INDEX)).contains("does not fit"));
        assert!(error(&with("mediaType", json!(DOCKER_INDEX)), Some(oci)).contains("does not fit"));
        assert!(error(&with("mediaType", json!("text/html")), None).contains("no image"));
        assert!(
            error(
                &with("config", descriptor("cncf.helm.config.v1+json")),
                None
            )
            .contains("helm")
        );
        assert!(
            error(
                &with(
                    "layers",
                    json!([descriptor("oci.image.layer.v1.tar+encrypted")])
                ),
                None
            )
            .contains("encrypted")
        );
        for (field, bad) in [
            ("size", json!(-1)),
            ("digest", json!("sha256:../../x")),
            ("digest", json!("sha512:0")),
        ] {
            let mut layer = descriptor("oci.image.layer.v1.tar");
            layer[field] = bad;
            assert!(
                error(&with("layers", json!([layer])), None).starts_with("manifest is refused")
            );
        }
        let mut layer = descriptor("oci.image.layer.nondistributable.v1.tar");
        layer["urls"] = json!(["https://elsewhere.example/layer"]);
        assert!(error(&with("layers", json!([layer])), None).contains("other places"));
        assert!(parse("m", b"[]", None).is_err() && parse("m", b"<html>", None).is_err());
        let nested = "[".repeat(100_000);
        assert!(parse("m", nested.as_bytes(), None).is_err());
    }
}
