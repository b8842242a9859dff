//! The state machine of one run.

use std::collections::BTreeSet;
use std::sync::Arc;

use chrono::{DateTime, Utc};

use super::Plan;
use super::trigger_rule::{Ended, Judgement, judge};
use crate::id::{InstanceKey, TaskIx};
use crate::model::{DagRun, RunState, TaskState};
use crate::operator::SkipDownstream;
use crate::storage::{InstanceSnapshot, Stop};

/// What follows from a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// The instance may start as soon as there is room.
    Ready(InstanceKey),
    /// The instance has ended without an attempt.
    Settle(InstanceKey, TaskState),
    /// A task before the instance has just decided that it is skipped.
    Skip(InstanceKey),
    /// The instance waits until the moment of its next try.
    WaitUntil(InstanceKey, DateTime<Utc>),
    /// The run ends the instance, whatever it is at.
    Stop(Stop),
    /// The run has ended.
    EndRun(RunState),
    /// The run has failed by a task: its DAG is paused if as many of its last runs have failed.
    PauseAfterFailures(u32),
}

/// One task instance.
#[derive(Debug, Clone, Copy)]
struct Slot {
    state: TaskState,
    try_number: u32,
    max_tries: u32,
}

/// The state of one run: pure, deterministic, and at the cost of the tasks directly after what ends. It decides; whoever
/// feeds it makes the decisions durable before acting on them.
///
/// Within it `scheduled` means that the instance waits for room, `queued` that its admission is being written, and
/// `running` that it has a live attempt.
#[derive(Debug)]
pub struct RunMachine {
    plan: Arc<Plan>,
    run: Arc<DagRun>,
    slots: Vec<Slot>,
    ended: Vec<Ended>,
    /// Instances that are not finished.
    unfinished: usize,
    /// Of these, instances that wait for their upstreams; the others move on by themselves.
    waiting: usize,
    /// Instances that ended and whose followers have not been judged yet.
    open: Vec<TaskIx>,
    /// Whether the past holds a task, by task; empty if no task depends on the past.
    held: Vec<bool>,
    has_ended: bool,
}

impl RunMachine {
    /// Takes over a run whose instances stand as `instances` says. Instances with a live attempt must be `running`.
    /// Call [`RunMachine::start`] next. Tasks that depend on the past are held until [`RunMachine::learn_past`] is called.
    ///
    /// Instances that the plan does not have are left out; tasks without an instance count as removed.
    pub fn new(plan: Arc<Plan>, run: Arc<DagRun>, instances: &[InstanceSnapshot]) -> Self {
        let gone = Slot { state: TaskState::Removed, try_number: 0, max_tries: 0 };
        let mut slots = vec![gone; plan.len()];
        for instance in instances {
            if let Some(slot) = slots.get_mut(instance.key.task.index()) {
                let state = match instance.state {
                    // Where an instance waits for room is decided anew: its upstreams may have been cleared.
                    TaskState::Scheduled | TaskState::Queued => TaskState::None,
                    state => state,
                };
                *slot = Slot { state, try_number: instance.try_number, max_tries: instance.max_tries };
            }
        }
        let mut ended = vec![Ended::default(); plan.len()];
        let (mut unfinished, mut waiting) = (0, 0);
        for (i, slot) in slots.iter().enumerate() {
            if slot.state.is_finished() {
                for down in plan.after(TaskIx::from_index(i)) {
                    ended[down.index()].add(slot.state);
                }
            } else {
                unfinished += 1;
                waiting += usize::from(slot.state == TaskState::None);
            }
        }
        let mut held = Vec::new();
        if let Some(past) = plan.past() {
            held.resize(plan.len(), false);
            past.tasks().for_each(|ix| held[ix.index()] = true);
        }
        Self { plan, run, slots, ended, unfinished, waiting, open: Vec::new(), held, has_ended: false }
    }

