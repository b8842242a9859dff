//! Which DAGs this process can run.

use std::collections::BTreeSet;
use std::sync::Arc;

use updraft_core::engine::Runnable;
use updraft_core::model::DagVersion;
use updraft_core::operator::{CodeTasks, Registry};

/// A version can run here if its operators are registered by name, and, where its tasks are code, that code is; and if all
/// queues of its tasks are served.
#[derive(Debug)]
pub(crate) struct Registered {
    pub(crate) registry: Arc<Registry>,
    pub(crate) code: Arc<CodeTasks>,
    /// The queues that are served; `None` for all.
    pub(crate) queues: Option<Arc<BTreeSet<String>>>,
}

impl Runnable for Registered {
    fn can_run(&self, version: &DagVersion) -> bool {
        let mut named = version.dag.tasks.iter().filter(|task| !task.is_code && !task.is_empty);
        let is_served = |queue: &str| self.queues.as_ref().is_none_or(|queues| queues.contains(queue));
        named.all(|task| self.registry.can_run(&task.operator))
            && version.dag.tasks.iter().all(|task| task.is_empty || is_served(&task.queue))
            && self.code.can_run(&version.dag)
    }
}
