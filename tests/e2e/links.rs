//! Images as they are found in the wild: files that Kubernetes mounts over are links that lead nowhere, and
//! directories that it declares as volumes have files.

use carob_tests::{Home, Layer, busybox_with, pod, shell, with};
use serde_json::json;

#[test]
fn c17_dangling_links_where_the_pods_files_go() {
    let home = Home::empty();
    let outside = home.path().join("outside");
    let layer = Layer::new()
        .symlink("etc/resolv.conf", "../run/systemd/resolve/stub-resolv.conf")
        .symlink("etc/hosts", &format!("{}/hosts", outside.display()))
        .symlink("etc/hostname", "/run/hostname");
    let image = busybox_with(&home.path().join("image"), json!({}), vec![layer]);
    home.import(&image, "linked:1");
    let script = "hostname; cat /etc/hostname; grep -c nameserver /etc/resolv.conf; grep -w linked /etc/hosts | wc -l; \
                  readlink /etc/resolv.conf";
    let main = with(shell("main", script), json!({"image": "linked:1"}));
    let spec = json!({
        "restartPolicy": "Never", "containers": [main],
        "dnsPolicy": "None", "dnsConfig": {"nameservers": ["192.0.2.53"]},
    });
    let run = home.run(&pod("linked", spec)).expect(0);
    assert_eq!(
        run.lines_of("main"),
        [
            "linked",
            "linked",
            "1",
            "1",
            "../run/systemd/resolve/stub-resolv.conf"
        ]
    );
    assert!(!outside.exists());
}

#[test]
fn c7_an_image_whose_proc_is_a_link_is_named() {
    let home = Home::empty();
    for (name, what) in [("proc", "proc"), ("sys", "sysfs"), ("dev", "devices")] {
        let dir = home.path().join(name);
        let layer = Layer::new().symlink(name, "/tmp");
        home.import(&busybox_with(&dir, json!({}), vec![layer]), "hostile:1");
        let main = with(shell("main", "true"), json!({"image": "hostile:1"}));
        let run = home
            .run(&pod("p", json!({"containers": [main]})))
            .expect(128);
        let wanted = format!(
            "Error: the image's /{name} is a symbolic link to /tmp, so {what} can't be put there: \
             make it a directory in the image, or leave it out\n"
        );
        assert!(run.err().contains(&wanted), "{run:?}");
    }
}

#[test]
fn c10_a_declared_volume_begins_with_what_the_image_has_there() {
    let home = Home::empty();
    let layer = Layer::new()
        .dir("srv/data")
        .file("srv/data/page", b"from the image\n")
        .dir("srv/data/deep")
        .symlink("srv/data/deep/out", "/etc/passwd");
    let config = json!({"Volumes": {"/srv/data": {}, "/srv/empty": {}}, "Env": ["PATH=/bin"]});
    home.import(
        &busybox_with(&home.path().join("image"), config, vec![layer]),
        "volumes:1",
    );
    let look = "cat /srv/data/page; readlink /srv/data/deep/out; ls /srv/empty | wc -l; \
                grep -c ' /srv/data \\| /srv/empty ' /proc/self/mountinfo; \
                echo changed >/srv/data/page; echo x >/srv/empty/x";
    let one = with(shell("one", look), json!({"image": "volumes:1"}));
    let two = with(shell("two", look), json!({"image": "volumes:1"}));
    // What the Pod mounts goes over what the image declares.
    let three = with(
        shell("three", "ls /srv/data | wc -l"),
        json!({"image": "volumes:1", "volumeMounts": [{"name": "own", "mountPath": "/srv/data"}]}),
    );
    let spec = json!({
        "restartPolicy": "Never", "initContainers": [one], "containers": [two, three],
        "volumes": [{"name": "own", "emptyDir": {}}],
    });
    let run = home.run(&pod("volumes", spec)).expect(0);
    // Each container has its own copy, so the second sees nothing of the first.
    for name in ["one", "two"] {
        assert_eq!(
            run.lines_of(name),
            ["from the image", "/etc/passwd", "0", "2"],
            "{run:?}"
        );
    }
    assert_eq!(run.lines_of("three"), ["0"]);
    assert_eq!(home.left(), Vec::<String>::new());
}
