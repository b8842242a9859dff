//! DAGs that the host's program declares: made known at the start, and reported from then on.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use updraft_core::clock::Clock;
use updraft_core::id::DagId;
use updraft_core::storage::{DagRegistration, Storage, StorageError};

/// How often what is declared is reported: where schedulers share a storage, a DAG that nobody reports may turn inactive.
pub(crate) const REPORT_INTERVAL: Duration = Duration::from_secs(30);

/// Reports DAGs until it is told to stop. One that somebody deleted meanwhile comes back.
pub(crate) async fn report(
    storage: Arc<dyn Storage>,
    clock: Arc<dyn Clock>,
    declared: Arc<[DagRegistration]>,
    mut stopped: watch::Receiver<Option<Duration>>,
) -> Result<(), StorageError> {
    let dag_ids: Vec<DagId> = declared.iter().map(|registration| registration.dag.dag_id.clone()).collect();
    let filelocs: Vec<String> = declared.iter().map(|registration| registration.dag.fileloc.clone()).collect();
    loop {
        tokio::select! {
            // Told to stop, or the handle is gone.
            _ = stopped.wait_for(Option::is_some) => return Ok(()),
            () = clock.sleep(REPORT_INTERVAL) => {}
        }
        let round = async {
            let now = storage.now().await?;
            // Code is not read again. Clients who asked for it see the time of the report.
            storage.take_parsing_requests(&filelocs).await?;
            let forgotten = storage.report_dags(now, &dag_ids).await?;
            let is_forgotten = |declared: &&DagRegistration| forgotten.contains(&declared.dag.dag_id);
            let again: Vec<_> = declared.iter().filter(is_forgotten).cloned().collect();
            if !again.is_empty() {
                storage.register_dags(now, again).await?;
            }
            Ok(())
        };
        match round.await {
            Err(error) if StorageError::is_retryable(&error) => tracing::warn!(%error, "DAGs cannot be reported"),
            result => result?,
        }
    }
}
