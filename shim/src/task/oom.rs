//! Tells of processes that the kernel kills for lack of memory.

use std::os::fd::AsFd;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use containerd_shim_protos::events::task::TaskOOM;
use tokio::io::Interest;
use tokio::task::JoinHandle;

use super::{Container, Shim};
use crate::cgroup::{Cgroup, CgroupError, OomEvent, OomWatch, Wake};
use crate::events::Publisher;
use crate::ready;

/// How long after memory has run out it is asked again whether somebody was killed for it.
const SHORTLY: Duration = Duration::from_millis(20);
/// How often, at most, since memory may also be freed in time.
const TIMES: u32 = 50;

/// The watch of one container, until it is dropped.
pub(super) struct Oom {
    watch: Arc<Mutex<OomWatch>>,
    task: JoinHandle<()>,
}

impl Oom {
    /// Starts watching. Must be called in the runtime.
    fn start(id: &str, cgroup: &Cgroup, publisher: &Publisher) -> Result<Self, CgroupError> {
        let watch = Arc::new(Mutex::new(cgroup.oom_watch()?));
        let task = tokio::spawn(follow(watch.clone(), id.to_owned(), publisher.clone()));
        Ok(Self { watch, task })
    }

    /// Tells of what has happened up to now.
    pub fn tell(&self, id: &str, publisher: &Publisher) {
        // Whether there may be more is the task's concern.
        let _ = check(&self.watch, id, publisher);
    }
}

impl Drop for Oom {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Shim {
    /// Watches a container that was just made. Without a memory controller there is nothing to tell.
    pub(super) fn watch_oom(&self, id: &str, container: &mut Container) {
        let Some(cgroup) = &container.cgroup else {
            return;
        };
        match Oom::start(id, cgroup, &self.publisher) {
            Ok(oom) => container.oom = Some(oom),
            Err(error) => {
                tracing::warn!("container {id:?} is not watched for lack of memory: {error}")
            }
        }
    }
}

/// Publishes what is new. `None` when there will never be anything more.
fn check(watch: &Mutex<OomWatch>, id: &str, publisher: &Publisher) -> Option<OomEvent> {
    let event = watch
        .lock()
        .expect("no code panics while it holds the watch")
        .check();
    match event {
        Ok(OomEvent::Gone) => None,
        Ok(OomEvent::Killed(_)) => {
            publisher.publish(TaskOOM {
                container_id: id.to_owned(),
                ..TaskOOM::default()
            });
            Some(OomEvent::Killed(1))
        }
        Ok(event) => Some(event),
        Err(error) => {
            tracing::warn!("container {id:?} can't be watched for lack of memory: {error}");
            None
        }
    }
}

async fn follow(watch: Arc<Mutex<OomWatch>>, id: String, publisher: Publisher) {
    let (fd, wake) = {
        let watch = watch
            .lock()
            .expect("no code panics while it holds the watch");
        (watch.as_fd().try_clone_to_owned(), watch.wake())
    };
    let interest = match wake {
        Wake::Readable => Interest::READABLE,
        Wake::Priority => Interest::PRIORITY,
    };
    let Ok(fd) = fd.and_then(|fd| ready::watch(fd, interest)) else {
        return;
    };
    loop {
        let Ok(mut ready) = fd.ready(interest).await else {
            return;
        };
        ready.clear_ready();
        let mut event = check(&watch, &id, &publisher);
        for _ in 0..TIMES {
            if event != Some(OomEvent::Imminent) {
                break;
            }
            tokio::time::sleep(SHORTLY).await;
            event = check(&watch, &id, &publisher);
        }
        if event.is_none() {
            return;
        }
    }
}
