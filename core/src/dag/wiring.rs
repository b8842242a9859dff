use std::collections::BTreeMap;

use crate::id::TaskIx;
use crate::model::{Dag, TaskGroup};

use super::Node;

/// Edges among tasks while a DAG is put together. An edge to or from a group stands for edges of the tasks that are the
/// group's first or last ones at that moment, as in Airflow.
#[derive(Debug, Default)]
pub struct Wiring {
    upstream: Vec<Vec<TaskIx>>,
    downstream: Vec<Vec<TaskIx>>,
    members: BTreeMap<u32, Vec<TaskIx>>,
}

impl Wiring {
    /// No edges yet, among the tasks of `dag`.
    pub fn new(dag: &Dag) -> Self {
        let count = dag.tasks.len();
        Self { upstream: vec![Vec::new(); count], downstream: vec![Vec::new(); count], members: BTreeMap::new() }
    }

    /// Puts `before` before `after`. Positions that the DAG does not have are ignored.
    pub fn connect(&mut self, dag: &Dag, before: Node, after: Node) {
        let sources = match before {
            Node::Task(task) => vec![task],
            Node::Group(group) => self.leaves(dag, group),
        };
        let targets = match after {
            Node::Task(task) => vec![task],
            Node::Group(group) => self.roots(dag, group),
        };
        for &source in &sources {
            for &target in &targets {
                let (Some(downstream), Some(upstream)) =
                    (self.downstream.get_mut(source.index()), self.upstream.get_mut(target.index()))
                else {
                    continue;
                };
                downstream.push(target);
                upstream.push(source);
            }
        }
    }

    /// Writes the edges to the tasks: sorted, each once.
    pub fn write_to(self, dag: &mut Dag) {
        for (task, mut upstream) in dag.tasks.iter_mut().zip(self.upstream) {
            upstream.sort_unstable();
            upstream.dedup();
            task.upstream = upstream;
        }
    }

    /// The tasks of a group that no other task of the group comes before.
    pub fn roots(&mut self, dag: &Dag, group: u32) -> Vec<TaskIx> {
        self.learn_members(dag, group);
        let members = &self.members[&group];
        let is_root = |task: &&TaskIx| !self.upstream[task.index()].iter().any(|up| members.binary_search(up).is_ok());
        members.iter().filter(is_root).copied().collect()
    }

    /// The tasks of a group that no other task of the group comes after. A teardown does not count: in its place stand
    /// the tasks before it (Airflow 2.11, `TaskGroup.get_leaves`).
    pub fn leaves(&mut self, dag: &Dag, group: u32) -> Vec<TaskIx> {
        self.learn_members(dag, group);
        let members = &self.members[&group];
        let within = |task: &TaskIx| members.binary_search(task).is_ok();
        let mut leaves = Vec::new();
        for &task in members {
            if self.downstream[task.index()].iter().any(within) {
                continue;
            }
            if !dag.tasks[task.index()].is_teardown {
                leaves.push(task);
                continue;
            }
            let mut teardowns = vec![task];
            let mut seen = teardowns.clone();
            while let Some(teardown) = teardowns.pop() {
                for &up in self.upstream[teardown.index()].iter().filter(|up| within(up)) {
                    let others =
                        || self.downstream[up.index()].iter().filter(|down| **down != teardown && within(down));
                    if dag.tasks[up.index()].is_teardown {
                        if !seen.contains(&up) {
                            seen.push(up);
                            teardowns.push(up);
                        }
                    } else if !dag.tasks[up.index()].is_setup
                        && others().all(|down| dag.tasks[down.index()].is_teardown)
                    {
                        leaves.push(up);
                    }
                }
            }
        }
        leaves.sort_unstable();
        leaves.dedup();
        leaves
    }

    fn learn_members(&mut self, dag: &Dag, group: u32) {
        self.members.entry(group).or_insert_with(|| {
            let inside = groups_inside(&dag.groups, group);
            let is_member = |task: &crate::model::Task| {
                task.group.is_some_and(|group| inside.get(group as usize).copied().unwrap_or(false))
            };
            dag.tasks().filter(|(_, task)| is_member(task)).map(|(ix, _)| ix).collect()
        });
    }
}

/// For each group, whether it is `group` or inside it. Parents come before their children.
fn groups_inside(groups: &[TaskGroup], group: u32) -> Vec<bool> {
    let mut inside = vec![false; groups.len()];
    for (index, candidate) in groups.iter().enumerate() {
        let parent_inside = candidate.parent.and_then(|parent| inside.get(parent as usize).copied()).unwrap_or(false);
        inside[index] = parent_inside || u32::try_from(index).is_ok_and(|index| index == group);
    }
    inside
}
