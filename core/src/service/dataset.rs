//! Datasets: look at, tell of updates, and what waits for DAGs.

use serde_json::{Map, Value};

use super::{Actor, Result, Service, ServiceError};
use crate::model::{DatasetEvent, DatasetRecord, QueuedDatasetEvent};
use crate::storage::{
    DatasetEventQuery, DatasetQuery, NewDatasetEvent, Page, PageRequest, QueuedDatasetEventQuery, Subject,
};

impl Service {
    /// A dataset.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn dataset(&self, uri: &str) -> Result<DatasetRecord> {
        Ok(self.storage.dataset(uri).await?)
    }

    /// A page of datasets.
    ///
    /// # Errors
    /// The storage failed.
    pub async fn datasets(&self, query: &DatasetQuery) -> Result<Page<DatasetRecord>> {
        Ok(self.storage.datasets(query).await?)
    }

    /// Writes that a dataset was updated from outside, and queues that for the DAGs that wait for it and are not paused.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn create_dataset_event(
        &self,
        uri: &str,
        extra: Map<String, Value>,
        actor: &Actor,
    ) -> Result<DatasetEvent> {
        let event = NewDatasetEvent { uri: uri.into(), extra, source: None };
        let audit = actor.audit("create_dataset_event");
        Ok(self.storage.create_dataset_event(self.now().await?, event, Some(audit)).await?)
    }

    /// A page of updates of datasets.
    ///
    /// # Errors
    /// The storage failed.
    pub async fn dataset_events(&self, query: &DatasetEventQuery) -> Result<Page<DatasetEvent>> {
        Ok(self.storage.dataset_events(query).await?)
    }

    /// The updates that took part in causing a run.
    ///
    /// # Errors
    /// `NotFound` for the run.
    pub async fn upstream_dataset_events(&self, dag_id: &str, run_id: &str) -> Result<Vec<DatasetEvent>> {
        let run = self.storage.dag_run(dag_id, run_id).await?;
        let query = DatasetEventQuery { caused: Some(run.id), page: PageRequest::ALL, ..DatasetEventQuery::default() };
        Ok(self.storage.dataset_events(&query).await?.items)
    }

    /// Updates that wait for DAGs.
    ///
    /// # Errors
    /// The storage failed.
    pub async fn queued_dataset_events(&self, query: &QueuedDatasetEventQuery) -> Result<Vec<QueuedDatasetEvent>> {
        Ok(self.storage.queued_dataset_events(query).await?)
    }

    /// Forgets updates that wait for DAGs. The event log knows it under the name of the operation.
    ///
    /// # Errors
    /// `NotFound` if there is none.
    pub async fn delete_queued_dataset_events(
        &self,
        query: &QueuedDatasetEventQuery,
        operation: &str,
        actor: &Actor,
    ) -> Result<()> {
        let mut audit = actor.audit(operation);
        audit.dag_id = query.dag_id.as_deref().map(Into::into);
        match self.storage.delete_queued_dataset_events(self.now().await?, query, Some(audit)).await? {
            0 => Err(ServiceError::NotFound(Subject::Dataset(query.uri.clone().unwrap_or_default()))),
            _ => Ok(()),
        }
    }
}
