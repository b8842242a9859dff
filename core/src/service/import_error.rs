//! Import errors.

use super::{Result, Service};
use crate::model::ImportError;
use crate::storage::{ImportErrorOrder, OrderBy, Page, PageRequest};

impl Service {
    /// Says what is wrong with a file that declares DAGs, or that nothing is wrong any more.
    ///
    /// # Errors
    /// The storage failed.
    pub async fn set_import_error(&self, filename: &str, stack_trace: Option<&str>) -> Result<()> {
        Ok(self.storage.set_import_error(self.now().await?, filename, stack_trace).await?)
    }

    /// An import error.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn import_error(&self, id: i64) -> Result<ImportError> {
        Ok(self.storage.import_error(id).await?)
    }

    /// A page of import errors.
    ///
    /// # Errors
    /// The storage failed.
    pub async fn import_errors(
        &self,
        order_by: Option<OrderBy<ImportErrorOrder>>,
        page: PageRequest,
    ) -> Result<Page<ImportError>> {
        Ok(self.storage.import_errors(order_by, page).await?)
    }
}
