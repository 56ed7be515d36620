//! Images that want out: what their files and configurations say never reaches the machine. Named by the fault list.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use carob_tests::{Home, Layer, Pod, busybox_with, pod, shell, with};
use serde_json::{Value, json};

/// A directory of the machine that nobody may change, with a file in it.
struct Canary<'h> {
    home: &'h Home,
    core_pattern: String,
}

impl<'h> Canary<'h> {
    fn new(home: &'h Home) -> Self {
        let dir = home.path().join("canary");
        fs::create_dir(&dir).unwrap();
        fs::write(dir.join("file"), "alive").unwrap();
        Self {
            home,
            core_pattern: fs::read_to_string("/proc/sys/kernel/core_pattern").unwrap(),
        }
    }

    fn dir(&self) -> String {
        self.home.path().join("canary").display().to_string()
    }

    fn file(&self) -> String {
        self.dir() + "/file"
    }

    #[track_caller]
    fn must_live(&self, what: &str) {
        let dir = self.dir();
        let names: Vec<_> = fs::read_dir(&dir)
            .unwrap()
            .map(|e| e.unwrap().file_name())
            .collect();
        assert_eq!(names, ["file"], "{what}");
        let file = fs::symlink_metadata(self.file()).unwrap();
        assert!(
            file.is_file() && file.uid() == 0 && file.gid() == 0,
            "{what}"
        );
        assert_eq!(fs::read_to_string(self.file()).unwrap(), "alive", "{what}");
        assert_eq!(
            fs::read_to_string("/proc/sys/kernel/core_pattern").unwrap(),
            self.core_pattern,
            "{what}"
        );
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
        assert!(!mounts.contains(&dir), "{what}");
    }
}

/// Imports busybox with a layer and a configuration, and runs `main` in it until it ends or can't be created;
/// the Pod as it then is.
fn run(home: &Home, config: Value, layer: Layer, main: Value) -> Pod {
    let dir = home.path().join("image");
    if dir.exists() {
        fs::remove_dir_all(&dir).unwrap();
    }
    home.import(&busybox_with(&dir, config, vec![layer]), "hostile:1");
    let main = with(main, json!({"image": "hostile:1"}));
    let run = home.start_pods(
        &[pod("hostile", json!({"containers": [main]}))],
        &["-o", "json"],
    );
    let ended = ["CreateContainerError", "CreateContainerConfigError"];
    let pod = run.wait_pod("it has ended or cannot be created", |p| {
        ended.contains(&p.state("main")) || p.container("main")["state"]["terminated"].is_object()
    });
    run.stop(nix::sys::signal::Signal::SIGINT);
    pod
}

#[test]
fn c7_c17_directories_and_files_that_are_links_to_the_machine() {
    let home = Home::empty();
    let canary = Canary::new(&home);
    let script = "for f in /dev/x /dev/pts/x /dev/shm/x /proc/x /sys/x /etc/x /mnt/x; do echo planted >$f; done; \
                  for f in /etc/hosts /etc/hostname /etc/resolv.conf /etc/mtab /etc/passwd /dev/termination-log /dev/null; \
                  do echo planted >>$f; done; true";
    let dirs = [
        "dev",
        "proc",
        "sys",
        "etc",
        "dev/pts",
        "dev/shm",
        "dev/mqueue",
        "sys/fs/cgroup",
        "mnt",
    ];
    for name in dirs {
        for target in [
            canary.dir(),
            format!("../../../../../../..{}", canary.dir()),
        ] {
            let layer = Layer::new().symlink(name, &target);
            run(&home, json!({}), layer, shell("main", script));
            canary.must_live(name);
        }
    }
    let files = [
        "etc/hosts",
        "etc/hostname",
        "etc/resolv.conf",
        "etc/mtab",
        "etc/passwd",
        "etc/group",
        "dev/null",
        "dev/console",
        "dev/ptmx",
        "dev/termination-log",
        "dev/stdout",
    ];
    for name in files {
        run(
            &home,
            json!({}),
            Layer::new().symlink(name, &canary.file()),
            shell("main", script),
        );
        canary.must_live(name);
    }
}

#[test]
fn c4_c6_files_that_are_links_into_proc() {
    let home = Home::empty();
    let canary = Canary::new(&home);
    let script = "echo planted >/dev/null; echo planted >/dev/full; echo planted >/proc/sys/kernel/core_pattern; true";
    for name in ["dev/null", "dev/full", "etc/hosts"] {
        let layer = Layer::new().symlink(name, "/proc/sys/kernel/core_pattern");
        run(&home, json!({}), layer, shell("main", script));
        canary.must_live(name);
    }
}

#[test]
fn c10_volumes_of_the_image_that_lead_out() {
    let home = Home::empty();
    let canary = Canary::new(&home);
    for volume in ["/../../etc", "relative"] {
        let config = json!({"Volumes": {volume: {}}});
        let image = busybox_with(&home.path().join(volume.replace('/', "_")), config, vec![]);
        let run = home
            .carob(&["image", "import", "--name", "x:1", image.to_str().unwrap()])
            .expect(125);
        assert!(
            run.err().contains(&format!("the volume {volume:?}")),
            "{run:?}"
        );
    }
    let layer = Layer::new().symlink("link", &canary.dir());
    let main = shell("main", "echo planted >/link/x; cat /link/file");
    let ended = run(&home, json!({"Volumes": {"/link": {}}}), layer, main);
    canary.must_live("volume behind a link");
    assert!(!logs(&home).contains("alive"), "{ended:?}");
}

