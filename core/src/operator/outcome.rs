//! How a try ends.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::id::TaskIx;
use crate::mask::Secrets;
use crate::model::{Dag, OutletEvent};

/// How a try that did not fail ends.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Outcome {
    /// The work is done.
    Success {
        /// The result, stored as the XCom `return_value` unless the task asks for none.
        value: Option<Value>,
        /// Which of the tasks after it are skipped.
        skip: SkipDownstream,
        /// What it says of its updates of datasets.
        outlet_events: Vec<OutletEvent>,
    },
    /// There was nothing to do.
    Skipped,
}

impl Outcome {
    /// Success with a result, or none, and a decision about the tasks after it.
    pub fn new(value: Option<Value>, skip: SkipDownstream) -> Self {
        Self::Success { value, skip, outlet_events: Vec::new() }
    }

    /// Success without a result.
    pub fn success() -> Self {
        Self::new(None, SkipDownstream::None)
    }

    /// Success with a result.
    pub fn value(value: impl Into<Value>) -> Self {
        Self::new(Some(value.into()), SkipDownstream::None)
    }
}

/// Which tasks after a task are skipped by its decision (Airflow 2.11, `models/skipmixin.py`).
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum SkipDownstream {
    /// None.
    #[default]
    None,
    /// Of the tasks directly after it, all but these and those that can be reached from these. Ids of groups stand for
    /// the groups' first tasks.
    Follow(Vec<String>),
    /// All tasks directly after it; those behind them follow their trigger rules.
    Direct,
    /// All tasks after it, whatever their trigger rules.
    All,
}

impl SkipDownstream {
    /// The value that clients see under `skipmixin_key`, for a decision of `task`.
    pub fn to_xcom(&self, dag: &Dag, task: TaskIx) -> Value {
        let skipped = match self {
            Self::None => Vec::new(),
            Self::Follow(followed) => return json!({ "followed": followed }),
            Self::Direct | Self::All => {
                let downstream = dag.downstream();
                let mut is_skipped = vec![false; dag.tasks.len()];
                let mut found = vec![task];
                while let Some(at) = found.pop() {
                    for &next in downstream.get(at.index()).into_iter().flatten() {
                        if !std::mem::replace(&mut is_skipped[next.index()], true) && *self == Self::All {
                            found.push(next);
                        }
                    }
                }
                dag.tasks().filter(|(ix, _)| is_skipped[ix.index()]).map(|(_, task)| task.task_id.as_str()).collect()
            }
        };
        json!({ "skipped": skipped })
    }
}

/// Why a try failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TaskError {
    /// The work failed; another try may do better.
    #[error("{0}")]
    Failed(String),
    /// The work failed, and would again: no further try is made (Airflow's `AirflowFailException`).
    #[error("{0}")]
    FailedForGood(String),
    /// The try took longer than its execution timeout.
    #[error("the execution timeout of {0:?} has passed")]
    TimedOut(std::time::Duration),
    /// The try was told to end.
    #[error("ended: {0}")]
    Cancelled(super::CancelReason),
    /// The work failed with an error of its own.
    #[error(transparent)]
    Other(#[from] Box<dyn std::error::Error + Send + Sync>),
}

impl TaskError {
    /// A failure that another try may mend.
    pub fn failed(message: impl Into<String>) -> Self {
        Self::Failed(message.into())
    }

    /// The same error without secrets in its text.
    pub(crate) fn masked(self, secrets: &Secrets) -> Self {
        match self {
            Self::Failed(text) => Self::Failed(secrets.mask(&text).into_owned()),
            Self::FailedForGood(text) => Self::FailedForGood(secrets.mask(&text).into_owned()),
            Self::Other(error) => {
                let text = error.to_string();
                match secrets.mask(&text) {
                    Cow::Borrowed(_) => Self::Other(error),
                    Cow::Owned(masked) => Self::Failed(masked),
                }
            }
            Self::TimedOut(_) | Self::Cancelled(_) => self,
        }
    }

    /// Whether another try may be made, as far as the error is concerned.
    pub fn may_retry(&self) -> bool {
        !matches!(self, Self::FailedForGood(_))
    }
}
