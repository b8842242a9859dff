//! What tasks ask of the run before theirs (Airflow 2.11, `ti_deps/deps/prev_dagrun_dep.py`).

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use chrono::{DateTime, Utc};

use crate::id::{RunId, TaskId, TaskIx};
use crate::model::Dag;
use crate::storage::{PastQuery, PastTask, PreviousRun};

/// The tasks of a version that depend on the past, and what is to be known for them.
#[derive(Debug)]
pub struct Past {
    /// What is asked of the run before: the tasks themselves, and those after them that they wait for. Sorted.
    asked: Arc<[TaskId]>,
    /// By position.
    tasks: Vec<Asking>,
    is_catchup: bool,
}

#[derive(Debug)]
struct Asking {
    ix: TaskIx,
    /// The place among what is asked of the run before.
    own: usize,
    /// Those of the tasks directly after it, if it waits for them.
    downstream: Vec<usize>,
    start_date: Option<DateTime<Utc>>,
    ignores_first: bool,
}

/// Why the past holds a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Hold {
    /// The run before did not have the task, but an earlier one had, or the first one counts, too.
    HasNotRun,
    /// So many instances of the task in the run before have not ended well.
    Unsuccessful(u32),
    /// The tasks directly after it in the run before have not ended well.
    Downstream,
}

impl fmt::Display for Hold {
    /// The reason in Airflow's words.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::HasNotRun => f.write_str(
                "depends_on_past is true for this task's DAG, but the previous task instance has not run yet.",
            ),
            Self::Unsuccessful(count) => write!(
                f,
                "depends_on_past is true for this task, but {count} previous task instance(s) are not in a successful \
                 state."
            ),
            Self::Downstream => f.write_str(
                "The tasks downstream of the previous task instance(s) haven't completed, and wait_for_downstream is \
                 True.",
            ),
        }
    }
}

impl Past {
    /// What the tasks of a DAG ask; `None` if none depends on the past.
    pub fn of(dag: &Dag) -> Option<Self> {
        Self::of_tasks(dag, |_| true)
    }

    /// What one task asks; `None` if it does not depend on the past.
    pub fn of_task(dag: &Dag, task: TaskIx) -> Option<Self> {
        Self::of_tasks(dag, |ix| ix == task)
    }

    fn of_tasks(dag: &Dag, is_meant: impl Fn(TaskIx) -> bool) -> Option<Self> {
        let asks = |ix: TaskIx| {
            let task = &dag.tasks[ix.index()];
            (task.depends_on_past || task.wait_for_downstream) && is_meant(ix)
        };
        if !dag.tasks().any(|(ix, _)| asks(ix)) {
            return None;
        }
        let after = dag.downstream();
        let mut places: BTreeMap<&TaskId, usize> = BTreeMap::new();
        for (ix, task) in dag.tasks().filter(|(ix, _)| asks(*ix)) {
            places.insert(&task.task_id, 0);
            if task.wait_for_downstream {
                places.extend(after[ix.index()].iter().map(|down| (&dag.tasks[down.index()].task_id, 0)));
            }
        }
        for (place, entry) in places.values_mut().enumerate() {
            *entry = place;
        }
        let place_of = |ix: TaskIx| places[&dag.tasks[ix.index()].task_id];
        let tasks = dag.tasks().filter(|(ix, _)| asks(*ix)).map(|(ix, task)| Asking {
            ix,
            own: place_of(ix),
            downstream: if task.wait_for_downstream {
                after[ix.index()].iter().map(|down| place_of(*down)).collect()
            } else {
                Vec::new()
            },
            start_date: task.start_date.or(dag.start_date),
            ignores_first: task.ignore_first_depends_on_past,
        });
        let tasks = tasks.collect();
        Some(Self { asked: places.into_keys().cloned().collect(), tasks, is_catchup: dag.catchup })
    }

    /// What to ask the storage for a run of this version.
    pub fn query(&self, run: RunId) -> PastQuery {
        PastQuery { run, skips_manual: self.is_catchup, tasks: Arc::clone(&self.asked) }
    }

    /// The tasks that depend on the past, in order, each with what holds it.
    pub fn judge(&self, previous: Option<&PreviousRun>) -> impl Iterator<Item = (TaskIx, Option<Hold>)> {
        self.tasks.iter().map(move |task| (task.ix, previous.and_then(|previous| self.hold(task, previous))))
    }

    /// The tasks that depend on the past, in order.
    pub fn tasks(&self) -> impl Iterator<Item = TaskIx> {
        self.tasks.iter().map(|task| task.ix)
    }

