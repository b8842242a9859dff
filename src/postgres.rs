//! The storage in a PostgreSQL database, and what only that can do.

use std::any::Any;

use updraft_core::model::DagRun;
use updraft_core::service::{Actor, ServiceError, TriggerRequest};
use updraft_core::storage::{Storage, StorageError};

use crate::Updraft;

pub use updraft_storage_postgres::{
    InvalidSettings, PostgresLogs, PostgresSettings, PostgresStorage, PurgeRequest, Purged, sqlx,
};

/// The storage, if it is in a PostgreSQL database.
pub(crate) fn storage_of(storage: &dyn Storage) -> Option<&PostgresStorage> {
    (storage as &dyn Any).downcast_ref()
}

impl Updraft {
    /// Triggers a run in a transaction of the host's own: it exists once the host commits, together with whatever the host
    /// writes, and never if it does not. Whatever this answers, the transaction can go on. It should end soon, because others
    /// who trigger a run with the same logical date or text id wait for it.
    ///
    /// The connection must be to the database of the storage. Schedulers find the run within a second of the commit, or at
    /// once if [`PostgresStorage::announce_runs`] is called after it.
    ///
    /// # Errors
    /// As [`Updraft::trigger`]; `Invalid` if the storage is not a [`PostgresStorage`].
    pub async fn trigger_in(
        &self,
        transaction: &mut sqlx::PgConnection,
        dag_id: &str,
        request: TriggerRequest,
    ) -> Result<DagRun, ServiceError> {
        let storage = storage_of(self.storage().as_ref())
            .ok_or_else(|| StorageError::Invalid("the storage is in no PostgreSQL database".into()))?;
        let actor = Actor::default();
        let dag = self.service().dag_to_trigger(dag_id).await?;
        let mut trigger = self.service().check_trigger(&dag, request, &actor).await?;
        loop {
            let created = storage.create_runs_in(transaction, trigger.now(), vec![trigger.run()]).await?.pop();
            match created {
                Some(Ok(run)) => return Ok(run),
                Some(Err(obstacle)) => trigger.step_aside(obstacle)?,
                None => return Err(StorageError::Internal("a created run was not returned".into()).into()),
            }
        }
    }
}
