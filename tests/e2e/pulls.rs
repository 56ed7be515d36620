//! Images of Pods: pull policies, failures and their back-off, as a kubelet tells of them.

use std::net::TcpListener;

use carob_tests::{
    Answer, Home, PrivateRegistry, Program, Served, Web, images, pod, registry, shell, with,
};
use nix::sys::signal::Signal;
use serde_json::{Value, json};

fn of_image(image: &str, policy: Option<&str>) -> Value {
    let main = with(shell("main", "echo hello"), json!({"image": image}));
    let main = match policy {
        Some(policy) => with(main, json!({"imagePullPolicy": policy})),
        None => main,
    };
    pod("pulls", json!({"containers": [main]}))
}

/// Waits until the container waits for this reason; ends the Pod and returns the message.
fn waiting(run: Program, reason: &str) -> String {
    let waits = run.wait_pod(reason, |p| p.state("main") == reason);
    assert_eq!(waits.phase(), "Pending");
    let message = &waits.container("main")["state"]["waiting"]["message"];
    let message = message.as_str().unwrap_or_default().to_owned();
    run.stop(Signal::SIGINT).expect(130);
    message
}

#[test]
fn a_missing_image_is_pulled_and_a_person_sees_it() {
    let home = Home::empty();
    let image = format!("{}/busybox:1", registry());
    let run = home.run(&of_image(&image, None)).expect(0);
    assert_eq!(run.lines_of("main"), ["hello"]);
    assert!(
        run.err().contains(&format!("Pulling image \"{image}\"")),
        "{run:?}"
    );
    assert!(
        run.err()
            .contains(&format!("Successfully pulled image \"{image}\"")),
        "{run:?}"
    );
    // It is there now.
    let run = home.run(&of_image(&image, None)).expect(0);
    assert!(!run.err().contains("Pulling"), "{run:?}");
    // Asked for anew, but with nothing to load.
    let run = home.run(&of_image(&image, Some("Always"))).expect(0);
    assert!(run.err().contains("Pulling"), "{run:?}");
}

#[test]
fn an_image_of_several_containers_is_pulled_once() {
    let home = Home::empty();
    let image = json!({"image": format!("{}/busybox:1", registry())});
    let containers: Vec<_> = ["a", "b", "c"]
        .map(|n| with(shell(n, "true"), image.clone()))
        .into();
    let run = home
        .run(&pod("once", json!({"containers": containers})))
        .expect(0);
    assert_eq!(
        run.err().matches("Successfully pulled").count(),
        1,
        "{run:?}"
    );
}

#[test]
fn b33_never_pulls_when_told_so() {
    let home = Home::empty();
    let image = format!("{}/busybox:1", registry());
    let message = waiting(
        home.start_json(&of_image(&image, Some("Never"))),
        "ErrImageNeverPull",
    );
    assert_eq!(
        message,
        format!("Container image \"{image}\" is not present with pull policy of Never")
    );
    home.carob(&["image", "pull", &image]).expect(0);
    home.run(&of_image(&image, Some("Never"))).expect(0);
}

#[test]
fn if_not_present_asks_no_registry() {
    let home = Home::empty();
    // Nobody listens there.
    let image = "127.0.0.1:1/busybox:1";
    home.import(&images().join("busybox"), image);
    home.run(&of_image(image, None)).expect(0);
    let failed = home.start_json(&of_image(image, Some("Always")));
    let waits = failed.wait_pod("failure", |p| p.state("main") == "ImagePullBackOff");
    assert_eq!(waits.phase(), "Pending");
    failed.stop(Signal::SIGINT).expect(130);
}

#[test]
fn the_tag_latest_is_asked_for_each_time() {
    let home = Home::empty();
    let image = "127.0.0.1:1/busybox:latest";
    home.import(&images().join("busybox"), image);
    waiting(home.start_json(&of_image(image, None)), "ImagePullBackOff");
    home.run(&of_image(image, Some("IfNotPresent"))).expect(0);
}

#[test]
fn a_missing_image_is_tried_again_with_back_off() {
    let home = Home::empty();
    let image = format!("{}/no-such:1", registry());
    let run = home.start_json(&of_image(&image, None));
    let failed = run.wait_pod("the first failure", |p| p.state("main") == "ErrImagePull");
    let message = failed.container("main")["state"]["waiting"]["message"].to_string();
    assert!(message.contains("no-such:1"), "{message}");
    let message = waiting(run, "ImagePullBackOff");
    assert!(
        message.starts_with(&format!(
            "Back-off pulling image \"{image}\": ErrImagePull: "
        )),
        "{message}"
    );
}

#[test]
fn b34_what_is_no_image_name_is_told() {
    let home = Home::empty();
    for image in ["Upper:1", ":1", "docker://busybox", "a@sha256:abc"] {
        let message = waiting(home.start_json(&of_image(image, None)), "InvalidImageName");
        assert!(message.contains(image), "{message}");
    }
}

