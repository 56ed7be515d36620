//! The process of a container: arguments, environment, working directory.

use super::SpecError;
use super::container::ContainerInput;
use super::mounts::{clean, is_plain_absolute};

/// What a process finds programs with when neither image nor Pod says so (containerd,
/// `oci.WithDefaultPathEnv`).
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What to run, combined as Kubernetes does ([Define a Command and Arguments]): `command` replaces the
/// image's entry point *and* its arguments, `args` alone only the arguments.
///
/// [Define a Command and Arguments]: https://kubernetes.io/docs/tasks/inject-data-application/define-command-argument-container/
pub(super) fn args(input: &ContainerInput) -> Result<Vec<String>, SpecError> {
    let image = input.image;
    // An entry point of one empty string is how an image resets that of its base.
    let entrypoint: &[String] = match &image.entrypoint[..] {
        [only] if only.is_empty() => &[],
        entrypoint => entrypoint,
    };
    let (program, arguments) = match (input.command, input.args) {
        ([], []) => (entrypoint, &image.cmd[..]),
        ([], args) => (entrypoint, args),
        (command, args) => (command, args),
    };
    let all = [program, arguments].concat();
    if all.is_empty() {
        return Err(SpecError::NoCommand {
            container: input.container.name.clone(),
        });
    }
    for (index, argument) in all.iter().enumerate() {
        refuse_nul(input, argument, || format!("argument {index}"))?;
    }
    Ok(all)
}

/// The environment: defaults, then the image's, then the Pod's; a later value replaces an earlier one in
/// its place. Nothing comes from Carob's own environment.
/// `HOME` is the user's home directory unless it is given; runtimes that read the container's `/etc/passwd`
/// for it have no more to do.
pub(super) fn env(input: &ContainerInput, home: &str) -> Result<Vec<String>, SpecError> {
    let mut env = vec![("PATH", DEFAULT_PATH)];
    if input.container.tty {
        env.push(("TERM", "xterm"));
    }
    let given = input.image.env.iter().chain(input.env);
    let given = given.map(|(name, value)| (name.as_str(), value.as_str()));
    for (name, value) in std::iter::once(("HOSTNAME", input.hostname)).chain(given) {
        match env.iter_mut().find(|(known, _)| *known == name) {
            Some(entry) => entry.1 = value,
            None => env.push((name, value)),
        }
    }
    if !env.iter().any(|(name, _)| *name == "HOME") {
        env.push(("HOME", home));
    }
    env.into_iter()
        .map(|(name, value)| {
            let entry = format!("{name}={value}");
            refuse_nul(input, &entry, || format!("variable {name:?}"))?;
            Ok(entry)
        })
        .collect()
}

/// The working directory: the Pod's, else the image's, else `/`.
pub(super) fn cwd(input: &ContainerInput) -> Result<String, SpecError> {
    let (directory, origin) = match &input.container.working_dir {
        Some(directory) => (directory, "Pod"),
        None if input.image.working_dir.is_empty() => return Ok("/".to_owned()),
        None => (&input.image.working_dir, "image"),
    };
    let refuse = |reason| SpecError::WorkingDir {
        container: input.container.name.clone(),
        directory: directory.clone(),
        origin,
        reason,
    };
    if !is_plain_absolute(directory) {
        return Err(refuse("it is not an absolute path without .. and NUL"));
    }
    let directory = clean(directory);
    if is_descriptor(&directory) {
        return Err(refuse(
            "it names an open file of a process, which may lie outside the container",
        ));
    }
    Ok(directory)
}

/// True for paths that open files of processes can be reached by: `/dev/fd` and `/proc/…/fd`, `cwd`, `root`.
fn is_descriptor(path: &str) -> bool {
    let mut parts = path.split('/').skip(1);
    match parts.next() {
        Some("dev") => parts.next() == Some("fd"),
        Some("proc") => parts.any(|part| ["fd", "map_files", "cwd", "root", "exe"].contains(&part)),
        _ => false,
    }
}

