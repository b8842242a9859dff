//! The event log.

use super::{Result, Service};
use crate::model::{AuditEntry, EventLogEntry};
use crate::storage::{EventLogQuery, Page};

impl Service {
    /// Writes an entry that belongs to no change, as that of a refused request.
    ///
    /// # Errors
    /// The storage failed.
    pub async fn record(&self, entry: AuditEntry) -> Result<()> {
        Ok(self.storage.append_event(self.now().await?, entry).await?)
    }

    /// An entry.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn event(&self, id: i64) -> Result<EventLogEntry> {
        Ok(self.storage.event(id).await?)
    }

    /// A page of entries.
    ///
    /// # Errors
    /// The storage failed.
    pub async fn events(&self, query: &EventLogQuery) -> Result<Page<EventLogEntry>> {
        Ok(self.storage.events(query).await?)
    }
}
