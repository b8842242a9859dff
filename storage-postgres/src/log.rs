//! Logs of tries, in pieces in the database: every process reads them, also while the try runs.

mod buffer;

use std::fmt::{self, Debug};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use sqlx::Row;
use tokio::runtime::Handle;
use tokio::sync::Notify;
use updraft_core::log::{LogChunk, LogKey, LogStore};
use updraft_core::storage::StorageError;

use crate::PostgresStorage;
use crate::code::int;
use crate::error::storage_error;
use crate::sql::sql;
use crate::storage::Inner;
use buffer::{Buffer, Written};

/// How long lines may wait to be written while nobody asks for a flush.
const PAUSE: Duration = Duration::from_secs(1);

/// How long a flush may take before it is left to the background: the outcome of a try does not wait for its log.
const PATIENCE: Duration = Duration::from_secs(5);

/// Logs of tries, in the database of a [`PostgresStorage`].
///
/// What is appended is written within a second, or by a flush, all logs by one statement: whatever runs, a process writes
/// logs by one connection. While the database is away, up to 64 MiB wait; what comes beyond is lost, and so may be what a try
/// that still runs wrote just before the server crashed: the log says so. A log that reaches the limit of [`PostgresSettings::max_log_size`](crate::PostgresSettings::max_log_size) ends there. Logs
/// are deleted with their run.
#[derive(Clone)]
pub struct PostgresLogs {
    shared: Arc<Shared>,
}

struct Shared {
    storage: Arc<Inner>,
    runtime: Option<Handle>,
    state: Mutex<State>,
    /// Held while writing.
    writing: tokio::sync::Mutex<()>,
    is_clean: Notify,
}

#[derive(Debug)]
struct State {
    buffer: Buffer,
    /// Whether the task that writes each second is there; it is only while something waits.
    is_ticking: bool,
    /// Counts statements, by their beginning.
    round: u64,
    /// The last one, if it failed.
    failure: Option<(u64, String)>,
}

impl Debug for PostgresLogs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresLogs").field("schema", &self.shared.storage.schema.name()).finish_non_exhaustive()
    }
}

impl PostgresStorage {
    /// Logs in the same database.
    pub fn logs(&self) -> PostgresLogs {
        let storage = Arc::clone(&self.inner);
        let buffer = Buffer::new(storage.max_log_size);
        let state = State { buffer, is_ticking: false, round: 0, failure: None };
        PostgresLogs {
            shared: Arc::new(Shared {
                storage,
                runtime: Handle::try_current().ok(),
                state: Mutex::new(state),
                writing: tokio::sync::Mutex::default(),
                is_clean: Notify::new(),
            }),
        }
    }
}

#[async_trait]
impl LogStore for PostgresLogs {
    fn append(&self, key: &LogKey, bytes: &[u8]) {
        let mut state = self.shared.state();
        state.buffer.append(key, bytes);
        if state.is_ticking || state.buffer.is_clean() {
            return;
        }
        // Code may log from a thread of its own.
        if let Some(runtime) = Handle::try_current().ok().as_ref().or(self.shared.runtime.as_ref()) {
            state.is_ticking = true;
            runtime.spawn(tick(Arc::clone(&self.shared)));
        }
    }

    async fn flush(&self, key: &LogKey) -> io::Result<()> {
        let shared = &self.shared;
        let (appended, round) = {
            let mut state = shared.state();
            if !state.buffer.is_waiting(key, u64::MAX) {
                state.buffer.forget(key);
                return Ok(());
            }
            (state.buffer.appended(), state.round)
        };
        let written = async {
            loop {
                let _writing = shared.writing.lock().await;
                {
                    let mut state = shared.state();
                    // Whoever held the lock has written for all.
                    if !state.buffer.is_waiting(key, appended) {
                        state.buffer.forget(key);
                        return Ok(());
                    }
                    if let Some((_, text)) = state.failure.as_ref().filter(|(failed, _)| *failed > round) {
                        return Err(io::Error::other(text.clone()));
                    }
                }
                shared.write().await?;
            }
        };
        tokio::select! {
            biased;
            written = written => written,
            () = shared.storage.clock.sleep(PATIENCE) => {
                Err(io::Error::new(io::ErrorKind::TimedOut, "the database takes long; what waits is written later"))
            }
        }
    }

    async fn read(&self, key: &LogKey, offset: u64, max: usize) -> io::Result<Option<LogChunk>> {
        if buffer::is_impossible(key) {
            return Ok(None);
        }
        let inner = &self.shared.storage;
        // One byte more tells whether the log goes on.
        let last = offset.saturating_add(max as u64);
        let statement = || {
            sqlx::query(inner.schema.sql(sql!("log/read")))
                .bind(&key.dag_id)
                .bind(&key.run_id)
                .bind(&key.task_id)
                .bind(key.map_index)
                .bind(int(key.try_number))
                .bind(i64::try_from(offset).unwrap_or(i64::MAX))
                .bind(i64::try_from(last).unwrap_or(i64::MAX))
        };
        let rows = inner.readers.all(statement).await.map_err(failed)?;
        let Some(first) = rows.first() else { return Ok(None) };
        let start: i64 = first.try_get(0).map_err(failed)?;
        let start = u64::try_from(start).unwrap_or(0);
        let mut bytes = Vec::new();
        for row in &rows {
            bytes.extend_from_slice(row.try_get(1).map_err(failed)?);
        }
        let before = usize::try_from(offset - start.min(offset)).unwrap_or(usize::MAX).min(bytes.len());
        bytes.drain(..before);
        bytes.truncate(max.saturating_add(1));
        Ok(Some(LogChunk::cut(bytes, start + before as u64, max)))
    }

