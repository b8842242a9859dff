//! What building and starting can fail with.

use updraft_core::dag::DagError;
use updraft_core::service::ServiceError;
use updraft_core::storage::StorageError;

/// Why an [`Updraft`](crate::Updraft) cannot be built.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// A DAG is wrong.
    #[error(transparent)]
    Dag(#[from] DagError),
    /// Two DAGs have the same id.
    #[error("two DAGs have the id '{0}'")]
    DuplicateDag(String),
    /// Neither a storage was given nor the feature `memory` is on.
    #[error("no storage was given, and the feature 'memory' is off")]
    NoStorage,
    /// A setting makes no sense.
    #[error("{0}")]
    Invalid(String),
}

/// Why an [`Updraft`](crate::Updraft) cannot start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The storage failed.
    #[error("the storage failed")]
    Storage(#[from] StorageError),
    /// A DAG cannot be made known.
    #[error("{0}")]
    Invalid(String),
}

impl From<ServiceError> for StartError {
    fn from(error: ServiceError) -> Self {
        match error {
            ServiceError::Storage(error) => error.into(),
            error => Self::Invalid(error.to_string()),
        }
    }
}