    /// Judges every instance that waits. `skips` are the decisions of branches that have passed: what they skipped stays
    /// skipped when it is cleared (Airflow 2.11, `ti_deps/deps/not_previously_skipped_dep.py`).
    pub fn start(&mut self, skips: &[(InstanceKey, SkipDownstream)], decisions: &mut Vec<Decision>) {
        for (key, skip) in skips {
            if self.state(*key) == Some(TaskState::Success) {
                let direct: BTreeSet<_> = self.plan.after(key.task).iter().copied().collect();
                let skipped = self.skipped_by(key.task, skip).into_iter().filter(|ix| direct.contains(ix)).collect();
                self.skip(skipped, |key| Decision::Settle(key, TaskState::Skipped), decisions);
            }
        }
        for i in 0..self.slots.len() {
            self.judge(TaskIx::from_index(i), decisions);
        }
        self.settle_open(decisions);
    }

    /// The run.
    pub fn run(&self) -> &Arc<DagRun> {
        &self.run
    }

    /// Replaces what is known of the run itself.
    pub fn set_run(&mut self, run: Arc<DagRun>) {
        self.run = run;
    }

    /// The plan.
    pub fn plan(&self) -> &Arc<Plan> {
        &self.plan
    }

    /// Where an instance stands, within the machine.
    pub fn state(&self, key: InstanceKey) -> Option<TaskState> {
        self.slots.get(key.task.index()).map(|slot| slot.state)
    }

    /// The number of the instance's last try and the last number that may be retried.
    pub fn tries(&self, key: InstanceKey) -> (u32, u32) {
        self.slots.get(key.task.index()).map_or((0, 0), |slot| (slot.try_number, slot.max_tries))
    }

    /// The admission of a ready instance is being written. Returns the number of its try, or `None` if the instance no
    /// longer waits for room.
    pub fn admit(&mut self, key: InstanceKey) -> Option<u32> {
        let slot = self.slots.get_mut(key.task.index())?;
        (slot.state == TaskState::Scheduled).then(|| {
            slot.state = TaskState::Queued;
            slot.try_number + 1
        })
    }

    /// The admission had no room: the instance waits again.
    pub fn refuse(&mut self, key: InstanceKey) {
        let slot = &mut self.slots[key.task.index()];
        if slot.state == TaskState::Queued {
            slot.state = TaskState::Scheduled;
        }
    }

    /// The admission is durable: the instance has a live attempt.
    pub fn run_try(&mut self, key: InstanceKey) {
        let slot = &mut self.slots[key.task.index()];
        slot.state = TaskState::Running;
        slot.try_number += 1;
    }

    /// The live attempt has ended in `state`: finished, or `up_for_retry` until `due`.
    pub fn end_try(
        &mut self,
        key: InstanceKey,
        state: TaskState,
        due: Option<DateTime<Utc>>,
        skip: &SkipDownstream,
        decisions: &mut Vec<Decision>,
    ) {
        if state.is_finished() {
            self.finish(key.task, state);
            if state == TaskState::Failed && self.plan.dag().fail_stop {
                self.stop_others(decisions);
            }
            if state == TaskState::Success {
                let skipped = self.skipped_by(key.task, skip);
                self.skip(skipped, Decision::Skip, decisions);
            }
            self.settle_open(decisions);
        } else {
            self.slots[key.task.index()].state = TaskState::UpForRetry;
            decisions.push(Decision::WaitUntil(key, due.unwrap_or(DateTime::UNIX_EPOCH)));
        }
    }

    /// The run's time is up (`dagrun_timeout`): it fails, and what was to run or runs is skipped. What still waits for its
    /// upstreams keeps no state (Airflow 2.11, `jobs/scheduler_job_runner.py`, `_schedule_dag_run`, whose `IN` never finds
    /// a null).
    pub fn time_out(&mut self, decisions: &mut Vec<Decision>) {
        if std::mem::replace(&mut self.has_ended, true) {
            return;
        }
        for (i, slot) in self.slots.iter_mut().enumerate() {
            if slot.state != TaskState::None && !slot.state.is_finished() {
                slot.state = TaskState::Skipped;
                self.unfinished -= 1;
                let key = InstanceKey::unmapped(TaskIx::from_index(i));
                decisions.push(Decision::Stop(Stop { key, state: TaskState::Skipped, sets_dates: false }));
            }
        }
        decisions.push(Decision::EndRun(RunState::Failed));
    }

