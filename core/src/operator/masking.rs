//! Takes note of the secrets that a try fetches.

use std::sync::Arc;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use serde_json::Value;

use super::TaskStore;
use crate::executor::Attempt;
use crate::mask::Secrets;
use crate::model::{Connection, DagRun, DatasetEvent};
use crate::storage::{StorageError, XComEntry, XComQuery};

/// The store of one try: what is secret in what it hands out is masked from then on in all that the try shows.
#[derive(Debug)]
pub struct MaskingStore {
    inner: Arc<dyn TaskStore>,
    secrets: Arc<Secrets>,
}

impl MaskingStore {
    /// Reads and writes `inner`, and notes in `secrets`.
    pub fn new(inner: Arc<dyn TaskStore>, secrets: Arc<Secrets>) -> Self {
        Self { inner, secrets }
    }
}

#[async_trait]
impl TaskStore for MaskingStore {
    async fn xcoms(
        &self,
        attempt: &Attempt,
        query: &XComQuery,
        include_prior_dates: bool,
    ) -> Result<Vec<XComEntry>, StorageError> {
        self.inner.xcoms(attempt, query, include_prior_dates).await
    }

    async fn set_xcom(&self, attempt: &Attempt, key: &str, value: Value) -> Result<(), StorageError> {
        self.inner.set_xcom(attempt, key, value).await
    }

    async fn variable(&self, key: &str) -> Result<Option<String>, StorageError> {
        let found = self.inner.variable(key).await?;
        if let Some(value) = &found {
            self.secrets.add_variable(key, value);
        }
        Ok(found)
    }

    async fn connection(&self, conn_id: &str) -> Result<Option<Connection>, StorageError> {
        let found = self.inner.connection(conn_id).await?;
        if let Some(connection) = &found {
            self.secrets.add_connection(connection);
        }
        Ok(found)
    }

    async fn previous_success(&self, attempt: &Attempt) -> Result<Option<[Option<DateTime<Utc>>; 4]>, StorageError> {
        self.inner.previous_success(attempt).await
    }

    async fn triggering_dataset_events(
        &self,
        attempt: &Attempt,
    ) -> Result<Vec<(DatasetEvent, Option<DagRun>)>, StorageError> {
        self.inner.triggering_dataset_events(attempt).await
    }

    async fn dataset_events(&self, uri: &str) -> Result<Vec<DatasetEvent>, StorageError> {
        self.inner.dataset_events(uri).await
    }

    async fn set_process(&self, attempt: &Attempt, pid: u32) -> Result<(), StorageError> {
        self.inner.set_process(attempt, pid).await
    }

    async fn set_rendered_fields(&self, attempt: &Attempt, fields: Value) -> Result<(), StorageError> {
        self.inner.set_rendered_fields(attempt, fields).await
    }
}
