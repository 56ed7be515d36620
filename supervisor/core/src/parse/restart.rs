//! A container's own restart policy and its rules (`validateContainerRestartPolicy`).

use std::collections::BTreeSet;

use super::field::Field;
use super::object::Object;
use super::unhonoured::NONE;
use crate::pod::{ExitCodeOperator, RestartAction, RestartPolicy, RestartRule};

const MAX_RULES: usize = 20;
const MAX_CODES: usize = 255;

/// One of three words.
pub(super) fn restart_policy(field: &Field<'_>) -> Option<RestartPolicy> {
    field.choice(&[
        ("Always", RestartPolicy::Always),
        ("OnFailure", RestartPolicy::OnFailure),
        ("Never", RestartPolicy::Never),
    ])
}

/// `restartPolicy` and `restartPolicyRules` of a container.
pub(super) fn own_restart(o: &mut Object<'_, '_>) -> (Option<RestartPolicy>, Vec<RestartRule>) {
    let field = o.text("restartPolicy");
    let policy = field.as_ref().and_then(restart_policy);
    let rules = o.list("restartPolicyRules");
    if !rules.is_empty() && field.is_none() {
        o.missing(
            "restartPolicy",
            "must be given when there are restartPolicyRules",
        );
    }
    if rules.len() > MAX_RULES {
        let message = format!("must not have more than {MAX_RULES} rules");
        o.missing("restartPolicyRules", message);
    }
    (policy, rules.iter().filter_map(rule).collect())
}

fn rule(field: &Field<'_>) -> Option<RestartRule> {
    field.object(NONE, |o| {
        let action = o.require("action").and_then(|f| {
            f.choice(&[
                ("Restart", RestartAction::Restart),
                ("RestartAllContainers", RestartAction::RestartAllContainers),
            ])
        });
        let codes = o.require("exitCodes").and_then(|f| exit_codes(&f));
        let (operator, values) = codes?;
        Some(RestartRule {
            action: action?,
            operator,
            values,
        })
    })?
}

fn exit_codes(field: &Field<'_>) -> Option<(ExitCodeOperator, BTreeSet<i32>)> {
    field.object(NONE, |o| {
        let operator = o.require("operator").and_then(|f| {
            f.choice(&[
                ("In", ExitCodeOperator::In),
                ("NotIn", ExitCodeOperator::NotIn),
            ])
        });
        let values = o.list("values");
        if values.len() > MAX_CODES {
            o.missing(
                "values",
                format!("must not have more than {MAX_CODES} exit codes"),
            );
        }
        let code = |f: &Field<'_>| {
            let code = f.integer(i64::from(i32::MIN)..=i64::from(i32::MAX))?;
            i32::try_from(code).ok()
        };
        Some((operator?, values.iter().filter_map(code).collect()))
    })?
}
