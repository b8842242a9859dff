//! Import errors.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use updraft_core::model::ImportError;
use updraft_core::storage::{
    ImportErrorOrder, ImportErrorStorage, OrderBy, Page, PageRequest, Result, StorageError, Subject,
};

use crate::MemoryStorage;
use crate::list::{page, sort};

#[async_trait]
impl ImportErrorStorage for MemoryStorage {
    async fn set_import_error(&self, now: DateTime<Utc>, filename: &str, stack_trace: Option<&str>) -> Result<()> {
        let mut state = self.lock();
        let Some(stack_trace) = stack_trace else {
            state.import_errors.remove(filename);
            return Ok(());
        };
        let id = match state.import_errors.get(filename) {
            Some(error) => error.id,
            None => state.import_error_serial.next(),
        };
        let error = ImportError { id, timestamp: now, filename: filename.into(), stack_trace: stack_trace.into() };
        state.import_errors.insert(filename.into(), error);
        Ok(())
    }

    async fn import_error(&self, id: i64) -> Result<ImportError> {
        let state = self.lock();
        let error = state.import_errors.values().find(|error| error.id == id);
        error.cloned().ok_or(StorageError::NotFound(Subject::ImportError(id)))
    }

    async fn import_errors(
        &self,
        order_by: Option<OrderBy<ImportErrorOrder>>,
        request: PageRequest,
    ) -> Result<Page<ImportError>> {
        let state = self.lock();
        let mut errors: Vec<&ImportError> = state.import_errors.values().collect();
        sort(&mut errors, false, |error| error.id);
        if let Some(order) = order_by {
            let down = order.descending;
            match order.field {
                ImportErrorOrder::Timestamp => sort(&mut errors, down, |error| error.timestamp),
                ImportErrorOrder::Filename => sort(&mut errors, down, |error| error.filename.clone()),
                ImportErrorOrder::StackTrace => sort(&mut errors, down, |error| error.stack_trace.clone()),
                _ => sort(&mut errors, down, |error| error.id),
            }
        }
        Ok(page(errors.into_iter(), request).map(ImportError::clone))
    }
}
