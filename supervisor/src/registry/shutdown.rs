//! Ending the Pods with the machine, the least important first (kubelet: pkg/kubelet/nodeshutdown).

use std::time::Duration;

use carob_core::pod::RestartPolicy;
use carob_core::registry::{Grace, shutdown_order};
use tokio::time::timeout;

use super::Registry;
use crate::actor::AtEnd;

impl Registry {
    /// Ends all Pods, group by group, each group within its time; a group that takes longer is left and the next one
    /// begins. They are not deleted: when the machine is up again they begin anew, but for those that are never to be
    /// restarted, which have failed then.
    pub async fn end_with_machine(&self, graces: &[Grace]) {
        self.0.ending.set(true);
        let (pods, _) = self.list();
        let pods: Vec<_> = pods
            .iter()
            .map(|object| (object.pod.metadata.uid.clone(), object.pod.spec.priority))
            .filter(|(uid, _)| !self.is_through(uid))
            .collect();
        for (seconds, uids) in shutdown_order(graces, &pods) {
            for uid in &uids {
                self.put_to_bed(uid, seconds);
            }
            // What is left after SIGKILL is only waited for a little.
            let limit = Duration::from_secs(seconds.saturating_add(2));
            if timeout(limit, self.until_through(&uids)).await.is_err() {
                tracing::warn!(seconds, "not all Pods have ended in their time");
            }
        }
    }

    fn put_to_bed(&self, uid: &str, seconds: u64) {
        let grace = {
            let mut pods = self.0.pods.borrow_mut();
            let Some(entry) = pods.get_mut(uid) else {
                return;
            };
            let spec = &entry.object.pod.spec;
            // One that was deleted before goes as it was to go.
            if entry.object.deletion.is_none() {
                entry.with_machine = true;
                entry.at_end.set(match spec.restart_policy {
                    RestartPolicy::Never => AtEnd::Terminate,
                    RestartPolicy::Always | RestartPolicy::OnFailure => AtEnd::Renew,
                });
            }
            seconds.min(spec.termination_grace_period_seconds)
        };
        self.end(uid, Some(grace));
    }

    async fn until_through(&self, uids: &[String]) {
        let mut latest = self.0.latest.subscribe();
        while !uids.iter().all(|uid| self.is_through(uid)) {
            // The registry, which this is a part of, keeps the sender.
            let _ = latest.changed().await;
        }
    }

    fn is_through(&self, uid: &str) -> bool {
        let pods = self.0.pods.borrow();
        pods.get(uid).is_none_or(|entry| entry.kept.is_some())
    }
}
