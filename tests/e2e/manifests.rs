//! Bad manifests get one clear sentence each, with its place, and change nothing. Named by the fault list's entries.

use carob_tests::Home;

/// A Pod around the lines of one container, which begin in line 7.
fn container(lines: &str) -> String {
    let lines = lines.replace('\n', "\n      ");
    format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: x}}\nspec:\n  containers:\n    - name: main\n      {lines}\n"
    )
}

/// A Pod with more in its spec, which begins in line 5.
fn spec(lines: &str) -> String {
    let lines = lines.replace('\n', "\n  ");
    format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: x}}\nspec:\n  {lines}\n  containers: [{{name: main, image: busybox:1}}]\n"
    )
}

/// What `carob run` says to a manifest that it must refuse, a sentence each, without the file's name.
fn refused(manifest: impl AsRef<[u8]>) -> Vec<String> {
    let home = Home::empty();
    let file = home.file("pod.yaml", manifest);
    let run = home.carob(&["run", file.to_str().unwrap()]).expect(125);
    assert_eq!(run.out(), "", "{run:?}");
    for dir in [home.root(), home.state()] {
        let made: Vec<_> = walk(&dir)
            .into_iter()
            .filter(|f| !f.ends_with("lock"))
            .collect();
        assert_eq!(made, Vec::<std::path::PathBuf>::new(), "{run:?}");
    }
    let prefix = format!("{}:", file.display());
    let err = run.err();
    let err = err
        .strip_prefix("carob: ")
        .unwrap_or_else(|| panic!("{run:?}"));
    let sentences = err.lines().map(|line| {
        let line = line
            .strip_prefix(&prefix)
            .unwrap_or_else(|| panic!("{line} in {run:?}"));
        let (row, rest) = line.split_once(':').unwrap();
        let (column, _) = rest.split_once(": ").unwrap();
        assert!(
            row.parse::<u32>().is_ok() && column.parse::<u32>().is_ok(),
            "{line}"
        );
        line.to_owned()
    });
    sentences.collect()
}

/// All files below a directory.
fn walk(dir: &std::path::Path) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    entries
        .flat_map(|entry| match entry.file_type().unwrap().is_dir() {
            true => walk(&entry.path()),
            false => vec![entry.path()],
        })
        .collect()
}

/// Holds that a manifest is refused with one sentence that has all these words.
#[track_caller]
fn one_sentence(manifest: impl AsRef<[u8]>, words: &[&str]) {
    let sentences = refused(manifest);
    assert_eq!(sentences.len(), 1, "{sentences:#?}");
    for word in words {
        assert!(
            sentences[0].contains(word),
            "{word:?} is not in {:?}",
            sentences[0]
        );
    }
}

#[test]
fn b1_an_empty_file() {
    for empty in ["", "\n\n", "# nothing\n", "---\n", "---\n---\n"] {
        one_sentence(empty, &["Pod"]);
    }
}

#[test]
fn b2_no_spec_or_no_containers() {
    one_sentence(
        "apiVersion: v1\nkind: Pod\nmetadata: {name: x}\n",
        &["spec"],
    );
    one_sentence(
        "apiVersion: v1\nkind: Pod\nmetadata: {name: x}\nspec: {containers: []}\n",
        &["containers"],
    );
    one_sentence(
        "apiVersion: v1\nkind: Pod\nspec: {containers: [{name: a, image: b}]}\n",
        &["metadata"],
    );
}

#[test]
fn b3_another_kind() {
    one_sentence(
        "apiVersion: v1\nkind: Service\nmetadata: {name: x}\nspec: {}\n",
        &["2:7", "Service", "Pod"],
    );
    one_sentence(
        "kind: Pod\nmetadata: {name: x}\nspec: {containers: [{name: a, image: b}]}\n",
        &["apiVersion"],
    );
}

#[test]
fn b4_misspelt_fields_with_a_suggestion() {
    one_sentence(
        container("image: b\nimagePulPolicy: Never"),
        &["8:7", "imagePulPolicy", "imagePullPolicy"],
    );
    let contaners = container("image: b").replace("containers", "contaners");
    let sentences = refused(contaners);
    assert!(
        sentences
            .iter()
            .any(|s| s.contains("contaners") && s.contains("containers")),
        "{sentences:?}"
    );
}

