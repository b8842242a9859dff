use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use serde_json::Value;

use super::{NewDatasetRun, Result, ScheduleStorage, WaitingConsumer};
use crate::id::{AttemptToken, DagId, DagVersionId, InstanceKey, RunId, SchedulerId, TaskId};
use crate::model::{
    AttemptPhase, DagRun, DagVersion, Host, LiveAttempt, OutletEvent, RunState, TaskEventLog, TaskState,
};
use crate::operator::SkipDownstream;

/// A scheduler that is registered with the storage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SchedulerSession {
    /// The storage's key of the scheduler.
    pub id: SchedulerId,
    /// Grows each time a scheduler of the same name registers; writes with a lower one are fenced.
    pub epoch: u64,
    /// How long it may stay silent before others take its runs.
    pub lease: Duration,
}

/// A task instance of a run that a scheduler takes over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InstanceSnapshot {
    /// Which.
    pub key: InstanceKey,
    /// Its own state. Where an attempt is live, that attempt's phase is what holds.
    pub state: TaskState,
    /// The number of its last try.
    pub try_number: u32,
    /// The last try number after which a failure may still be retried.
    pub max_tries: u32,
    /// When its next try may start.
    pub due_at: Option<DateTime<Utc>>,
}

/// A run as a scheduler takes it over.
#[derive(Debug, Clone)]
pub struct RunSnapshot {
    /// The run.
    pub run: DagRun,
    /// Its task instances, sorted by key.
    pub instances: Vec<InstanceSnapshot>,
    /// Its live attempts, obsolete ones included, sorted by key.
    pub attempts: Vec<LiveAttempt>,
    /// Decisions of branches whose last try succeeded, sorted by key.
    pub skips: Vec<(InstanceKey, SkipDownstream)>,
}

/// A limit that can be full.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Limit {
    /// The slots of a pool; a pool that does not exist has none.
    Pool(String),
    /// The DAG is paused.
    Paused(DagId),
    /// `max_active_runs` of a DAG.
    ActiveRuns(DagId),
    /// `max_active_tasks` of a DAG.
    ActiveTasks(DagId),
    /// `max_active_tis_per_dag` of a task.
    TaskInDag(DagId, String),
    /// `max_active_tis_per_dagrun` of a task.
    TaskInRun(RunId, String),
}

/// The admission of a try.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Admission {
    /// The instance.
    pub key: InstanceKey,
    /// The number of the try: one more than that of the last.
    pub try_number: u32,
    /// Names the attempt.
    pub token: AttemptToken,
    /// Its first phase. With `Running`, it counts as started at the batch's time.
    pub phase: AttemptPhase,
}

/// The end of an attempt.
#[derive(Debug, Clone, PartialEq)]
pub struct Ended {
    /// Which attempt.
    pub token: AttemptToken,
    /// The instance.
    pub key: InstanceKey,
    /// The instance's next state: finished, `up_for_retry`, or `scheduled` for a try that is given back (then the try
    /// number goes back by one, as if it had not been admitted).
    pub state: TaskState,
    /// When it ended.
    pub end_date: DateTime<Utc>,
    /// When the next try may start, for `up_for_retry`.
    pub due_at: Option<DateTime<Utc>>,
    /// The result, stored as the XCom `return_value`.
    pub value: Option<Value>,
    /// Which of the tasks after it are skipped; stored as the XCom `skipmixin_key` unless `None`.
    pub skip: SkipDownstream,
    /// What the try says of its updates of datasets; only that of a success counts.
    pub outlet_events: Vec<OutletEvent>,
}

/// The end of an instance by what became of its run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stop {
    /// Which instance.
    pub key: InstanceKey,
    /// Its finished state.
    pub state: TaskState,
    /// Whether a start or end that it does not have becomes the batch's time; otherwise its dates stay as they are.
    pub sets_dates: bool,
}

/// A change that a scheduler makes.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Change {
    /// The queued run starts to run: its `start_date` is the batch's time unless it has one. Limits: `Paused`,
    /// `ActiveRuns`.
    StartRun,
    /// The run ends: its `end_date` is the batch's time, and it belongs to nobody. Attempts of it that are still live
    /// become obsolete.
    EndRun(RunState),
    /// A try is admitted: the attempt becomes live, earlier XComs of the instance are removed. Limits: all but
    /// `ActiveRuns`.
    Admit(Admission),
    /// A queued attempt runs.
    Started(AttemptToken),
    /// The current attempt of an instance has ended: the attempt goes away, and the instance takes what it says. Without
    /// effect, but `Done`, if the attempt is not live.
    Ended(Arc<Ended>),
    /// An obsolete attempt has ended: it goes away, and an instance that waited for it as `restarting` becomes `none`. This
    /// holds whatever the run's version, and also if the run is gone. Without effect, but `Done`, if the attempt is not live
    /// or not obsolete.
    Release(AttemptToken),
    /// An instance that never started is finished: skipped, upstream_failed, or success of an empty task. Start and end
    /// are the batch's time. A success counts as a try, the others do not. Not written to the event log.
    Settle(InstanceKey, TaskState),
    /// As `Settle` with `skipped`, by the decision of a task before it: such an instance has no duration.
    Skip(InstanceKey),
    /// The instances wait for room. Those that are past that stay as they are.
    Schedule(Vec<InstanceKey>),
    /// An unfinished instance is ended. Its live attempt becomes obsolete, and its next try is due no longer. Not written to
    /// the event log.
    Stop(Stop),
    /// The run's DAG is paused if so many (at least one) of its last runs, by logical date and over all types, have all
    /// failed, as they are once all else in the batch is written. Then the event log says that the scheduler paused it
    /// (Airflow 2.11, `models/dagrun.py`, `_check_last_n_dagruns_failed`).
    PauseAfterFailures(u32),
}

