//! The platform of this machine, and the choice among an index's manifests.

use oci_spec::image::{Arch, Descriptor, Os, Platform};

/// `GOARCH` of this machine and the variants that it runs, the best first. An empty text is "no variant".
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Host {
    arch: Arch,
    variants: &'static [&'static str],
}

impl Host {
    /// The platform that this program was built for.
    pub(crate) fn current() -> Self {
        Self::of(std::env::consts::ARCH)
    }

    fn of(rust_arch: &str) -> Self {
        // The variants are those of containerd's `platforms.Only`.
        let (arch, variants): (_, &[_]) = match rust_arch {
            "x86_64" => (Arch::Amd64, &["", "v1"]),
            "x86" => (Arch::i386, &[""]),
            "aarch64" => (Arch::ARM64, &["v8", ""]),
            "arm" => (Arch::ARM, &["v7", "", "v6", "v5"]),
            "powerpc64" if cfg!(target_endian = "little") => (Arch::PowerPC64le, &[""]),
            "powerpc64" => (Arch::PowerPC64, &[""]),
            "riscv64" => (Arch::RISCV64, &[""]),
            "s390x" => (Arch::s390x, &[""]),
            "loongarch64" => (Arch::LoongArch64, &[""]),
            other => (Arch::Other(other.to_owned()), &[""]),
        };
        Self { arch, variants }
    }

    /// Whether an image configuration is for this machine. Configurations often lack the variant.
    pub(crate) fn runs(&self, os: &Os, arch: &Arch) -> bool {
        *os == Os::Linux && *arch == self.arch
    }

    /// How well a platform fits; the smallest is best, `None` does not run.
    fn rank(&self, platform: &Platform) -> Option<usize> {
        if !self.runs(platform.os(), platform.architecture()) {
            return None;
        }
        let variant = platform.variant().as_deref().unwrap_or("");
        self.variants.iter().position(|known| *known == variant)
    }

    /// The manifest for this machine. An entry without a platform is taken when no other fits, as in
    /// layouts that hold a single image.
    pub(crate) fn choose<'a>(&self, manifests: &'a [Descriptor]) -> Option<&'a Descriptor> {
        let best = manifests
            .iter()
            .filter_map(|entry| Some((self.rank(entry.platform().as_ref()?)?, entry)))
            .min_by_key(|(rank, _)| *rank)
            .map(|(_, entry)| entry);
        best.or_else(|| manifests.iter().find(|entry| entry.platform().is_none()))
    }
}

impl std::fmt::Display for Host {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "linux/{}", self.arch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn entry(platform: serde_json::Value) -> Descriptor {
        let mut value = json!({
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "size": 1,
            "digest": super::super::digest::Digest::of(platform.to_string().as_bytes()),
        });
        if !platform.is_null() {
            value["platform"] = platform;
        }
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn b41_picks_the_manifest_of_the_host() {
        let platform = |arch: &str, variant: &str| {
            let mut p = json!({"os": "linux", "architecture": arch});
            if !variant.is_empty() {
                p["variant"] = variant.into();
            }
            entry(p)
        };
        let attestation = entry(json!({"os": "unknown", "architecture": "unknown"}));
        let windows = entry(json!({"os": "windows", "architecture": "amd64"}));
        let all = [
            attestation.clone(),
            windows.clone(),
            platform("arm", "v6"),
            platform("arm", "v7"),
            platform("arm64", ""),
            platform("arm64", "v8"),
            platform("amd64", "v3"),
            platform("amd64", ""),
        ];
        let choice = |arch: &str| Host::of(arch).choose(&all).cloned();
        assert_eq!(choice("x86_64"), Some(all[7].clone()));
        assert_eq!(choice("aarch64"), Some(all[5].clone()));
        assert_eq!(choice("arm"), Some(all[3].clone()));
        assert_eq!(choice("s390x"), None);
        let bare = entry(serde_json::Value::Null);
        assert_eq!(
            Host::of("s390x").choose(&[attestation, windows, bare.clone()]),
            Some(&bare)
        );
    }
}
