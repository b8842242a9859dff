//! Creating, amending and deleting runs.

use chrono::{DateTime, Utc};
use updraft_core::id::{InstanceKey, RunId};
use updraft_core::model::{AuditEntry, DagRun};
use updraft_core::storage::{Amendment, NewRun, Result};

use crate::PostgresStorage;

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
