//! Which tasks of a DAG go together when some of them are cleared or marked.

use std::collections::BTreeSet;

use crate::id::TaskIx;
use crate::model::{Dag, Task};

/// A DAG's graph in both directions.
pub(super) struct Relatives<'a> {
    dag: &'a Dag,
    downstream: Vec<Vec<TaskIx>>,
}

impl<'a> Relatives<'a> {
    pub(super) fn new(dag: &'a Dag) -> Self {
        Self { dag, downstream: dag.downstream() }
    }

    /// All tasks after `start`, without `start`.
    pub(super) fn downstream(&self, start: &BTreeSet<TaskIx>) -> BTreeSet<TaskIx> {
        reach(start, self.dag.tasks.len(), |ix| self.after(ix))
    }

    /// All tasks before `start`, without `start`.
    pub(super) fn upstream(&self, start: &BTreeSet<TaskIx>) -> BTreeSet<TaskIx> {
        reach(start, self.dag.tasks.len(), |ix| self.before(ix))
    }

    /// The tasks that are cleared together with `matched` (Airflow 2.11, `DAG.partial_subset`): those asked for, and the
    /// setups and teardowns without which they could not run again.
    pub(super) fn subset(&self, matched: &BTreeSet<TaskIx>, upstream: bool, downstream: bool) -> BTreeSet<TaskIx> {
        let mut subset = matched.clone();
        let mut need_setups = BTreeSet::new();
        if downstream {
            let after = self.downstream(matched);
            need_setups.extend(after.iter().copied());
            subset.extend(after);
        }
        if upstream {
            let before = self.upstream(matched);
            let setups = before.iter().copied().filter(|ix| self.is(*ix, |task| task.is_setup));
            subset.extend(setups.flat_map(|ix| self.teardowns_of(ix)));
            subset.extend(before);
        } else {
            need_setups.extend(matched.iter().copied());
        }
        if !downstream {
            let setups = matched.iter().copied().filter(|ix| self.is(*ix, |task| task.is_setup));
            subset.extend(setups.flat_map(|ix| self.teardowns_of(ix)));
        }
        need_setups.retain(|ix| !self.is(*ix, |task| task.is_setup || task.is_teardown));
        subset.extend(self.setups_of(&need_setups));
        subset
    }

    /// The setups that one of `tasks` runs within, and their teardowns.
    fn setups_of(&self, tasks: &BTreeSet<TaskIx>) -> BTreeSet<TaskIx> {
        let mut found = BTreeSet::new();
        for (setup, _) in self.dag.tasks().filter(|(_, task)| task.is_setup) {
            let teardowns: BTreeSet<_> = self.teardowns_of(setup).collect();
            let after = self.downstream(&BTreeSet::from([setup]));
            let before_teardown = self.upstream(&teardowns);
            let is_within = |ix| after.contains(ix) && (teardowns.is_empty() || before_teardown.contains(ix));
            if tasks.iter().any(is_within) {
                found.insert(setup);
                found.extend(teardowns);
            }
        }
        found
    }

    fn teardowns_of(&self, ix: TaskIx) -> impl Iterator<Item = TaskIx> {
        self.after(ix).iter().copied().filter(|next| self.is(*next, |task| task.is_teardown))
    }

    fn after(&self, ix: TaskIx) -> &[TaskIx] {
        self.downstream.get(ix.index()).map_or(&[], Vec::as_slice)
    }

    fn before(&self, ix: TaskIx) -> &[TaskIx] {
        self.dag.task(ix).map_or(&[], |task| task.upstream.as_slice())
    }

    fn is(&self, ix: TaskIx, what: impl FnOnce(&Task) -> bool) -> bool {
        self.dag.task(ix).is_some_and(what)
    }
}

/// What can be reached from `start`, without `start` itself.
fn reach<'g>(start: &BTreeSet<TaskIx>, tasks: usize, next: impl Fn(TaskIx) -> &'g [TaskIx]) -> BTreeSet<TaskIx> {
    let mut seen = vec![false; tasks];
    let mut found = BTreeSet::new();
    let mut open: Vec<_> = start.iter().copied().collect();
    while let Some(ix) = open.pop() {
        for &neighbour in next(ix) {
            if let Some(seen) = seen.get_mut(neighbour.index()).filter(|seen| !**seen) {
                *seen = true;
                found.insert(neighbour);
                open.push(neighbour);
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::OperatorRef;

    fn dag(tasks: &[(&str, &[u32])]) -> Dag {
        let mut dag = Dag::new("d");
        for (id, upstream) in tasks {
            let mut task = Task::new(*id, OperatorRef::from_path("x.Empty"));
            task.upstream = upstream.iter().copied().map(TaskIx).collect();
            task.is_setup = id.starts_with("setup");
            task.is_teardown = id.starts_with("teardown");
            dag.tasks.push(task);
        }
        dag
    }

    fn subset(dag: &Dag, matched: u32, upstream: bool, downstream: bool) -> Vec<u32> {
        let matched = BTreeSet::from([TaskIx(matched)]);
        Relatives::new(dag).subset(&matched, upstream, downstream).into_iter().map(|ix| ix.0).collect()
    }

    #[test]
    fn relatives_are_transitive_and_leave_siblings_out() {
        let dag = dag(&[("a", &[]), ("b", &[0]), ("c", &[0]), ("d", &[1]), ("e", &[3, 2])]);
        assert_eq!(subset(&dag, 1, false, false), [1]);
        assert_eq!(subset(&dag, 1, false, true), [1, 3, 4]);
        assert_eq!(subset(&dag, 4, true, false), [0, 1, 2, 3, 4]);
        assert_eq!(subset(&dag, 1, true, true), [0, 1, 3, 4]);
    }

    #[test]
    fn a_task_takes_its_setup_and_teardown_with_it() {
        // setup >> work >> teardown, and other >> work.
        let dag = dag(&[("setup", &[]), ("other", &[]), ("work", &[0, 1]), ("teardown", &[0, 2])]);
        assert_eq!(subset(&dag, 2, false, false), [0, 2, 3]);
        assert_eq!(subset(&dag, 1, false, false), [1]);
        assert_eq!(subset(&dag, 0, false, false), [0, 3]);
        assert_eq!(subset(&dag, 1, false, true), [0, 1, 2, 3]);
    }

    #[test]
    fn a_long_chain_costs_no_stack() {
        let mut dag = Dag::new("d");
        for i in 0..100_000_u32 {
            let mut task = Task::new(format!("t{i}"), OperatorRef::from_path("x.Empty"));
            task.upstream = i.checked_sub(1).map(TaskIx).into_iter().collect();
            dag.tasks.push(task);
        }
        let relatives = Relatives::new(&dag);
        assert_eq!(relatives.downstream(&BTreeSet::from([TaskIx(0)])).len(), 99_999);
    }
}
