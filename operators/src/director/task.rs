//! The operators of tasks.

use std::fmt::Debug;
use std::sync::Arc;

use async_trait::async_trait;
use serde_json::{Map, Value, json};
use updraft_core::id::task_uid;
use updraft_core::model::WORKFLOW_ERROR;
use updraft_core::operator::{CancelReason, Operator, Outcome, SkipDownstream, TaskContext, TaskError};
use updraft_core::storage::StorageError;

use super::input::Input;
use super::workers::{Call, DirectorWorkers, End};

/// A task of a project's, found by its name, the argument `task`.
#[derive(Debug)]
pub(super) struct PythonTask(pub(super) DirectorWorkers);

#[async_trait]
impl Operator for PythonTask {
    async fn execute(&self, context: &TaskContext) -> Result<Outcome, TaskError> {
        let Input { args, payload, workflow_id } = Input::of(context).await?;
        let (attempt, task) = (context.attempt(), context.task());
        let name = task.arguments.get("task").and_then(Value::as_str).unwrap_or_default();
        let mut call = Call {
            task: name,
            id: task_uid(attempt.run.uid, task.task_id.as_str()).to_string(),
            args,
            payload,
            workflow_id,
            queue: &task.queue,
            retries: 0,
        };
        loop {
            match self.0.call(context, &call).await? {
                // What a task returns that returns nothing is no XCom, as with Airflow's.
                End::Returned(value) => {
                    let value = Some(value).filter(|value| !value.is_null());
                    return Ok(Outcome::new(value, SkipDownstream::None));
                }
                End::Failed { exception, traceback } => {
                    context.error(traceback.trim_end());
                    leave_error(context, &exception, &traceback).await?;
                    return Err(TaskError::FailedForGood(exception));
                }
                End::Again(pause) => {
                    call.retries += 1;
                    context.info(format_args!("Retry {} in {} s", call.retries, pause.as_secs_f64()));
                    tokio::select! {
                        biased;
                        reason = context.cancellation().cancelled() => return Err(TaskError::Cancelled(reason)),
                        () = context.clock().sleep(pause) => {}
                    }
                }
            }
        }
    }
}

/// Makes an operator a task of workflows, to be registered under the name by which definitions call it.
///
/// Its arguments are then `args` (the results of the tasks before it, as Director hands them on), `payload` and
/// `workflow_id`; its value is the task's result, and the text of its error what clients see of it.
#[derive(Debug)]
pub struct DirectorTask(Arc<dyn Operator>);

impl DirectorTask {
    /// Over an operator.
    pub fn new(operator: impl Operator + 'static) -> Self {
        Self(Arc::new(operator))
    }
}

#[async_trait]
impl Operator for DirectorTask {
    async fn execute(&self, context: &TaskContext) -> Result<Outcome, TaskError> {
        let Input { args, payload, workflow_id } = Input::of(context).await?;
        let mut arguments = context.arguments().clone();
        arguments.extend(Map::from_iter([
            ("args".into(), args.into()),
            ("payload".into(), payload),
            ("workflow_id".into(), workflow_id.into()),
        ]));
        let result = self.0.execute(&context.with_arguments(arguments)).await;
        if let Err(error) = &result
            && !matches!(error, TaskError::Cancelled(_))
        {
            leave_error(context, &error.to_string(), "").await?;
        }
        result
    }
}

/// Leaves what clients see of a failure.
pub(super) async fn leave_error(context: &TaskContext, exception: &str, traceback: &str) -> Result<(), TaskError> {
    let error = json!({ "exception": exception, "traceback": traceback });
    match context.store().set_xcom(context.attempt(), WORKFLOW_ERROR, error).await {
        Err(StorageError::Fenced) => Err(TaskError::Cancelled(CancelReason::Obsolete)),
        Err(error) => Err(TaskError::Other(Box::new(error))),
        Ok(()) => Ok(()),
    }
}
