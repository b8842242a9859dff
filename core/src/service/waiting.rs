//! The one reason why a run or a task instance waits, in plain words.

use std::fmt;

use chrono::{DateTime, Utc};

use super::{Result, Service, ServiceError};
use crate::engine::trigger_rule::{Ended, Judgement, judge};
use crate::engine::{Hold, Past};
use crate::id::{DagId, TaskId};
use crate::model::{DagRecord, DagRun, RunState, Task, TaskInstance, TaskState, TriggerRule};
use crate::storage::TaskInstanceQuery;

/// Why something waits. Its text is a sentence without a full stop.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Waiting {
    /// The DAG is paused.
    Paused(DagId),
    /// The logical date has not come yet.
    LogicalDate(DateTime<Utc>),
    /// As many runs of the DAG run as its `max_active_runs` allows.
    ActiveRuns(u32),
    /// No scheduler has the run: none lives, or none can run its version of the DAG.
    Nobody,
    /// The scheduler will start it next.
    Turn,
    /// The pause before the next try.
    Retry(DateTime<Utc>),
    /// It was cleared while it ran, and its old try has not ended yet.
    OldTry,
    /// A try is admitted, and no worker has begun it.
    Worker,
    /// Tasks directly before it.
    Upstream {
        /// The first of them that has not finished.
        task: TaskId,
        /// Where that stands.
        state: TaskState,
        /// How many others have not finished either.
        others: usize,
    },
    /// The run before.
    Past {
        /// That run's text id.
        run_id: String,
        /// What it lacks.
        hold: Hold,
    },
    /// The pool does not exist.
    NoPool(String),
    /// The pool has fewer slots than the task needs.
    SmallPool {
        /// The pool.
        pool: String,
        /// All its slots.
        slots: i32,
        /// What the task needs.
        needed: u32,
    },
    /// The pool has too few slots that are free.
    Pool {
        /// The pool.
        pool: String,
        /// Slots that are free; fewer than none if the pool was made smaller.
        open: i64,
        /// What the task needs.
        needed: u32,
    },
    /// As many tasks of the DAG run as its `max_active_tasks` allows.
    ActiveTasks(u32),
    /// As many instances of the task run, over all runs, as its `max_active_tis_per_dag` allows.
    TaskInDag(u32),
    /// As many instances of the task run in its run as its `max_active_tis_per_dagrun` allows.
    TaskInRun(u32),
}

impl fmt::Display for Waiting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Paused(dag_id) => write!(f, "the DAG {dag_id} is paused"),
            Self::LogicalDate(date) => write!(f, "its logical date {date} has not come yet"),
            Self::ActiveRuns(most) => write!(f, "{most} runs of its DAG are active, as many as max_active_runs allows"),
            Self::Nobody => {
                f.write_str("no scheduler has taken its run: none is alive, or none can run this version of the DAG")
            }
            Self::Turn => f.write_str("nothing holds it; a scheduler starts it next"),
            Self::Retry(due) => write!(f, "its last try failed, and the next may start at {due}"),
            Self::OldTry => f.write_str("it was cleared while it ran, and its old try has not ended yet"),
            Self::Worker => f.write_str("it is queued, and no worker has begun it yet"),
            Self::Upstream { task, state, others } => {
                let state = if *state == TaskState::None { "waiting" } else { state.as_str() };
                write!(f, "the task {task} before it is {state}")?;
                match others {
                    0 => Ok(()),
                    1 => f.write_str(", and 1 other has not finished either"),
                    others => write!(f, ", and {others} others have not finished either"),
                }
            }
            Self::Past { run_id, hold: Hold::HasNotRun } => {
                write!(f, "it depends on the past, and the run {run_id} before has no instance of it")
            }
            Self::Past { run_id, hold: Hold::Downstream } => {
                write!(f, "the tasks after it have not all ended well in the run {run_id} before")
            }
            Self::Past { run_id, .. } => {
                write!(f, "it depends on the past, and has not ended well in the run {run_id} before")
            }
            Self::NoPool(pool) => write!(f, "its pool {pool} does not exist"),
            Self::SmallPool { pool, slots, needed } => {
                write!(f, "it needs {needed} slots, and its pool {pool} has only {slots}")
            }
            Self::Pool { pool, open, needed } => {
                write!(f, "its pool {pool} has {open} free slots, and it needs {needed}")
            }
            Self::ActiveTasks(most) => {
                write!(f, "{most} tasks of its DAG run, as many as max_active_tasks allows")
            }
            Self::TaskInDag(most) => write!(f, "max_active_tis_per_dag allows {most} instances of it at a time"),
            Self::TaskInRun(most) => {
                write!(f, "max_active_tis_per_dagrun allows {most} instances of it in a run at a time")
            }
        }
    }
}

