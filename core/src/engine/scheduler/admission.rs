//! Which instances are admitted next.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use super::Machines;
use crate::engine::Plan;
use crate::engine::ready::{QueueKey, Rank, Ready};
use crate::id::{AttemptToken, DagVersionId, InstanceKey, RunId, TaskIx};
use crate::model::{AttemptPhase, Pool};
use crate::storage::{Admission, Change, Limit, Transition};

/// What an attempt takes of the limits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Holding {
    queue: QueueKey,
    version: DagVersionId,
    task: TaskIx,
}

/// Chooses by priority among what has room, as far as this scheduler knows. The storage has the last word: it counts what
/// all schedulers hold.
#[derive(Debug, Default)]
pub(super) struct Admissions {
    ready: Ready,
    names: Names,
    /// Slots by pool, as last read; absent for pools that do not exist.
    pool_slots: BTreeMap<u32, i64>,
    pools_known: bool,
    pool_held: BTreeMap<u32, i64>,
    dag_held: BTreeMap<u32, u32>,
    task_held: BTreeMap<(u32, u32, Option<RunId>), u32>,
    layouts: BTreeMap<DagVersionId, Layout>,
    /// Most tasks at a time by DAG, as its newest version has it.
    max_active_tasks: BTreeMap<u32, u32>,
}

/// Numbers for names of pools, DAGs and tasks, so that keys are small and cheap to compare.
#[derive(Debug, Default)]
struct Names {
    numbers: BTreeMap<String, u32>,
    names: Vec<String>,
}

impl Names {
    fn number(&mut self, name: &str) -> u32 {
        if let Some(&number) = self.numbers.get(name) {
            return number;
        }
        let number = u32::try_from(self.names.len()).unwrap_or(u32::MAX);
        self.names.push(name.into());
        self.numbers.insert(name.into(), number);
        number
    }

    fn name(&self, number: u32) -> &str {
        self.names.get(number as usize).map_or("", String::as_str)
    }
}

/// What a version says of limits.
#[derive(Debug)]
struct Layout {
    dag: u32,
    tasks: Vec<TaskLayout>,
}

#[derive(Debug, Clone, Copy)]
struct TaskLayout {
    priority: i32,
    pool: u32,
    slots: u32,
    /// The number of the task's id among names, if a limit of its own binds it.
    in_dag: Option<(u32, u32)>,
    in_run: Option<(u32, u32)>,
}

impl Admissions {
    pub(super) fn add_plan(&mut self, plan: &Plan) {
        let dag = plan.dag();
        let dag_number = self.names.number(dag.dag_id.as_str());
        let mut tasks = Vec::with_capacity(dag.tasks.len());
        for task in &dag.tasks {
            let pool = self.names.number(&task.pool);
            let mut limited = |most: Option<u32>| most.map(|most| (self.names.number(task.task_id.as_str()), most));
            tasks.push(TaskLayout {
                priority: task.effective_priority,
                pool,
                slots: task.pool_slots,
                in_dag: limited(task.max_active_tis_per_dag),
                in_run: limited(task.max_active_tis_per_dagrun),
            });
        }
        self.pools_known = false;
        // Versions come oldest first.
        self.max_active_tasks.insert(dag_number, dag.max_active_tasks);
        let layout = Layout { dag: dag_number, tasks };
        self.layouts.insert(plan.version(), layout);
    }

    /// Whether the pools' sizes should be read: nobody has yet, or something waits for room.
    pub(super) fn must_know_pools(&self) -> bool {
        !self.pools_known || self.ready.has_parked()
    }

    pub(super) fn set_pools(&mut self, pools: &[(String, i32)]) {
        self.pools_known = true;
        self.pool_slots.clear();
        for (name, slots) in pools {
            let slots = if *slots == Pool::UNBOUNDED { i64::MAX } else { i64::from(*slots) };
            self.pool_slots.insert(self.names.number(name), slots);
        }
    }

    /// Drops what waits no longer, once it is worth the look.
    pub(super) fn sweep(&mut self, machines: &mut Machines) {
        if self.ready.sweep(|rank| machines.waits(rank).is_some()) {
            machines.sweep_timers();
        }
    }

    pub(super) fn unpark_all(&mut self) {
        self.ready.unpark_all();
    }

    /// The instance waits for room.
    pub(super) fn push(&mut self, version: DagVersionId, rank: Rank) {
        if let Some(holding) = self.holding(version, rank.key, rank.run) {
            self.ready.push(holding.queue, rank);
        }
    }

    /// Where an instance stands among others.
    pub(super) fn rank(
        &self,
        version: DagVersionId,
        run: RunId,
        logical_date: i64,
        key: InstanceKey,
        generation: u64,
    ) -> Rank {
        let priority = self.layouts.get(&version).map_or(0, |layout| layout.tasks[key.task.index()].priority);
        Rank { priority: Reverse(priority), logical_date, map_index: key.map_index, run, key, generation }
    }