    /// A task of a DAG with `fail_stop` has failed for good: what runs fails with it, what is left is skipped, teardowns
    /// excepted (Airflow 2.11, `models/taskinstance.py`, `_stop_remaining_tasks`).
    fn stop_others(&mut self, decisions: &mut Vec<Decision>) {
        for i in 0..self.slots.len() {
            let was = self.slots[i].state;
            if was.is_finished() || self.plan.dag().tasks[i].is_teardown {
                continue;
            }
            let ix = TaskIx::from_index(i);
            let state = if was == TaskState::Running { TaskState::Failed } else { TaskState::Skipped };
            self.finish(ix, state);
            let sets_dates = state == TaskState::Skipped;
            decisions.push(Decision::Stop(Stop { key: InstanceKey::unmapped(ix), state, sets_dates }));
        }
    }

    /// The live attempt is given back: its instance waits for room again, as if the try had not begun.
    pub fn give_back(&mut self, key: InstanceKey, decisions: &mut Vec<Decision>) {
        let slot = &mut self.slots[key.task.index()];
        slot.try_number = slot.try_number.saturating_sub(1);
        self.reopen(key, decisions);
    }

    /// The pause before the next try is over, or the old attempt of a restarting instance has ended.
    pub fn reopen(&mut self, key: InstanceKey, decisions: &mut Vec<Decision>) {
        let slot = &mut self.slots[key.task.index()];
        if !slot.state.is_finished() && slot.state != TaskState::None {
            slot.state = TaskState::None;
            self.waiting += 1;
            self.judge(key.task, decisions);
            self.settle_open(decisions);
        }
    }

    /// What the past holds now, of the tasks that depend on it.
    pub fn learn_past(&mut self, holds: impl Iterator<Item = (TaskIx, bool)>, decisions: &mut Vec<Decision>) {
        for (ix, is_held) in holds {
            if std::mem::replace(&mut self.held[ix.index()], is_held) == is_held {
                continue;
            }
            if is_held && self.slots[ix.index()].state == TaskState::Scheduled {
                self.slots[ix.index()].state = TaskState::None;
                self.waiting += 1;
            } else {
                self.judge(ix, decisions);
            }
        }
        self.settle_open(decisions);
    }

    /// Whether the past holds a task that is not finished.
    pub fn is_held(&self) -> bool {
        self.held.iter().zip(&self.slots).any(|(held, slot)| *held && !slot.state.is_finished())
    }

    /// Judges a waiting task.
    fn judge(&mut self, ix: TaskIx, decisions: &mut Vec<Decision>) {
        if self.slots[ix.index()].state != TaskState::None {
            return;
        }
        let (rule, ended) = (self.plan.rule(ix), &self.ended[ix.index()]);
        let judgement = judge(rule, self.plan.upstreams(ix), ended, self.setups_before(ix));
        let key = InstanceKey::unmapped(ix);
        match judgement {
            Judgement::Wait => {}
            // Airflow skips and fails what it may not start yet.
            Judgement::Run if self.held.get(ix.index()) == Some(&true) => {}
            Judgement::Run if self.plan.dag().tasks[ix.index()].is_empty => {
                self.finish(ix, TaskState::Success);
                decisions.push(Decision::Settle(key, TaskState::Success));
            }
            Judgement::Run => {
                self.slots[ix.index()].state = TaskState::Scheduled;
                self.waiting -= 1;
                decisions.push(Decision::Ready(key));
            }
            Judgement::Settle(state) => {
                self.finish(ix, state);
                decisions.push(Decision::Settle(key, state));
            }
        }
    }

    /// How the setups directly before a teardown ended; nothing is counted for other tasks.
    fn setups_before(&self, ix: TaskIx) -> (u32, Ended) {
        let mut setups = (0, Ended::default());
        if self.plan.rule(ix) == crate::model::TriggerRule::AllDoneSetupSuccess {
            let tasks = &self.plan.dag().tasks;
            for up in tasks[ix.index()].upstream.iter().filter(|up| tasks[up.index()].is_setup) {
                setups.0 += 1;
                setups.1.add(self.slots[up.index()].state);
            }
        }
        setups
    }

    /// An instance is finished; its followers are judged by the next [`RunMachine::settle_open`].
    fn finish(&mut self, ix: TaskIx, state: TaskState) {
        let slot = &mut self.slots[ix.index()];
        debug_assert!(!slot.state.is_finished(), "an instance ends once");
        self.waiting -= usize::from(slot.state == TaskState::None);
        slot.state = state;
        self.unfinished -= 1;
        self.open.push(ix);
    }

