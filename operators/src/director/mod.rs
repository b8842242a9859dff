//! Tasks of Celery Director's workflows: a project's Python functions, and operators of the host's.
//!
//! The functions run in processes of their own, which import all of the project's `tasks/` once and then run one task after
//! the other, as Celery's workers do: what a module keeps in memory may be there for the next task. A process that has
//! nothing to do ends after a while, one whose task was cancelled or took too long is killed, and one that was started
//! before a file below `tasks/` changed gets no further tasks. Celery need not be installed: `director` is a module of ours,
//! and so are the parts of `celery` that tasks use most, where there is no Celery.
//!
//! Retries (`self.retry`, `autoretry_for`) happen within the try: its state stays `running`, as Director shows it, and it
//! keeps its place among the tries that run at a time.

mod input;
mod task;
mod worker;
mod workers;

use updraft_core::model::WORKFLOW_FUNCTION;
use updraft_core::operator::{OperatorInfo, Registry};

pub use task::DirectorTask;
pub use workers::{DirectorWorkers, ProjectFunctions};

/// Makes the operator known that runs the functions of projects.
pub fn register(registry: &mut Registry, workers: DirectorWorkers) {
    let mut info = OperatorInfo::new(WORKFLOW_FUNCTION);
    info.ui_color = "#ffefeb".into();
    registry.register(info, task::PythonTask(workers));
}
