//! Why a file's DAGs could not be loaded.

use chrono::{DateTime, Utc};

/// Why a file's DAGs could not be loaded. A file has one at most: it lists all that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImportError {
    /// The storage's key, in the order of writing.
    pub id: i64,
    /// When it was seen.
    pub timestamp: DateTime<Utc>,
    /// The file.
    pub filename: String,
    /// What is wrong and where.
    pub stack_trace: String,
}
