use std::collections::BTreeSet;
use std::sync::Arc;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use serde_json::{Map, Value};
use uuid::Uuid;

use super::{NewRun, OrderBy, Page, PageRequest, Result};
use crate::id::{DagId, DagVersionId, RunId};
use crate::model::{
    AuditEntry, DataInterval, DatasetEvent, DatasetEventSource, DatasetRecord, QueuedDatasetEvent, RunType,
};

/// By what datasets are listed; the order of their creation by default.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum DatasetOrder {
    /// The order of creation.
    Id,
    /// The URI.
    Uri,
    /// When they became known.
    CreatedAt,
    /// When they were last declared anew.
    UpdatedAt,
}

/// Which datasets are asked for.
#[derive(Debug, Clone, Default)]
pub struct DatasetQuery {
    /// Those whose URI contains this, in any case; `%` and `_` are wildcards as in SQL's `LIKE`.
    pub uri_pattern: Option<String>,
    /// Those that one of these DAGs waits for or updates.
    pub dag_ids: Option<BTreeSet<DagId>>,
    /// The order.
    pub order_by: Option<OrderBy<DatasetOrder>>,
    /// The part.
    pub page: PageRequest,
}

/// An update of a dataset, to be written.
#[derive(Debug, Clone)]
pub struct NewDatasetEvent {
    /// The URI of the dataset.
    pub uri: String,
    /// Facts about the update.
    pub extra: Map<String, Value>,
    /// The task instance that made it; `None` for an update from outside.
    pub source: Option<DatasetEventSource>,
}

/// A DAG whose schedule waits for datasets of which some were updated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WaitingConsumer {
    /// Its newest version.
    pub dag_version: DagVersionId,
    /// The URIs of the datasets of which an update is queued for it, sorted.
    pub uris: Vec<String>,
}

/// A run that updates of datasets cause, to be created.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewDatasetRun {
    /// As of [`NewRun`].
    pub uid: Uuid,
    /// The newest version of the DAG.
    pub dag_version: DagVersionId,
    /// The datasets by whose updates the condition of its schedule holds.
    pub uris: Vec<String>,
}

impl NewDatasetRun {
    /// The run that stands for a moment and covers some data. Its text id is made of its type and the moment.
    pub fn run(&self, logical_date: DateTime<Utc>, data: DataInterval) -> NewRun {
        NewRun::automated(self.uid, self.dag_version, RunType::DatasetTriggered, logical_date, data)
    }

    /// The data that a run of this logical date covers: all that those runs cover that made the updates, and the moments of
    /// the updates that no run made, or none that is still there (Airflow 2.11, `timetables/simple.py`,
    /// `data_interval_for_events`).
    pub fn data(logical_date: DateTime<Utc>, updates: impl IntoIterator<Item = DataInterval>) -> DataInterval {
        let all = updates
            .into_iter()
            .reduce(|all, update| DataInterval { start: all.start.min(update.start), end: all.end.max(update.end) });
        all.unwrap_or(DataInterval::exact(logical_date))
    }
}

/// By what updates are listed; their time by default.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum DatasetEventOrder {
    /// The time.
    Timestamp,
    /// The DAG of the task that made it.
    SourceDagId,
    /// The task that made it.
    SourceTaskId,
    /// The run in which it was made.
    SourceRunId,
    /// The map index of the instance that made it; −1 for an update from outside.
    SourceMapIndex,
}

/// Which updates are asked for.
#[derive(Debug, Clone, Default)]
pub struct DatasetEventQuery {
    /// Of this dataset, by key.
    pub dataset_id: Option<i64>,
    /// By a task of this DAG.
    pub source_dag_id: Option<String>,
    /// By this task.
    pub source_task_id: Option<String>,
    /// In this run, by its text id.
    pub source_run_id: Option<String>,
    /// By an instance with this map index; updates from outside have −1.
    pub source_map_index: Option<i32>,
    /// Those that took part in causing this run.
    pub caused: Option<RunId>,
    /// The order.
    pub order_by: Option<OrderBy<DatasetEventOrder>>,
    /// The part.
    pub page: PageRequest,
}

/// Which queued updates are meant.
#[derive(Debug, Clone, Default)]
pub struct QueuedDatasetEventQuery {
    /// Those that wait for this DAG.
    pub dag_id: Option<String>,
    /// Those of the dataset with this URI.
    pub uri: Option<String>,
    /// Queued earlier than this.
    pub before: Option<DateTime<Utc>>,
    /// Those that wait for DAGs that the caller may see; `None` for all.
    pub readable: Option<Arc<BTreeSet<DagId>>>,
}

/// Datasets, their updates, and the updates that wait until a DAG's condition holds.
///
/// A dataset becomes known with the first DAG that uses it ([`DagStorage::register_dags`](super::DagStorage::register_dags))
/// and stays known; which DAGs use it is told by their newest versions.
#[async_trait]
pub trait DatasetStorage {
    /// A dataset.
    ///
    /// # Errors
    /// `NotFound`.
    async fn dataset(&self, uri: &str) -> Result<DatasetRecord>;

    /// A page of datasets.
    async fn datasets(&self, query: &DatasetQuery) -> Result<Page<DatasetRecord>>;

    /// Writes that a dataset was updated, and queues that for each DAG whose schedule waits for it and that is active and
    /// not paused, unless an update of the dataset waits for it already. Announced if it is queued anew.
    ///
    /// # Errors
    /// `NotFound`.
    async fn create_dataset_event(
        &self,
        now: DateTime<Utc>,
        event: NewDatasetEvent,
        audit: Option<AuditEntry>,
    ) -> Result<DatasetEvent>;

    /// A page of updates.
    async fn dataset_events(&self, query: &DatasetEventQuery) -> Result<Page<DatasetEvent>>;

    /// Queued updates, by DAG and URI.
    async fn queued_dataset_events(&self, query: &QueuedDatasetEventQuery) -> Result<Vec<QueuedDatasetEvent>>;

    /// Forgets queued updates. Returns how many there were; if there was none, nothing is written.
    async fn delete_queued_dataset_events(
        &self,
        now: DateTime<Utc>,
        query: &QueuedDatasetEventQuery,
        audit: Option<AuditEntry>,
    ) -> Result<u64>;
}
