use std::fmt::{self, Debug, Display};
use std::panic::Location;
use std::sync::{Arc, Mutex, PoisonError};

use chrono::{DateTime, Utc};

use super::{LogKey, LogStore};
use crate::mask::Secrets;

/// How much a line matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum LogLevel {
    /// What happens.
    Info,
    /// What may be wrong.
    Warning,
    /// What is wrong.
    Error,
}

impl Display for LogLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Info => "INFO",
            Self::Warning => "WARNING",
            Self::Error => "ERROR",
        })
    }
}

/// Whose log a [`LogWriter`] writes. A try that never logs never has a name or an opening made for it.
pub trait LogSource: Send + Sync + Debug {
    /// Names the log. The first call writes to `store` what the log opens with.
    fn open(&self, store: &dyn LogStore) -> &LogKey;

    /// Names the log, if it was opened.
    fn opened(&self) -> Option<&LogKey>;
}

impl LogSource for LogKey {
    fn open(&self, _store: &dyn LogStore) -> &LogKey {
        self
    }

    fn opened(&self) -> Option<&LogKey> {
        Some(self)
    }
}

/// Writes the log of one try. Clones write the same log.
#[derive(Debug, Clone)]
pub struct LogWriter {
    store: Arc<dyn LogStore>,
    source: Arc<dyn LogSource>,
    masked: Option<Arc<Masked>>,
}

/// What keeps secrets out of a log.
struct Masked {
    secrets: Arc<Secrets>,
    /// The end of what was written last, if it may be the beginning of a secret.
    held: Mutex<Vec<u8>>,
}

impl Debug for Masked {
    /// Leaves out what is held.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Masked").field("secrets", &self.secrets).finish_non_exhaustive()
    }
}

impl LogWriter {
    /// A writer for the try's log.
    pub fn new(store: Arc<dyn LogStore>, key: LogKey) -> Self {
        Self::lazy(store, Arc::new(key))
    }

    /// A writer for a log that is opened by the first write.
    pub fn lazy(store: Arc<dyn LogStore>, source: Arc<dyn LogSource>) -> Self {
        Self { store, source, masked: None }
    }

    /// The same log, which does not show these secrets, however they are cut in pieces.
    #[must_use]
    pub fn masking(mut self, secrets: Arc<Secrets>) -> Self {
        self.masked = Some(Arc::new(Masked { secrets, held: Mutex::default() }));
        self
    }

    /// How much of `bytes` can be written as a piece of its own: what is behind may go on as a secret.
    pub fn settled(&self, bytes: &[u8]) -> usize {
        self.masked.as_ref().map_or(bytes.len(), |masked| masked.secrets.settled(bytes))
    }

    /// Opens the log.
    pub fn open(&self) {
        self.source.open(self.store.as_ref());
    }

    /// Appends a line; a line's end is added.
    pub fn line(&self, text: &str) {
        let mut bytes = Vec::with_capacity(text.len() + 1);
        bytes.extend_from_slice(text.as_bytes());
        bytes.push(b'\n');
        self.bytes(&bytes);
    }

    /// Appends bytes as they are, but for secrets.
    pub fn bytes(&self, bytes: &[u8]) {
        let key = self.source.open(self.store.as_ref());
        let masked = self.masked.as_ref().filter(|masked| !masked.secrets.is_empty());
        let Some(masked) = masked else { return self.store.append(key, bytes) };
        // Held while appending, so that pieces stay in their order.
        let mut held = masked.held.lock().unwrap_or_else(PoisonError::into_inner);
        held.extend_from_slice(bytes);
        let settled = masked.secrets.settled(&held);
        let rest = held.split_off(settled);
        let bytes = std::mem::replace(&mut *held, rest);
        if !bytes.is_empty() {
            self.store.append(key, &masked.secrets.mask_bytes(&bytes));
        }
    }

    /// Writes what was held back: nothing goes on any more.
    pub(crate) fn end(&self) {
        let (Some(key), Some(masked)) = (self.source.opened(), &self.masked) else { return };
        let mut held = masked.held.lock().unwrap_or_else(PoisonError::into_inner);
        if !held.is_empty() {
            let bytes = std::mem::take(&mut *held);
            self.store.append(key, &masked.secrets.mask_bytes(&bytes));
        }
    }

    /// Appends a text, with time, place and level before it as Airflow's logs have them.
    pub fn record(&self, at: DateTime<Utc>, level: LogLevel, place: &Location<'_>, text: &dyn Display) {
        self.bytes(record(at, level, place, text).as_bytes());
    }

    /// Appends many texts at once, each as [`LogWriter::record`] does.
    pub fn records<'a>(
        &self,
        at: DateTime<Utc>,
        level: LogLevel,
        place: &Location<'_>,
        texts: impl IntoIterator<Item = &'a str>,
    ) {
        let bytes: String = texts.into_iter().map(|text| record(at, level, place, &text)).collect();
        if !bytes.is_empty() {
            self.bytes(bytes.as_bytes());
        }
    }

    /// Makes sure that what was written can be read, but for an end that may go on as a secret.
    pub async fn flush(&self) {
        if let Some(key) = self.source.opened()
            && let Err(error) = self.store.flush(key).await
        {
            tracing::warn!(%error, ?key, "a log could not be flushed");
        }
    }
}

/// A record in Airflow's format: `[2026-11-21T13:08:10.437+0000] {subprocess.rs:99} INFO - Output:`.
pub(crate) fn record(at: DateTime<Utc>, level: LogLevel, place: &Location<'_>, text: &dyn Display) -> String {
    let file = place.file().rsplit(['/', '\\']).next().unwrap_or_default();
    format!("[{}] {{{file}:{}}} {level} - {text}\n", at.format("%Y-%m-%dT%H:%M:%S%.3f+0000"), place.line())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::MemoryLogs;
    use crate::mask::SensitiveNames;

    async fn shown(logs: &MemoryLogs, key: &LogKey) -> String {
        let chunk = logs.read(key, 0, usize::MAX).await.unwrap().unwrap_or_default();
        String::from_utf8(chunk.bytes).unwrap()
    }

    #[tokio::test]
    async fn a_secret_in_pieces_does_not_show() {
        let logs = Arc::new(MemoryLogs::default());
        let key = LogKey { dag_id: "d".into(), run_id: "r".into(), task_id: "t".into(), map_index: -1, try_number: 1 };
        let secrets = Arc::new(Secrets::new(SensitiveNames::default()));
        let log = LogWriter::new(Arc::<MemoryLogs>::clone(&logs), key.clone()).masking(Arc::clone(&secrets));
        log.bytes(b"canary, not known yet; ");
        secrets.add("canary");
        for piece in ["a can", "a", "ry, a can", "dle; can"] {
            log.bytes(piece.as_bytes());
            log.flush().await;
        }
        assert_eq!(shown(&logs, &key).await, "canary, not known yet; a ***, a candle; ");
        log.line("ary");
        log.bytes(b"can");
        log.end();
        assert_eq!(shown(&logs, &key).await, "canary, not known yet; a ***, a candle; ***\ncan");
    }
}
