//! A version of a DAG, laid out for the machine.

use std::sync::Arc;

use super::Past;
use crate::id::{DagVersionId, TaskIx};
use crate::model::{Dag, DagVersion, TriggerRule};

/// A version of a DAG, laid out for the machine: what is asked of each finished task stands side by side. Made once a
/// version, shared by its runs.
#[derive(Debug)]
pub struct Plan {
    version: DagVersionId,
    dag: Arc<Dag>,
    rules: Vec<TriggerRule>,
    upstreams: Vec<u32>,
    /// The tasks after task `i` are `after[starts[i]..starts[i + 1]]`.
    starts: Vec<u32>,
    after: Vec<TaskIx>,
    /// Tasks whose ends decide how the run ends.
    leaves: Vec<TaskIx>,
    /// What its tasks ask of the run before, if any does.
    past: Option<Past>,
}

impl Plan {
    /// Lays out a version.
    pub fn new(version: &DagVersion) -> Self {
        let dag = Arc::clone(&version.dag);
        let count = dag.tasks.len();
        let mut starts = vec![0u32; count + 1];
        for up in dag.tasks.iter().flat_map(|task| &task.upstream) {
            starts[up.index() + 1] += 1;
        }
        for i in 0..count {
            starts[i + 1] += starts[i];
        }
        let mut next = starts.clone();
        let mut after = vec![TaskIx(0); starts[count] as usize];
        for (ix, task) in dag.tasks() {
            for up in &task.upstream {
                after[next[up.index()] as usize] = ix;
                next[up.index()] += 1;
            }
        }
        let mut plan = Self {
            version: version.id,
            rules: dag.tasks.iter().map(|task| task.trigger_rule).collect(),
            upstreams: dag.tasks.iter().map(|task| u32::try_from(task.upstream.len()).unwrap_or(u32::MAX)).collect(),
            starts,
            after,
            leaves: Vec::new(),
            past: Past::of(&dag),
            dag,
        };
        plan.leaves = plan.find_leaves();
        plan
    }

    /// Tasks after which only teardowns that may fail unnoticed come, and that are not such a teardown themselves
    /// (Airflow 2.11, `models/dagrun.py`, `_tis_for_dagrun_state`).
    fn find_leaves(&self) -> Vec<TaskIx> {
        let ignored = |ix: TaskIx| {
            let task = &self.dag.tasks[ix.index()];
            task.is_teardown && !task.on_failure_fail_dagrun
        };
        let mut leaves = Vec::new();
        let mut seen = vec![false; self.dag.tasks.len()];
        let mut open: Vec<TaskIx> =
            self.dag.tasks().map(|(ix, _)| ix).filter(|&ix| self.after(ix).is_empty()).collect();
        while let Some(ix) = open.pop() {
            if std::mem::replace(&mut seen[ix.index()], true) {
                continue;
            }
            if ignored(ix) {
                let task = &self.dag.tasks[ix.index()];
                open.extend(task.upstream.iter().filter(|up| self.after(**up).iter().all(|&down| ignored(down))));
            } else {
                leaves.push(ix);
            }
        }
        leaves.sort_unstable();
        leaves
    }

    /// Which version.
    pub fn version(&self) -> DagVersionId {
        self.version
    }

    /// The declaration.
    pub fn dag(&self) -> &Arc<Dag> {
        &self.dag
    }

    /// How many tasks.
    pub fn len(&self) -> usize {
        self.rules.len()
    }

    /// Whether there are no tasks.
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    pub(super) fn rule(&self, ix: TaskIx) -> TriggerRule {
        self.rules[ix.index()]
    }

    pub(super) fn upstreams(&self, ix: TaskIx) -> u32 {
        self.upstreams[ix.index()]
    }

    /// The tasks directly after a task.
    pub(super) fn after(&self, ix: TaskIx) -> &[TaskIx] {
        let i = ix.index();
        &self.after[self.starts[i] as usize..self.starts[i + 1] as usize]
    }

    /// What its tasks ask of the run before, if any does.
    pub fn past(&self) -> Option<&Past> {
        self.past.as_ref()
    }

    pub(super) fn leaves(&self) -> &[TaskIx] {
        &self.leaves
    }
}
