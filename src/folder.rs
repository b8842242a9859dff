//! DAG files: loaded at the start, and again when they change.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use updraft_authoring::{DagFiles, FolderChange, FolderWatch};
use updraft_core::clock::Clock;
use updraft_core::id::DagId;
use updraft_core::service::{Service, ServiceError};
use updraft_core::storage::{DagRegistration, StorageError};

use crate::declared::REPORT_INTERVAL;

/// How often files are looked at, and clients' wishes to have them read again.
const INTERVAL: Duration = Duration::from_secs(1);

/// The watched folders. Clones share what is known of the files.
#[derive(Debug, Clone)]
pub(crate) struct Folders {
    watch: Arc<Mutex<FolderWatch>>,
    work: Arc<tokio::sync::Mutex<Work>>,
}

/// What is left to do.
#[derive(Debug, Default)]
struct Work {
    /// A change that the storage could not take yet.
    unapplied: Option<FolderChange>,
    /// DAGs that no file declares any more, and that others may still declare.
    leaving: BTreeSet<DagId>,
    /// DAGs that name a role which does not exist, each with its file and what is said of it.
    refused: BTreeMap<DagId, (String, String)>,
    /// The import errors that files have by themselves.
    own_errors: BTreeMap<String, String>,
}

impl Folders {
    pub(crate) fn new(files: impl DagFiles + 'static, paused_upon_creation: bool) -> Self {
        let watch = FolderWatch::new(files, paused_upon_creation);
        Self { watch: Arc::new(Mutex::new(watch)), work: Arc::default() }
    }

    fn watch(&self) -> MutexGuard<'_, FolderWatch> {
        self.watch.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Looks at the files once, and takes over what has changed. A change that the storage could not take is taken over first.
pub(crate) async fn scan(folders: &Folders, service: &Service) -> Result<(), StorageError> {
    let mut work = folders.work.lock().await;
    let work = &mut *work;
    let change = match work.unapplied.take() {
        Some(change) => change,
        None => {
            let folders = folders.clone();
            let scan = move || folders.watch().scan();
            tokio::task::spawn_blocking(scan).await.map_err(|error| StorageError::Internal(Box::new(error)))?
        }
    };
    let result = apply(&change, work, service).await;
    match result {
        Err(error) if error.is_retryable() => {
            work.unapplied = Some(change);
            Err(error)
        }
        result => {
            // Once the roles exist, so do the DAGs.
            folders.watch().announce_again(&work.refused.keys().cloned().collect::<Vec<_>>());
            result
        }
    }
}

/// Says that the DAGs are still declared. One that was deleted although its file exists comes back, as in Airflow.
async fn report(folders: &Folders, service: &Service) -> Result<(), StorageError> {
    let dag_ids = folders.watch().dag_ids();
    if dag_ids.is_empty() {
        return Ok(());
    }
    let storage = service.storage();
    let forgotten = storage.report_dags(storage.now().await?, &dag_ids).await?;
    folders.watch().announce_again(&forgotten);
    Ok(())
}

/// Whether clients asked for files of these folders; those are read again by the next scan.
async fn take_requests(folders: &Folders, service: &Service) -> Result<bool, StorageError> {
    let storage = service.storage();
    let mut filelocs = storage.parsing_requests().await?;
    filelocs.retain(|fileloc| folders.watch().watches(fileloc));
    if filelocs.is_empty() {
        return Ok(false);
    }
    // First noted, then taken: a request whose answer is lost is met nevertheless.
    filelocs.iter().for_each(|fileloc| folders.watch().read_again(fileloc));
    storage.take_parsing_requests(&filelocs).await?;
    Ok(true)
}

/// Looks at the files again and again, until it is told to stop.
pub(crate) async fn watch(
    folders: Folders,
    service: Service,
    clock: Arc<dyn Clock>,
    mut stopped: watch::Receiver<Option<Duration>>,
) -> Result<(), StorageError> {
    let mut next_report = clock.monotonic() + REPORT_INTERVAL;
    loop {
        tokio::select! {
            // Told to stop, or the handle is gone.
            _ = stopped.wait_for(Option::is_some) => return Ok(()),
            () = clock.sleep(INTERVAL) => {}
        }
        let round = async {
            // The DAGs of a file that was asked for were parsed just now, also where nothing has changed.
            let is_asked = take_requests(&folders, &service).await?;
            if is_asked || clock.monotonic() >= next_report {
                report(&folders, &service).await?;
                next_report = clock.monotonic() + REPORT_INTERVAL;
            }
            scan(&folders, &service).await
        };
        match round.await {
            // What was seen is kept, and taken over once the storage is back.
            Err(error) if error.is_retryable() => tracing::warn!(%error, "DAG files have to wait"),
            result => result?,
        }
    }
}

async fn apply(change: &FolderChange, work: &mut Work, service: &Service) -> Result<(), StorageError> {
    for registration in &change.registrations {
        work.leaving.remove(&registration.dag.dag_id);
    }
    work.leaving.extend(change.removed.iter().cloned());
    if change.is_empty() && work.leaving.is_empty() {
        return Ok(());
    }
    let storage = service.storage();
    let now = storage.now().await?;
    let (accepted, mut errors) = sort_out(change, work, service).await?;
    if !accepted.is_empty() {
        storage.register_dags(now, accepted).await?;
    }
    if !work.leaving.is_empty() {
        let dag_ids: Vec<_> = work.leaving.iter().cloned().collect();
        work.leaving = storage.deactivate_dags(now, &dag_ids).await?.into_iter().collect();
    }
    for (file, error) in &change.import_errors {
        match error {
            Some(error) => work.own_errors.insert(file.clone(), error.clone()),
            None => work.own_errors.remove(file),
        };
        errors.insert(file.clone());
    }
    for file in errors {
        let refused = work.refused.values().filter(|(of, _)| *of == file).map(|(_, text)| text.as_str());
        let texts: Vec<&str> = work.own_errors.get(&file).map(String::as_str).into_iter().chain(refused).collect();
        let text = texts.join("\n");
        storage.set_import_error(now, &file, (!text.is_empty()).then_some(&text)).await?;
    }
    Ok(())
}

/// The DAGs that can be taken over, and the files whose import errors are others because of those that cannot: they name
/// roles that do not exist.
async fn sort_out(
    change: &FolderChange,
    work: &mut Work,
    service: &Service,
) -> Result<(Vec<DagRegistration>, BTreeSet<String>), StorageError> {
    let (mut accepted, mut files) = (Vec::new(), BTreeSet::new());
    for registration in &change.registrations {
        let dag = &registration.dag;
        let problem = service.unknown_role_of(dag).await.map_err(as_storage_error)?;
        let refused = problem.map(|problem| (dag.fileloc.clone(), problem));
        let before = work.refused.remove(&dag.dag_id);
        if refused != before {
            files.extend(before.iter().chain(&refused).map(|(file, _)| file.clone()));
        }
        match refused {
            Some(refused) => drop(work.refused.insert(dag.dag_id.clone(), refused)),
            None => accepted.push(registration.clone()),
        }
    }
    for dag_id in &change.removed {
        files.extend(work.refused.remove(dag_id).map(|(file, _)| file));
    }
    Ok((accepted, files))
}

fn as_storage_error(error: ServiceError) -> StorageError {
    match error {
        ServiceError::Storage(error) => error,
        error => StorageError::Internal(Box::new(error)),
    }
}
