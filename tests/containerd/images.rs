//! `carob image` with containerd's images: the cases of every backend, and what containerd lists before and after.

use std::fs;
use std::path::Path;

use carob_tests::{Finished, Home, Puller, images, registry};

use crate::daemon::Containerd;

/// A containerd, and `carob` that has its images there.
struct Ground {
    daemon: Containerd,
    home: Home,
}

impl Ground {
    fn new() -> Self {
        let daemon = Containerd::start();
        // ctr's own import leaves what the garbage collector takes sooner or later: now.
        daemon.ctr(&["leases", "create", "--id", "gc"]).expect(0);
        daemon.ctr(&["leases", "rm", "--sync", "gc"]).expect(0);
        Self {
            daemon,
            home: Home::empty(),
        }
    }

    fn command(&self) -> std::process::Command {
        let mut command = self.home.command();
        command.args(["--backend", "containerd", "--containerd-address"]);
        command.arg(self.daemon.socket());
        command.args(["--containerd-namespace", &self.daemon.namespace()]);
        command
    }

    fn carob(&self, args: &[&str]) -> Finished {
        self.home
            .start_command(self.command().args(args), b"")
            .finish()
    }

    fn with(case: impl Fn(&Puller<'_>)) {
        let ground = Self::new();
        let before = ground.lists();
        case(&Puller {
            carob: &|| ground.command(),
            dir: ground.home.path(),
        });
        ground.remove_all_but_busybox();
        assert_eq!(ground.lists(), before);
    }

    /// All that containerd lists of images.
    fn lists(&self) -> Vec<String> {
        let list = |args: &[&str]| self.daemon.ctr(args).expect(0).out();
        let mut lists = vec![
            list(&["images", "ls", "-q"]),
            list(&["content", "ls", "-q"]),
            list(&["snapshots", "ls"]),
            list(&["leases", "ls", "-q"]),
        ];
        for list in &mut lists {
            let mut lines: Vec<_> = list.lines().collect();
            lines.sort_unstable();
            *list = lines.join("\n");
        }
        lists
    }

    fn remove_all_but_busybox(&self) {
        let names = self.daemon.ctr(&["images", "ls", "-q"]).expect(0).out();
        for name in names.lines().filter(|name| *name != crate::daemon::BUSYBOX) {
            self.carob(&["image", "rm", name]).expect(0);
        }
    }
}

#[test]
fn a_private_registry_is_reached_by_its_authority_and_a_password() {
    Ground::with(|puller| puller.uses_private_registries());
}

#[test]
fn mirrors_stand_in_for_a_registry() {
    Ground::with(|puller| puller.uses_mirrors());
}

#[test]
fn f17_each_refusal_of_a_registry_has_its_reason() {
    Ground::with(|puller| puller.tells_why_a_registry_refuses());
}

#[test]
fn f18_what_is_not_the_layer_is_never_unpacked() {
    Ground::with(|puller| puller.refuses_what_is_not_the_layer());
}

#[test]
fn f17_a_broken_pull_goes_on() {
    Ground::with(|puller| puller.goes_on_where_a_connection_broke());
}

#[test]
fn what_comes_is_whole_and_what_goes_leaves_nothing() {
    let ground = Ground::new();
    let before = ground.lists();
    let image = format!("{}/layers:1", registry());
    ground.carob(&["image", "pull", &image]).expect(0);
    let checked = ground
        .daemon
        .ctr(&["images", "check", &format!("name=={image}")])
        .expect(0)
        .out();
    let line = checked
        .lines()
        .find(|line| line.starts_with(&image))
        .unwrap();
    assert!(
        line.contains("complete (5/5)") && line.ends_with("true"),
        "{line}"
    );
    // Again there is nothing to load.
    ground.carob(&["image", "pull", &image]).expect(0);
    let removed = ground.carob(&["image", "rm", &image]).expect(0).out();
    assert!(removed.contains("deleted sha256:"), "{removed}");
    assert_eq!(ground.lists(), before);
}

#[test]
fn archives_of_both_kinds_are_imported() {
    let ground = Ground::new();
    let before = ground.lists();
    let layout = images().join("layers");
    import(&ground, &layout, "of-layout:1");
    let archive = ground.home.path().join("docker.tar");
    let copied = std::process::Command::new("skopeo")
        .args(["--insecure-policy", "copy", "-q"])
        .arg(format!("oci:{}:1", images().join("nonroot").display()))
        .arg(format!("docker-archive:{}:nonroot:1", archive.display()))
        .status();
    assert!(copied.unwrap().success());
    let imported = ground
        .carob(&["image", "import", archive.to_str().unwrap()])
        .expect(0);
    assert_eq!(imported.out(), "docker.io/library/nonroot:1\n");
    fs::remove_file(archive).unwrap();
    // ctr finds them whole, and runs them.
    let checked = ground
        .daemon
        .ctr(&["images", "check", "-q"])
        .expect(0)
        .out();
    for name in [
        "docker.io/library/of-layout:1",
        "docker.io/library/nonroot:1",
    ] {
        assert!(checked.lines().any(|line| line == name), "{checked}");
    }
    let listed = ground.carob(&["image", "ls"]).expect(0).out();
    assert_eq!(listed.lines().count(), 4, "{listed}");
    let inspected = ground
        .carob(&["image", "inspect", "nonroot:1"])
        .expect(0)
        .out();
    assert!(inspected.contains("\"entrypoint\""), "{inspected}");
    ground.remove_all_but_busybox();
    assert_eq!(ground.lists(), before);
}

fn import(ground: &Ground, image: &Path, name: &str) {
    let image = image.to_str().unwrap();
    ground
        .carob(&["image", "import", "--name", name, image])
        .expect(0);
}

#[test]
fn what_is_no_image_of_this_machine_is_told() {
    let ground = Ground::new();
    let missing = ground
        .carob(&["image", "inspect", "no-such:1"])
        .expect(125)
        .err();
    assert!(
        missing.contains("no-such:1\" is not on this machine"),
        "{missing}"
    );
    let no_name = ground
        .carob(&[
            "image",
            "import",
            images().join("busybox").join("..").to_str().unwrap(),
        ])
        .expect(125)
        .err();
    assert!(no_name.contains("no OCI layout"), "{no_name}");
    let nowhere = [
        "--backend",
        "containerd",
        "--containerd-address",
        "/nowhere",
        "image",
        "ls",
    ];
    let words = ground.home.carob(&nowhere).expect(125).err();
    assert!(
        words.contains("containerd does not answer at /nowhere"),
        "{words}"
    );
}