#[test]
fn one_image_missing_keeps_the_others_from_nothing() {
    let home = Home::new();
    let bad = with(
        shell("bad", ""),
        json!({"image": "no-such:1", "imagePullPolicy": "Never"}),
    );
    let good = shell("good", "trap 'exit 0' TERM; sleep 1000 & wait");
    let run = home.start_json(&pod("half", json!({"containers": [bad, good]})));
    let half = run.wait_pod("one runs", |p| {
        p.is_running("good") && p.state("bad") == "ErrImageNeverPull"
    });
    assert_eq!(half.phase(), "Pending");
    run.stop(Signal::SIGINT).expect(130);
}

#[test]
fn f22_a_deletion_does_not_wait_for_a_stalled_registry() {
    let home = Home::empty();
    // Accepts and never answers.
    let stalls = TcpListener::bind("127.0.0.1:0").unwrap();
    let image = format!("{}/x:1", stalls.local_addr().unwrap());
    let run = home.start_pods(&[of_image(&image, None)], &[]);
    run.wait_for("Pulling image");
    let connection = stalls.accept().unwrap();
    run.stop(Signal::SIGINT).expect(130);
    drop(connection);
}

#[test]
fn f17_why_a_registry_refuses_is_told() {
    let home = Home::empty();
    for (status, reason) in [
        ("401 Unauthorized", "check the credentials"),
        ("429 Too Many Requests", "limits the rate of requests"),
    ] {
        let web = Web::new(move |_| Answer::new(status, &[("Retry-After", "3600")], b""));
        let image = format!("{}/app:1", web.address);
        let message = waiting(home.start_json(&of_image(&image, None)), "ErrImagePull");
        assert!(message.contains(reason), "{message}");
    }
}

#[test]
fn f22_a_registry_that_stalls_holds_up_nobody_who_pulls_from_another() {
    let home = Home::empty();
    let stalls = Web::new(|_| Answer::new("200 OK", &[], b"").stalling());
    let stalled = with(
        of_image(&format!("{}/app:1", stalls.address), None),
        json!({"metadata": {"name": "stalled"}}),
    );
    let other = of_image(&format!("{}/busybox:1", registry()), None);
    let run = home.start_pods(&[stalled, other], &["--max-parallel-image-pulls", "1"]);
    run.wait_for("Successfully pulled image");
    run.wait_for("hello");
    run.stop(Signal::SIGINT).expect(130);
}

#[test]
fn f34_pods_that_want_one_image_pull_it_once() {
    let home = Home::empty();
    let served = Served::new(&images().join("busybox"));
    let web = Web::new(move |request| served.answer(request));
    let image = format!("{}/busybox:1", web.address);
    let pods: Vec<_> = ["a", "b", "c"]
        .map(|name| with(of_image(&image, None), json!({"metadata": {"name": name}})))
        .into();
    home.start_pods(&pods, &[]).finish().expect(0);
    let manifests = web
        .requests()
        .into_iter()
        .filter(|r| r.path.contains("/manifests/"));
    assert_eq!(manifests.count(), 1);
}

#[test]
fn image_pull_secrets_log_a_pod_in() {
    let home = Home::empty();
    let registry = PrivateRegistry::start();
    let certs = home.path().join("certs.d").join(&registry.address);
    std::fs::create_dir_all(&certs).unwrap();
    // Docker's way, without a hosts.toml.
    std::fs::copy(registry.authority(), certs.join("ca.crt")).unwrap();
    let certs = home.path().join("certs.d").display().to_string();
    let file = home.file("team.json", registry.login());
    let secret = format!("team={}", file.display());
    let main = with(
        shell("main", "echo hello"),
        json!({"image": registry.image()}),
    );
    let of = |secrets: Value| {
        pod(
            "private",
            json!({"containers": [&main], "imagePullSecrets": secrets}),
        )
    };
    let options = ["--registry-config-dir", &certs, "--pull-secret", &secret];
    let both = json!([{"name": "unknown"}, {"name": "team"}]);
    let run = home.start_pods(&[of(both)], &options).finish().expect(0);
    assert_eq!(run.lines_of("main"), ["hello"]);
    assert!(!run.err().contains("dXNlcjpzZWNyZXQ"), "{run:?}");
    // The same as a Secret beside the Pod.
    let login: Value = serde_json::from_str(&registry.login()).unwrap();
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "team"},
        "type": "kubernetes.io/dockerconfigjson",
        "stringData": {".dockerconfigjson": login.to_string()},
    });
    let again = with(main.clone(), json!({"imagePullPolicy": "Always"}));
    let again = json!({"containers": [again], "imagePullSecrets": [{"name": "team"}]});
    home.start_pods(&[secret, pod("secret", again)], &options[..2])
        .finish()
        .expect(0);
    // Another Pod has no part in it.
    let main = with(main, json!({"imagePullPolicy": "Always"}));
    let other = pod("other", json!({"containers": [main]}));
    let options = [&options[..], &["-o", "json"]].concat();
    let message = waiting(home.start_pods(&[other], &options), "ErrImagePull");
    assert!(message.contains("check the credentials"), "{message}");
}
