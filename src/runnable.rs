//! Which DAGs this process can run.

use std::sync::Arc;

use updraft_core::engine::Runnable;
use updraft_core::model::DagVersion;
use updraft_core::operator::{CodeTasks, Registry};

/// A version can run here if its operators are registered by name, and, where its tasks are code, that code is.
#[derive(Debug)]
pub(crate) struct Registered {
    pub(crate) registry: Arc<Registry>,
    pub(crate) code: Arc<CodeTasks>,
}

impl Runnable for Registered {
    fn can_run(&self, version: &DagVersion) -> bool {
        let mut named = version.dag.tasks.iter().filter(|task| !task.is_code && !task.is_empty);
        named.all(|task| self.registry.can_run(&task.operator)) && self.code.can_run(&version.dag)
    }
}
