//! Runs that updates of datasets cause.

use super::Scheduler;
use crate::engine::{EngineError, Plan};
use crate::id::DagVersionId;
use crate::storage::NewDatasetRun;

/// Versions of DAGs whose schedules wait for datasets, sorted. While there is none, the storage is not asked.
#[derive(Debug, Default)]
pub(super) struct Consumers(Vec<DagVersionId>);

impl Consumers {
    /// Takes note of a version that is newer than those before it.
    pub(super) fn add_plan(&mut self, plan: &Plan) {
        if plan.dag().dataset_condition().is_some() {
            self.0.push(plan.version());
        }
    }
}

impl Scheduler {
    /// Creates a run of each DAG whose condition holds by what is queued for it.
    pub(super) async fn create_dataset_runs(&self) -> Result<(), EngineError> {
        let Consumers(versions) = &self.consumers;
        if versions.is_empty() {
            return Ok(());
        }
        let waiting = self.retry(|scheduler| scheduler.parts.storage.waiting_consumers(versions)).await?;
        for consumer in waiting {
            let plan = self.plans.get(&consumer.dag_version);
            let Some(condition) = plan.and_then(|plan| plan.dag().dataset_condition()) else { continue };
            let is_updated = |uri: &str| consumer.uris.binary_search_by(|updated| updated.as_str().cmp(uri)).is_ok();
            if !condition.holds(is_updated) {
                continue;
            }
            let now = self.now();
            let uid = self.parts.ids.uuid(now);
            let run = NewDatasetRun { uid, dag_version: consumer.dag_version, uris: consumer.uris };
            if let Some(run) = self.retry(|scheduler| scheduler.parts.storage.create_dataset_run(now, &run)).await? {
                tracing::debug!(dag = %run.dag_id, run = %run.run_id, "updates of datasets have caused a run");
            }
        }
        Ok(())
    }
}