    fn hold(&self, task: &Asking, previous: &PreviousRun) -> Option<Hold> {
        if self.is_catchup && task.start_date.is_some_and(|start| previous.logical_date < start) {
            return None;
        }
        match previous.tasks.get(task.own) {
            None | Some(PastTask::Absent { ran_before: false }) if task.ignores_first => None,
            None | Some(PastTask::Absent { .. }) => Some(Hold::HasNotRun),
            Some(PastTask::Present { unsuccessful }) if *unsuccessful > 0 => Some(Hold::Unsuccessful(*unsuccessful)),
            Some(PastTask::Present { .. }) => {
                let is_open = |place: &usize| {
                    let task = previous.tasks.get(*place);
                    matches!(task, Some(PastTask::Present { unsuccessful }) if *unsuccessful > 0)
                };
                task.downstream.iter().any(is_open).then_some(Hold::Downstream)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{OperatorRef, Task};

    fn dag() -> Dag {
        let mut dag = Dag::new("d");
        dag.catchup = false;
        for id in ["z", "b", "a"] {
            dag.tasks.push(Task::new(id, OperatorRef::from_path("x")));
        }
        dag.tasks[1].upstream = vec![TaskIx(0)];
        dag.tasks[2].upstream = vec![TaskIx(0)];
        dag
    }

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(seconds, 0).unwrap()
    }

    fn judged(dag: &Dag, tasks: Vec<PastTask>) -> Vec<(u32, Option<Hold>)> {
        let previous = PreviousRun { id: RunId(1), logical_date: at(100), tasks };
        Past::of(dag).unwrap().judge(Some(&previous)).map(|(ix, hold)| (ix.0, hold)).collect()
    }

    const GOOD: PastTask = PastTask::Present { unsuccessful: 0 };
    const BAD: PastTask = PastTask::Present { unsuccessful: 2 };
    const NEW: PastTask = PastTask::Absent { ran_before: false };

    #[test]
    fn most_dags_ask_nothing() {
        assert!(Past::of(&dag()).is_none());
    }

    #[test]
    fn the_same_task_must_have_ended_well() {
        let mut dag = dag();
        dag.tasks[2].depends_on_past = true;
        let past = Past::of(&dag).unwrap();
        assert_eq!(past.query(RunId(5)).tasks.iter().map(TaskId::as_str).collect::<Vec<_>>(), ["a"]);
        assert_eq!(past.judge(None).collect::<Vec<_>>(), [(TaskIx(2), None)], "the first run has no past");
        assert_eq!(judged(&dag, vec![GOOD]), [(2, None)]);
        assert_eq!(judged(&dag, vec![BAD]), [(2, Some(Hold::Unsuccessful(2)))]);
    }

    #[test]
    fn a_new_task_has_no_past_if_it_says_so() {
        let mut dag = dag();
        dag.tasks[2].depends_on_past = true;
        assert_eq!(judged(&dag, vec![NEW]), [(2, None)]);
        assert_eq!(judged(&dag, vec![PastTask::Absent { ran_before: true }]), [(2, Some(Hold::HasNotRun))]);
        dag.tasks[2].ignore_first_depends_on_past = false;
        assert_eq!(judged(&dag, vec![NEW]), [(2, Some(Hold::HasNotRun))]);
    }

    #[test]
    fn with_catchup_runs_before_the_tasks_start_do_not_count() {
        let mut dag = dag();
        dag.tasks[2].depends_on_past = true;
        dag.tasks[2].start_date = Some(at(101));
        assert_eq!(judged(&dag, vec![BAD]), [(2, Some(Hold::Unsuccessful(2)))], "without catchup they do");
        dag.catchup = true;
        assert_eq!(judged(&dag, vec![BAD]), [(2, None)]);
        dag.tasks[2].start_date = None;
        dag.start_date = Some(at(100));
        assert_eq!(judged(&dag, vec![BAD]), [(2, Some(Hold::Unsuccessful(2)))]);
    }

    #[test]
    fn what_comes_directly_after_may_have_to_end_well_too() {
        let mut dag = dag();
        dag.tasks[0].wait_for_downstream = true;
        // Asked for in the order of their ids: a, b, z.
        assert_eq!(judged(&dag, vec![GOOD, GOOD, GOOD]), [(0, None)]);
        assert_eq!(judged(&dag, vec![BAD, GOOD, GOOD]), [(0, Some(Hold::Downstream))]);
        assert_eq!(judged(&dag, vec![GOOD, GOOD, BAD]), [(0, Some(Hold::Unsuccessful(2)))]);
        assert_eq!(judged(&dag, vec![NEW, GOOD, GOOD]), [(0, None)], "what was not there yet is not waited for");
    }
}
