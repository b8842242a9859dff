//! A storage that tells when runs have ended, so that nobody has to ask it over and over: that would get in the way of
//! what is measured.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use tokio::sync::Notify;
use updraft_core::id::{DagVersionId, RunId};
use updraft_core::model::{DagVersion, Host};
use updraft_core::storage::{
    Batch, Change, PastQuery, PreviousRun, Result, RunSnapshot, SchedulerSession, SchedulerStorage, Verdict,
};

/// Passes everything on, and counts runs that end.
#[derive(Debug)]
pub struct Watched {
    inner: Arc<dyn SchedulerStorage>,
    left: AtomicUsize,
    done: Notify,
    batches: AtomicU64,
    transitions: AtomicU64,
}

impl Watched {
    /// Watches this storage.
    pub fn new(inner: Arc<dyn SchedulerStorage>) -> Self {
        Self {
            inner,
            left: AtomicUsize::new(0),
            done: Notify::new(),
            batches: AtomicU64::new(0),
            transitions: AtomicU64::new(0),
        }
    }

    /// How many batches were written, and how many changes they held.
    pub fn written(&self) -> (u64, u64) {
        (self.batches.load(Ordering::Acquire), self.transitions.load(Ordering::Acquire))
    }

    /// Says how many runs will end.
    pub fn expect(&self, runs: usize) {
        self.left.store(runs, Ordering::Release);
    }

    /// Waits until that many ends are durable.
    pub async fn all_ended(&self) {
        self.done.notified().await;
    }
}

#[async_trait]
impl SchedulerStorage for Watched {
    async fn now(&self) -> Result<DateTime<Utc>> {
        self.inner.now().await
    }

    async fn register_scheduler(&self, name: &str, lease: Duration, host: &Host) -> Result<SchedulerSession> {
        self.inner.register_scheduler(name, lease, host).await
    }

    async fn heartbeat(&self, session: &SchedulerSession) -> Result<()> {
        self.inner.heartbeat(session).await
    }

    async fn unregister_scheduler(&self, session: &SchedulerSession) -> Result<()> {
        self.inner.unregister_scheduler(session).await
    }

    async fn pool_slots(&self) -> Result<Vec<(String, i32)>> {
        self.inner.pool_slots().await
    }

    async fn versions_after(&self, after: Option<DagVersionId>, limit: usize) -> Result<Vec<DagVersion>> {
        self.inner.versions_after(after, limit).await
    }

    async fn claim_runs(
        &self,
        session: &SchedulerSession,
        versions: &[DagVersionId],
        limit: usize,
    ) -> Result<Vec<RunSnapshot>> {
        self.inner.claim_runs(session, versions, limit).await
    }

    async fn owned_runs(&self, session: &SchedulerSession) -> Result<Vec<RunId>> {
        self.inner.owned_runs(session).await
    }

    async fn reload_runs(&self, session: &SchedulerSession, runs: &[RunId]) -> Result<Vec<RunSnapshot>> {
        self.inner.reload_runs(session, runs).await
    }

    async fn changed_runs(&self, session: &SchedulerSession) -> Result<Vec<RunId>> {
        self.inner.changed_runs(session).await
    }

    async fn previous_runs(&self, queries: &[PastQuery]) -> Result<Vec<Option<PreviousRun>>> {
        self.inner.previous_runs(queries).await
    }

    async fn commit(&self, batch: &Batch) -> Result<Vec<Verdict>> {
        let verdicts = self.inner.commit(batch).await?;
        self.batches.fetch_add(1, Ordering::AcqRel);
        self.transitions.fetch_add(batch.transitions.len() as u64, Ordering::AcqRel);
        let changes = batch.transitions.iter().zip(&verdicts);
        let ended = changes
            .filter(|(one, verdict)| matches!(one.change, Change::EndRun(_)) && **verdict == Verdict::Done)
            .count();
        if ended > 0 && self.left.fetch_sub(ended, Ordering::AcqRel) == ended {
            self.done.notify_one();
        }
        Ok(verdicts)
    }

    async fn announcement(&self, seen: u64) -> u64 {
        self.inner.announcement(seen).await
    }
}
