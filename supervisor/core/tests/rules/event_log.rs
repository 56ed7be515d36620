//! The event log, in a kubelet's words (`events/event.go`).

use carob_core::event::{Event, ImageFailure, Pulled, StartFailure};
use carob_core::pod::RestartPolicy::Always;
use carob_core::status::EventType;

use crate::kit::{Bench, pod, short};

#[test]
fn of_a_start_with_the_image_present() {
    let mut bench = Bench::new(pod(Always, &[], &["app"]));
    bench.answer();
    let log: Vec<_> = bench
        .events
        .iter()
        .map(|e| {
            (
                e.reason.as_str(),
                e.message.as_str(),
                e.field_path.as_deref(),
            )
        })
        .collect();
    let path = Some("spec.containers{app}");
    let text =
        "Container image \"image:1\" already present on machine and can be accessed by the pod";
    assert_eq!(
        log,
        [
            ("Pulled", text, path),
            ("Created", "Container created", path),
            ("Started", "Container started", path),
        ]
    );
    assert!(bench.events.iter().all(|e| e.kind == EventType::Normal));
}

#[test]
fn of_a_pull() {
    let mut bench = Bench::new(pod(Always, &["init"], &["app"]));
    let container = "init".to_owned();
    bench.event(Event::PullStarted {
        container: container.clone(),
    });
    assert_eq!(bench.told("Pulling"), ["Pulling image \"image:1\""]);
    bench.event(Event::ImageReady {
        container,
        image_id: "sha256:0".to_owned(),
        image: "image:1".to_owned(),
        pulled: Some(Pulled {
            took_ms: 312,
            waited_ms: 1_500,
            bytes: 4_000_000,
        }),
    });
    let text = "Successfully pulled image \"image:1\" in 312ms (1.5s including waiting). \
                Image size: 4000000 bytes.";
    assert_eq!(bench.told("Pulled"), [text]);
    let path = bench.events[0].field_path.as_deref();
    assert_eq!(path, Some("spec.initContainers{init}"));
}

#[test]
fn of_failures() {
    let mut bench = Bench::new(pod(Always, &[], &["app"]));
    bench.answer_unless(|a| short(a).starts_with("image"));
    bench.actions.clear();
    bench.fail_image("app", ImageFailure::ErrImagePull);
    let failed = [
        "Failed to pull image \"image:1\": boom",
        "Error: ErrImagePull",
        "Error: ImagePullBackOff",
    ];
    assert_eq!(bench.told("Failed"), failed);
    assert_eq!(
        bench.told("BackOff"),
        ["Back-off pulling image \"image:1\""]
    );

    let mut bench = Bench::new(pod(Always, &[], &["app"]));
    bench.answer_unless(|a| short(a).starts_with("create app"));
    bench.actions.clear();
    bench.fail_start("app", StartFailure::CreateContainerConfigError);
    assert_eq!(bench.told("Failed"), ["Error: boom"]);
}
