use async_trait::async_trait;
use chrono::{DateTime, Utc};

use super::{OrderBy, Page, PageRequest, Result};
use crate::model::ImportError;

/// By what import errors are listed; the order of writing by default.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ImportErrorOrder {
    /// The order of writing.
    Id,
    /// When it was seen.
    Timestamp,
    /// The file.
    Filename,
    /// What is wrong.
    StackTrace,
}

/// Import errors.
#[async_trait]
pub trait ImportErrorStorage {
    /// Sets or removes the import error of a file. It keeps its id, and gets the new time and text, for as long as the file
    /// has one. DAGs of the file that nobody declares any more show that it has one;
    /// others of the file could be read.
    async fn set_import_error(&self, now: DateTime<Utc>, filename: &str, stack_trace: Option<&str>) -> Result<()>;

    /// An import error.
    ///
    /// # Errors
    /// `NotFound`.
    async fn import_error(&self, id: i64) -> Result<ImportError>;

    /// A page of import errors.
    async fn import_errors(
        &self,
        order_by: Option<OrderBy<ImportErrorOrder>>,
        page: PageRequest,
    ) -> Result<Page<ImportError>>;
}
