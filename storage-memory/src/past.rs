//! What runs ask of the run before.

use std::collections::BTreeSet;
use std::ops::Bound;

use updraft_core::id::{RunId, TaskId, TaskIx};
use updraft_core::model::TaskState;
use updraft_core::storage::{PastQuery, PastTask, PreviousRun};

use crate::dag::DagEntry;
use crate::run::Run;
use crate::state::State;

impl State {
    pub(crate) fn previous_run(&self, query: &PastQuery) -> Option<PreviousRun> {
        let run = self.run(query.run)?;
        let dag = self.dag_at(run.dag)?;
        let runs = if query.skips_manual { &dag.automated } else { &dag.by_date };
        let (_, previous) = runs.range((Bound::Unbounded, Bound::Excluded(run.record.logical_date))).next_back()?;
        let previous = self.run(*previous)?;
        // Two versions of a DAG need not have their tasks in the same places.
        let places: Vec<Option<usize>> = query.tasks.iter().map(|task| place_of(previous, task)).collect();
        let missing = query.tasks.iter().zip(&places).filter(|(_, place)| place.is_none()).map(|(task, _)| task);
        let known = self.tasks_before(dag, run, missing.collect());
        let tasks = query.tasks.iter().zip(places).map(|(task, place)| match place {
            None => PastTask::Absent { ran_before: known.contains(task) },
            Some(place) => {
                let state = previous.instances[place].state;
                let is_good = matches!(state, TaskState::Success | TaskState::Skipped);
                PastTask::Present { unsuccessful: u32::from(!is_good) }
            }
        });
        Some(PreviousRun { id: previous.record.id, logical_date: previous.record.logical_date, tasks: tasks.collect() })
    }

    /// Those of these tasks that a run before has an instance of.
    fn tasks_before<'a>(&self, dag: &DagEntry, run: &Run, tasks: Vec<&'a TaskId>) -> BTreeSet<&'a TaskId> {
        let mut known = BTreeSet::new();
        if tasks.is_empty() {
            return known;
        }
        let earlier = dag.by_date.range((Bound::Unbounded, Bound::Excluded(run.record.logical_date)));
        let mut seen = BTreeSet::new();
        for earlier in earlier.filter_map(|(_, id): (_, &RunId)| self.run(*id)) {
            if seen.insert(earlier.version.id) {
                known.extend(tasks.iter().copied().filter(|task| place_of(earlier, task).is_some()));
            }
        }
        known
    }
}

fn place_of(run: &Run, task: &TaskId) -> Option<usize> {
    run.version.find_task(task.as_str()).map(TaskIx::index).filter(|place| *place < run.instances.len())
}
