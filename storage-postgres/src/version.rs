//! Versions of DAGs, which never change: nobody asks the database twice.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use sqlx::types::Json;
use sqlx::{PgExecutor, Row};
use updraft_core::id::{DagVersionId, RunId};
use updraft_core::model::{Dag, DagVersion};
use updraft_core::storage::{Result, StorageError, Subject};

use crate::error::storage_error;
use crate::sql::{Schema, sql};

/// As many as this are remembered; a service with more DAGs in use asks the database again now and then.
const REMEMBERED: usize = 20_000;

/// Runs whose versions are remembered: what they are is only asked for a little later otherwise.
const REMEMBERED_RUNS: usize = 1_000_000;

/// A version, and the key of its DAG.
#[derive(Debug)]
pub(crate) struct Version {
    pub(crate) view: DagVersion,
    pub(crate) dag: i32,
}

/// Versions that were read.
#[derive(Debug, Default)]
pub(crate) struct Versions {
    by_id: Mutex<BTreeMap<DagVersionId, Arc<Version>>>,
    /// Of runs that schedulers of this process have. Never iterated.
    of_runs: Mutex<HashMap<RunId, DagVersionId>>,
}

impl Versions {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<DagVersionId, Arc<Version>>> {
        self.by_id.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn of_runs(&self) -> MutexGuard<'_, HashMap<RunId, DagVersionId>> {
        self.of_runs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The version of a run that a scheduler was given, if it is remembered.
    pub(crate) fn of_run(&self, run: RunId) -> Option<Arc<Version>> {
        let id = self.of_runs().get(&run).copied()?;
        self.known(id)
    }

    pub(crate) fn remember_run(&self, run: RunId, version: DagVersionId) {
        let mut of_runs = self.of_runs();
        // Runs that went elsewhere are not taken out.
        if of_runs.len() >= REMEMBERED_RUNS {
            of_runs.clear();
        }
        of_runs.insert(run, version);
    }

    pub(crate) fn forget_runs(&self, runs: impl Iterator<Item = RunId>) {
        let mut of_runs = self.of_runs();
        for run in runs {
            of_runs.remove(&run);
        }
    }

    pub(crate) fn known(&self, id: DagVersionId) -> Option<Arc<Version>> {
        self.lock().get(&id).cloned()
    }

    pub(crate) fn remember(&self, version: Version) -> Arc<Version> {
        let version = Arc::new(version);
        let mut known = self.lock();
        if known.len() >= REMEMBERED {
            known.pop_first();
        }
        known.insert(version.view.id, Arc::clone(&version));
        version
    }

    pub(crate) fn forget(&self, ids: &[i64]) {
        let mut known = self.lock();
        for id in ids {
            known.remove(&DagVersionId(*id));
        }
    }

    /// Versions by id, read where they are not known. Ids that do not exist are left out.
    pub(crate) async fn get(
        &self,
        executor: impl PgExecutor<'_>,
        schema: &Schema,
        ids: impl IntoIterator<Item = i64>,
    ) -> Result<BTreeMap<i64, Arc<Version>>> {
        let mut found = BTreeMap::new();
        let mut unknown = Vec::new();
        for id in ids {
            match self.known(DagVersionId(id)) {
                Some(version) => drop(found.insert(id, version)),
                None => unknown.push(id),
            }
        }
        if unknown.is_empty() {
            return Ok(found);
        }
        unknown.sort_unstable();
        unknown.dedup();
        let rows = sqlx::query(schema.sql(sql!("dag/versions")))
            .bind(unknown)
            .fetch_all(executor)
            .await
            .map_err(storage_error)?;
        for row in rows {
            let version = read_version(&row).map_err(storage_error)?;
            found.insert(version.view.id.0, self.remember(version));
        }
        Ok(found)
    }

    /// One version.
    pub(crate) async fn one(
        &self,
        executor: impl PgExecutor<'_>,
        schema: &Schema,
        id: DagVersionId,
    ) -> Result<Arc<Version>> {
        let mut found = self.get(executor, schema, [id.0]).await?;
        found.remove(&id.0).ok_or(StorageError::NotFound(Subject::DagVersion(id.0)))
    }
}

/// Reads `id`, `dag`, `content_hash` and `definition`.
pub(crate) fn read_version(row: &sqlx::postgres::PgRow) -> sqlx::Result<Version> {
    let Json(dag): Json<Dag> = row.try_get("definition")?;
    let id = DagVersionId(row.try_get("id")?);
    let view = DagVersion { id, content_hash: row.try_get("content_hash")?, dag: Arc::new(dag) };
    Ok(Version { view, dag: row.try_get("dag")? })
}
