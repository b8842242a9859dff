//! What the service answers when it does not do what was asked.

use serde_json::{Map, Value};

use crate::storage::{StorageError, Subject};

/// A result of the service.
pub type Result<T, E = ServiceError> = std::result::Result<T, E>;

/// Why the service did not do what was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServiceError {
    /// The subject does not exist, or the caller may not see it.
    #[error("{0} does not exist")]
    NotFound(Subject),
    /// The subject exists already.
    #[error("{0} exists already")]
    AlreadyExists(Subject),
    /// The subject's state forbids it.
    #[error("{0} cannot be changed: {1}")]
    Conflict(Subject, String),
    /// A part of the request makes no sense.
    #[error("{field}: {message}")]
    Invalid {
        /// Which part, by Airflow's name of it.
        field: String,
        /// What is wrong with it.
        message: String,
    },
    /// A value of a run's conf does not fit the parameter that it is for.
    #[error("invalid input for param {name}: {message}")]
    InvalidParam {
        /// The parameter.
        name: String,
        /// The value; `None` if there is neither a value nor a default.
        value: Option<Value>,
        /// The parameter's JSON schema.
        schema: Map<String, Value>,
        /// What is wrong with the value.
        message: String,
    },
    /// A log could not be read or removed.
    #[error("the log failed")]
    Log(#[from] std::io::Error),
    /// The storage failed.
    #[error(transparent)]
    Storage(StorageError),
}

impl ServiceError {
    /// The request's `field` makes no sense.
    pub fn invalid(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self::Invalid { field: field.into(), message: message.into() }
    }

    /// Whether the same call may succeed later.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Storage(error) => error.is_retryable(),
            Self::Log(_) => true,
            _ => false,
        }
    }
}

impl From<StorageError> for ServiceError {
    /// What the storage says of the subject is what the service says of it.
    fn from(error: StorageError) -> Self {
        match error {
            StorageError::NotFound(subject) => Self::NotFound(subject),
            StorageError::AlreadyExists(subject) => Self::AlreadyExists(subject),
            StorageError::Conflict(subject, why) => Self::Conflict(subject, why),
            other => Self::Storage(other),
        }
    }
}
