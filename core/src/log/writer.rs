use std::fmt::{self, Debug, Display};
use std::panic::Location;
use std::sync::Arc;

use chrono::{DateTime, Utc};

use super::{LogKey, LogStore};

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

/// Writes the log of one try.
#[derive(Debug, Clone)]
pub struct LogWriter {
    store: Arc<dyn LogStore>,
    source: Arc<dyn LogSource>,
}

impl LogWriter {
    /// A writer for the try's log.
    pub fn new(store: Arc<dyn LogStore>, key: LogKey) -> Self {
        Self { store, source: Arc::new(key) }
    }

    /// A writer for a log that is opened by the first write.
    pub fn lazy(store: Arc<dyn LogStore>, source: Arc<dyn LogSource>) -> Self {
        Self { store, source }
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

    /// Appends bytes as they are.
    pub fn bytes(&self, bytes: &[u8]) {
        self.store.append(self.source.open(self.store.as_ref()), bytes);
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

    /// Makes sure that what was written can be read.
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
