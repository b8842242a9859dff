//! What tries read and write, over the storage.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use serde_json::Value;

use super::TaskStore;
use crate::clock::Clock;
use crate::executor::Attempt;
use crate::id::DagId;
use crate::model::{Connection, DagRun, DatasetEvent, DatasetEventSource, RunState};
use crate::secret::Keyring;
use crate::storage::{
    DatasetEventQuery, OrderBy, PageRequest, Range, RunOrder, RunQuery, Storage, StorageError, Subject, XComEntry,
    XComQuery,
};

/// The [`TaskStore`] of every executor that can reach the storage. While the storage is unavailable its calls wait, so that
/// no try fails because of that.
#[derive(Debug, Clone)]
pub struct StorageTaskStore {
    storage: Arc<dyn Storage>,
    clock: Arc<dyn Clock>,
    keys: Keyring,
}

impl StorageTaskStore {
    /// Reads and writes of tries over `storage`; `clock` is for pauses.
    pub fn new(storage: Arc<dyn Storage>, clock: Arc<dyn Clock>) -> Self {
        Self { storage, clock, keys: Keyring::default() }
    }

    /// What secrets are decrypted with.
    #[must_use]
    pub fn secret_keys(mut self, keys: Keyring) -> Self {
        self.keys = keys;
        self
    }

    /// Repeats a call while the storage is unavailable. Every call here may be repeated, whether it was carried out or not.
    async fn retry<T, F>(&self, call: impl Fn() -> F) -> Result<T, StorageError>
    where
        F: Future<Output = Result<T, StorageError>>,
    {
        const LONGEST: Duration = Duration::from_secs(1);
        let mut pause = Duration::from_millis(10);
        loop {
            match call().await {
                Err(error) if error.is_retryable() => {
                    tracing::debug!(%error, "a try waits for the storage");
                    self.clock.sleep(pause).await;
                    pause = (pause * 2).min(LONGEST);
                }
                result => return result,
            }
        }
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

#[async_trait]
impl TaskStore for StorageTaskStore {
    async fn xcoms(
        &self,
        attempt: &Attempt,
        query: &XComQuery,
        include_prior_dates: bool,
    ) -> Result<Vec<XComEntry>, StorageError> {
        let mut query = query.clone();
        let dag_id = query.dag_id.get_or_insert_with(|| attempt.dag.dag_id.to_string()).clone();
        let run_id = query.run_id.take().unwrap_or_else(|| attempt.run.run_id.clone());
        let mut until = attempt.run.logical_date;
        if !include_prior_dates {
            query.run_id = Some(run_id);
        } else if run_id != attempt.run.run_id {
            match if_found(self.retry(|| self.storage.dag_run(&dag_id, &run_id)).await)? {
                Some(run) => until = run.logical_date,
                None => return Ok(Vec::new()),
            }
        }
        let mut entries = self.retry(|| self.storage.xcoms(&query)).await?.items;
        if include_prior_dates {
            entries.retain(|entry| entry.run.logical_date <= until);
        }
        entries.sort_by_key(|entry| Reverse((entry.run.logical_date, entry.xcom.timestamp)));
        Ok(entries)
    }

    async fn set_xcom(&self, attempt: &Attempt, key: &str, value: Value) -> Result<(), StorageError> {
        let now = self.retry(|| self.storage.now()).await?;
        self.retry(|| self.storage.set_xcom(now, attempt.token, key, value.clone())).await
    }

    async fn variable(&self, key: &str) -> Result<Option<String>, StorageError> {
        let fails = |error| StorageError::Undecipherable(Subject::Variable(key.into()), error);
        let Some(found) = if_found(self.retry(|| self.storage.variable(key)).await)? else { return Ok(None) };
        Ok(Some(self.keys.open_variable(found).map_err(fails)?.value))
    }

    async fn connection(&self, conn_id: &str) -> Result<Option<Connection>, StorageError> {
        let fails = |error| StorageError::Undecipherable(Subject::Connection(conn_id.into()), error);
        let Some(found) = if_found(self.retry(|| self.storage.connection(conn_id)).await)? else { return Ok(None) };
        Ok(Some(self.keys.open_connection(found).map_err(fails)?))
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
        let runs = self.retry(|| self.storage.dag_runs(&query)).await?.items;
        let earlier = runs.into_iter().find(|run| run.logical_date < attempt.run.logical_date);
        Ok(earlier
            .map(|run| [Some(run.data_interval_start), Some(run.data_interval_end), run.start_date, run.end_date]))
    }

    async fn triggering_dataset_events(
        &self,
        attempt: &Attempt,
    ) -> Result<Vec<(DatasetEvent, Option<DagRun>)>, StorageError> {
        let query =
            DatasetEventQuery { caused: Some(attempt.run.id), page: PageRequest::ALL, ..DatasetEventQuery::default() };
        let events = self.retry(|| self.storage.dataset_events(&query)).await?.items;
        let mut runs: BTreeMap<(DagId, String), Option<DagRun>> = BTreeMap::new();
        let mut found = Vec::with_capacity(events.len());
        for event in events {
            let run = match &event.source {
                None => None,
                Some(DatasetEventSource { dag_id, run_id, .. }) => {
                    let key = (dag_id.clone(), run_id.clone());
                    match runs.get(&key) {
                        Some(run) => run.clone(),
                        None => {
                            let run = if_found(self.retry(|| self.storage.dag_run(dag_id.as_str(), run_id)).await)?;
                            runs.insert(key, run.clone());
                            run
                        }
                    }
                }
            };
            found.push((event, run));
        }
        Ok(found)
    }

    async fn dataset_events(&self, uri: &str) -> Result<Vec<DatasetEvent>, StorageError> {
        let Some(dataset) = if_found(self.retry(|| self.storage.dataset(uri)).await)? else { return Ok(Vec::new()) };
        let query =
            DatasetEventQuery { dataset_id: Some(dataset.id), page: PageRequest::ALL, ..DatasetEventQuery::default() };
        Ok(self.retry(|| self.storage.dataset_events(&query)).await?.items)
    }

    async fn set_process(&self, attempt: &Attempt, pid: u32) -> Result<(), StorageError> {
        self.retry(|| self.storage.set_process(attempt.token, pid)).await
    }

    async fn set_rendered_fields(&self, attempt: &Attempt, fields: Value) -> Result<(), StorageError> {
        self.retry(|| self.storage.set_rendered_fields(attempt.token, fields.clone())).await
    }
}
