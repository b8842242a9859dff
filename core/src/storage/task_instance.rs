use std::collections::BTreeSet;
use std::sync::Arc;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use serde_json::Value;

use super::{Page, PageRequest, Range, Result};
use crate::id::{AttemptToken, DagId, InstanceKey, RunId};
use crate::model::{AuditEntry, Note, TaskInstance, TaskInstanceTry, TaskState};

/// Which task instances are asked for. They are listed by run (in the order of creation), task (in the order of
/// declaration) and map index.
#[derive(Debug, Clone, Default)]
pub struct TaskInstanceQuery {
    /// Of these DAGs; `None` for all.
    pub dag_ids: Option<BTreeSet<DagId>>,
    /// Of DAGs that the caller may see; `None` for all.
    pub readable: Option<Arc<BTreeSet<DagId>>>,
    /// Of runs with these text ids; `None` for all.
    pub run_ids: Option<BTreeSet<String>>,
    /// Of these tasks; `None` for all.
    pub task_ids: Option<BTreeSet<String>>,
    /// Mapped instances with one of these indexes; `None` for all.
    pub map_indexes: Option<BTreeSet<i32>>,
    /// In one of these states; `None` for all.
    pub states: Option<BTreeSet<TaskState>>,
    /// In one of these pools; `None` for all.
    pub pools: Option<BTreeSet<String>>,
    /// In one of these queues; `None` for all.
    pub queues: Option<BTreeSet<String>>,
    /// With one of these executors; `None` for all.
    pub executors: Option<BTreeSet<String>>,
    /// By the run's logical date.
    pub logical_date: Range<DateTime<Utc>>,
    /// By start.
    pub start_date: Range<DateTime<Utc>>,
    /// By end.
    pub end_date: Range<DateTime<Utc>>,
    /// By last change.
    pub updated_at: Range<DateTime<Utc>>,
    /// By duration in seconds.
    pub duration: Range<f64>,
    /// The part.
    pub page: PageRequest,
}

/// Task instances and their tries.
#[async_trait]
pub trait TaskInstanceStorage {
    /// A task instance.
    ///
    /// # Errors
    /// `NotFound`, for the run or the instance.
    async fn task_instance(&self, dag_id: &str, run_id: &str, task_id: &str, map_index: i32) -> Result<TaskInstance>;

    /// A page of task instances.
    async fn task_instances(&self, query: &TaskInstanceQuery) -> Result<Page<TaskInstance>>;

    /// Where instances stand, live attempts taken into account, in the order given; `None` for those that do not exist.
    async fn instance_states(&self, places: &[(RunId, InstanceKey)]) -> Result<Vec<Option<TaskState>>>;

    /// The tries of an instance that have passed, oldest first, then the instance as it stands, even if it was cleared or
    /// has not run yet, as Airflow lists them; nothing if the instance does not exist. One that waits for its retry is
    /// listed as the failed try that it was.
    async fn tries(&self, run: RunId, key: InstanceKey) -> Result<Vec<TaskInstanceTry>>;

    /// Sets or removes an instance's remark; it stays when the instance is cleared or tried again.
    ///
    /// # Errors
    /// `NotFound`.
    async fn set_task_instance_note(
        &self,
        now: DateTime<Utc>,
        run: RunId,
        key: InstanceKey,
        note: Option<Note>,
        audit: Option<AuditEntry>,
    ) -> Result<()>;

    /// Says where a live attempt runs.
    ///
    /// # Errors
    /// `Fenced` if the attempt is not live or obsolete.
    async fn set_process(&self, token: AttemptToken, pid: u32) -> Result<()>;

    /// Stores the arguments of a live attempt as rendered: a JSON object.
    ///
    /// # Errors
    /// `Fenced` if the attempt is not live or obsolete.
    async fn set_rendered_fields(&self, token: AttemptToken, fields: Value) -> Result<()>;
}
