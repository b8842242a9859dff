//! The handle of what runs in the background.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;
use updraft_core::clock::Clock;
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
    pub(crate) clock: Arc<dyn Clock>,
}

/// How long loops may take to end after `patience`: the executor's grace, and what an unreachable storage may hold up.
const LAST_RESORT: Duration = Duration::from_secs(30);

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
    /// with the reason `shutdown`. What has not ended half a minute later, because the storage cannot be reached or code
    /// blocks its thread, is dropped. When this returns, nothing is left but such code.
    pub async fn shutdown(mut self, patience: Duration) {
        // The receivers live in the loops; if those are gone, there is nobody to tell.
        self.stop.send(Some(patience)).ok();
        let limit = self.clock.sleep(patience.saturating_add(LAST_RESORT));
        let ended = async { while self.loops.join_next().await.is_some() {} };
        let is_late = tokio::select! {
            biased;
            () = ended => false,
            () = limit => true,
        };
        if is_late {
            tracing::error!("background loops are dropped: they took too long to end");
            self.loops.shutdown().await;
        }
    }
}