    /// Judges all that follows from what was finished, and the end of the run.
    fn settle_open(&mut self, decisions: &mut Vec<Decision>) {
        let plan = Arc::clone(&self.plan);
        while let Some(ix) = self.open.pop() {
            let state = self.slots[ix.index()].state;
            for &down in plan.after(ix) {
                self.ended[down.index()].add(state);
            }
            for &down in plan.after(ix) {
                self.judge(down, decisions);
            }
        }
        if self.has_ended || self.unfinished > self.waiting || self.is_held() {
            return;
        }
        // Nothing moves by itself any more, nor will the past let anything go: the run has ended, or it is deadlocked.
        self.has_ended = true;
        let state = |ix: &TaskIx| self.slots[ix.index()].state;
        let failed = self.waiting > 0 || self.plan.leaves().iter().any(|leaf| state(leaf).is_failure());
        decisions.push(Decision::EndRun(if failed { RunState::Failed } else { RunState::Success }));
        let most = self.plan.dag().max_consecutive_failed_dag_runs;
        if failed && self.waiting == 0 && most > 0 {
            decisions.push(Decision::PauseAfterFailures(most));
        }
    }

    /// Skips instances that have not started.
    fn skip(&mut self, tasks: Vec<TaskIx>, decide: fn(InstanceKey) -> Decision, decisions: &mut Vec<Decision>) {
        for ix in tasks {
            if matches!(self.slots[ix.index()].state, TaskState::None | TaskState::Scheduled | TaskState::UpForRetry) {
                self.finish(ix, TaskState::Skipped);
                decisions.push(decide(InstanceKey::unmapped(ix)));
            }
        }
    }

    /// Which tasks a decision of `task` skips, sorted.
    fn skipped_by(&self, task: TaskIx, skip: &SkipDownstream) -> Vec<TaskIx> {
        let after = self.plan.after(task);
        match skip {
            SkipDownstream::None => Vec::new(),
            SkipDownstream::Direct => self.without_teardowns(after.to_vec()),
            SkipDownstream::All => self.without_teardowns(self.reachable(after.to_vec())),
            SkipDownstream::Follow(ids) => {
                let followed: BTreeSet<TaskIx> = self.reachable(self.first_tasks(ids)).into_iter().collect();
                after.iter().copied().filter(|ix| !followed.contains(ix)).collect()
            }
        }
    }

    fn without_teardowns(&self, mut tasks: Vec<TaskIx>) -> Vec<TaskIx> {
        tasks.retain(|ix| !self.plan.dag().tasks[ix.index()].is_teardown);
        tasks
    }

    /// The tasks of these ids; a group stands for its members that have no upstream within it.
    fn first_tasks(&self, ids: &[String]) -> Vec<TaskIx> {
        let dag = self.plan.dag();
        let ids: BTreeSet<&str> = ids.iter().map(String::as_str).collect();
        // A parent comes before its children, so one pass finds every group within the named ones.
        let mut within: Vec<bool> = Vec::with_capacity(dag.groups.len());
        for group in &dag.groups {
            let inherited = group.parent.is_some_and(|parent| within[parent as usize]);
            within.push(inherited || ids.contains(group.group_id.as_str()));
        }
        let is_member = |ix: TaskIx| dag.tasks[ix.index()].group.is_some_and(|group| within[group as usize]);
        dag.tasks()
            .filter(|&(ix, task)| {
                ids.contains(task.task_id.as_str()) || is_member(ix) && !task.upstream.iter().any(|&up| is_member(up))
            })
            .map(|(ix, _)| ix)
            .collect()
    }

    /// These tasks and all after them, sorted.
    fn reachable(&self, mut open: Vec<TaskIx>) -> Vec<TaskIx> {
        let mut seen = vec![false; self.slots.len()];
        let mut found = Vec::new();
        while let Some(ix) = open.pop() {
            if !std::mem::replace(&mut seen[ix.index()], true) {
                found.push(ix);
                open.extend_from_slice(self.plan.after(ix));
            }
        }
        found.sort_unstable();
        found
    }
}

#[cfg(test)]
#[path = "run_test.rs"]
mod tests;
