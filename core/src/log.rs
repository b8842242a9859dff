//! Logs of tries.

mod file;
mod memory;
mod writer;

use std::fmt::Debug;
use std::io;

use async_trait::async_trait;

pub use file::FileLogs;
pub use memory::MemoryLogs;
pub(crate) use writer::record;
pub use writer::{LogLevel, LogSource, LogWriter};

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

impl LogChunk {
    /// The piece at `offset` of at most `max` bytes: whole lines if there is one, whole characters otherwise. `bytes` start at
    /// `offset`, and are more than `max` if the log goes on.
    pub fn cut(mut bytes: Vec<u8>, offset: u64, max: usize) -> Self {
        bytes.truncate(piece_len(&bytes, max));
        let next_offset = offset.saturating_add(bytes.len() as u64);
        Self { bytes, next_offset }
    }
}

/// How much of `bytes`, which hold at least what was asked for, makes a piece of at most `max` bytes: whole lines if
/// there is one, whole characters otherwise.
fn piece_len(bytes: &[u8], max: usize) -> usize {
    if bytes.len() <= max {
        return bytes.len();
    }
    let head = &bytes[..max];
    if let Some(end) = head.iter().rposition(|&byte| byte == b'\n') {
        return end + 1;
    }
    let is_start = |at: usize| (bytes[at] as i8) >= -0x40;
    (max.saturating_sub(3)..=max).rev().find(|&at| at > 0 && is_start(at)).unwrap_or(max)
}
