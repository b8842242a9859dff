//! Logs of tries.


mod memory;

use std::fmt::Debug;
use std::io;
use std::sync::Arc;

use async_trait::async_trait;


pub use memory::MemoryLogs;

/// Names the log of one try.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LogKey {
    /// The DAG.
    pub dag_id: String,
    /// The run.
    pub run_id: String,
    /// The task.
    pub task_id: String,
    /// The mapped instance, or [`UNMAPPED`](crate::id::UNMAPPED).
    pub map_index: i32,
    /// The try.
    pub try_number: u32,
}

/// A piece of a log.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LogChunk {
    /// The bytes from the asked offset on; cut at a line's end where the log goes on.
    pub bytes: Vec<u8>,
    /// Where the next piece starts.
    pub next_offset: u64,
}

/// Where logs are kept.
#[async_trait]
pub trait LogStore: Send + Sync + Debug {
    /// Appends to the log of a try, making it if it does not exist. Never blocks for long; what cannot be written is
    /// reported once by [`tracing`] and lost, because a full disk must not change what becomes of a task.
    fn append(&self, key: &LogKey, bytes: &[u8]);

    /// Makes sure that what was appended can be read, also by other processes if the store is shared.
    ///
    /// # Errors
    /// Those of the medium.
    async fn flush(&self, key: &LogKey) -> io::Result<()>;

    /// Reads at most `max` bytes from `offset` on; `None` if the try has no log.
    ///
    /// # Errors
    /// Those of the medium.
    async fn read(&self, key: &LogKey, offset: u64, max: usize) -> io::Result<Option<LogChunk>>;

    /// Forgets the logs of a run.
    ///
    /// # Errors
    /// Those of the medium.
    async fn delete_run(&self, dag_id: &str, run_id: &str) -> io::Result<()>;
}

/// Writes the log of one try.
#[derive(Debug, Clone)]
pub struct LogWriter {
    store: Arc<dyn LogStore>,
    key: Arc<LogKey>,
}

impl LogWriter {
    /// A writer for the try's log.
    pub fn new(store: Arc<dyn LogStore>, key: LogKey) -> Self {
        Self { store, key: Arc::new(key) }
    }

    /// Appends a line; a line's end is added.
    pub fn line(&self, text: &str) {
        let mut bytes = Vec::with_capacity(text.len() + 1);
        bytes.extend_from_slice(text.as_bytes());
        bytes.push(b'\n');
        self.store.append(&self.key, &bytes);
    }

    /// Appends bytes as they are.
    pub fn bytes(&self, bytes: &[u8]) {
        self.store.append(&self.key, bytes);
    }

    /// Makes sure that what was written can be read.
    pub async fn flush(&self) {
        if let Err(error) = self.store.flush(&self.key).await {
            tracing::warn!(%error, key = ?self.key, "a log could not be flushed");
        }
    }
}
