//! Who carries out attempts.

mod local;
mod local_log;

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use crate::id::{AttemptToken, InstanceKey};
use crate::log::LogKey;
use crate::model::{AttemptPhase, Dag, DagRun, Task};
use crate::operator::{CancelReason, Outcome, TaskError};

pub use local::{LocalExecutor, LocalExecutorParts};

/// A try that was admitted: what an executor needs to know of it.
#[derive(Debug, Clone)]
pub struct Attempt {
    /// Names it and fences its writes.
    pub token: AttemptToken,
    /// The run.
    pub run: Arc<DagRun>,
    /// The version of the DAG that the run runs.
    pub dag: Arc<Dag>,
    /// The instance. Its task exists in `dag`.
    pub key: InstanceKey,
    /// The number of the try; the first is 1.
    pub try_number: u32,
    /// The last try number after which a failure may still be retried.
    pub max_tries: u32,
    /// When it was admitted.
    pub queued_when: DateTime<Utc>,
}

impl Attempt {
    /// The task.
    ///
    /// # Panics
    /// Never: the engine makes attempts only of tasks that the version has.
    pub fn task(&self) -> &Task {
        self.dag.task(self.key.task).expect("an attempt's task exists in its version of the DAG")
    }

    /// Names its log.
    pub fn log_key(&self) -> LogKey {
        LogKey {
            dag_id: self.dag.dag_id.to_string(),
            run_id: self.run.run_id.clone(),
            task_id: self.task().task_id.to_string(),
            map_index: self.key.map_index,
            try_number: self.try_number,
        }
    }
}

/// What an executor reports.
#[derive(Debug)]
#[non_exhaustive]
pub enum ExecutorEvent {
    /// A worker has taken a queued attempt.
    Started {
        /// Which.
        token: AttemptToken,
    },
    /// An attempt has ended, and nothing of it runs any more.
    Ended {
        /// Which.
        token: AttemptToken,
        /// How.
        result: Result<Outcome, TaskError>,
    },
}

/// Carries out attempts. None of its methods blocks.
#[async_trait]
pub trait Executor: Send + Sync + Debug {
    /// In which phase attempts are admitted: [`AttemptPhase::Running`] where they start at once,
    /// [`AttemptPhase::Queued`] where workers fetch them.
    fn admits_to(&self) -> AttemptPhase;

    /// How many further attempts it would take now.
    fn room(&self) -> usize;

    /// Takes attempts, whose admission is durable. The engine never hands over more than [`Executor::room`] said.
    fn start(&self, attempts: Vec<Attempt>);

    /// Tells an attempt to end. Its [`ExecutorEvent::Ended`] still comes, once nothing of it runs any more. Tokens that
    /// it does not have are ignored.
    fn cancel(&self, token: AttemptToken, reason: CancelReason);

    /// Waits until there is at least one event, and moves all there are to `events`, in the order in which they happened.
    /// Nothing is lost if the future is dropped.
    async fn events(&self, events: &mut Vec<ExecutorEvent>);

    /// Tells all attempts to end and waits until they have, or `grace` has passed.
    async fn shutdown(&self, grace: Duration);
}