    /// What an attempt of the instance takes.
    pub(super) fn holding(&self, version: DagVersionId, key: InstanceKey, run: RunId) -> Option<Holding> {
        let layout = self.layouts.get(&version)?;
        let task = layout.tasks.get(key.task.index())?;
        let limit = match (task.in_run, task.in_dag) {
            (Some((id, _)), _) => Some((id, Some(run))),
            (None, Some((id, _))) => Some((id, None)),
            (None, None) => None,
        };
        let queue = QueueKey { pool: task.pool, slots: task.slots, dag: layout.dag, task: limit };
        Some(Holding { queue, version, task: key.task })
    }

    /// An attempt takes its share.
    pub(super) fn hold(&mut self, holding: &Holding, run: RunId) {
        self.change(holding, run, 1);
    }

    /// An attempt gives its share back: what waited for it may go on.
    pub(super) fn release(&mut self, holding: &Holding, run: RunId) {
        self.change(holding, run, -1);
        if !self.ready.has_parked() {
            return;
        }
        let queue = &holding.queue;
        let dag_id = self.names.name(queue.dag).to_owned();
        self.ready.unpark(&Limit::Pool(self.names.name(queue.pool).to_owned()));
        self.ready.unpark(&Limit::ActiveTasks(dag_id.as_str().into()));
        if let Some((id, _)) = queue.task {
            let task_id = self.names.name(id).to_owned();
            self.ready.unpark(&Limit::TaskInDag(dag_id.as_str().into(), task_id.clone()));
            self.ready.unpark(&Limit::TaskInRun(run, task_id));
        }
    }

    fn change(&mut self, holding: &Holding, run: RunId, by: i32) {
        fn add(held: &mut u32, by: i32) {
            *held = held.saturating_add_signed(by);
        }
        let queue = &holding.queue;
        *self.pool_held.entry(queue.pool).or_default() += i64::from(queue.slots) * i64::from(by);
        add(self.dag_held.entry(queue.dag).or_default(), by);
        let Some(layout) = self.layouts.get(&holding.version) else { return };
        let task = layout.tasks[holding.task.index()];
        for (limit, run) in [(task.in_dag, None), (task.in_run, Some(run))] {
            if let Some((id, _)) = limit {
                let key = (queue.dag, id, run);
                let held = self.task_held.entry(key).or_default();
                add(held, by);
                if *held == 0 {
                    self.task_held.remove(&key);
                }
            }
        }
    }

    /// The limit that has no room for an attempt, as far as this scheduler knows.
    fn full(&self, holding: &Holding, run: RunId) -> Option<Limit> {
        let queue = &holding.queue;
        let layout = self.layouts.get(&holding.version)?;
        let task = layout.tasks[holding.task.index()];
        let dag_id = || self.names.name(queue.dag).into();
        let held = |id, run| self.task_held.get(&(queue.dag, id, run)).copied().unwrap_or(0);
        if let Some((id, _)) = task.in_run.filter(|&(id, most)| held(id, Some(run)) >= most) {
            return Some(Limit::TaskInRun(run, self.names.name(id).to_owned()));
        }
        if let Some((id, _)) = task.in_dag.filter(|&(id, most)| held(id, None) >= most) {
            return Some(Limit::TaskInDag(dag_id(), self.names.name(id).to_owned()));
        }
        let most = self.max_active_tasks.get(&queue.dag).copied().unwrap_or(u32::MAX);
        if self.dag_held.get(&queue.dag).copied().unwrap_or(0) >= most {
            return Some(Limit::ActiveTasks(dag_id()));
        }
        if self.pools_known {
            let slots = self.pool_slots.get(&queue.pool).copied().unwrap_or(0);
            let held = self.pool_held.get(&queue.pool).copied().unwrap_or(0);
            if slots.saturating_sub(held) < i64::from(queue.slots) {
                return Some(Limit::Pool(self.names.name(queue.pool).to_owned()));
            }
        }
        None
    }

    /// Moves instances to `transitions` in the order of their priority, as many as have room. A queue without room is set
    /// aside, so that the others go on.
    pub(super) fn select(
        &mut self,
        mut room: usize,
        machines: &mut Machines,
        transitions: &mut Vec<Transition>,
        mut attempt: impl FnMut(InstanceKey) -> (AttemptToken, AttemptPhase),
    ) {
        while room > 0 {
            let Some((queue, rank)) = self.ready.peek() else { return };
            let queue = queue.clone();
            let Some((version, run_version)) = machines.waits(&rank) else {
                self.ready.pop();
                continue;
            };
            let Some(holding) = self.holding(version, rank.key, rank.run) else {
                self.ready.pop();
                continue;
            };
            if let Some(limit) = self.full(&holding, rank.run) {
                self.ready.park(&queue, limit);
                continue;
            }
            self.ready.pop();
            let Some(try_number) = machines.admit(&rank) else { continue };
            self.hold(&holding, rank.run);
            let (token, phase) = attempt(rank.key);
            let admission = Admission { key: rank.key, try_number, token, phase };
            transitions.push(Transition { run: rank.run, version: run_version, change: Change::Admit(admission) });
            room -= 1;
        }
    }

    /// The storage had no room for an admission: its queue is set aside.
    pub(super) fn refuse(&mut self, version: DagVersionId, rank: Rank, limit: Limit) {
        if let Some(holding) = self.holding(version, rank.key, rank.run) {
            self.change(&holding, rank.run, -1);
            self.ready.push(holding.queue.clone(), rank);
            self.ready.park(&holding.queue, limit);
        }
    }
}
