//! `carob image`: from where images come, what is known of them, how they go.

use std::fs;
use std::path::Path;
use std::process::Command;

use carob_tests::{Home, Layer, busybox_with, images, pod, registry, shell, with};
use serde_json::{Value, json};

fn skopeo(from: &str, to: &str) {
    let copied = Command::new("skopeo")
        .args(["--insecure-policy", "copy", "-q", from, to])
        .output()
        .unwrap();
    assert!(copied.status.success(), "{copied:?}");
}

fn layout(name: &str) -> String {
    images().join(name).display().to_string()
}

/// Runs `image` and returns what it printed.
fn says_hello(home: &Home, image: &str) {
    let main = with(
        shell("main", "echo hello"),
        json!({"image": image, "imagePullPolicy": "Never"}),
    );
    let run = home
        .run(&pod("uses", json!({"containers": [main]})))
        .expect(0);
    assert_eq!(run.lines_of("main"), ["hello"]);
}

/// `NAME ID` of each line of `carob image ls`.
fn list(home: &Home) -> Vec<(String, String)> {
    let run = home.carob(&["image", "ls"]).expect(0);
    let out = run.out();
    let rows = out.lines().skip(1).map(|line| {
        let mut fields = line.split_whitespace();
        (
            fields.next().unwrap().to_owned(),
            fields.next().unwrap().to_owned(),
        )
    });
    rows.collect()
}

#[test]
fn layouts_and_archives_of_all_kinds_are_imported() {
    let home = Home::empty();
    let source = format!("oci:{}:1", layout("busybox"));
    let file = |name: &str| home.path().join(name).display().to_string();
    skopeo(&source, &format!("oci-archive:{}:1", file("oci.tar")));
    skopeo(
        &source,
        &format!(
            "docker-archive:{}:example.com/team/docker:2",
            file("docker.tar")
        ),
    );
    for name in ["oci.tar", "docker.tar"] {
        let zipped = Command::new("gzip")
            .args(["-k", &file(name)])
            .status()
            .unwrap();
        assert!(zipped.success());
    }
    let name = |name: &str| home.path().join(name);
    home.import(&images().join("busybox"), "example.com/layout:1");
    home.import(&name("oci.tar"), "example.com/oci:1");
    home.import(&name("oci.tar.gz"), "example.com/oci-gz:1");
    let imported = home
        .carob(&["image", "import", &file("docker.tar.gz")])
        .expect(0);
    assert!(
        imported
            .out()
            .lines()
            .any(|name| name == "example.com/team/docker:2"),
        "its own name: {imported:?}"
    );
    home.import(&name("docker.tar"), "example.com/docker:1");
    let images = list(&home);
    // The same layers, whatever they were packed in.
    for image in ["layout:1", "oci:1", "oci-gz:1", "team/docker:2", "docker:1"] {
        let image = format!("example.com/{image}");
        assert!(
            images.iter().any(|(name, _)| *name == image),
            "{image} in {images:?}"
        );
        says_hello(&home, &image);
    }
    assert_eq!(
        fs::read_dir(home.root().join("images/layers"))
            .unwrap()
            .count(),
        1
    );
}

