//! Whether a Pod may begin while the machine is under pressure (`managerImpl.Admit`, eviction_manager.go).

use super::REASON;
use super::manager::NodeCondition;
use super::usage::is_critical;
use crate::pod::{Pod, QosClass};

/// Why a Pod may not begin: its `status.reason` and `status.message`; its phase is `Failed`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejection {
    /// `Evicted`.
    pub reason: &'static str,
    /// The conditions that forbid it.
    pub message: String,
}

/// Asks for a new Pod. Short memory keeps only those away that ask for none (QoS class BestEffort); short disk or
/// process IDs keep all away. Critical Pods always begin.
///
/// # Errors
/// When it may not begin.
pub fn admit(pod: &Pod, conditions: &[NodeCondition]) -> Result<(), Rejection> {
    let only_memory = conditions == [NodeCondition::MemoryPressure];
    let asks = QosClass::of(&pod.spec) != QosClass::BestEffort;
    if conditions.is_empty() || is_critical(pod) || (only_memory && asks) {
        return Ok(());
    }
    let names: Vec<_> = conditions.iter().map(|c| c.as_str()).collect();
    Err(Rejection {
        reason: REASON,
        message: format!("The node had condition: [{}]. ", names.join(" ")),
    })
}