impl Service {
    /// Why a run has not started, or why nothing takes a run that has; `None` if it has ended, or runs.
    ///
    /// # Errors
    /// Those of the storage; `NotFound` if the DAG is gone.
    pub async fn why_run_waits(&self, run: &DagRun) -> Result<Option<Waiting>> {
        let record = self.storage.dag(run.dag_id.as_str()).await?;
        self.why_run_of_dag_waits(&record, run).await
    }

    async fn why_run_of_dag_waits(&self, record: &DagRecord, run: &DagRun) -> Result<Option<Waiting>> {
        if run.state.is_finished() {
            return Ok(None);
        }
        if record.is_paused {
            return Ok(Some(Waiting::Paused(run.dag_id.clone())));
        }
        if run.state == RunState::Running {
            return Ok(run.owner.is_none().then_some(Waiting::Nobody));
        }
        if run.logical_date > self.now().await? {
            return Ok(Some(Waiting::LogicalDate(run.logical_date)));
        }
        let most = record.dag().max_active_runs;
        let counts = self.storage.count_runs(&[run.dag_id.clone()].into()).await?;
        let active = counts.get(&run.dag_id).and_then(|counts| counts.get(&RunState::Running)).copied();
        Ok(Some(if active.unwrap_or_default() >= u64::from(most) {
            Waiting::ActiveRuns(most)
        } else if run.owner.is_none() {
            Waiting::Nobody
        } else {
            Waiting::Turn
        }))
    }

    /// Why a task instance does not run; `None` if it has ended, or runs. Of several reasons it is the one without which
    /// the others would not matter yet.
    ///
    /// # Errors
    /// Those of the storage; `NotFound` if the DAG is gone.
    pub async fn why_waiting(&self, instance: &TaskInstance) -> Result<Option<Waiting>> {
        match instance.state {
            TaskState::None | TaskState::Scheduled | TaskState::UpForRetry | TaskState::UpForReschedule => {}
            TaskState::Restarting => return Ok(Some(Waiting::OldTry)),
            TaskState::Queued => return Ok(Some(Waiting::Worker)),
            _ => return Ok(None),
        }
        let Some(task) = instance.task() else { return Ok(None) };
        if instance.run.state.is_finished() {
            return Ok(None);
        }
        let record = self.storage.dag(instance.run.dag_id.as_str()).await?;
        if let Some(waiting) = self.why_run_of_dag_waits(&record, &instance.run).await? {
            return Ok(Some(waiting));
        }
        if let Some(due) = instance.due_at
            && instance.state == TaskState::UpForRetry
            && due > self.now().await?
        {
            return Ok(Some(Waiting::Retry(due)));
        }
        if let Some(waiting) = self.upstream_waited_for(instance, task).await? {
            return Ok(Some(waiting));
        }
        if let Some((previous, hold)) = self.hold_of_past(instance).await? {
            let run_id = self.run_id_of(instance, previous).await?;
            return Ok(Some(Waiting::Past { run_id, hold }));
        }
        Ok(Some(self.limit_waited_for(&record, instance, task).await?.unwrap_or(Waiting::Turn)))
    }