#[test]
fn inspect_tells_all_and_rm_removes_all() {
    let home = Home::empty();
    home.import(&images().join("nonroot"), "example.com/app:1");
    home.import(&images().join("nonroot"), "example.com/alias:1");
    let shown = home
        .carob(&["image", "inspect", "example.com/app:1"])
        .expect(0);
    let shown: Value = serde_json::from_str(&shown.out()).unwrap();
    let text = shown.to_string();
    for word in [
        "[\"GREETING\",\"hello\"]",
        "/home/app",
        "example.com/app:1",
        "sha256:",
    ] {
        assert!(text.contains(word), "{word} in {shown:#}");
    }
    let removed = home
        .carob(&["image", "rm", "example.com/alias:1"])
        .expect(0);
    assert_eq!(removed.out(), "untagged example.com/alias:1\n");
    says_hello(&home, "example.com/app:1");
    let id = &list(&home)[0].1;
    let removed = home.carob(&["image", "rm", id]).expect(0);
    for line in ["untagged example.com/app:1\n", "deleted sha256:"] {
        assert!(removed.out().contains(line), "{removed:?}");
    }
    assert_eq!(list(&home), []);
    let layers = home.root().join("images/layers");
    assert_eq!(fs::read_dir(layers).unwrap().count(), 0);
    let again = home
        .carob(&["image", "rm", "example.com/app:1"])
        .expect(125);
    assert_eq!(
        again.err(),
        "carob: image \"example.com/app:1\" is not on this machine: pull or import it first\n"
    );
}

#[test]
fn an_image_in_use_is_not_removed() {
    let home = Home::new();
    let main = shell("main", "trap 'exit 0' TERM; echo up; sleep 1000 & wait");
    let run = home.start_pods(&[pod("user", json!({"containers": [main]}))], &[]);
    run.wait_for("main | up");
    let refused = home.carob(&["image", "rm", "busybox:1"]).expect(125);
    assert!(
        refused.err().contains("busybox") && refused.err().contains("in use by default/user"),
        "{refused:?}"
    );
    run.stop(nix::sys::signal::Signal::SIGINT).expect(130);
    home.carob(&["image", "rm", "busybox:1"]).expect(0);
}

#[test]
fn what_later_layers_do_to_earlier_ones_is_seen() {
    let home = Home::empty();
    home.import(&images().join("layers"), "layers:1");
    let script = "cat /plain /gone/again /opaque/new /replaced /kept/hardlink; ls /opaque /gone; \
                  stat -c '%a %U' /kept; ls /kept/sub; stat -c %u:%g /plain; \
                  stat -c '%a %u:%g' /suid; stat -c '%F %t:%T' /null; stat -c %F /fifo; readlink /kept/absolute; \
                  cat /link-to-dir/file; stat -c %h /kept/file";
    let main = with(shell("main", script), json!({"image": "layers:1"}));
    let run = home
        .run(&pod("layered", json!({"containers": [main]})))
        .expect(0);
    assert_eq!(
        run.lines_of("main").join("|"),
        "two|three|two|two|one|/gone:|again||/opaque:|new|750 root|1000:1000|4755 1000:2000|\
         character special file 1:3|fifo|/etc/passwd|one|2"
    );
}

/// What is said to something that can't be imported; nothing of it stays.
fn refused(home: &Home, path: &Path) -> String {
    let run = home
        .carob(&["image", "import", "--name", "x:1", path.to_str().unwrap()])
        .expect(125);
    assert_eq!(run.err().lines().count(), 1, "{run:?}");
    assert_eq!(list(home), []);
    // Good layers are kept for another try, until somebody cleans up.
    home.carob(&["prune"]).expect(0);
    for dir in ["layers", "tmp", "partial"] {
        let left = fs::read_dir(home.root().join("images").join(dir));
        assert!(
            left.is_err() || left.unwrap().count() == 0,
            "{dir} after {run:?}"
        );
    }
    run.err()
}

