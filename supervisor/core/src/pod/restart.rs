//! When a container that ended is started again.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

/// `restartPolicy`, of a Pod or of a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum RestartPolicy {
    /// Restart whatever the exit code.
    #[default]
    Always,
    /// Restart after a non-zero exit code.
    OnFailure,
    /// Never restart.
    Never,
}

/// One entry of `restartPolicyRules`: what an exit with such a code leads to, instead of the policy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RestartRule {
    /// What it leads to.
    pub action: RestartAction,
    /// How the code is compared.
    pub operator: ExitCodeOperator,
    /// The codes; at most 255.
    pub values: BTreeSet<i32>,
}

/// `action` of a [`RestartRule`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum RestartAction {
    /// The container is restarted.
    Restart,
    /// The Pod's containers are all ended and started again, init containers first, in the same sandbox.
    RestartAllContainers,
}

/// `exitCodes.operator` of a [`RestartRule`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ExitCodeOperator {
    /// The code is one of the values.
    In,
    /// The code is none of the values.
    NotIn,
}

impl RestartRule {
    /// Whether the rule is about this exit code.
    pub fn matches(&self, exit_code: i32) -> bool {
        let listed = self.values.contains(&exit_code);
        match self.operator {
            ExitCodeOperator::In => listed,
            ExitCodeOperator::NotIn => !listed,
        }
    }
}
