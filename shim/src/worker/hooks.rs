//! OCI hooks (runtime-spec `config.md#posix-platform-hooks`).
//!
//! libcontainer runs those of the creation, in the worker. But prestart and createRuntime hooks belong
//! in the runtime's namespaces, and the worker has a mount namespace of its own with things hidden: so
//! they are run by way of our own program, which goes back to the shim's namespace first. Those after
//! the start and after the end are run from here, in a worker.

use std::fs::File;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use libcontainer::container::{ContainerStatus, State};
use libcontainer::hooks::run_hooks;
use nix::sched::{CloneFlags, setns};
use oci_spec::runtime::{Hook, Spec};

use crate::bundle::read_config;
use crate::sentence::sentence;

/// The action of our program that a hook is run by.
pub const ACTION: &str = "hook";

/// Which hooks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// After the program was started.
    Poststart,
    /// After the container was deleted.
    Poststop,
}

/// Has prestart and createRuntime hooks run in the mount namespace of process `shim`.
pub fn redirect(spec: &mut Spec, shim: u32, bundle: &Path) {
    let Some(hooks) = spec.hooks_mut() else {
        return;
    };
    // The first is deprecated, and still what GPU tools use.
    #[allow(deprecated)]
    let lists = [hooks.prestart().clone(), hooks.create_runtime().clone()];
    let [prestart, create_runtime] = lists.map(|list| {
        list.map(|hooks| {
            hooks
                .iter()
                .map(|hook| by_us(hook, shim, bundle))
                .collect::<Vec<_>>()
        })
    });
    #[allow(deprecated)]
    hooks.set_prestart(prestart);
    hooks.set_create_runtime(create_runtime);
}

/// The hook, run as `program hook /proc/SHIM/ns/mnt BUNDLE PATH ARGS`.
fn by_us(hook: &Hook, shim: u32, bundle: &Path) -> Hook {
    let path = hook.path().display().to_string();
    let own = [path.clone()];
    let args = hook.args().as_deref().unwrap_or(&own);
    let mut all = vec![
        crate::bootstrap::NAME.to_owned(),
        ACTION.to_owned(),
        format!("/proc/{shim}/ns/mnt"),
        bundle.display().to_string(),
        path,
    ];
    all.extend(args.iter().cloned());
    let mut ours = hook.clone();
    ours.set_path("/proc/self/exe".into()).set_args(Some(all));
    ours
}

/// What our program does as [`ACTION`]: goes to the namespace and becomes the hook. Returns only on
/// failure. `args` are those after the action.
pub fn become_hook(args: &[String]) -> io::Error {
    let [namespace, bundle, path, args @ ..] = args else {
        return io::Error::other("the action hook is for the shim's own use");
    };
    let enter = || -> io::Result<()> {
        setns(File::open(namespace)?, CloneFlags::CLONE_NEWNS)?;
        std::env::set_current_dir(bundle)
    };
    if let Err(error) = enter() {
        return error;
    }
    let mut command = Command::new(path);
    if let [name, rest @ ..] = args {
        command.arg0(name).args(rest);
    }
    command.exec()
}

/// Runs the hooks of `moment`. One that fails is logged and the others still run, as the
/// specification has it.
///
/// # Errors
/// When `config.json` can't be read any more.
pub fn run(moment: Moment, bundle: &Path, id: &str, pid: i32) -> Result<(), String> {
    let text = read_config(bundle).map_err(|error| sentence(&error))?;
    let spec: Spec = serde_json::from_slice(&text).map_err(|error| error.to_string())?;
    let Some(hooks) = spec.hooks() else {
        return Ok(());
    };
    let (hooks, status) = match moment {
        Moment::Poststart => (hooks.poststart(), ContainerStatus::Running),
        Moment::Poststop => (hooks.poststop(), ContainerStatus::Stopped),
    };
    let mut state = State::new(id, status, Some(pid), PathBuf::from(bundle));
    state.annotations = spec.annotations().clone();
    let mut failed = Vec::new();
    for hook in hooks.iter().flatten() {
        if let Err(error) = run_hooks(
            Some(&vec![hook.clone()]),
            Some(&state),
            Some(bundle),
            None,
            None,
        ) {
            failed.push(format!("{}: {}", hook.path().display(), sentence(&error)));
        }
    }
    if failed.is_empty() {
        Ok(())
    } else {
        Err(format!("hooks failed: {}", failed.join("; ")))
    }
}

/// Covers the bundle's `config.json` with `text`, for libcontainer alone: it takes the spec from
/// there, and tells hooks the bundle's path.
pub fn cover_config(bundle: &Path, scratch: &Path, text: &[u8]) -> io::Result<()> {
    let ours = scratch.join("config.json");
    std::fs::write(&ours, text)?;
    let target = bundle.join("config.json");
    nix::mount::mount(
        Some(&ours),
        &target,
        None::<&str>,
        nix::mount::MsFlags::MS_BIND,
        None::<&str>,
    )?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hooks_are_run_by_way_of_our_program() {
        let spec = r#"{"ociVersion":"1.0.2","hooks":{
            "createRuntime":[{"path":"/bin/a","args":["a","x"],"env":["K=V"],"timeout":3}],
            "createContainer":[{"path":"/bin/b"}]}}"#;
        let mut spec: Spec = serde_json::from_str(spec).expect("valid");
        redirect(&mut spec, 42, Path::new("/b"));
        let hooks = spec.hooks().clone().expect("kept");
        let ours = &hooks.create_runtime().as_ref().expect("kept")[0];
        assert_eq!(ours.path(), Path::new("/proc/self/exe"));
        let args = ours.args().as_ref().expect("some").join(" ");
        assert_eq!(
            args,
            "containerd-shim-carob-v1 hook /proc/42/ns/mnt /b /bin/a a x"
        );
        assert_eq!((ours.timeout(), ours.env().is_some()), (Some(3), true));
        let theirs = &hooks.create_container().as_ref().expect("kept")[0];
        assert_eq!(theirs.path(), Path::new("/bin/b"));
    }
}