fn refuse_nul(
    input: &ContainerInput,
    text: &str,
    what: impl FnOnce() -> String,
) -> Result<(), SpecError> {
    match text.contains('\0') {
        false => Ok(()),
        true => Err(SpecError::Nul {
            container: input.container.name.clone(),
            what: what(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use crate::spec::testing::World;

    fn strings(words: &str) -> Vec<String> {
        words.split_whitespace().map(str::to_owned).collect()
    }

    fn pairs(words: &str) -> Vec<(String, String)> {
        let words = words.split_whitespace();
        words
            .map(|w| {
                w.split_once('=')
                    .map(|(n, v)| (n.into(), v.into()))
                    .unwrap()
            })
            .collect()
    }

    #[test]
    fn command_and_args_combine_as_kubernetes_documents() {
        // image's entry point and cmd, Pod's command and args, result; the table of the documentation.
        let rows = [
            ("/ep-1", "foo bar", "", "", "/ep-1 foo bar"),
            ("/ep-1", "foo bar", "/ep-2", "", "/ep-2"),
            ("/ep-1", "foo bar", "", "zoo boo", "/ep-1 zoo boo"),
            ("/ep-1", "foo bar", "/ep-2", "zoo boo", "/ep-2 zoo boo"),
            ("", "sh -c", "", "", "sh -c"),
            ("", "sh -c", "", "ls", "ls"),
            ("/ep-1", "", "", "", "/ep-1"),
        ];
        for (entrypoint, cmd, command, args, expected) in rows {
            let mut world = World::new();
            world.image.entrypoint = strings(entrypoint);
            world.image.cmd = strings(cmd);
            world.command = strings(command);
            world.args = strings(args);
            let process = &world.json()["process"];
            assert_eq!(
                process["args"],
                serde_json::json!(strings(expected)),
                "{expected}"
            );
        }
    }

    #[test]
    fn b44_nothing_to_run_is_refused() {
        let mut world = World::new();
        for entrypoint in [vec![], vec![String::new()]] {
            world.image.entrypoint = entrypoint;
            assert_eq!(
                world.error(),
                "container \"main\": no command specified: its image has neither Entrypoint nor Cmd; \
                 set command in the Pod"
            );
        }
        assert_eq!(world.spec().unwrap_err().reason(), "CreateContainerError");
    }

    #[test]
    fn later_variables_replace_earlier_ones_in_their_place() {
        let mut world = World::new();
        assert_eq!(
            world.json()["process"]["env"],
            serde_json::json!([
                "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
                "HOSTNAME=web",
                "HOME=/root",
            ])
        );
        world.container().tty = true;
        world.image.user = "web".into();
        world.image.env = pairs("PATH=/bin A=1 B=2 A=3");
        world.env = pairs("B=x=y C= HOSTNAME=other");
        let process = &world.json()["process"];
        let expected = "PATH=/bin TERM=xterm HOSTNAME=other A=3 B=x=y C= HOME=/var/www";
        assert_eq!(process["env"], serde_json::json!(strings(expected)));
        assert_eq!(process["terminal"], true);
    }

    #[test]
    fn the_working_directory_is_the_pods_or_the_images() {
        let mut world = World::new();
        assert_eq!(world.json()["process"]["cwd"], "/");
        world.image.working_dir = "/srv//app/./".into();
        assert_eq!(world.json()["process"]["cwd"], "/srv/app");
        world.container().working_dir = Some("/tmp".into());
        assert_eq!(world.json()["process"]["cwd"], "/tmp");
    }

    #[test]
    fn c3_working_directories_that_may_lie_outside_are_refused() {
        for directory in [
            "/proc/self/fd/7",
            "/proc/./self//fd/8",
            "/proc/thread-self/fd/3",
            "/proc/1/root",
            "/proc/self/cwd",
            "/proc/1/task/1/fd/9",
            "/dev/fd/7",
            "relative",
            "/a/../../b",
            "/nul\0",
        ] {
            let mut world = World::new();
            world.container().working_dir = Some(directory.into());
            assert!(world.error().contains("(from the Pod)"), "{directory}");
            world.container().working_dir = None;
            world.image.working_dir = directory.into();
            assert!(world.error().contains("(from the image)"), "{directory}");
        }
    }

    #[test]
    fn nul_bytes_are_refused() {
        let mut world = World::new();
        world.args = vec!["a".into(), "b\0c".into()];
        assert!(
            world.error().contains("argument 2 contains a NUL byte"),
            "{}",
            world.error()
        );
        world.args.clear();
        world.env = vec![("X".into(), "\0".into())];
        assert!(
            world.error().contains("variable \"X\" contains a NUL byte"),
            "{}",
            world.error()
        );
    }
}
