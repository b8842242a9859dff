//! XComs.

use std::collections::BTreeSet;

use super::{Result, Service, ServiceError};
use crate::storage::{Page, PageRequest, Subject, XComEntry, XComQuery};

impl Service {
    /// A page of XComs.
    ///
    /// # Errors
    /// Those of the storage.
    pub async fn xcoms(&self, query: &XComQuery) -> Result<Page<XComEntry>> {
        Ok(self.storage.xcoms(query).await?)
    }

    /// The value that an instance left under `key`.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn xcom(
        &self,
        dag_id: &str,
        run_id: &str,
        task_id: &str,
        map_index: i32,
        key: &str,
    ) -> Result<XComEntry> {
        let query = XComQuery {
            dag_id: Some(dag_id.into()),
            run_id: Some(run_id.into()),
            task_ids: Some(BTreeSet::from([task_id.to_owned()])),
            map_index: Some(map_index),
            key: Some(key.into()),
            page: PageRequest { limit: 1, offset: 0 },
            ..XComQuery::default()
        };
        let found = self.storage.xcoms(&query).await?.items.pop();
        found.ok_or_else(|| ServiceError::NotFound(Subject::XCom(key.into())))
    }
}
