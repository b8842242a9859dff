//! Creating, amending and deleting runs.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use updraft_core::id::{InstanceKey, RunId};
use updraft_core::model::{AuditEntry, DagRun};
use updraft_core::storage::{Amendment, NewRun, Result};

use crate::PostgresStorage;
use crate::sql::Schema;

impl PostgresStorage {
    pub(crate) async fn create(&self, now: DateTime<Utc>, runs: Vec<NewRun>) -> Result<Vec<Result<DagRun>>> {
        let _ = (now, runs);
        Ok(Vec::new())
    }

    pub(crate) async fn amend(
        &self,
        now: DateTime<Utc>,
        amendments: Vec<Amendment>,
        audit: Option<AuditEntry>,
    ) -> Result<Vec<(DagRun, Vec<InstanceKey>)>> {
        let _ = (now, amendments, audit);
        Ok(Vec::new())
    }

    pub(crate) async fn delete(&self, run: RunId, audit: Option<AuditEntry>) -> Result<()> {
        let _ = (run, audit);
        Ok(())
    }
}

/// Deletes runs with everything that belongs to them.
pub(crate) async fn delete_runs(connection: &mut PgConnection, schema: &Schema, runs: &[i64]) -> Result<()> {
    let _ = (connection, schema, runs);
    Ok(())
}
