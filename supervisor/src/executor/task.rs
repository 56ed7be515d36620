//! Calls of the runtime that may be repeated: who comes after a supervisor that was killed finds what it had begun.

use std::time::Duration;

use tokio::time::sleep;

use crate::runtime::{CreateTask, Process, TaskError, TaskState, Tasks};

/// Between two looks at a task that is being made or started: that takes milliseconds.
const PAUSE: Duration = Duration::from_millis(10);
/// One that takes longer is not waited for.
const LOOKS: u32 = 12_000;

/// Creates a task, or finds the one that was created before, and returns the PID of its init.
pub(super) async fn create(tasks: &dyn Tasks, task: CreateTask) -> Result<i32, TaskError> {
    let id = task.id.clone();
    let exists = match tasks.create(task.clone()).await {
        Err(TaskError::Exists(why)) => TaskError::Exists(why),
        made => return made,
    };
    match settled(tasks, &id).await {
        Ok(TaskState::Created { pid: Some(pid) } | TaskState::Running { pid }) => Ok(pid),
        Ok(TaskState::Created { pid: None }) => Err(exists),
        // It was killed before it was started.
        Ok(TaskState::Stopped(_)) => {
            tasks.delete(Process::init(&id)).await?;
            tasks.create(task).await
        }
        Err(TaskError::NotFound(_)) => tasks.create(task).await,
        Err(error) => Err(error),
    }
}

/// Starts a task, or finds that it was started before, and returns the PID of its init: 0 when it has ended
/// since.
pub(super) async fn start(tasks: &dyn Tasks, id: &str) -> Result<i32, TaskError> {
    let refused = match tasks.start(Process::init(id)).await {
        Err(TaskError::NotNow(why)) => TaskError::NotNow(why),
        started => return started,
    };
    for _ in 0..LOOKS {
        match tasks.state(id).await? {
            TaskState::Created { .. } => sleep(PAUSE).await,
            TaskState::Running { pid } => return Ok(pid),
            TaskState::Stopped(_) => return Ok(0),
        }
    }
    Err(refused)
}

/// How far a task is, once it is not being made any more.
pub(super) async fn settled(tasks: &dyn Tasks, id: &str) -> Result<TaskState, TaskError> {
    for _ in 0..LOOKS {
        match tasks.state(id).await? {
            TaskState::Created { pid: None } => sleep(PAUSE).await,
            state => return Ok(state),
        }
    }
    Ok(TaskState::Created { pid: None })
}
