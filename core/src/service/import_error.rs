//! Import errors.

use std::collections::{BTreeMap, BTreeSet};

use super::{Result, Service, ServiceError};
use crate::id::DagId;
use crate::model::ImportError;
use crate::storage::{DagQuery, ImportErrorOrder, OrderBy, Page, PageRequest, Subject};

impl Service {
    /// Says what is wrong with a file that declares DAGs, or that nothing is wrong any more.
    ///
    /// # Errors
    /// The storage failed.
    pub async fn set_import_error(&self, filename: &str, stack_trace: Option<&str>) -> Result<()> {
        Ok(self.storage.set_import_error(self.now().await?, filename, stack_trace).await?)
    }

    /// An import error, as far as one may see it who may read these DAGs, or all.
    ///
    /// # Errors
    /// `NotFound`; `Conflict` if one may read none of the file's DAGs.
    pub async fn import_error(&self, id: i64, readable: Option<&BTreeSet<DagId>>) -> Result<ImportError> {
        let error = self.storage.import_error(id).await?;
        let Some(readable) = readable else { return Ok(error) };
        let dags = self.dags_of_files([error.filename.clone()].into()).await?;
        let hidden = || ServiceError::Conflict(Subject::ImportError(id), "none of the file's DAGs may be read".into());
        seen_by(error, &dags, readable).ok_or_else(hidden)
    }

    /// A page of the import errors that one may see who may read these DAGs, or all.
    ///
    /// # Errors
    /// The storage failed.
    pub async fn import_errors(
        &self,
        readable: Option<&BTreeSet<DagId>>,
        order_by: Option<OrderBy<ImportErrorOrder>>,
        page: PageRequest,
    ) -> Result<Page<ImportError>> {
        let Some(readable) = readable else { return Ok(self.storage.import_errors(order_by, page).await?) };
        // There are few files with errors.
        let all = self.storage.import_errors(order_by, PageRequest::ALL).await?.items;
        let dags = self.dags_of_files(all.iter().map(|error| error.filename.clone()).collect()).await?;
        let seen: Vec<_> = all.into_iter().filter_map(|error| seen_by(error, &dags, readable)).collect();
        let total = seen.len() as u64;
        Ok(Page { items: seen.into_iter().skip(page.offset).take(page.limit).collect(), total })
    }

    /// The DAGs that files declare, also those that are not active.
    ///
    /// # Errors
    /// The storage failed.
    pub async fn dags_of_files(&self, filelocs: BTreeSet<String>) -> Result<BTreeMap<String, BTreeSet<DagId>>> {
        let mut dags: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
        let query = DagQuery { filelocs: Some(filelocs), ..DagQuery::default() };
        for record in self.storage.dags(&query).await?.items {
            dags.entry(record.dag().fileloc.clone()).or_default().insert(record.dag_id().clone());
        }
        Ok(dags)
    }
}

/// An import error as one sees it who may read these DAGs; none if it is about none of them.
fn seen_by(
    mut error: ImportError,
    dags: &BTreeMap<String, BTreeSet<DagId>>,
    readable: &BTreeSet<DagId>,
) -> Option<ImportError> {
    let of_file = dags.get(&error.filename)?;
    if of_file.is_disjoint(readable) {
        return None;
    }
    if !of_file.is_subset(readable) {
        error.stack_trace = "REDACTED - you do not have read permission on all DAGs in the file".into();
    }
    Some(error)
}