#[test]
fn b5_a_key_twice() {
    one_sentence(container("image: b\nimage: c"), &["8:7", "image"]);
}

#[test]
fn b6_values_of_another_type() {
    for value in ["1", "1.10", "yes", "true", "0755"] {
        let env = container(&format!("image: b\nenv: [{{name: A, value: {value}}}]"));
        one_sentence(
            env,
            &[
                "8:30: spec.containers[0].env[0].value: must be a string",
                "quote it",
            ],
        );
    }
    let label = container("image: b").replace("{name: x}", "{name: x, labels: {v: 1.10}}");
    one_sentence(label, &["3:", "metadata.labels.v", "quote it"]);
}

#[test]
fn b7_ports_out_of_range() {
    for port in ["http", "0", "65536", "-1"] {
        one_sentence(
            container(&format!("image: b\nports: [{{containerPort: {port}}}]")),
            &["8:", "containerPort"],
        );
    }
}

#[test]
fn b8_b32_numbers_out_of_range() {
    one_sentence(
        spec("terminationGracePeriodSeconds: 99999999999999999999"),
        &["5:", "terminationGracePeriodSeconds"],
    );
    one_sentence(
        spec("activeDeadlineSeconds: 0"),
        &["5:", "activeDeadlineSeconds"],
    );
    one_sentence(
        spec("activeDeadlineSeconds: -1"),
        &["5:", "activeDeadlineSeconds"],
    );
}

#[test]
fn b10_an_alias_bomb() {
    let mut bomb = String::from("a: &a [x,x,x,x,x,x,x,x,x,x]\n");
    for pair in ['a', 'b', 'c', 'd', 'e', 'f', 'g', 'h', 'i'].windows(2) {
        let inner = format!("*{}", pair[0]);
        bomb.push_str(&format!(
            "{}: &{} [{}]\n",
            pair[1],
            pair[1],
            [&*inner; 10].join(",")
        ));
    }
    let sentences = refused(bomb);
    assert!(sentences.len() < 20, "{} sentences", sentences.len());
}

#[test]
fn b11_a_hundred_thousand_brackets() {
    one_sentence("[".repeat(100_000), &["nest"]);
    one_sentence("{a: ".repeat(100_000), &["nest"]);
}

#[test]
fn b12_files_that_are_no_text() {
    let huge = format!("# {}\n{}", "x".repeat(10 << 20), container("image: b"));
    one_sentence(huge, &["3145728", "split it"]);
    one_sentence(container("image: b\0"), &[]);
    let utf16: Vec<u8> = container("image: b")
        .encode_utf16()
        .flat_map(u16::to_le_bytes)
        .collect();
    one_sentence(utf16, &["UTF-8"]);
    one_sentence(b"\xff\xfe\xfd", &["UTF-8"]);
    one_sentence(container("image: b\n\tcommand: [a]"), &["tab"]);
    one_sentence("just text", &[]);
    one_sentence("- a\n- b\n", &[]);
    one_sentence("{\"apiVersion\": \"v1\", ", &[]);
}

#[test]
fn b13_one_bad_document_keeps_all_from_running() {
    let good = container("image: b");
    let bad = container("image: b\nimagePulPolicy: Never");
    let other = bad.replace("{name: x}", "{name: other}");
    one_sentence(format!("{good}---\n{other}"), &["16:7", "imagePullPolicy"]);
    one_sentence(
        format!("{good}---\n{good}"),
        &["11:18", "metadata.name", "twice"],
    );
}

#[test]
fn b14_names_that_are_none() {
    let long = "a".repeat(254);
    for name in [
        "Upper",
        "under_score",
        &long,
        "..",
        "a/b",
        "ünicode",
        "dot.",
        "-dash",
        "''",
    ] {
        let manifest = container("image: b").replace("{name: x}", &format!("{{name: {name}}}"));
        one_sentence(manifest, &["3:", "metadata.name"]);
    }
    let label = container("image: b").replace(
        "{name: x}",
        &format!("{{name: x, labels: {{a: {}}}}}", "l".repeat(64)),
    );
    one_sentence(label, &["metadata.labels"]);
    one_sentence(
        container("image: b").replace("- name: main", "- name: Main"),
        &["6:", "spec.containers[0].name"],
    );
}

