//! Why no `config.json` can be made: one sentence each, with the thing, the cause and the way out.

/// What stands in the way of a container's `config.json`.
#[derive(Debug, thiserror::Error)]
pub enum SpecError {
    /// Neither the image nor the Pod says what to run.
    #[error(
        "container {container:?}: no command specified: its image has neither Entrypoint nor Cmd; set command in the Pod"
    )]
    NoCommand {
        /// The container.
        container: String,
    },
    /// A NUL byte in an argument, a variable or a path, where the kernel takes none.
    #[error(
        "container {container:?}: {what} contains a NUL byte, which no process can be given; remove it"
    )]
    Nul {
        /// The container.
        container: String,
        /// Such as `argument 2` or `variable "X"`.
        what: String,
    },
    /// A working directory that no container may have.
    #[error(
        "container {container:?}: cannot work in {directory:?} (from the {origin}): {reason}; set workingDir to a directory of the image"
    )]
    WorkingDir {
        /// The container.
        container: String,
        /// The directory.
        directory: String,
        /// `Pod` or `image`.
        origin: &'static str,
        /// Why not.
        reason: &'static str,
    },
    /// `runAsNonRoot` would be broken; the texts are kubelet's (`kuberuntime/security_context_others.go`).
    #[error(
        "{message} (pod: \"{pod}\", container: {container}); set runAsUser to a number above 0"
    )]
    NonRoot {
        /// What breaks it.
        message: String,
        /// `NAME_NAMESPACE(UID)`, as a kubelet writes it.
        pod: String,
        /// The container.
        container: String,
    },
    /// The user or group to run as cannot be had.
    #[error("container {container:?}: {source}")]
    User {
        /// The container.
        container: String,
        /// What is wrong with it.
        source: super::user::UserError,
    },
    /// A capability that this machine does not have to give.
    #[error(
        "container {container:?}: capability {capability} cannot be added: {reason}; leave it out of capabilities.add"
    )]
    Capability {
        /// The container.
        container: String,
        /// Its name as written.
        capability: String,
        /// Why not.
        reason: &'static str,
    },
    /// A seccomp profile that cannot be used.
    #[error("container {container:?}: seccomp profile {profile:?}: {reason}")]
    Seccomp {
        /// The container.
        container: String,
        /// Its path as written.
        profile: String,
        /// What is wrong with it, and the way out.
        reason: String,
    },
    /// A mount that cannot be made.
    #[error("container {container:?}: cannot mount at {destination:?}: {reason}")]
    Mount {
        /// The container.
        container: String,
        /// Where.
        destination: String,
        /// Why not, and the way out.
        reason: String,
    },
    /// A `VOLUME` of the image that cannot be provided.
    #[error(
        "image {image:?} declares the volume {path:?}, which {reason}; build the image without it"
    )]
    ImageVolume {
        /// The image.
        image: String,
        /// The path as the image has it.
        path: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The devices of the machine cannot be listed for a privileged container.
    #[error(
        "container {container:?} is privileged, but the devices of {path:?} cannot be listed: {source}"
    )]
    Devices {
        /// The container.
        container: String,
        /// The directory or device.
        path: std::path::PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A sysctl that the sandbox's namespaces do not have.
    #[error("sysctl {name:?}: {reason}")]
    Sysctl {
        /// Its name.
        name: String,
        /// What is wrong, and the way out.
        reason: &'static str,
    },
}

impl SpecError {
    /// The reason that a kubelet gives a container that waits because of this: faults that it finds itself
    /// are `CreateContainerConfigError`, those that it leaves to the runtime `CreateContainerError`
    /// (`pkg/kubelet/kuberuntime/kuberuntime_container.go`).
    pub fn reason(&self) -> &'static str {
        match self {
            Self::NonRoot { .. } | Self::Mount { .. } | Self::Sysctl { .. } => {
                "CreateContainerConfigError"
            }
            _ => "CreateContainerError",
        }
    }
}
