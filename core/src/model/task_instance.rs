//! A task within a run.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde_json::Value;

use super::{Dag, DagRun, Note, Task, TaskState};
use crate::id::InstanceKey;

/// A task instance, together with the run and the declaration that it belongs to.
#[derive(Debug, Clone)]
pub struct TaskInstance {
    /// The run.
    pub run: Arc<DagRun>,
    /// The version of the DAG that the run runs.
    pub dag: Arc<Dag>,
    /// Which instance of the run.
    pub key: InstanceKey,
    /// Where it stands, a live attempt taken into account.
    pub state: TaskState,
    /// The number of its last try; 0 before the first.
    pub try_number: u32,
    /// The last try number after which a failure may still be retried.
    pub max_tries: u32,
    /// When its last try started.
    pub start_date: Option<DateTime<Utc>>,
    /// When its last try ended.
    pub end_date: Option<DateTime<Utc>>,
    /// Whether a task before it decided that it is skipped: then it has dates, but no duration.
    pub is_branched_off: bool,
    /// When its last try was admitted.
    pub queued_when: Option<DateTime<Utc>>,
    /// When its next try may start.
    pub due_at: Option<DateTime<Utc>>,
    /// Where its last try ran.
    pub hostname: String,
    /// As which user.
    pub unixname: String,
    /// The process of its last try, if it had one.
    pub pid: Option<u32>,
    /// A remark.
    pub note: Option<Note>,
    /// The operator's arguments as rendered for its last try: a JSON object.
    pub rendered_fields: Value,
    /// The name of a mapped instance.
    pub rendered_map_index: Option<String>,
}

impl TaskInstance {
    /// The declaration of the task. Versions never lose tasks, so the index is always valid.
    pub fn task(&self) -> Option<&Task> {
        self.dag.task(self.key.task)
    }

    /// Its last try as it stands.
    pub fn as_try(&self) -> TaskInstanceTry {
        TaskInstanceTry {
            try_number: self.try_number,
            state: self.state,
            max_tries: self.max_tries,
            start_date: self.start_date,
            end_date: self.end_date,
            is_branched_off: self.is_branched_off,
            queued_when: self.queued_when,
            hostname: self.hostname.clone(),
            unixname: self.unixname.clone(),
            pid: self.pid,
        }
    }

    /// Seconds between start and end.
    pub fn duration(&self) -> Option<f64> {
        if self.is_branched_off {
            return None;
        }
        let micros = (self.end_date? - self.start_date?).num_microseconds()?;
        // A duration of up to 285 years in microseconds is exact in 53 bits.
        #[allow(clippy::cast_precision_loss)]
        Some(micros as f64 / 1e6)
    }
}

/// One try of a task instance that has passed.
#[derive(Debug, Clone, PartialEq)]
pub struct TaskInstanceTry {
    /// Its number.
    pub try_number: u32,
    /// How it ended.
    pub state: TaskState,
    /// The instance's bound at that time.
    pub max_tries: u32,
    /// When it started.
    pub start_date: Option<DateTime<Utc>>,
    /// When it ended.
    pub end_date: Option<DateTime<Utc>>,
    /// As in [`TaskInstance`].
    pub is_branched_off: bool,
    /// When it was admitted.
    pub queued_when: Option<DateTime<Utc>>,
    /// Where it ran.
    pub hostname: String,
    /// As which user.
    pub unixname: String,
    /// The process, if it had one.
    pub pid: Option<u32>,
}
