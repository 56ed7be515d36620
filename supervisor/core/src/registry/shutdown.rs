//! In which order Pods end with the machine.

/// How long Pods of some priority and above may take, up to the next such priority.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Grace {
    /// `spec.priority` from which on it counts.
    pub priority: i32,
    /// Seconds.
    pub seconds: u64,
}

impl Grace {
    /// Of a total time, the last part is for critical Pods alone (`migrateConfig`,
    /// pkg/kubelet/nodeshutdown/nodeshutdown_manager.go).
    pub fn of_total(total: u64, critical: u64) -> [Self; 2] {
        let critical = critical.min(total);
        [
            Self {
                priority: 0,
                seconds: total - critical,
            },
            Self {
                priority: crate::eviction::CRITICAL_PRIORITY,
                seconds: critical,
            },
        ]
    }
}

/// Groups of Pods in the order in which they end, the least important first, each with its seconds. Pods below the
/// lowest priority end with those of it (`groupByPriority`).
pub fn shutdown_order(graces: &[Grace], pods: &[(String, i32)]) -> Vec<(u64, Vec<String>)> {
    let mut graces = graces.to_vec();
    graces.sort_by_key(|grace| grace.priority);
    let groups = graces.iter().enumerate().map(|(index, grace)| {
        let from = match index {
            0 => i32::MIN,
            _ => grace.priority,
        };
        let below = graces.get(index + 1).map(|next| next.priority);
        let of = |priority: i32| priority >= from && below.is_none_or(|below| priority < below);
        let pods = pods.iter().filter(|(_, priority)| of(*priority));
        (grace.seconds, pods.map(|(uid, _)| uid.clone()).collect())
    });
    groups
        .filter(|(_, pods): &(_, Vec<_>)| !pods.is_empty())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_important_end_first() {
        let pods = [
            ("web", 0),
            ("log", 2_000_001_000),
            ("batch", -5),
            ("db", 100),
            ("dns", 2_000_000_000),
        ];
        let pods = pods.map(|(uid, priority)| (uid.to_owned(), priority));
        let order = |graces: &[Grace]| -> Vec<(u64, String)> {
            let groups = shutdown_order(graces, &pods).into_iter();
            groups
                .map(|(seconds, uids)| (seconds, uids.join(" ")))
                .collect()
        };
        let line = |seconds, uids: &str| (seconds, uids.to_owned());
        assert_eq!(
            order(&Grace::of_total(60, 10)),
            [line(50, "web batch db"), line(10, "log dns")]
        );
        // More for the critical ones than there is: all of it.
        assert_eq!(
            order(&Grace::of_total(5, 10)),
            [line(0, "web batch db"), line(5, "log dns")]
        );
        let grace = |priority, seconds| Grace { priority, seconds };
        assert_eq!(
            order(&[grace(100, 2), grace(0, 1), grace(5000, 3)]),
            [line(1, "web batch"), line(2, "db"), line(3, "log dns")]
        );
        assert_eq!(order(&[grace(7, 9)]), [line(9, "web log batch db dns")]);
        assert!(shutdown_order(&[], &pods).is_empty());
    }
}
