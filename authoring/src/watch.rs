//! Notices what changes in the folders of DAG files.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use sha2::{Digest, Sha256};
use updraft_core::clock::Clock;
use updraft_core::dag::content_hash;
use updraft_core::id::DagId;
use updraft_core::storage::DagRegistration;

use crate::loader::{FileLoad, Loader, refuse_duplicates};

/// A file that was written so recently may be written again without its time showing it.
const UNSETTLED: Duration = Duration::from_secs(3);

/// What has changed since the last scan.
#[derive(Debug, Clone, Default)]
pub struct FolderChange {
    /// DAGs that are new or changed.
    pub registrations: Vec<DagRegistration>,
    /// DAGs that no file declares any more.
    pub removed: Vec<DagId>,
    /// Files whose import error is another than before, with the new one; `None` if there is none any more.
    pub import_errors: Vec<(String, Option<String>)>,
}

impl FolderChange {
    /// Whether nothing has changed.
    pub fn is_empty(&self) -> bool {
        self.registrations.is_empty() && self.removed.is_empty() && self.import_errors.is_empty()
    }
}

/// Files that declare DAGs, and how they are read.
pub trait DagFiles: Debug + Send {
    /// The files that there are, sorted.
    fn files(&self) -> Vec<PathBuf>;

    /// Reads one of them.
    fn load_file(&self, path: &Path) -> FileLoad;

    /// Time, as far as it tells whether a file may still be written.
    fn clock(&self) -> &Arc<dyn Clock>;
}

impl DagFiles for Loader {
    fn files(&self) -> Vec<PathBuf> {
        Self::files(self)
    }

    fn load_file(&self, path: &Path) -> FileLoad {
        Self::load_file(self, path)
    }

    fn clock(&self) -> &Arc<dyn Clock> {
        Self::clock(self)
    }
}

/// Notices what changes in DAG files.
///
/// Nothing runs by itself: the host calls [`FolderWatch::scan`] as often as it likes, about once a second. A scan reads
/// files, so it belongs on a thread that may block.
#[derive(Debug)]
pub struct FolderWatch {
    loader: Box<dyn DagFiles>,
    paused_upon_creation: bool,
    files: BTreeMap<PathBuf, Known>,
    /// Whether the next scan compares although no file has changed.
    repeats: bool,
    /// The DAGs that were announced, and from which file.
    announced: BTreeMap<DagId, Announced>,
    errors: BTreeMap<PathBuf, String>,
}

#[derive(Debug)]
struct Known {
    load: FileLoad,
    /// Whether it is to be read again in any case.
    is_stale: bool,
    prints: Vec<(PathBuf, Fingerprint)>,
}

#[derive(Debug, PartialEq, Eq)]
struct Announced {
    hash: String,
    path: PathBuf,
    source: Arc<str>,
}

/// Tells whether a file has changed.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Fingerprint {
    modified: Option<SystemTime>,
    size: Option<u64>,
    hash: Option<[u8; 32]>,
}

impl Fingerprint {
    fn of(path: &Path) -> Self {
        let metadata = std::fs::metadata(path).ok();
        Self {
            modified: metadata.as_ref().and_then(|metadata| metadata.modified().ok()),
            size: metadata.as_ref().map(std::fs::Metadata::len),
            hash: content(path).map(|bytes| Sha256::digest(bytes).into()),
        }
    }

    /// Whether the file is still as it was; its content is read only if its time does not settle that.
    fn holds(&self, path: &Path, now: SystemTime) -> bool {
        let metadata = std::fs::metadata(path).ok();
        let modified = metadata.as_ref().and_then(|metadata| metadata.modified().ok());
        if modified != self.modified || metadata.as_ref().map(std::fs::Metadata::len) != self.size {
            return Self::of(path).hash == self.hash;
        }
        let is_settled = modified.is_none_or(|modified| now.duration_since(modified).is_ok_and(|age| age > UNSETTLED));
        is_settled || Self::of(path).hash == self.hash
    }
}

/// What a file holds, or what is in a folder.
fn content(path: &Path) -> Option<Vec<u8>> {
    if !path.is_dir() {
        return std::fs::read(path).ok();
    }
    let mut names: Vec<_> = std::fs::read_dir(path).ok()?.filter_map(|entry| Some(entry.ok()?.file_name())).collect();
    names.sort();
    Some(names.iter().flat_map(|name| [name.as_encoded_bytes(), b"\0"].concat()).collect())
}