    async fn upstream_waited_for(&self, instance: &TaskInstance, task: &Task) -> Result<Option<Waiting>> {
        if task.upstream.is_empty() || task.trigger_rule == TriggerRule::Always {
            return Ok(None);
        }
        let ids = task.upstream.iter().filter_map(|ix| instance.dag.task(*ix)).map(|up| up.task_id.to_string());
        let query = TaskInstanceQuery {
            dag_ids: Some([instance.run.dag_id.clone()].into()),
            run_ids: Some([instance.run.run_id.clone()].into()),
            task_ids: Some(ids.collect()),
            ..TaskInstanceQuery::default()
        };
        let (mut ended, mut setups) = (Ended::default(), (0, Ended::default()));
        let mut open = Vec::new();
        for up in self.storage.task_instances(&query).await?.items {
            ended.add(up.state);
            let Some(task) = up.task() else { continue };
            if task.is_setup {
                setups.0 += 1;
                setups.1.add(up.state);
            }
            if !up.state.is_finished() {
                open.push((up.key, task.task_id.clone(), up.state));
            }
        }
        let count = u32::try_from(task.upstream.len()).unwrap_or(u32::MAX);
        if judge(task.trigger_rule, count, &ended, setups) != Judgement::Wait {
            return Ok(None);
        }
        let others = open.len().saturating_sub(1);
        let first = open.into_iter().min_by_key(|(key, ..)| *key);
        Ok(first.map(|(_, task, state)| Waiting::Upstream { task, state, others }))
    }

    async fn limit_waited_for(
        &self,
        record: &DagRecord,
        instance: &TaskInstance,
        task: &Task,
    ) -> Result<Option<Waiting>> {
        if let Some(most) = task.max_active_tis_per_dagrun
            && self.count_running(instance, true, true).await? >= u64::from(most)
        {
            return Ok(Some(Waiting::TaskInRun(most)));
        }
        if let Some(most) = task.max_active_tis_per_dag
            && self.count_running(instance, true, false).await? >= u64::from(most)
        {
            return Ok(Some(Waiting::TaskInDag(most)));
        }
        let most = record.dag().max_active_tasks;
        if self.count_running(instance, false, false).await? >= u64::from(most) {
            return Ok(Some(Waiting::ActiveTasks(most)));
        }
        let (pool, needed) = (task.pool.clone(), task.pool_slots.max(1));
        let usage = match self.storage.pool(&pool).await.map_err(ServiceError::from) {
            Ok(usage) => usage,
            Err(ServiceError::NotFound(_)) => return Ok(Some(Waiting::NoPool(pool))),
            Err(error) => return Err(error),
        };
        let slots = usage.pool.slots;
        Ok(match usage.open() {
            Some(_) if i64::from(slots) < i64::from(needed) => Some(Waiting::SmallPool { pool, slots, needed }),
            Some(open) if open < i64::from(needed) => Some(Waiting::Pool { pool, open, needed }),
            _ => None,
        })
    }

    /// The run before and what holds the instance there, if anything does.
    pub(super) async fn hold_of_past(&self, instance: &TaskInstance) -> Result<Option<(DateTime<Utc>, Hold)>> {
        let Some(past) = Past::of_task(&instance.dag, instance.key.task) else { return Ok(None) };
        let previous = self.storage.previous_runs(&[past.query(instance.run.id)]).await?.pop().flatten();
        let Some(previous) = previous else { return Ok(None) };
        let hold = past.judge(Some(&previous)).find_map(|(_, hold)| hold);
        Ok(hold.map(|hold| (previous.logical_date, hold)))
    }

    async fn run_id_of(&self, instance: &TaskInstance, logical_date: DateTime<Utc>) -> Result<String> {
        Ok(self.dag_run_on(instance.run.dag_id.as_str(), logical_date).await?.run_id)
    }
}
