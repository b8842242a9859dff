//! Something about a DAG that its users should know.

use chrono::{DateTime, Utc};

use crate::id::DagId;

/// That tasks of an active DAG name pools that do not exist: they wait for ever.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DagWarning {
    /// The DAG.
    pub dag_id: DagId,
    /// The names of the pools, sorted.
    pub missing_pools: Vec<String>,
    /// When the DAG was last read.
    pub timestamp: DateTime<Utc>,
}
