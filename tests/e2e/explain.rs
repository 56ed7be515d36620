//! `carob explain`: a timeline of what would happen, and nothing that does.

use carob_tests::Home;

const POD: &str = "apiVersion: v1\nkind: Pod\nmetadata: {name: x}\nspec:\n  containers: [{name: main, image: busybox:1}]\n";

#[test]
fn it_tells_when_a_container_restarts_and_touches_nothing() {
    let home = Home::empty();
    let file = home.file("pod.yaml", POD);
    let file = file.to_str().unwrap();
    let simulate = [
        "explain",
        file,
        "--simulate",
        "exit=1 after 5s",
        "--for",
        "30s",
    ];
    let run = home.carob(&simulate).expect(0);
    let out = run.out();
    for line in [
        "7.1s  main  ended: Error, exit code 1",
        "7.2s  main  running again (restart 1)",
        "12.3s  main  waits: CrashLoopBackOff: back-off 10s restarting failed container=main",
    ] {
        assert!(out.contains(line), "{line}\n{run:?}");
    }
    assert!(out.starts_with("Pod default/x\n"), "{run:?}");
    assert!(out.trim_end().ends_with(" ready."), "{run:?}");
    assert!(!home.root().join("images").exists());
}

#[test]
fn what_it_cannot_make_out_it_says_in_one_sentence() {
    let home = Home::empty();
    let file = home.file("pod.yaml", POD);
    let file = file.to_str().unwrap();
    let run = home
        .carob(&["explain", file, "--simulate", "main: exit=1 in 5s"])
        .expect(125);
    assert_eq!(
        run.err().trim_end(),
        "carob: --simulate \"main: exit=1 in 5s\": there is \"in\" where \"after\" is expected; `carob explain --help` lists what can be said"
    );
    let bad = home.file("bad.yaml", POD.replace("image", "imgae"));
    let run = home.carob(&["explain", bad.to_str().unwrap()]).expect(125);
    assert!(run.err().contains("did you mean image?"), "{run:?}");
}
