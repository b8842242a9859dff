//! A storage that takes time, and that is sometimes away: before a call had its effect, or after.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use updraft_core::clock::{Clock, SimulatedClock};
use updraft_core::id::{DagVersionId, RunId};
use updraft_core::model::{DagRun, DagVersion, Host};
use updraft_core::storage::*;

use super::dice::Dice;

#[derive(Debug)]
pub struct Stuttering {
    pub inner: Arc<dyn Storage>,
    pub clock: SimulatedClock,
    pub dice: Dice,
    pub stutters: bool,
}

impl Stuttering {
    async fn delay(&self) {
        if self.stutters {
            self.clock.sleep(Duration::from_micros(self.dice.below(2000))).await;
        }
    }

    async fn before(&self) -> Result<()> {
        self.delay().await;
        self.maybe_away()
    }

    async fn after<T>(&self, result: Result<T>) -> Result<T> {
        self.delay().await;
        self.maybe_away()?;
        result
    }

    fn maybe_away(&self) -> Result<()> {
        if self.stutters && self.dice.one_in(50) { Err(StorageError::Unavailable("away".into())) } else { Ok(()) }
    }
}

#[async_trait]
impl ScheduleStorage for Stuttering {
    async fn due_schedules(&self, now: DateTime<Utc>, versions: &[DagVersionId], limit: usize) -> Result<DueSchedules> {
        self.before().await?;
        self.after(self.inner.due_schedules(now, versions, limit).await).await
    }
    async fn advance_schedules(
        &self,
        session: &SchedulerSession,
        now: DateTime<Utc>,
        steps: Vec<ScheduleStep>,
    ) -> Result<Vec<ScheduleVerdict>> {
        self.before().await?;
        self.after(self.inner.advance_schedules(session, now, steps).await).await
    }
}

#[async_trait]
impl SchedulerStorage for Stuttering {
    async fn now(&self) -> Result<DateTime<Utc>> {
        self.before().await?;
        self.inner.now().await
    }
    async fn register_scheduler(&self, name: &str, lease: Duration, host: &Host) -> Result<SchedulerSession> {
        self.before().await?;
        self.after(self.inner.register_scheduler(name, lease, host).await).await
    }
    async fn heartbeat(&self, session: &SchedulerSession) -> Result<()> {
        self.before().await?;
        self.after(self.inner.heartbeat(session).await).await
    }
    async fn unregister_scheduler(&self, session: &SchedulerSession) -> Result<()> {
        self.before().await?;
        self.inner.unregister_scheduler(session).await
    }
    async fn pool_slots(&self) -> Result<Vec<(String, i32)>> {
        self.before().await?;
        self.after(self.inner.pool_slots().await).await
    }
    async fn versions_after(&self, after: Option<DagVersionId>, limit: usize) -> Result<Vec<DagVersion>> {
        self.before().await?;
        self.after(self.inner.versions_after(after, limit).await).await
    }
    async fn claim_runs(
        &self,
        session: &SchedulerSession,
        versions: &[DagVersionId],
        limit: usize,
    ) -> Result<Vec<RunSnapshot>> {
        self.before().await?;
        self.after(self.inner.claim_runs(session, versions, limit).await).await
    }
    async fn owned_runs(&self, session: &SchedulerSession) -> Result<Vec<RunId>> {
        self.before().await?;
        self.after(self.inner.owned_runs(session).await).await
    }
    async fn reload_runs(&self, session: &SchedulerSession, runs: &[RunId]) -> Result<Vec<RunSnapshot>> {
        self.before().await?;
        self.after(self.inner.reload_runs(session, runs).await).await
    }
    async fn changed_runs(&self, session: &SchedulerSession) -> Result<Vec<RunId>> {
        self.before().await?;
        self.after(self.inner.changed_runs(session).await).await
    }
    async fn previous_runs(&self, queries: &[PastQuery]) -> Result<Vec<Option<PreviousRun>>> {
        self.before().await?;
        self.inner.previous_runs(queries).await
    }
    async fn commit(&self, batch: &Batch) -> Result<Vec<Verdict>> {
        self.before().await?;
        self.after(self.inner.commit(batch).await).await
    }
    async fn waiting_consumers(&self, versions: &[DagVersionId]) -> Result<Vec<WaitingConsumer>> {
        self.before().await?;
        self.after(self.inner.waiting_consumers(versions).await).await
    }
    async fn create_dataset_run(&self, now: DateTime<Utc>, run: &NewDatasetRun) -> Result<Option<DagRun>> {
        self.before().await?;
        self.after(self.inner.create_dataset_run(now, run).await).await
    }
    async fn announcement(&self, seen: u64) -> u64 {
        self.inner.announcement(seen).await
    }
}
