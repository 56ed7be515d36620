//! Calls of the shim that may be repeated: who comes after a supervisor that was killed finds what it had begun.

use std::time::Duration;

use tokio::time::sleep;

use crate::runtime::{CreateTask, Shim, TaskError, TaskState};

/// Between two looks at a task that is being made or started: that takes the shim milliseconds.
const PAUSE: Duration = Duration::from_millis(10);
/// A shim that takes longer is not waited for.
const LOOKS: u32 = 12_000;

/// Creates a task, or finds the one that was created before, and returns the PID of its init.
pub(super) async fn create(shim: &Shim, task: CreateTask) -> Result<i32, TaskError> {
    let id = task.id.clone();
    let exists = match shim.create(task.clone()).await {
        Err(TaskError::Exists(why)) => TaskError::Exists(why),
        made => return made,
    };
    match settled(shim, &id).await {
        Ok(TaskState::Created { pid: Some(pid) } | TaskState::Running { pid }) => Ok(pid),
        Ok(TaskState::Created { pid: None }) => Err(exists),
        // It was killed before it was started.
        Ok(TaskState::Stopped(_)) => {
            shim.delete(&id).await?;
            shim.create(task).await
        }
        Err(TaskError::NotFound(_)) => shim.create(task).await,
        Err(error) => Err(error),
    }
}

/// Starts a task, or finds that it was started before, and returns the PID of its init: 0 when it has ended
/// since.
pub(super) async fn start(shim: &Shim, id: &str) -> Result<i32, TaskError> {
    let refused = match shim.start(id).await {
        Err(TaskError::NotNow(why)) => TaskError::NotNow(why),
        started => return started,
    };
    for _ in 0..LOOKS {
        match shim.state(id).await? {
            TaskState::Created { .. } => sleep(PAUSE).await,
            TaskState::Running { pid } => return Ok(pid),
            TaskState::Stopped(_) => return Ok(0),
        }
    }
    Err(refused)
}

/// How far a task is, once it is not being made any more.
pub(super) async fn settled(shim: &Shim, id: &str) -> Result<TaskState, TaskError> {
    for _ in 0..LOOKS {
        match shim.state(id).await? {
            TaskState::Created { pid: None } => sleep(PAUSE).await,
            state => return Ok(state),
        }
    }
    Ok(TaskState::Created { pid: None })
}
