use std::collections::BTreeSet;
use std::sync::Arc;

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use super::{OrderBy, Page, PageRequest, Result};
use crate::id::DagId;
use crate::model::{AuditEntry, EventLogEntry};

/// By what the event log is listed; the order of writing by default.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum EventLogOrder {
    /// The order of writing.
    Id,
    /// The time.
    When,
    /// The DAG.
    DagId,
    /// The task.
    TaskId,
    /// The run.
    RunId,
    /// What happened.
    Event,
    /// The run's logical date.
    LogicalDate,
    /// Who.
    Owner,
    /// Further facts.
    Extra,
}

/// Which entries are asked for.
#[derive(Debug, Clone, Default)]
pub struct EventLogQuery {
    /// Of this DAG.
    pub dag_id: Option<String>,
    /// Of this task.
    pub task_id: Option<String>,
    /// Of this run.
    pub run_id: Option<String>,
    /// Of this mapped instance.
    pub map_index: Option<i32>,
    /// Of this try.
    pub try_number: Option<u32>,
    /// Of this event.
    pub event: Option<String>,
    /// By this owner.
    pub owner: Option<String>,
    /// Earlier than this.
    pub before: Option<DateTime<Utc>>,
    /// Later than this.
    pub after: Option<DateTime<Utc>>,
    /// Of one of these events only.
    pub included_events: Option<Vec<String>>,
    /// Of none of these events.
    pub excluded_events: Option<Vec<String>>,
    /// Of DAGs that the caller may see, or of none; `None` for all.
    pub readable: Option<Arc<BTreeSet<DagId>>>,
    /// The order.
    pub order_by: Option<OrderBy<EventLogOrder>>,
    /// The part.
    pub page: PageRequest,
}

/// The event log.
#[async_trait]
pub trait EventLogStorage {
    /// Writes an entry that belongs to no other change.
    async fn append_event(&self, now: DateTime<Utc>, entry: AuditEntry) -> Result<()>;

    /// An entry.
    ///
    /// # Errors
    /// `NotFound`.
    async fn event(&self, id: i64) -> Result<EventLogEntry>;

    /// A page of entries.
    async fn events(&self, query: &EventLogQuery) -> Result<Page<EventLogEntry>>;
}
