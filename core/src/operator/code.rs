//! Finds the work of tasks that are code.

use std::collections::HashMap;
use std::fmt::{self, Debug};
use std::sync::{Arc, PoisonError, RwLock};

use super::Operator;
use crate::id::{DagId, TaskId};
use crate::model::{Dag, Task};

type Work = HashMap<TaskId, Arc<dyn Operator>>;

/// The work of tasks that are code, by DAG and version of the code.
#[derive(Default)]
pub struct CodeTasks {
    dags: RwLock<HashMap<DagId, Vec<(String, Work)>>>,
}

impl Debug for CodeTasks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CodeTasks")
    }
}

impl CodeTasks {
    /// Adds the work of a version of a DAG; work that the same version already has is replaced.
    pub fn register(&self, dag: &Dag, work: impl IntoIterator<Item = (TaskId, Arc<dyn Operator>)>) {
        let Some(version) = &dag.code_version else { return };
        let work = work.into_iter().collect();
        let mut dags = self.dags.write().unwrap_or_else(PoisonError::into_inner);
        let versions = dags.entry(dag.dag_id.clone()).or_default();
        match versions.iter_mut().find(|(known, _)| known == version) {
            Some((_, known)) => *known = work,
            None => versions.push((version.clone(), work)),
        }
    }

    /// What does the work of a task of this version, if it was registered.
    pub fn operator(&self, dag: &Dag, task: &Task) -> Option<Arc<dyn Operator>> {
        let dags = self.dags.read().unwrap_or_else(PoisonError::into_inner);
        find(&dags, dag)?.get(&task.task_id).cloned()
    }

    /// Whether all tasks of this version that are code can run here.
    pub fn can_run(&self, dag: &Dag) -> bool {
        let dags = self.dags.read().unwrap_or_else(PoisonError::into_inner);
        let work = find(&dags, dag);
        dag.tasks
            .iter()
            .filter(|task| task.is_code)
            .all(|task| work.is_some_and(|work| work.contains_key(&task.task_id)))
    }
}

fn find<'a>(dags: &'a HashMap<DagId, Vec<(String, Work)>>, dag: &Dag) -> Option<&'a Work> {
    let version = dag.code_version.as_ref()?;
    dags.get(&dag.dag_id)?.iter().find(|(known, _)| known == version).map(|(_, work)| work)
}
