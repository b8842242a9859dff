//! Building and checking a DAG.

/// Most tasks of a DAG.
pub const MAX_TASKS: usize = 1_000_000;