    async fn delete_run(&self, dag_id: &str, run_id: &str) -> io::Result<()> {
        let shared = &self.shared;
        let _writing = shared.writing.lock().await;
        shared.state().buffer.forget_run(dag_id, run_id);
        let inner = &shared.storage;
        sqlx::query(inner.schema.sql(sql!("log/delete_run")))
            .bind(dag_id)
            .bind(run_id)
            .execute(&inner.clients)
            .await
            .map_err(failed)?;
        Ok(())
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes a piece of each log that waits, as many as a statement takes. The lock must be held.
    async fn write(&self) -> io::Result<()> {
        let round = {
            let mut state = self.state();
            state.round += 1;
            state.round
        };
        let result = self.try_write().await;
        let mut state = self.state();
        match result {
            Ok(()) => {
                state.failure = None;
                if state.buffer.is_clean() {
                    self.is_clean.notify_waiters();
                }
                Ok(())
            }
            Err(error) => {
                let error = failed(error);
                if state.failure.is_none() {
                    tracing::warn!(%error, "logs cannot be written, and wait");
                }
                state.failure = Some((round, error.to_string()));
                Err(error)
            }
        }
    }

    async fn try_write(&self) -> sqlx::Result<()> {
        let Inner { schema, schedulers, .. } = self.storage.as_ref();
        let unknown = self.state().buffer.unknown();
        if !unknown.is_empty() {
            let rows = sqlx::query(schema.sql(sql!("log/resolve")))
                .bind(unknown.iter().map(|key| key.dag_id.as_str()).collect::<Vec<_>>())
                .bind(unknown.iter().map(|key| key.run_id.as_str()).collect::<Vec<_>>())
                .bind(unknown.iter().map(|key| key.task_id.as_str()).collect::<Vec<_>>())
                .bind(unknown.iter().map(|key| key.map_index).collect::<Vec<_>>())
                .bind(unknown.iter().map(|key| int(key.try_number)).collect::<Vec<_>>())
                .fetch_all(schedulers)
                .await?;
            let mut found = vec![None; unknown.len()];
            for row in &rows {
                let (place, end): (i64, i64) = (row.try_get(0)?, row.try_get(3)?);
                let slot = usize::try_from(place - 1).ok().and_then(|place| found.get_mut(place));
                if let Some(slot) = slot {
                    *slot = Some(((row.try_get(1)?, row.try_get(2)?), u64::try_from(end).unwrap_or(0)));
                }
            }
            self.state().buffer.resolve(unknown, found);
        }
        let batch = self.state().buffer.batch();
        if batch.is_empty() {
            return Ok(());
        }
        // The pool does not wait for the disk. A log is durable with the outcome of its try nevertheless: that is committed
        // later, and what is committed later is not durable before what was committed earlier.
        let rows = sqlx::query(schema.sql(sql!("log/write")))
            .bind(batch.iter().map(|piece| piece.place.0).collect::<Vec<_>>())
            .bind(batch.iter().map(|piece| piece.place.1).collect::<Vec<_>>())
            .bind(batch.iter().map(|piece| piece.key.map_index).collect::<Vec<_>>())
            .bind(batch.iter().map(|piece| int(piece.key.try_number)).collect::<Vec<_>>())
            .bind(batch.iter().map(|piece| i64::try_from(piece.offset).unwrap_or(i64::MAX)).collect::<Vec<_>>())
            .bind(batch.iter().map(|piece| piece.bytes.as_slice()).collect::<Vec<_>>())
            .fetch_all(schedulers)
            .await?;
        let written: sqlx::Result<Vec<Written>> =
            rows.iter().map(|row| Ok(((row.try_get(0)?, row.try_get(1)?), row.try_get(2)?, row.try_get(3)?))).collect();
        self.state().buffer.settle(&batch, written?);
        Ok(())
    }
}

/// Writes each second until nothing waits.
async fn tick(shared: Arc<Shared>) {
    loop {
        tokio::select! {
            biased;
            () = shared.is_clean.notified() => {}
            () = shared.storage.clock.sleep(PAUSE) => {}
        }
        let appended = shared.state().buffer.appended();
        loop {
            let _writing = shared.writing.lock().await;
            // What comes meanwhile waits for its second.
            if !shared.state().buffer.is_anything_waiting(appended) || shared.write().await.is_err() {
                break;
            }
        }
        let mut state = shared.state();
        if shared.storage.schedulers.is_closed() {
            state.buffer.forget_all();
        }
        state.buffer.age();
        if state.buffer.is_clean() {
            state.is_ticking = false;
            return;
        }
    }
}

fn failed(error: sqlx::Error) -> io::Error {
    match storage_error(error) {
        error @ StorageError::Unavailable(_) => io::Error::new(io::ErrorKind::NotConnected, error),
        error => io::Error::other(error),
    }
}
