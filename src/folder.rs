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

/// The watched folders. Clones share what is known of the files.
#[derive(Debug, Clone)]
pub(crate) struct Folders(Arc<Mutex<FolderWatch>>);

impl Folders {
    pub(crate) fn new(loader: Loader, paused_upon_creation: bool) -> Self {
        Self(Arc::new(Mutex::new(FolderWatch::new(loader, paused_upon_creation))))
    }
}

/// Looks at the files once, and takes over what has changed.
pub(crate) async fn scan(folders: &Folders, service: &Service) -> Result<(), StorageError> {
    let folders = folders.clone();
    let scan = tokio::task::spawn_blocking(move || folders.0.lock().unwrap_or_else(PoisonError::into_inner).scan());
    match scan.await {
        Ok(change) => apply(change, service).await,
        Err(error) => Err(StorageError::Internal(Box::new(error))),
    }
}

/// Looks at the files again and again, until it is told to stop.
pub(crate) async fn watch(
    folders: Folders,
    service: Service,
    clock: Arc<dyn Clock>,
    mut stopped: watch::Receiver<Option<Duration>>,
) -> Result<(), StorageError> {
    loop {
        tokio::select! {
            // Told to stop, or the handle is gone.
            _ = stopped.wait_for(Option::is_some) => return Ok(()),
            () = clock.sleep(INTERVAL) => {}
        }
        scan(&folders, &service).await?;
    }
}

async fn apply(change: FolderChange, service: &Service) -> Result<(), StorageError> {
    if change.is_empty() {
        return Ok(());
    }
    let storage = service.storage();
    let now = storage.now().await?;
    if !change.registrations.is_empty() {
        storage.register_dags(now, change.registrations).await?;
    }
    if !change.removed.is_empty() {
        storage.deactivate_dags(now, &change.removed).await?;
    }
    for (file, error) in change.import_errors {
        storage.set_import_error(now, &file, error.as_deref()).await?;
    }
    Ok(())
}
