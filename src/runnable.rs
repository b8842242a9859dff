//! Which DAGs this process can run.

use std::collections::BTreeSet;
use std::sync::Arc;

use updraft_core::engine::Runnable;
use updraft_core::id::DagId;
use updraft_core::model::DagVersion;
use updraft_core::operator::Registry;

/// A version can run here if its operators are registered by name, and, where its tasks are code, that code is.
#[derive(Debug)]
pub(crate) struct Registered {
    pub(crate) registry: Arc<Registry>,
    /// DAGs whose code this process has, with the version of the code.
    pub(crate) code: BTreeSet<(DagId, Option<String>)>,
}

impl Runnable for Registered {
    fn can_run(&self, version: &DagVersion) -> bool {
        let dag = &version.dag;
        let has_code = || self.code.contains(&(dag.dag_id.clone(), dag.code_version.clone()));
        dag.tasks.iter().all(|task| {
            if task.is_code { has_code() } else { task.is_empty || self.registry.can_run(&task.operator) }
        })
    }
}