/// A change of one run.
#[derive(Debug, Clone, PartialEq)]
pub struct Transition {
    /// The run.
    pub run: RunId,
    /// The run's version that the change was decided on.
    pub version: u64,
    /// What changes.
    pub change: Change,
}

/// All that a lane of a scheduler writes in one step.
#[derive(Debug, Clone)]
pub struct Batch {
    /// Who writes.
    pub session: SchedulerSession,
    /// The lane, and the number of the batch within it; numbers grow by one.
    pub lane: u32,
    /// See `lane`.
    pub sequence: u64,
    /// The time of the changes.
    pub now: DateTime<Utc>,
    /// Which transitions of task instances go to the event log.
    pub event_log: TaskEventLog,
    /// The changes. Those of one run are applied in this order; admissions of all runs compete for limits in this order.
    pub transitions: Vec<Transition>,
}

/// What became of a transition.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Verdict {
    /// It is durable.
    Done,
    /// The run was changed from outside, deleted, or taken over: none of its transitions in the batch had an effect,
    /// [`Change::Release`] excepted. A change that the state of the run or instance does not allow gets this verdict, too:
    /// it and those of the run that follow it in the batch have no effect.
    StaleRun,
    /// The limit is full: this transition had no effect, others of the run may have had theirs. After a
    /// [`Change::StartRun`] without room, no further transition of the run in the batch has an effect, and each gets the
    /// same verdict.
    NoRoom(Limit),
}

/// What is asked of the run before a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PastQuery {
    /// The run.
    pub run: RunId,
    /// Whether manual runs do not count as the run before.
    pub skips_manual: bool,
    /// Tasks, sorted.
    pub tasks: Arc<[TaskId]>,
}

/// What became of a task in the run before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum PastTask {
    /// That run has no instance of it.
    Absent {
        /// Whether a run of an even earlier logical date has one.
        ran_before: bool,
    },
    /// That run has instances of it.
    Present {
        /// How many of them are neither success nor skipped.
        unsuccessful: u32,
    },
}

/// The run before a run: that of the same DAG with the latest earlier logical date.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PreviousRun {
    /// Its key.
    pub id: RunId,
    /// Its logical date.
    pub logical_date: DateTime<Utc>,
    /// The tasks that were asked for, in that order.
    pub tasks: Vec<PastTask>,
}

/// What schedulers do.
#[async_trait]
pub trait SchedulerStorage: ScheduleStorage + Debug + Send + Sync {
    /// The storage's wall clock: the only one that schedulers and services go by.
    async fn now(&self) -> Result<DateTime<Utc>>;

    /// Registers a scheduler. One that is registered under the same name is fenced from now on, and its runs belong to
    /// nobody. The tries that it admits have the host that it names, with its process once they run; instances without a
    /// try have the user only.
    async fn register_scheduler(&self, name: &str, lease: Duration, host: &Host) -> Result<SchedulerSession>;

    /// Says that the scheduler lives.
    ///
    /// # Errors
    /// `Fenced`.
    async fn heartbeat(&self, session: &SchedulerSession) -> Result<()>;

    /// Leaves: the scheduler's runs belong to nobody, and its session is fenced. Without effect if it is fenced already.
    async fn unregister_scheduler(&self, session: &SchedulerSession) -> Result<()>;

    /// All pools by name, and their slots, as they are or were a moment ago: by this a scheduler chooses what to offer.
    async fn pool_slots(&self) -> Result<Vec<(String, i32)>>;

    /// Versions of DAGs that were registered after `after`, oldest first, at most `limit`.
    async fn versions_after(&self, after: Option<DagVersionId>, limit: usize) -> Result<Vec<DagVersion>>;

