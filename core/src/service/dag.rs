//! DAGs: make known, look at, pause, delete.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::{Actor, Result, Service};
use crate::dag::content_hash;
use crate::id::DagId;
use crate::model::{Dag, DagRecord, DagVersion};
use crate::storage::{DagQuery, DagRegistration, Page, PageRequest, RunQuery, TaskInstanceQuery};

/// How many runs are looked at in one step where all runs of a DAG are.
const RUNS_AT_A_TIME: usize = 1000;

/// A DAG that a file or a program declares.
#[derive(Debug, Clone)]
pub struct DagDeclaration {
    /// The DAG.
    pub dag: Arc<Dag>,
    /// The text of its file, which clients may read.
    pub source: Option<Arc<str>>,
}

impl From<Arc<Dag>> for DagDeclaration {
    fn from(dag: Arc<Dag>) -> Self {
        Self { dag, source: None }
    }
}

impl Service {
    /// Makes DAGs known, or known again, all in one step. A DAG that differs from what was known of it gets a new version,
    /// which later runs have. New DAGs start paused if they say so, else if the host says so. Returns their newest
    /// versions, in the order given.
    ///
    /// # Errors
    /// The storage failed.
    pub async fn register(&self, declarations: Vec<DagDeclaration>) -> Result<Vec<DagVersion>> {
        let by_default = self.settings.dags_are_paused_at_creation;
        let registrations = declarations
            .into_iter()
            .map(|DagDeclaration { dag, source }| DagRegistration {
                content_hash: content_hash(&dag),
                paused_upon_creation: dag.is_paused_upon_creation.unwrap_or(by_default),
                dag,
                source,
            })
            .collect();
        Ok(self.storage.register_dags(self.now().await?, registrations).await?)
    }

    /// Says that these DAGs are not declared here any more: they are no longer listed and run no more, but their runs stay.
    /// Unknown ids are ignored. Returns those that stay active for the time being, because another scheduler may declare
    /// them.
    ///
    /// # Errors
    /// The storage failed.
    pub async fn deactivate(&self, dag_ids: &[DagId]) -> Result<Vec<DagId>> {
        Ok(self.storage.deactivate_dags(self.now().await?, dag_ids).await?)
    }

    /// A DAG.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn dag(&self, dag_id: &str) -> Result<DagRecord> {
        Ok(self.storage.dag(dag_id).await?)
    }

    /// A page of DAGs.
    ///
    /// # Errors
    /// The storage failed.
    pub async fn dags(&self, query: &DagQuery) -> Result<Page<DagRecord>> {
        Ok(self.storage.dags(query).await?)
    }

    /// Pauses or unpauses a DAG, and returns it.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn set_paused(&self, dag_id: &str, is_paused: bool, actor: &Actor) -> Result<DagRecord> {
        let id = self.storage.dag(dag_id).await?.dag_id().clone();
        let mut audit = actor.audit("patch_dag");
        audit.dag_id = Some(id.clone());
        self.storage.set_paused(self.now().await?, &[id], is_paused, Some(audit)).await?;
        Ok(self.storage.dag(dag_id).await?)
    }

    /// Pauses or unpauses the page of DAGs that a query asks for, and returns it.
    ///
    /// # Errors
    /// The storage failed.
    pub async fn set_paused_many(&self, query: &DagQuery, is_paused: bool, actor: &Actor) -> Result<Page<DagRecord>> {
        let found = self.storage.dags(query).await?;
        let ids: Vec<DagId> = found.items.iter().map(|record| record.dag_id().clone()).collect();
        let audit = actor.audit("patch_dags");
        self.storage.set_paused(self.now().await?, &ids, is_paused, Some(audit)).await?;
        let items = found.items.into_iter().map(|record| DagRecord { is_paused, ..record }).collect();
        Ok(Page { items, total: found.total })
    }

    /// Forgets a DAG with all its runs and their logs. If it is still declared, it comes back without a history.
    ///
    /// # Errors
    /// `NotFound`; `Conflict` while one of its task instances is being run.
    pub async fn delete_dag(&self, dag_id: &str, actor: &Actor) -> Result<()> {
        let id = self.storage.dag(dag_id).await?.dag_id().clone();
        let runs = self.run_ids(&id).await?;
        let mut audit = actor.audit("delete_dag");
        audit.dag_id = Some(id);
        self.storage.delete_dag(self.now().await?, dag_id, Some(audit)).await?;
        for run_id in runs {
            if let Err(error) = self.logs.delete_run(dag_id, &run_id).await {
                tracing::warn!(%error, dag_id, run_id, "the logs of a deleted run remain");
            }
        }
        Ok(())
    }

    /// How many records [`Service::delete_dag`] removes: the DAG, its runs and their task instances.
    ///
    /// # Errors
    /// The storage failed.
    pub async fn count_records(&self, dag_id: &str) -> Result<u64> {
        let dag_ids = Some(BTreeSet::from([DagId::from(dag_id)]));
        let page = PageRequest { limit: 1, offset: 0 };
        let runs = RunQuery { dag_ids: dag_ids.clone(), page, ..RunQuery::default() };
        let instances = TaskInstanceQuery { dag_ids, page, ..TaskInstanceQuery::default() };
        Ok(1 + self.storage.dag_runs(&runs).await?.total + self.storage.task_instances(&instances).await?.total)
    }

    async fn run_ids(&self, dag_id: &DagId) -> Result<Vec<String>> {
        let mut ids = Vec::new();
        loop {
            let query = RunQuery {
                dag_ids: Some(BTreeSet::from([dag_id.clone()])),
                page: PageRequest { limit: RUNS_AT_A_TIME, offset: ids.len() },
                ..RunQuery::default()
            };
            let found = self.storage.dag_runs(&query).await?.items;
            let is_last = found.len() < RUNS_AT_A_TIME;
            ids.extend(found.into_iter().map(|run| run.run_id));
            if is_last {
                return Ok(ids);
            }
        }
    }

    /// The text of a file that declares DAGs.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn dag_source(&self, fileloc: &str) -> Result<Arc<str>> {
        Ok(self.storage.dag_source(fileloc).await?)
    }

    /// The DAGs that a file declares, inactive ones included.
    ///
    /// # Errors
    /// Those of the storage.
    pub async fn dags_of_file(&self, fileloc: &str) -> Result<Vec<DagId>> {
        Ok(self.storage.dags_of_file(fileloc).await?)
    }

    /// Asks whoever watches a file to read it again; whether nobody had asked already.
    ///
    /// # Errors
    /// Those of the storage.
    pub async fn request_parsing(&self, fileloc: &str) -> Result<bool> {
        Ok(self.storage.request_parsing(self.now().await?, fileloc).await?)
    }
}