#[test]
fn b41_b43_what_is_no_image_is_refused() {
    let home = Home::empty();
    assert!(refused(&home, Path::new("/no/such/image.tar")).contains("/no/such/image.tar"));
    refused(&home, &home.file("empty.tar", ""));
    refused(&home, &home.file("text.tar", "this is no archive"));
    let directory = home.path().join("directory");
    fs::create_dir(&directory).unwrap();
    refused(&home, &directory);
    let canary = home.file("canary", "alive");
    let canary = canary.to_str().unwrap();
    let up = format!("{}{canary}", "../".repeat(12));
    let layers = [
        ("up", Layer::new().file(&up, b"dead")),
        ("hardlink", Layer::new().hardlink("link", &up)),
        (
            "through",
            Layer::new()
                .symlink("out", home.path().to_str().unwrap())
                .file("out/canary", b"dead"),
        ),
    ];
    for (name, layer) in layers {
        let image = busybox_with(&home.path().join(name), json!({}), vec![layer]);
        let run = home.carob(&["image", "import", "--name", "x:1", image.to_str().unwrap()]);
        // Either refused, or held within the root file system.
        if run.code == 0 {
            home.carob(&["image", "rm", "x:1"]).expect(0);
        } else {
            assert_eq!(
                (run.code, run.err().lines().count()),
                (125, 1),
                "{name}: {run:?}"
            );
        }
        assert_eq!(fs::read_to_string(canary).unwrap(), "alive", "{name}");
    }
}

#[test]
fn f18_what_has_another_digest_is_refused() {
    let home = Home::empty();
    let image = busybox_with(
        &home.path().join("image"),
        json!({}),
        vec![Layer::new().file("f", b"content")],
    );
    for blob in fs::read_dir(image.join("blobs/sha256")).unwrap() {
        let blob = blob.unwrap().path();
        let good = fs::read(&blob).unwrap();
        let mut bad = good.clone();
        *bad.last_mut().unwrap() ^= 1;
        fs::write(&blob, bad).unwrap();
        let sentence = refused(&home, &image);
        let name = blob.file_name().unwrap().to_string_lossy().into_owned();
        assert!(sentence.contains(&name[..12]), "{name} in {sentence}");
        fs::write(&blob, good).unwrap();
    }
    home.import(&image, "x:1");
    says_hello(&home, "x:1");
}

#[test]
fn images_are_pulled_by_name_and_digest() {
    let home = Home::empty();
    let name = format!("{}/busybox:1", registry());
    let pulled = home.carob(&["image", "pull", &name]).expect(0);
    let digest = pulled.out().trim().to_owned();
    assert!(
        digest.starts_with(&format!("{}/busybox@sha256:", registry())),
        "{pulled:?}"
    );
    says_hello(&home, &name);
    home.carob(&["image", "rm", &name]).expect(0);
    home.carob(&["image", "pull", &digest]).expect(0);
    says_hello(&home, &digest);
    // Again, with others.
    let others = ["nonroot", "layers"].map(|n| format!("{}/{n}:1", registry()));
    home.carob(&["image", "pull", &name, &others[0], &others[1]])
        .expect(0);
    assert_eq!(
        list(&home)
            .iter()
            .filter(|(n, _)| n.ends_with(":1"))
            .count(),
        3
    );
}

#[test]
fn a_pull_that_fails_is_one_sentence() {
    let home = Home::empty();
    let fails = |name: &str| {
        let run = home.carob(&["image", "pull", name]).expect(125);
        assert_eq!(
            (run.out(), run.err().lines().count()),
            (String::new(), 1),
            "{run:?}"
        );
        run.err()
    };
    let missing = format!("{}/no-such:1", registry());
    assert!(fails(&missing).contains(&missing));
    // Nobody listens on port 1.
    assert!(fails("127.0.0.1:1/x:1").contains("127.0.0.1:1"));
    assert_eq!(list(&home), []);
}

#[test]
fn b34_names_that_are_none() {
    let home = Home::empty();
    let long = format!("a/{}", "x".repeat(10_000));
    for name in [
        "",
        "Upper:1",
        ":tag",
        "a@sha256:abc",
        &long,
        "docker://a",
        "a@sha256:../../x",
        "a:b:c",
        "-a",
        "a//b",
        "a b",
    ] {
        for command in ["pull", "inspect", "rm"] {
            let run = home.carob(&["image", command, "--", name]).expect(125);
            assert_eq!(run.err().lines().count(), 1, "{run:?}");
            assert!(run.err().len() < 500, "{run:?}");
        }
    }
}
