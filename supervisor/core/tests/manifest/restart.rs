//! Restart policies of containers and their rules.

use carob_core::pod::{ExitCodeOperator, RestartAction, RestartPolicy};

use crate::{accepted, container, refused, spec};

#[test]
fn b29_containers_have_policies_of_their_own() {
    for (text, policy) in [
        ("Always", RestartPolicy::Always),
        ("OnFailure", RestartPolicy::OnFailure),
        ("Never", RestartPolicy::Never),
    ] {
        let pod = accepted(&container(&format!("restartPolicy: {text}")));
        let own = &pod.pods[0].spec.containers[0];
        assert_eq!((own.sidecar, own.restart_policy), (false, Some(policy)));
        let init = spec(&format!(
            "initContainers: [{{name: d, image: i, restartPolicy: {text}}}]"
        ));
        let init = &accepted(&init).pods[0].spec.init_containers[0];
        let sidecar = policy == RestartPolicy::Always;
        let own = Some(policy).filter(|_| !sidecar);
        assert_eq!((init.sidecar, init.restart_policy), (sidecar, own));
    }
    refused(
        &container("restartPolicy: never"),
        "spec.containers[0].restartPolicy",
        "did you mean Never?",
    );
}

#[test]
fn rules_are_read() {
    let text = "restartPolicy: Never\nrestartPolicyRules:\n- {action: Restart, exitCodes: {operator: In, values: [42, 1]}}\n- {action: RestartAllContainers, exitCodes: {operator: NotIn, values: [0]}}";
    let rules = &accepted(&container(text)).pods[0].spec.containers[0].restart_rules;
    assert_eq!(rules.len(), 2);
    assert_eq!(rules[0].action, RestartAction::Restart);
    assert_eq!(rules[1].operator, ExitCodeOperator::NotIn);
    let matches = |code| [rules[0].matches(code), rules[1].matches(code)];
    assert_eq!(matches(42), [true, true]);
    assert_eq!(matches(0), [false, false]);
    assert_eq!(matches(7), [false, true]);
}

#[test]
fn rules_that_cannot_be() {
    let codes = "exitCodes: {operator: In, values: [1]}";
    for (rule, path, words) in [
        ("{action: Restart}".to_owned(), ".exitCodes", "required"),
        (format!("{{{codes}}}"), ".action", "required"),
        (
            format!("{{action: Stop, {codes}}}"),
            ".action",
            "\"Restart\", \"RestartAllContainers\"",
        ),
        (
            "{action: Restart, exitCodes: {values: [1]}}".to_owned(),
            ".exitCodes.operator",
            "required",
        ),
        (
            "{action: Restart, exitCodes: {operator: Equals}}".to_owned(),
            ".exitCodes.operator",
            "\"In\", \"NotIn\"",
        ),
        (
            "{action: Restart, exitCodes: {operator: In, values: [2147483648]}}".to_owned(),
            ".exitCodes.values[0]",
            "must be between",
        ),
    ] {
        let text = container(&format!(
            "restartPolicy: Never\nrestartPolicyRules: [{rule}]"
        ));
        let path = format!("spec.containers[0].restartPolicyRules[0]{path}");
        refused(&text, &path, words);
    }
    let rule = format!("{{action: Restart, {codes}}}");
    refused(
        &container(&format!("restartPolicyRules: [{rule}]")),
        "spec.containers[0].restartPolicy",
        "must be given",
    );
    let many = vec![rule; 21].join(", ");
    refused(
        &container(&format!(
            "restartPolicy: Never\nrestartPolicyRules: [{many}]"
        )),
        "spec.containers[0].restartPolicyRules",
        "more than 20 rules",
    );
    let many = vec!["1"; 256].join(", ");
    refused(
        &container(&format!(
            "restartPolicy: Never\nrestartPolicyRules: [{{action: Restart, exitCodes: {{operator: In, values: [{many}]}}}}]"
        )),
        "spec.containers[0].restartPolicyRules[0].exitCodes.values",
        "more than 255",
    );
}
