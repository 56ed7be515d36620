//! The system-call filter of a container: none, the default profile, or one of the machine's own.

mod default;
mod localhost;

use carob_core::pod::SeccompProfile;
use oci_spec::runtime::{Capabilities, LinuxSeccomp};

use super::SpecError;
use super::container::ContainerInput;

/// The filter of a container with these capabilities: its own profile's, else the Pod's, else the default
/// one where `seccomp_default` says so (kubelet, `pkg/kubelet/kuberuntime/helpers.go`). Privileged
/// containers have none.
pub(super) fn of_container(
    input: &ContainerInput,
    bounding: &Capabilities,
) -> Result<Option<LinuxSeccomp>, SpecError> {
    let security = &input.container.security;
    let unset = match input.seccomp_default {
        true => &SeccompProfile::RuntimeDefault,
        false => &SeccompProfile::Unconfined,
    };
    let profile = security
        .seccomp
        .as_ref()
        .or(input.pod.spec.security.seccomp.as_ref());
    match profile.unwrap_or(unset) {
        _ if security.privileged => Ok(None),
        SeccompProfile::Unconfined => Ok(None),
        SeccompProfile::RuntimeDefault => {
            Ok(Some(default::profile(bounding, input.machine.kernel)))
        }
        SeccompProfile::Localhost(path) => match localhost::load(input.seccomp_root, path) {
            Ok(profile) => Ok(Some(profile)),
            Err(reason) => Err(SpecError::Seccomp {
                container: input.container.name.clone(),
                profile: path.clone(),
                reason,
            }),
        },
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::spec::testing::World;

    fn filter(world: &World) -> Value {
        world.json()["linux"]["seccomp"].clone()
    }

    #[test]
    fn the_containers_profile_comes_before_the_pods_and_that_before_the_default() {
        let mut world = World::new();
        assert!(filter(&world).is_null());
        world.seccomp_default = true;
        assert_eq!(filter(&world)["defaultAction"], "SCMP_ACT_ERRNO");
        world.pod.spec.security.seccomp = Some(SeccompProfile::Unconfined);
        assert!(filter(&world).is_null());
        world.security().seccomp = Some(SeccompProfile::RuntimeDefault);
        assert_eq!(filter(&world)["defaultAction"], "SCMP_ACT_ERRNO");
        world.security().privileged = true;
        assert!(filter(&world).is_null());
    }

    #[test]
    fn a_profile_of_the_machine_is_named_in_errors() {
        let mut world = World::new();
        let root = tempfile::tempdir().unwrap();
        world.seccomp_root = root.path().to_owned();
        world.security().seccomp = Some(SeccompProfile::Localhost("team/app.json".into()));
        let error = world.error();
        let start =
            "container \"main\": seccomp profile \"team/app.json\": cannot open it: No such file";
        assert!(error.starts_with(start), "{error}");
        std::fs::create_dir(root.path().join("team")).unwrap();
        let text = r#"{"defaultAction": "SCMP_ACT_LOG"}"#;
        std::fs::write(root.path().join("team/app.json"), text).unwrap();
        assert_eq!(filter(&world)["defaultAction"], "SCMP_ACT_LOG");
    }
}
