//! Warnings about DAGs.

use super::{Result, Service};
use crate::model::DagWarning;
use crate::storage::{DagWarningQuery, Page};

impl Service {
    /// A page of warnings.
    ///
    /// # Errors
    /// The storage failed.
    pub async fn dag_warnings(&self, query: &DagWarningQuery) -> Result<Page<DagWarning>> {
        Ok(self.storage.dag_warnings(query).await?)
    }
}