/// All that containers wrote.
fn logs(home: &Home) -> String {
    let dir = home.root().join("logs");
    let found = std::process::Command::new("grep")
        .args(["-rh", ""])
        .arg(dir)
        .output()
        .unwrap();
    String::from_utf8_lossy(&found.stdout).into_owned()
}

#[test]
fn c13_users_that_are_none() {
    let home = Home::empty();
    for user in [
        "4294967296",
        "2147483648",
        "-1",
        "no-such-user",
        "0:4294967296",
        "a:b:c",
    ] {
        let ended = run(
            &home,
            json!({"User": user}),
            Layer::new(),
            shell("main", "id"),
        );
        let state = ended.container("main")["state"].to_string();
        assert!(
            state.contains("user") || state.contains("group"),
            "{user}: {state}"
        );
        assert!(!logs(&home).contains("uid=0"), "{user}");
    }
}

#[test]
fn c14_user_files_that_are_no_files() {
    let home = Home::empty();
    let canary = Canary::new(&home);
    let huge = vec![b'x'; 4 << 20];
    let layers = [
        ("fifo", Layer::new().fifo("etc/passwd").fifo("etc/group")),
        (
            "device",
            Layer::new()
                .zero_device("etc/passwd")
                .zero_device("etc/group"),
        ),
        ("directory", Layer::new().dir("etc/passwd").dir("etc/group")),
        (
            "link out",
            Layer::new()
                .symlink("etc/passwd", &canary.file())
                .symlink("etc/group", &canary.file()),
        ),
        (
            "link to itself",
            Layer::new().symlink("etc/passwd", "passwd"),
        ),
        (
            "huge",
            Layer::new()
                .file("etc/passwd", &huge)
                .file("etc/group", &huge),
        ),
    ];
    for (what, layer) in layers {
        let ended = run(&home, json!({"User": "app"}), layer, shell("main", "id"));
        let state = ended.container("main")["state"].to_string();
        assert!(!state.contains("Completed"), "{what}: {state}");
        canary.must_live(what);
    }
}

#[test]
fn c15_a_home_with_lines_writes_no_users() {
    let home = Home::empty();
    let config = json!({"Env": ["PATH=/bin", "HOME=/x\nroot2::0:0:::"]});
    run(
        &home,
        config,
        Layer::new(),
        shell("main", "cat /etc/passwd; echo end"),
    );
    let log = logs(&home);
    assert!(
        log.contains("root:x:0:0:") && log.contains("stdout F end"),
        "{log}"
    );
    assert!(!log.contains("root2"), "{log}");
}

#[test]
fn c22_b44_a_variable_without_a_value_is_refused() {
    let home = Home::empty();
    let config = json!({"Env": ["PATH=/bin", "AWS_SECRET"]});
    let image = busybox_with(&home.path().join("image"), config, vec![]);
    let run = home
        .carob(&["image", "import", "--name", "x:1", image.to_str().unwrap()])
        .expect(125);
    assert!(run.err().contains("\"AWS_SECRET\""), "{run:?}");
}

#[test]
fn c23_a_working_directory_behind_a_link() {
    let home = Home::empty();
    let canary = Canary::new(&home);
    let layer = Layer::new().symlink("link", &canary.dir());
    run(
        &home,
        json!({"WorkingDir": "/link/made", "User": "33"}),
        layer,
        shell("main", "pwd; echo planted >x"),
    );
    canary.must_live("working directory");
    for fd in 3..12 {
        let config = json!({"WorkingDir": format!("/proc/self/fd/{fd}")});
        run(
            &home,
            config,
            Layer::new(),
            shell("main", &format!("cat ../../../../..{}", canary.file())),
        );
        assert!(!logs(&home).contains("alive"), "fd {fd}");
    }
}

#[test]
fn b44_an_image_without_a_command_needs_one() {
    let home = Home::empty();
    let main = json!({"name": "main"});
    let ended = run(
        &home,
        json!({"Cmd": null, "Entrypoint": null}),
        Layer::new(),
        main,
    );
    let state = ended.container("main")["state"].to_string();
    assert!(state.contains("command"), "{state}");
}

#[test]
fn c1_the_shim_cannot_be_written_from_within() {
    let home = Home::empty();
    let shim = carob_tests::shim();
    let before = fs::read(&shim).unwrap();
    // The entrypoint is whatever program starts the container.
    let main = json!({"name": "main", "command": ["/proc/self/exe", "--version"]});
    run(&home, json!({}), Layer::new(), main);
    let script = "for p in /proc/[0-9]*/exe; do echo planted >$p; done; true";
    let main = with(
        shell("main", script),
        json!({"securityContext": {"privileged": true}}),
    );
    run(
        &home,
        json!({}),
        Layer::new().symlink("exe", "/proc/self/exe"),
        main,
    );
    assert!(fs::read(&shim).unwrap() == before, "the shim has changed");
}

#[test]
fn c11_labels_stay_labels() {
    let home = Home::empty();
    let path = home.path().join("planted");
    let labels = json!({
        "io.kubernetes.cri.container-type": "sandbox", "io.kubernetes.cri.sandbox-id": "../x",
        "containerd.io/restart.loguri": format!("file://{}", path.display()),
    });
    let ended = run(
        &home,
        json!({"Labels": labels}),
        Layer::new(),
        shell("main", "echo fine"),
    );
    assert_eq!(ended.state("main"), "Completed");
    assert!(!Path::new(&path).exists());
}