    /// Takes at most `limit` unfinished runs of these versions (sorted) that belong to nobody or to a scheduler whose
    /// lease has passed, oldest first, where `max_active_runs` leaves a choice those of the earliest logical dates; they
    /// belong to the session from then on, with their `version` one higher if they belonged to somebody before.
    ///
    /// Queued runs of a paused DAG, those whose logical date has not come yet, and those that `max_active_runs` would keep queued (queued runs that belong to a
    /// scheduler counted), are left where they are. So are runs of which another living scheduler has a live attempt: it
    /// alone knows when that has ended. Attempts of deleted or finished runs whose scheduler is gone or silent go away.
    ///
    /// # Errors
    /// `Fenced`.
    async fn claim_runs(
        &self,
        session: &SchedulerSession,
        versions: &[DagVersionId],
        limit: usize,
    ) -> Result<Vec<RunSnapshot>>;

    /// The unfinished runs of the session, sorted: what is left to find out after a claim whose answer was lost.
    ///
    /// # Errors
    /// `Fenced`.
    async fn owned_runs(&self, session: &SchedulerSession) -> Result<Vec<RunId>>;

    /// Reads runs of the session again, after a [`Verdict::StaleRun`] or a change from outside. Runs that are gone, have
    /// ended or belong to somebody else are left out.
    ///
    /// # Errors
    /// `Fenced`.
    async fn reload_runs(&self, session: &SchedulerSession, runs: &[RunId]) -> Result<Vec<RunSnapshot>>;

    /// Runs of the session that were changed from outside or deleted since they were claimed, or since
    /// [`SchedulerStorage::reload_runs`] last named them, sorted.
    ///
    /// # Errors
    /// `Fenced`.
    async fn changed_runs(&self, session: &SchedulerSession) -> Result<Vec<RunId>>;

    /// For each query, in order, the run before its run; `None` if there is none, or the run is gone.
    async fn previous_runs(&self, queries: &[PastQuery]) -> Result<Vec<Option<PreviousRun>>>;

    /// Applies a batch in one step, and says for each transition what became of it. A batch that was applied already
    /// (same lane and sequence) is not applied again; its verdicts are returned once more. Only the last batch of a lane
    /// can be asked for so. Each admission is held against [`Limit::Paused`], [`Limit::TaskInRun`], [`Limit::TaskInDag`],
    /// [`Limit::ActiveTasks`] and [`Limit::Pool`], in this order; limits of a DAG are those of its newest version.
    ///
    /// The order within the step: the fence; the runs' versions; then the transitions one after another, each admission
    /// counting the slots that live attempts hold at that point.
    ///
    /// Starts and ends of tries go to the event log by the name of the state, as Airflow's do: a try that will be retried
    /// as `failed`, one that is given back not at all.
    ///
    /// An attempt that ends in success, and a success that is settled, update the datasets among the task's outlets
    /// ([`Task::updates`](crate::model::Task::updates)) at the batch's time, as
    /// [`DatasetStorage::create_dataset_event`](super::DatasetStorage::create_dataset_event) does, within the step. A state that
    /// is set from outside updates nothing.
    ///
    /// # Errors
    /// `Fenced`; `Invalid` for a batch that does not follow the last one of its lane.
    async fn commit(&self, batch: &Batch) -> Result<Vec<Verdict>>;

    /// DAGs that a run may have to be created of because datasets were updated: the newest version is among `versions`
    /// (sorted), updates are queued, the DAG is active and not paused, and it has fewer unfinished runs than
    /// `max_active_runs`. By the DAG's id; as it is or was a moment ago.
    async fn waiting_consumers(&self, versions: &[DagVersionId]) -> Result<Vec<WaitingConsumer>>;

    /// Creates the run that updates of datasets cause, in one step, and announces it; `None`, and nothing is done, if by now the
    /// DAG is gone, inactive or paused, it has a newer version, or of one of `uris` no update is queued any more. So of
    /// schedulers that see the same updates one creates a run, and the call can be repeated (Airflow 2.11,
    /// `jobs/scheduler_job_runner.py`, `_create_dag_runs_dataset_triggered`):
    ///
    /// - Its logical date is when the youngest of the queued updates was queued, or the first microsecond after that of which
    ///   the DAG has no run.
    /// - It is caused by all updates of the datasets that the schedule names, until the youngest queued one, and after the
    ///   logical date of the last run before it that updates caused. They say which data it covers ([`NewDatasetRun::data`]).
    /// - Nothing is queued for the DAG any more.
    async fn create_dataset_run(&self, now: DateTime<Utc>, run: &NewDatasetRun) -> Result<Option<DagRun>>;

    /// Waits until something is announced that a scheduler may want to know (a new or changed run, an unpaused DAG, a
    /// changed limit, a new version, an update of a dataset that a DAG waits for, and the end of a run of such a DAG), and returns a number that grows with each announcement; at once if that is already
    /// greater than `seen`. A hint only: announcements may be lost, and nothing may rely on them.
    async fn announcement(&self, seen: u64) -> u64;
}
