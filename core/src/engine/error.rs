//! What a scheduler can fail with.

use crate::storage::StorageError;

/// What a scheduler can fail with.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EngineError {
    /// Another scheduler has registered under the same name.
    #[error("another scheduler has registered under the name '{0}'")]
    Replaced(String),
    /// The storage failed in a way that waiting does not mend.
    #[error("the storage failed")]
    Storage(#[source] StorageError),
}

impl EngineError {
    /// Whether a new scheduler may do better.
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::Storage(_))
    }
}
