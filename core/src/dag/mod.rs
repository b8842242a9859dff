//! Building and checking a DAG.

mod access_control;
mod builder;
mod check;
mod handle;
mod hash;
mod priority;
mod wiring;

pub use access_control::{Grant, dag_resource, grants, named_roles, read_access_control};
pub use builder::{BuiltDag, DagBuilder};
pub use check::{DagError, DagProblem, check, check_group_key, check_key};
pub use handle::{GroupHandle, IntoNodes, Node, TaskHandle, chain};
pub use hash::content_hash;
pub use priority::settle;
pub use wiring::Wiring;

/// Most tasks of a DAG.
pub const MAX_TASKS: usize = 1_000_000;