#[test]
fn b15_container_names_twice() {
    let twice = "apiVersion: v1\nkind: Pod\nmetadata: {name: x}\nspec:\n  initContainers: [{name: a, image: b}]\n  containers:\n  - {name: a, image: b}\n";
    one_sentence(twice, &["7:", "name", "\"a\""]);
}

#[test]
fn b16_volumes_twice_or_undefined() {
    one_sentence(
        spec("volumes: [{name: v, emptyDir: {}}, {name: v, emptyDir: {}}]"),
        &["5:", "volumes[1].name"],
    );
    one_sentence(
        container("image: b\nvolumeMounts: [{name: nope, mountPath: /v}]"),
        &["8:", "nope"],
    );
}

#[test]
fn b17_mount_paths() {
    let with = |mount: &str| {
        container(&format!("image: b\nvolumeMounts: [{{name: v, {mount}}}]"))
            + "  volumes: [{name: v, emptyDir: {}}]\n"
    };
    for path in ["/", "'/a:b'", "''"] {
        one_sentence(with(&format!("mountPath: {path}")), &["8:", "mountPath"]);
    }
    for path in ["/absolute", "../up", "a/../../b"] {
        one_sentence(
            with(&format!("mountPath: /v, subPath: {path}")),
            &["8:", "subPath"],
        );
    }
}

#[test]
fn b20_b21_quantities() {
    for quantity in ["1.5.2", "1e400", "-1", "' 1Gi'", "1gi", "much"] {
        let manifest = container(&format!(
            "image: b\nresources: {{limits: {{memory: {quantity}}}}}"
        ));
        one_sentence(
            manifest,
            &["8:", "spec.containers[0].resources.limits.memory"],
        );
    }
    let more = container("image: b\nresources: {limits: {memory: 1Mi}, requests: {memory: 2Mi}}");
    one_sentence(more, &["8:", "requests", "limit"]);
}

#[test]
fn b25_users_out_of_range() {
    for user in ["-1", "4294967296", "root"] {
        one_sentence(
            container(&format!("image: b\nsecurityContext: {{runAsUser: {user}}}")),
            &["8:", "runAsUser"],
        );
    }
}

#[test]
fn b26_b28_privileges() {
    one_sentence(
        container("image: b\nsecurityContext: {capabilities: {add: [FOO]}}"),
        &["8:", "FOO"],
    );
    one_sentence(
        container("image: b\nsecurityContext: {capabilities: {add: [CAP_CHOWN]}}"),
        &["CAP_"],
    );
    let both =
        container("image: b\nsecurityContext: {privileged: true, allowPrivilegeEscalation: false}");
    one_sentence(both, &["allowPrivilegeEscalation", "privileged"]);
}

#[test]
fn b27_c16_sysctls() {
    for name in [
        "kernel.core_pattern",
        "net.ipv4.ip_forward",
        "../../kernel/core_pattern",
        "kernel.shm_rmid_forced=1",
    ] {
        one_sentence(
            spec(&format!(
                "securityContext: {{sysctls: [{{name: {name}, value: '1'}}]}}"
            )),
            &["5:", "sysctl"],
        );
    }
    let newline =
        spec("securityContext: {sysctls: [{name: net.ipv4.tcp_syncookies, value: \"1\\n+x\"}]}");
    one_sentence(newline, &["5:", "value"]);
}

#[test]
fn b29_restart_policies() {
    for policy in ["always", "Sometimes"] {
        one_sentence(
            spec(&format!("restartPolicy: {policy}")),
            &["5:", "restartPolicy", "OnFailure"],
        );
    }
}

#[test]
fn b35_b36_names_of_the_network() {
    one_sentence(
        spec("dnsConfig: {nameservers: ['::zz']}"),
        &["5:", "nameservers[0]"],
    );
    let many: Vec<_> = (0..33).map(|i| format!("s{i}.example")).collect();
    one_sentence(
        spec(&format!("dnsConfig: {{searches: [{}]}}", many.join(","))),
        &["5:", "searches"],
    );
    one_sentence(
        spec("hostAliases: [{ip: nowhere, hostnames: [a]}]"),
        &["5:", "hostAliases[0].ip"],
    );
    one_sentence(
        spec("hostAliases: [{ip: 192.0.2.1, hostnames: [\"a\\nb\"]}]"),
        &["5:", "hostnames"],
    );
}

