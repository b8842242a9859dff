//! The event log.

use super::{Result, Service};
use crate::model::EventLogEntry;
use crate::storage::{EventLogQuery, Page};

impl Service {
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
