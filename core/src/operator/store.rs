//! What tries read and write, over the storage.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use serde_json::Value;

use super::TaskStore;
use crate::executor::Attempt;
use crate::model::{Connection, RunState};
use crate::storage::{OrderBy, PageRequest, Range, RunOrder, RunQuery, Storage, StorageError, XComEntry, XComQuery};

/// The [`TaskStore`] of every executor that can reach the storage.
#[derive(Debug, Clone)]
pub struct StorageTaskStore {
    storage: Arc<dyn Storage>,
}

impl StorageTaskStore {
    /// Reads and writes of tries over `storage`.
    pub fn new(storage: Arc<dyn Storage>) -> Self {
        Self { storage }
    }
}

/// `None` in place of the error that says so.
fn if_found<T>(result: Result<T, StorageError>) -> Result<Option<T>, StorageError> {
    match result {
        Ok(found) => Ok(Some(found)),
        Err(StorageError::NotFound(_)) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Of each instance the entry of the newest run up to `logical_date`, in the order of tasks and map indexes.
fn newest(entries: Vec<XComEntry>, logical_date: DateTime<Utc>) -> Vec<XComEntry> {
    let mut newest: BTreeMap<(String, i32), XComEntry> = BTreeMap::new();
    for entry in entries.into_iter().filter(|entry| entry.run.logical_date <= logical_date) {
        let instance = (entry.task_id.clone(), entry.xcom.instance.map_index);
        let is_newer = newest.get(&instance).is_none_or(|known| known.run.logical_date < entry.run.logical_date);
        if is_newer {
            newest.insert(instance, entry);
        }
    }
    newest.into_values().collect()
}

#[async_trait]
impl TaskStore for StorageTaskStore {
    async fn xcoms(
        &self,
        attempt: &Attempt,
        dag_id: Option<&str>,
        run_id: Option<&str>,
        task_ids: Option<&[String]>,
        key: &str,
        include_prior_dates: bool,
    ) -> Result<Vec<Value>, StorageError> {
        let dag_id = dag_id.unwrap_or(attempt.dag.dag_id.as_str());
        let mut until = attempt.run.logical_date;
        if let Some(run_id) = run_id.filter(|&id| include_prior_dates && id != attempt.run.run_id) {
            match if_found(self.storage.dag_run(dag_id, run_id).await)? {
                Some(run) => until = run.logical_date,
                None => return Ok(Vec::new()),
            }
        }
        let run_id = run_id.unwrap_or(&attempt.run.run_id);
        let query = XComQuery {
            dag_id: Some(dag_id.into()),
            run_id: (!include_prior_dates).then(|| run_id.into()),
            task_ids: task_ids.map(|ids| ids.iter().cloned().collect()),
            key: Some(key.into()),
            ..XComQuery::default()
        };
        let mut entries = self.storage.xcoms(&query).await?.items;
        if include_prior_dates {
            entries = newest(entries, until);
        }
        if let Some(ids) = task_ids {
            entries.sort_by_key(|entry| ids.iter().position(|id| *id == entry.task_id));
        }
        Ok(entries.into_iter().map(|entry| entry.xcom.value).collect())
    }

    async fn set_xcom(&self, attempt: &Attempt, key: &str, value: Value) -> Result<(), StorageError> {
        let now = self.storage.now().await?;
        self.storage.set_xcom(now, attempt.token, key, value).await
    }

    async fn variable(&self, key: &str) -> Result<Option<String>, StorageError> {
        Ok(if_found(self.storage.variable(key).await)?.map(|variable| variable.value))
    }

    async fn connection(&self, conn_id: &str) -> Result<Option<Connection>, StorageError> {
        if_found(self.storage.connection(conn_id).await)
    }

    async fn previous_success(&self, attempt: &Attempt) -> Result<Option<[Option<DateTime<Utc>>; 4]>, StorageError> {
        let query = RunQuery {
            dag_ids: Some([attempt.dag.dag_id.clone()].into()),
            states: Some(vec![RunState::Success]),
            logical_date: Range { at_least: None, at_most: Some(attempt.run.logical_date) },
            order_by: Some(OrderBy { field: RunOrder::LogicalDate, descending: true }),
            // The run itself may have succeeded before it was cleared, so the newest may not be an earlier one.
            page: PageRequest { limit: 2, offset: 0 },
            ..RunQuery::default()
        };
        let runs = self.storage.dag_runs(&query).await?.items;
        let earlier = runs.into_iter().find(|run| run.logical_date < attempt.run.logical_date);
        Ok(earlier
            .map(|run| [Some(run.data_interval_start), Some(run.data_interval_end), run.start_date, run.end_date]))
    }

    async fn set_process(&self, attempt: &Attempt, pid: u32) -> Result<(), StorageError> {
        self.storage.set_process(attempt.token, pid).await
    }

    async fn set_rendered_fields(&self, attempt: &Attempt, fields: Value) -> Result<(), StorageError> {
        self.storage.set_rendered_fields(attempt.token, fields).await
    }
}
