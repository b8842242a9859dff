//! What PostgreSQL's errors mean to a storage.

use updraft_core::storage::StorageError;

/// `23505`: something unique exists already.
const UNIQUE_VIOLATION: &str = "23505";

/// Classes and codes after which the same call may succeed: lost or refused connections, a server that starts or stops,
/// too many connections, transactions that met another, a lock that took too long, a standby.
fn may_pass(code: &str) -> bool {
    matches!(code.get(..2), Some("08" | "40" | "53" | "57")) || matches!(code, "55P03" | "25006" | "25P03" | "55006")
}

/// Text that PostgreSQL cannot keep: the character NUL, a number beyond what its type holds, or a key
/// too long for an index.
fn is_bad_value(code: &str) -> bool {
    matches!(code, "22021" | "22P05" | "22003" | "22008" | "54000")
}

/// The storage's error for one of the driver.
pub(crate) fn storage_error(error: sqlx::Error) -> StorageError {
    match &error {
        sqlx::Error::Database(database) => match database.code().as_deref() {
            Some(code) if may_pass(code) => StorageError::Unavailable(Box::new(error)),
            Some(code) if is_bad_value(code) => StorageError::Invalid(database.message().to_owned()),
            _ => StorageError::Internal(Box::new(error)),
        },
        sqlx::Error::Io(_)
        | sqlx::Error::Tls(_)
        | sqlx::Error::Protocol(_)
        | sqlx::Error::PoolTimedOut
        | sqlx::Error::PoolClosed
        | sqlx::Error::WorkerCrashed => StorageError::Unavailable(Box::new(error)),
        _ => StorageError::Internal(Box::new(error)),
    }
}

/// How often a transaction that met another is tried again at once, before the caller is told.
const COLLISIONS: u32 = 5;

/// Whether a transaction met another and is to be tried again at once, after so many times.
pub(crate) fn is_collision(error: &sqlx::Error, times: u32) -> bool {
    times < COLLISIONS
        && matches!(error, sqlx::Error::Database(database) if matches!(database.code().as_deref(), Some("40001" | "40P01")))
}

/// Whether something unique exists already.
pub(crate) fn is_duplicate(error: &sqlx::Error) -> bool {
    matches!(error, sqlx::Error::Database(database) if database.code().as_deref() == Some(UNIQUE_VIOLATION))
}

/// A row holds what this version of the program cannot read.
pub(crate) fn unreadable(what: impl Into<String>) -> StorageError {
    StorageError::Internal(what.into().into())
}