impl FolderWatch {
    /// A watch that has seen nothing yet: its first scan finds everything.
    pub fn new(loader: impl DagFiles + 'static, paused_upon_creation: bool) -> Self {
        Self {
            loader: Box::new(loader),
            paused_upon_creation,
            files: BTreeMap::new(),
            repeats: false,
            announced: BTreeMap::new(),
            errors: BTreeMap::new(),
        }
    }

    /// The DAGs that were announced and not removed.
    pub fn dag_ids(&self) -> Vec<DagId> {
        self.announced.keys().cloned().collect()
    }

    /// The next scan announces these DAGs again: the storage has forgotten them, as when a client deleted one whose file
    /// still exists.
    pub fn announce_again(&mut self, dag_ids: &[DagId]) {
        for dag_id in dag_ids {
            if let Some(announced) = self.announced.get_mut(dag_id) {
                announced.hash.clear();
                self.repeats = true;
            }
        }
    }

    /// Whether a scan has found this file.
    pub fn watches(&self, file: &str) -> bool {
        self.files.contains_key(Path::new(file))
    }

    /// The next scan reads this file again, whether it seems to have changed or not.
    pub fn read_again(&mut self, file: &str) {
        if let Some(known) = self.files.get_mut(Path::new(file)) {
            known.is_stale = true;
        }
    }

    /// Looks at all files and says what has changed since the last scan. A DAG that has become wrong stays as it was,
    /// for as long as its file has problems; it is removed once its file is gone or right without it.
    pub fn scan(&mut self) -> FolderChange {
        let now = SystemTime::from(self.loader.clock().now());
        let paths = self.loader.files();
        let present: BTreeSet<&PathBuf> = paths.iter().collect();
        let before = self.files.len();
        self.files.retain(|path, _| present.contains(path));
        let mut has_changed = std::mem::take(&mut self.repeats) || self.files.len() != before;
        for path in paths {
            let unchanged =
                |known: &Known| !known.is_stale && known.prints.iter().all(|(path, print)| print.holds(path, now));
            if self.files.get(&path).is_some_and(unchanged) {
                continue;
            }
            has_changed = true;
            // Prints are taken first: a change while the file is read is seen by the next scan.
            let print = Fingerprint::of(&path);
            let load = self.loader.load_file(&path);
            let mut prints = vec![(path.clone(), print)];
            prints.extend(load.also_read.iter().map(|other| (other.clone(), Fingerprint::of(other))));
            self.files.insert(path, Known { load, is_stale: false, prints });
        }
        if has_changed { self.compare() } else { FolderChange::default() }
    }

    fn compare(&mut self) -> FolderChange {
        let mut loads: Vec<FileLoad> = self.files.values().map(|known| known.load.clone()).collect();
        refuse_duplicates(loads.iter_mut());

        let mut change = FolderChange::default();
        let mut declared = BTreeSet::new();
        for load in &loads {
            for dag in &load.dags {
                declared.insert(dag.dag_id.clone());
                let hash = content_hash(dag);
                let source = Arc::clone(&load.source);
                let announced = Announced { hash: hash.clone(), path: load.path.clone(), source };
                if self.announced.get(&dag.dag_id) != Some(&announced) {
                    self.announced.insert(dag.dag_id.clone(), announced);
                    change.registrations.push(DagRegistration {
                        dag: Arc::clone(dag),
                        content_hash: hash,
                        paused_upon_creation: dag.is_paused_upon_creation.unwrap_or(self.paused_upon_creation),
                        source: Some(Arc::clone(&load.source)),
                    });
                }
            }
        }
        let with_problems: BTreeSet<&PathBuf> =
            loads.iter().filter(|load| !load.problems.is_empty()).map(|load| &load.path).collect();
        self.announced.retain(|dag_id, announced| {
            let stays = declared.contains(dag_id) || with_problems.contains(&announced.path);
            if !stays {
                change.removed.push(dag_id.clone());
            }
            stays
        });

        let errors: BTreeMap<PathBuf, String> =
            loads.iter().filter_map(|load| Some((load.path.clone(), load.error()?))).collect();
        for path in self.errors.keys().filter(|path| !errors.contains_key(*path)) {
            change.import_errors.push((path.to_string_lossy().into_owned(), None));
        }
        for (path, error) in errors.iter().filter(|(path, error)| self.errors.get(*path) != Some(error)) {
            change.import_errors.push((path.to_string_lossy().into_owned(), Some(error.clone())));
        }
        self.errors = errors;
        change
    }
}
