//! DAG files: loaded at the start, and again when they change.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use updraft_authoring::{FolderChange, FolderWatch, Loader};
use updraft_core::clock::Clock;
use updraft_core::service::Service;
use updraft_core::storage::StorageError;

/// How often files are looked at.
const INTERVAL: Duration = Duration::from_secs(1);

/// After how many looks unchanged DAGs are made known again, so that one that was deleted although its file exists comes
/// back, as in Airflow.
const ROUNDS_TO_REPEAT: u32 = 30;

/// The watched folders. Clones share what is known of the files.
#[derive(Debug, Clone)]
pub(crate) struct Folders {
    watch: Arc<Mutex<FolderWatch>>,
    /// A change that the storage could not take yet.
    unapplied: Arc<tokio::sync::Mutex<Option<FolderChange>>>,
}

impl Folders {
    pub(crate) fn new(loader: Loader, paused_upon_creation: bool) -> Self {
        let watch = FolderWatch::new(loader, paused_upon_creation);
        Self { watch: Arc::new(Mutex::new(watch)), unapplied: Arc::default() }
    }
}

/// Looks at the files once, and takes over what has changed. A change that the storage could not take is taken over first.
pub(crate) async fn scan(folders: &Folders, service: &Service) -> Result<(), StorageError> {
    let mut unapplied = folders.unapplied.lock().await;
    let change = match unapplied.take() {
        Some(change) => change,
        None => {
            let watch = Arc::clone(&folders.watch);
            let scan = move || watch.lock().unwrap_or_else(PoisonError::into_inner).scan();
            tokio::task::spawn_blocking(scan).await.map_err(|error| StorageError::Internal(Box::new(error)))?
        }
    };
    let change = unapplied.insert(change);
    match apply(change, service).await {
        Err(error) if error.is_retryable() => Err(error),
        result => {
            *unapplied = None;
            result
        }
    }
}

/// Looks at the files again and again, until it is told to stop.
pub(crate) async fn watch(
    folders: Folders,
    service: Service,
    clock: Arc<dyn Clock>,
    mut stopped: watch::Receiver<Option<Duration>>,
) -> Result<(), StorageError> {
    let mut rounds = 0u32;
    loop {
        rounds += 1;
        if rounds.is_multiple_of(ROUNDS_TO_REPEAT) {
            folders.watch.lock().unwrap_or_else(PoisonError::into_inner).announce_again();
        }
        tokio::select! {
            // Told to stop, or the handle is gone.
            _ = stopped.wait_for(Option::is_some) => return Ok(()),
            () = clock.sleep(INTERVAL) => {}
        }
        match scan(&folders, &service).await {
            // What was seen is kept, and taken over once the storage is back.
            Err(error) if error.is_retryable() => tracing::warn!(%error, "what changed in DAG files has to wait"),
            result => result?,
        }
    }
}

async fn apply(change: &FolderChange, service: &Service) -> Result<(), StorageError> {
    if change.is_empty() {
        return Ok(());
    }
    let storage = service.storage();
    let now = storage.now().await?;
    if !change.registrations.is_empty() {
        storage.register_dags(now, change.registrations.clone()).await?;
    }
    if !change.removed.is_empty() {
        storage.deactivate_dags(now, &change.removed).await?;
    }
    for (file, error) in &change.import_errors {
        storage.set_import_error(now, file, error.as_deref()).await?;
    }
    Ok(())
}
