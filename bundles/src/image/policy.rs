//! When an image is pulled: `imagePullPolicy` (Kubernetes documentation, "Images").

use super::reference::Reference;

/// `imagePullPolicy` of a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PullPolicy {
    /// Ask the registry each time; layers that are here are not fetched again.
    Always,
    /// Only when no such image is here.
    IfNotPresent,
    /// Fail when no such image is here.
    Never,
}

/// What to do about a container's image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Pull it from its registry.
    Pull,
    /// Take the one that is here.
    UsePresent,
    /// Wait with the reason `ErrImageNeverPull`.
    NeverPull,
}

impl PullPolicy {
    /// Kubernetes' default: `Always` for the tag `latest`, written or implied, else `IfNotPresent`.
    #[must_use]
    pub fn default_for(reference: &Reference) -> Self {
        if reference.tag() == Some("latest") {
            Self::Always
        } else {
            Self::IfNotPresent
        }
    }

    /// What to do, given whether the store has the image.
    #[must_use]
    pub fn decide(self, present: bool) -> Action {
        match (self, present) {
            (Self::Always, _) | (Self::IfNotPresent, false) => Action::Pull,
            (Self::IfNotPresent | Self::Never, true) => Action::UsePresent,
            (Self::Never, false) => Action::NeverPull,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults() {
        let digest = super::super::digest::Digest::of(b"");
        for (image, expected) in [
            ("busybox", PullPolicy::Always),
            ("busybox:latest", PullPolicy::Always),
            ("busybox:1.36", PullPolicy::IfNotPresent),
            (&format!("busybox@{digest}"), PullPolicy::IfNotPresent),
            (&format!("busybox:latest@{digest}"), PullPolicy::Always),
        ] {
            assert_eq!(
                PullPolicy::default_for(&image.parse().unwrap()),
                expected,
                "{image}"
            );
        }
    }

    #[test]
    fn b33_never_with_an_absent_image() {
        assert_eq!(PullPolicy::Never.decide(false), Action::NeverPull);
        assert_eq!(PullPolicy::Never.decide(true), Action::UsePresent);
        assert_eq!(PullPolicy::IfNotPresent.decide(true), Action::UsePresent);
        assert_eq!(PullPolicy::IfNotPresent.decide(false), Action::Pull);
        assert_eq!(PullPolicy::Always.decide(true), Action::Pull);
    }
}
