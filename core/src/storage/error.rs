//! What a storage can fail with.

use std::fmt::{self, Display};

use crate::id::RunId;
use crate::secret::SecretError;

/// What an error is about.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Subject {
    /// A DAG, by id.
    Dag(String),
    /// A version of a DAG.
    DagVersion(i64),
    /// A task, by the ids of its DAG and itself.
    Task(String, String),
    /// A run, by the ids of its DAG and itself.
    DagRun(String, String),
    /// A run, by the storage's key.
    DagRunKey(RunId),
    /// A run, by its uid.
    DagRunUid(uuid::Uuid),
    /// The run of a DAG that has this logical date.
    LogicalDate(String, chrono::DateTime<chrono::Utc>),
    /// A task instance, by the ids of DAG, run and task and the map index.
    TaskInstance(String, String, String, i32),
    /// An XCom, by its key.
    XCom(String),
    /// A pool, by name.
    Pool(String),
    /// A dataset, by URI.
    Dataset(String),
    /// A variable, by key.
    Variable(String),
    /// A connection, by id.
    Connection(String),
    /// An entry of the event log.
    EventLogEntry(i64),
    /// An import error.
    ImportError(i64),
    /// A user, by name.
    User(String),
    /// The user who has an email.
    Email(String),
    /// A role, by name.
    Role(String),
    /// A token, by the storage's key; 0 where its text is not known.
    Token(i64),
    /// The source of DAGs, by file.
    DagSource(String),
}

impl Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dag(id) => write!(f, "the DAG '{id}'"),
            Self::DagVersion(id) => write!(f, "version {id} of a DAG"),
            Self::Task(dag, task) => write!(f, "the task '{task}' of the DAG '{dag}'"),
            Self::DagRun(dag, run) => write!(f, "the run '{run}' of the DAG '{dag}'"),
            Self::DagRunKey(id) => write!(f, "the run with the key {id}"),
            Self::DagRunUid(uid) => write!(f, "the run {uid}"),
            Self::LogicalDate(dag, date) => write!(f, "the run of the DAG '{dag}' with the logical date {date}"),
            Self::TaskInstance(dag, run, task, index) => {
                write!(f, "the task instance '{task}' ({index}) of the run '{run}' of the DAG '{dag}'")
            }
            Self::XCom(key) => write!(f, "the XCom '{key}'"),
            Self::Pool(name) => write!(f, "the pool '{name}'"),
            Self::Dataset(uri) => write!(f, "the dataset '{uri}'"),
            Self::Variable(key) => write!(f, "the variable '{key}'"),
            Self::Connection(id) => write!(f, "the connection '{id}'"),
            Self::EventLogEntry(id) => write!(f, "entry {id} of the event log"),
            Self::ImportError(id) => write!(f, "the import error {id}"),
            Self::User(name) => write!(f, "the user '{name}'"),
            Self::Email(email) => write!(f, "a user with the email '{email}'"),
            Self::Token(id) => write!(f, "the token {id}"),
            Self::Role(name) => write!(f, "the role '{name}'"),
            Self::DagSource(file) => write!(f, "the source of '{file}'"),
        }
    }
}

/// What a storage can fail with.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StorageError {
    /// The subject does not exist.
    #[error("{0} does not exist")]
    NotFound(Subject),
    /// The subject exists already.
    #[error("{0} exists already")]
    AlreadyExists(Subject),
    /// The subject is in use in a way that forbids the change.
    #[error("{0} cannot be changed: {1}")]
    Conflict(Subject, String),
    /// The request makes no sense.
    #[error("{0}")]
    Invalid(String),
    /// The subject is kept encrypted, and cannot be read.
    #[error("{0} cannot be decrypted: {1}")]
    Undecipherable(Subject, SecretError),
    /// The scheduler or attempt that writes is no longer the current one.
    #[error("the writer has been replaced")]
    Fenced,
    /// The storage cannot be reached now; the same call may succeed later, and may have succeeded already.
    #[error("the storage is unavailable")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The storage is broken, or holds what it must not hold.
    #[error("the storage failed")]
    Internal(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl StorageError {
    /// Whether the same call may succeed later.
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::Unavailable(_))
    }
}