#[test]
fn b37_what_carob_does_not_support_is_named() {
    one_sentence(
        spec("nodeSelector: {a: b}"),
        &["5:", "spec.nodeSelector", "not supported by Carob"],
    );
    one_sentence(
        spec("volumes: [{name: v, persistentVolumeClaim: {claimName: c}}]"),
        &["persistentVolumeClaim", "not supported"],
    );
    one_sentence(
        spec("volumes: [{name: v, gitRepo: {repository: r}}]"),
        &["gitRepo", "not supported"],
    );
    one_sentence(
        spec("volumes: [{name: v, projected: {sources: [{serviceAccountToken: {path: t}}]}}]"),
        &["serviceAccountToken", "not supported"],
    );
}

#[test]
fn c3_c27_paths_and_profiles_that_lead_elsewhere() {
    for fd in [3, 8, 20] {
        one_sentence(
            container(&format!("image: b\nworkingDir: /proc/self/fd/{fd}")),
            &["8:", "workingDir"],
        );
    }
    for profile in ["''", "../x", "/x"] {
        let manifest = container(&format!(
            "image: b\nsecurityContext: {{seccompProfile: {{type: Localhost, localhostProfile: {profile}}}}}"
        ));
        one_sentence(manifest, &["8:", "localhostProfile"]);
    }
}

#[test]
fn all_errors_are_told_at_once() {
    let sentences = refused(container(
        "imagePulPolicy: x\nports: [{containerPort: 0}]\nworkingDir: relative",
    ));
    assert_eq!(sentences.len(), 4, "{sentences:#?}");
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let home = Home::empty();
    let run = home.carob(&["run", "/no/such/pod.yaml"]).expect(125);
    assert_eq!(
        run.err(),
        "carob: cannot read the manifest /no/such/pod.yaml: No such file or directory (os error 2)\n"
    );
    let run = home
        .carob(&["run", home.path().to_str().unwrap()])
        .expect(125);
    assert!(run.err().contains("directory"), "{run:?}");
}

#[test]
fn check_lists_what_becomes_of_each_field() {
    let home = Home::empty();
    let good = container("image: b\nresources: {limits: {memory: 100m}}")
        .replace("spec:\n", "spec:\n  schedulerName: mine\n");
    let file = home.file("good.yaml", good);
    let check = home.carob(&["check", file.to_str().unwrap()]).expect(0);
    let out = check.out();
    for line in [
        "3:12: honoured  metadata.name",
        "7:7: honoured  spec.containers[0].name",
    ] {
        assert!(out.lines().any(|l| l == line), "{line} in {check:?}");
    }
    let starts = |start: &str| out.lines().any(|l| l.starts_with(start));
    assert!(starts("5:3: ignored   spec.schedulerName: "), "{check:?}");
    assert!(
        starts("9:28: honoured  spec.containers[0].resources.limits.memory: "),
        "a warning: {check:?}"
    );
    assert!(out.ends_with("Pod default/x can be run\n"), "{check:?}");
    assert_eq!(check.err(), "");

    let bad = home.file("bad.yaml", container("image: b\nimagePulPolicy: x"));
    let check = home.carob(&["check", bad.to_str().unwrap()]).expect(1);
    let rejected = "8:7: rejected  spec.containers[0].imagePulPolicy";
    assert!(check.out().lines().any(|l| l == rejected), "{check:?}");
    assert!(check.err().contains("imagePullPolicy"), "{check:?}");
    assert!(
        !home.root().exists() && !home.state().exists(),
        "it touches nothing"
    );
}

#[test]
fn check_reads_standard_input() {
    let home = Home::empty();
    let check = home.start_command(
        home.command().args(["check", "-"]),
        container("image: b").as_bytes(),
    );
    assert!(
        check
            .finish()
            .expect(0)
            .out()
            .contains("Pod default/x can be run")
    );
}
