use std::collections::BTreeMap;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;

use async_trait::async_trait;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use sha2::{Digest, Sha256};
use tokio::sync::oneshot;

use super::{LogChunk, LogKey, LogStore};
use crate::id::UNMAPPED;

/// Most bytes that wait to be written; what comes beyond is lost.
const MAX_WAITING: usize = 64 << 20;

/// What stays readable in names of folders. Each name starts with `dag_id=` or the like, so dots are harmless.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~')
    .remove(b'+')
    .remove(b':')
    .remove(b'@')
    .remove(b',')
    .remove(b'=');

/// Longest encoded id; file systems allow 255 bytes a name.
const MAX_NAME: usize = 230;

/// Logs in files below a folder, in Airflow's layout: `dag_id=…/run_id=…/task_id=…/attempt=1.log`.
///
/// Characters of ids that a path could misread are percent-encoded. One thread writes, so that whoever appends never
/// waits for the disk; what has been appended is read only after a flush.
#[derive(Debug)]
pub struct FileLogs {
    root: PathBuf,
    jobs: Option<mpsc::Sender<Job>>,
    waiting: Arc<AtomicUsize>,
    has_lost: AtomicBool,
    writer: Option<JoinHandle<()>>,
}

#[derive(Debug)]
enum Job {
    Append(LogKey, Vec<u8>),
    Flush(oneshot::Sender<()>),
    DeleteRun(PathBuf, oneshot::Sender<io::Result<()>>),
}

impl FileLogs {
    /// Logs below `root`, which is made, for its owner only, if it does not exist.
    ///
    /// # Errors
    /// The folder cannot be made, or the thread not be started.
    pub fn new(root: impl Into<PathBuf>) -> io::Result<Self> {
        let root = root.into();
        make_folder(&root)?;
        let (jobs, received) = mpsc::channel();
        let waiting = Arc::new(AtomicUsize::new(0));
        let writer = Writer { root: root.clone(), waiting: Arc::clone(&waiting), has_failed: false };
        let thread = std::thread::Builder::new().name("updraft-logs".into()).spawn(move || writer.run(&received))?;
        Ok(Self { root, jobs: Some(jobs), waiting, has_lost: AtomicBool::new(false), writer: Some(thread) })
    }

    fn send(&self, job: Job) -> io::Result<()> {
        let gone = || io::Error::other("the thread that writes logs is gone");
        self.jobs.as_ref().ok_or_else(gone)?.send(job).map_err(|_| gone())
    }
}

impl Drop for FileLogs {
    /// Waits until everything is written.
    fn drop(&mut self) {
        drop(self.jobs.take());
        if let Some(writer) = self.writer.take() {
            // A writer that panicked has already said so.
            let _ = writer.join();
        }
    }
}

#[async_trait]
impl LogStore for FileLogs {
    fn append(&self, key: &LogKey, bytes: &[u8]) {
        let fits = self.waiting.fetch_add(bytes.len(), Ordering::Relaxed) <= MAX_WAITING;
        if fits && self.send(Job::Append(key.clone(), bytes.to_vec())).is_ok() {
            return;
        }
        self.waiting.fetch_sub(bytes.len(), Ordering::Relaxed);
        if !self.has_lost.swap(true, Ordering::Relaxed) {
            tracing::error!(?key, "logs come faster than the disk takes them: some are lost");
        }
    }

    async fn flush(&self, _key: &LogKey) -> io::Result<()> {
        let (done, wait) = oneshot::channel();
        self.send(Job::Flush(done))?;
        wait.await.map_err(io::Error::other)
    }

    async fn read(&self, key: &LogKey, offset: u64, max: usize) -> io::Result<Option<LogChunk>> {
        let path = path(&self.root, key);
        tokio::task::spawn_blocking(move || read(&path, offset, max)).await.map_err(io::Error::other)?
    }

    async fn delete_run(&self, dag_id: &str, run_id: &str) -> io::Result<()> {
        let (done, wait) = oneshot::channel();
        self.send(Job::DeleteRun(run_folder(&self.root, dag_id, run_id), done))?;
        wait.await.map_err(io::Error::other)?
    }
}

fn read(path: &Path, offset: u64, max: usize) -> io::Result<Option<LogChunk>> {
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let offset = offset.min(file.metadata()?.len());
    file.seek(SeekFrom::Start(offset))?;
    let mut bytes = Vec::new();
    // One byte more tells whether the log goes on.
    file.take((max as u64).saturating_add(1)).read_to_end(&mut bytes)?;
    Ok(Some(LogChunk::cut(bytes, offset, max)))
}

struct Writer {
    root: PathBuf,
    waiting: Arc<AtomicUsize>,
    has_failed: bool,
}

impl Writer {
    fn run(mut self, jobs: &mpsc::Receiver<Job>) {
        while let Ok(first) = jobs.recv() {
            let mut gathered: BTreeMap<LogKey, Vec<u8>> = BTreeMap::new();
            let mut flushed = Vec::new();
            for job in std::iter::once(first).chain(jobs.try_iter()) {
                match job {
                    Job::Append(key, bytes) => gathered.entry(key).or_default().extend_from_slice(&bytes),
                    Job::Flush(done) => flushed.push(done),
                    Job::DeleteRun(folder, done) => {
                        self.write(std::mem::take(&mut gathered));
                        let result = match std::fs::remove_dir_all(folder) {
                            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
                            result => result,
                        };
                        let _ = done.send(result);
                    }
                }
            }
            self.write(gathered);
            for done in flushed {
                let _ = done.send(());
            }
        }
    }

    fn write(&mut self, gathered: BTreeMap<LogKey, Vec<u8>>) {
        for (key, bytes) in gathered {
            let result = append(&path(&self.root, &key), &bytes);
            self.waiting.fetch_sub(bytes.len(), Ordering::Relaxed);
            match result {
                Ok(()) => self.has_failed = false,
                Err(error) if !self.has_failed => {
                    self.has_failed = true;
                    tracing::error!(%error, ?key, "a log could not be written and is lost");
                }
                Err(_) => {}
            }
        }
    }
}

fn append(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.append(true).create(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = match options.open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            make_folder(path.parent().unwrap_or(path))?;
            options.open(path)?
        }
        opened => opened?,
    };
    file.write_all(bytes)
}

fn make_folder(path: &Path) -> io::Result<()> {
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path)
}

fn run_folder(root: &Path, dag_id: &str, run_id: &str) -> PathBuf {
    root.join(name("dag_id", dag_id)).join(name("run_id", run_id))
}

fn path(root: &Path, key: &LogKey) -> PathBuf {
    let mut path = run_folder(root, &key.dag_id, &key.run_id).join(name("task_id", &key.task_id));
    if key.map_index != UNMAPPED {
        path.push(format!("map_index={}", key.map_index));
    }
    path.push(format!("attempt={}.log", key.try_number));
    path
}

/// A folder's name. Long ids end in a hash, after `%h`, which no encoded id has.
fn name(kind: &str, id: &str) -> String {
    let mut encoded = utf8_percent_encode(id, ENCODED).to_string();
    if encoded.len() > MAX_NAME {
        encoded.truncate(MAX_NAME / 2);
        encoded.push_str("%h");
        for byte in Sha256::digest(id) {
            encoded.push_str(&format!("{byte:02x}"));
        }
    }
    format!("{kind}={encoded}")
}

#[cfg(test)]
#[path = "file_test.rs"]
mod tests;
