//! Turns `linux.cgroupsPath` into a path below a hierarchy's root.

use super::CgroupError;

/// The longest name of one directory (NAME_MAX).
const NAME_MAX: usize = 255;

/// Whether it is `slice:prefix:name`.
pub fn names_unit(given: &str) -> bool {
    !given.contains('/') && given.split(':').count() == 3
}

/// The path without its leading slash. `slice:prefix:name` becomes `a.slice/a-b.slice/prefix-name.scope`,
/// as runc and systemd name it (systemd.slice(5)).
pub fn relative(given: &str) -> Result<String, CgroupError> {
    let bad = |why| CgroupError::BadPath {
        path: given.to_owned(),
        why,
    };
    let path = match given.split(':').collect::<Vec<_>>()[..] {
        [slice, prefix, name] if names_unit(given) => systemd(slice, prefix, name).map_err(bad)?,
        _ => given.to_owned(),
    };
    let mut parts = Vec::new();
    for part in path.split('/').filter(|part| !part.is_empty()) {
        match part {
            "." | ".." => return Err(bad("it has a '.' or '..' in it")),
            part if part.len() > NAME_MAX => return Err(bad("a name in it is over 255 bytes")),
            part if part.bytes().any(|byte| byte < b' ' || byte == 0x7f) => {
                return Err(bad("it has a control character in it"));
            }
            // The kernel keeps these names for its own files.
            part if part.starts_with("cgroup.") => {
                return Err(bad(
                    "a name in it starts with 'cgroup.', which the kernel reserves",
                ));
            }
            part => parts.push(part),
        }
    }
    if parts.is_empty() {
        return Err(bad(
            "it names the root: give the container a cgroup of its own",
        ));
    }
    Ok(parts.join("/"))
}

/// The path which systemd gives to a unit of the slice.
fn systemd(slice: &str, prefix: &str, name: &str) -> Result<String, &'static str> {
    if name.is_empty() {
        return Err("the name in slice:prefix:name is empty");
    }
    let slice = if slice.is_empty() {
        "system.slice"
    } else {
        slice
    };
    let stem = slice
        .strip_suffix(".slice")
        .ok_or("its slice doesn't end with '.slice'")?;
    if stem.is_empty() || stem.split('-').any(str::is_empty) && stem != "-" {
        return Err("its slice has an empty part");
    }
    let mut path = String::new();
    if stem != "-" {
        for (at, _) in stem.match_indices('-').chain([(stem.len(), "")]) {
            path.push_str(&stem[..at]);
            path.push_str(".slice/");
        }
    }
    if name.ends_with(".slice") {
        path.push_str(name);
    } else if prefix.is_empty() {
        path.push_str(&format!("{name}.scope"));
    } else {
        path.push_str(&format!("{prefix}-{name}.scope"));
    }
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_paths_lose_their_slashes() {
        for (given, wanted) in [
            ("/carob/x/y", "carob/x/y"),
            ("//a//b/", "a/b"),
            ("default/id", "default/id"),
            ("/k8s.io/a:b", "k8s.io/a:b"),
        ] {
            assert_eq!(relative(given).ok().as_deref(), Some(wanted), "{given}");
        }
    }

    #[test]
    fn systemd_names_become_paths() {
        for (given, wanted) in [
            (
                "kubepods-burstable-pod1.slice:cri-containerd:abc",
                "kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod1.slice/cri-containerd-abc.scope",
            ),
            (":carob:abc", "system.slice/carob-abc.scope"),
            ("-.slice::abc", "abc.scope"),
            ("a.slice:p:x.slice", "a.slice/x.slice"),
        ] {
            assert_eq!(relative(given).ok().as_deref(), Some(wanted), "{given}");
        }
    }

    #[test]
    fn paths_that_lead_elsewhere_are_refused() {
        for given in [
            "",
            "/",
            "a/../b",
            "..",
            "./a",
            "/a/cgroup.procs",
            "a\nb",
            "foo:x:y",
            "a--b.slice:x:y",
            "a.slice:p:",
        ] {
            let error = relative(given).expect_err(given);
            assert!(matches!(error, CgroupError::BadPath { .. }), "{given}");
        }
        assert!(relative(&format!("/{}", "x".repeat(256))).is_err());
    }
}
