//! The handle of what runs in the background.

use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;
use updraft_core::engine::{SchedulerState, SchedulerStatus};

use crate::supervisor::Down;

/// How the background work is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Health {
    /// How the scheduler is.
    pub scheduler: SchedulerState,
    /// When the scheduler last told the storage that it lives.
    pub latest_heartbeat: Option<chrono::DateTime<chrono::Utc>>,
    /// Loops that have failed and wait to be started again.
    pub loops_down: u32,
}

impl Health {
    /// Whether all is well.
    pub fn is_healthy(&self) -> bool {
        self.scheduler == SchedulerState::Healthy && self.loops_down == 0
    }
}

/// What runs in the background. Dropping it aborts everything at once; [`Running::shutdown`] is the polite way.
#[derive(Debug)]
pub struct Running {
    pub(crate) loops: JoinSet<()>,
    pub(crate) stop: watch::Sender<Option<Duration>>,
    pub(crate) status: SchedulerStatus,
    pub(crate) down: Down,
}

impl Running {
    /// How the background work is.
    pub fn health(&self) -> Health {
        Health {
            scheduler: self.status.state(),
            latest_heartbeat: self.status.latest_heartbeat(),
            loops_down: self.down.count(),
        }
    }

    /// Admits nothing more, waits up to `patience` for what runs, tells the rest to end and records it as failed tries
    /// with the reason `shutdown`. When this returns, nothing is left.
    pub async fn shutdown(mut self, patience: Duration) {
        // The receivers live in the loops; if those are gone, there is nobody to tell.
        self.stop.send(Some(patience)).ok();
        while self.loops.join_next().await.is_some() {}
    }
}
