use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use serde_json::{Map, Value};
use uuid::Uuid;

use super::{OrderBy, Page, PageRequest, Range, Result};
use crate::id::{DagId, DagVersionId, InstanceKey, RunId};
use crate::model::{AuditEntry, DagRun, DataInterval, NextRun, Note, RunState, RunType, StateSet, TaskState};

/// A run to be created.
#[derive(Debug, Clone)]
pub struct NewRun {
    /// Unique among all runs; best made of the time, as [`IdSource::uuid`](crate::id::IdSource::uuid) makes it.
    pub uid: Uuid,
    /// The version of the DAG that it runs. One task instance is created for each task of it.
    pub dag_version: DagVersionId,
    /// Unique among the runs of the DAG.
    pub run_id: String,
    /// Why it exists.
    pub run_type: RunType,
    /// Its first state: queued, or running if the engine creates it so.
    pub state: RunState,
    /// The moment that it stands for; unique among the runs of the DAG.
    pub logical_date: DateTime<Utc>,
    /// Start of the data that it covers.
    pub data_interval_start: DateTime<Utc>,
    /// End of the data that it covers.
    pub data_interval_end: DateTime<Utc>,
    /// Whether it comes from outside the schedule.
    pub external_trigger: bool,
    /// A JSON object.
    pub conf: Value,
    /// A remark.
    pub note: Option<Note>,
    /// What the event log says of it.
    pub audit: Option<AuditEntry>,
}

impl NewRun {
    /// A run that nobody asked for: queued, without conf, its text id made of its type and logical date.
    pub fn automated(
        uid: Uuid,
        dag_version: DagVersionId,
        run_type: RunType,
        logical_date: DateTime<Utc>,
        data_interval: DataInterval,
    ) -> Self {
        Self {
            uid,
            dag_version,
            run_id: run_type.run_id(logical_date.fixed_offset()),
            run_type,
            state: RunState::Queued,
            logical_date,
            data_interval_start: data_interval.start,
            data_interval_end: data_interval.end,
            external_trigger: false,
            conf: Value::Object(Map::new()),
            note: None,
            audit: None,
        }
    }

    /// The run as the next one of a schedule that is held at it: created at the end of its data.
    pub fn as_next(&self) -> NextRun {
        let data_interval = DataInterval { start: self.data_interval_start, end: self.data_interval_end };
        NextRun { logical_date: self.logical_date, data_interval, create_after: self.data_interval_end }
    }
}

/// By what runs are listed; the order of their creation by default.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum RunOrder {
    /// The order of creation.
    Id,
    /// The DAG's id.
    DagId,
    /// The run's text id.
    RunId,
    /// The logical date.
    LogicalDate,
    /// The start.
    StartDate,
    /// The end.
    EndDate,
    /// The state.
    State,
    /// The last change.
    UpdatedAt,
    /// Whether it was triggered from outside.
    ExternalTrigger,
    /// Its conf, as JSON text.
    Conf,
    /// Why it exists.
    RunType,
    /// When it was queued.
    QueuedAt,
    /// Start of the data interval.
    DataIntervalStart,
    /// End of the data interval.
    DataIntervalEnd,
    /// The last scheduling decision.
    LastSchedulingDecision,
}

/// Which runs are asked for.
#[derive(Debug, Clone, Default)]
pub struct RunQuery {
    /// Of these DAGs; `None` for all.
    pub dag_ids: Option<BTreeSet<DagId>>,
    /// Of DAGs that the caller may see; `None` for all.
    pub readable: Option<Arc<BTreeSet<DagId>>>,
    /// With these text ids; `None` for all.
    pub run_ids: Option<BTreeSet<String>>,
    /// In one of these states; `None` for all.
    pub states: Option<Vec<RunState>>,
    /// Of one of these types; `None` for all.
    pub run_types: Option<Vec<RunType>>,
    /// By logical date.
    pub logical_date: Range<DateTime<Utc>>,
    /// By start.
    pub start_date: Range<DateTime<Utc>>,
    /// By end.
    pub end_date: Range<DateTime<Utc>>,
    /// By last change.
    pub updated_at: Range<DateTime<Utc>>,
    /// The order.
    pub order_by: Option<OrderBy<RunOrder>>,
    /// Whether nobody asks for the total, which is then 0: to count costs more than a page, the longer the history is.
    pub without_total: bool,
    /// The part.
    pub page: PageRequest,
}

/// What becomes of one task instance in an [`Amendment`]. It acts on the state at the time of the step.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum InstanceAmendment {
    /// Starts over, if the state is in `only`: the last try goes to the history, `max_tries` becomes the number of the
    /// last try plus `retries`, the state `none`, or `restarting` while an attempt is live (which becomes obsolete).
    /// XComs of the instance are removed; its dates stay until the next try. A try goes to the history once, and as
    /// `failed`, ended now, if it had not finished; instances that are `none` or `scheduled` have no try to go there.
    Clear {
        /// Further tries to grant.
        retries: u32,
        /// States that are cleared.
        only: StateSet,
    },
    /// Sets a finished state, if the state is in `only` and differs: a missing end, or that of a state that was not
    /// finished, is set to now, so is a missing start, or that of a state that was `none` or `scheduled`; a live attempt
    /// becomes obsolete. The failed try of an instance that waits for a retry goes to the history.
    Mark {
        /// The new state.
        state: TaskState,
        /// States that are marked.
        only: StateSet,
    },
}

/// A change of a run from outside the engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Amendment {
    /// The run.
    pub run: RunId,
    /// Its new state; `None` leaves it. `Queued` starts it over: `start_date` and `end_date` become null, `queued_at`
    /// now, `last_scheduling_decision` null, `clear_number` grows by one. A finished state sets `end_date` unless the run
    /// had ended before, makes its live attempts obsolete, and takes the run from its owner, who is told.
    pub state: Option<RunState>,
    /// Whether the run starts over (as with `Queued`) if it has ended at the time of the step.
    pub restarts: bool,
    /// Changes of instances, in any order; each instance at most once.
    pub instances: Vec<(InstanceKey, InstanceAmendment)>,
}

/// Runs.
#[async_trait]
pub trait RunStorage {
    /// Creates runs with their task instances and announces them. Each run is a step of its own.
    ///
    /// # Errors
    /// For each run, in its place: `NotFound` for the version, `AlreadyExists` for the logical date (looked at first) or
    /// the text id.
    async fn create_runs(&self, now: DateTime<Utc>, runs: Vec<NewRun>) -> Result<Vec<Result<DagRun>>>;

    /// A run.
    ///
    /// # Errors
    /// `NotFound`.
    async fn dag_run(&self, dag_id: &str, run_id: &str) -> Result<DagRun>;

    /// The run with this uid.
    ///
    /// # Errors
    /// `NotFound`.
    async fn dag_run_by_uid(&self, uid: Uuid) -> Result<DagRun>;

    /// A page of runs.
    async fn dag_runs(&self, query: &RunQuery) -> Result<Page<DagRun>>;

    /// How many runs of these DAGs are in each state. DAGs that do not exist are left out, and states without a run.
    async fn count_runs(&self, dag_ids: &BTreeSet<DagId>) -> Result<BTreeMap<DagId, BTreeMap<RunState, u64>>>;

    /// Of each DAG that the caller may see (`None` for all) the run with the latest logical date, by the DAG's id. DAGs without
    /// runs are left out.
    async fn latest_runs(&self, readable: Option<Arc<BTreeSet<DagId>>>) -> Result<Vec<DagRun>>;

    /// Changes runs and their instances from outside the engine, all in one step; each run's `version` grows by one, and
    /// its owner is told. Returns the runs as they are then, in the order given, each with the keys of the instances that
    /// changed, sorted.
    ///
    /// # Errors
    /// `NotFound` if one of the runs is gone.
    async fn amend_runs(
        &self,
        now: DateTime<Utc>,
        amendments: Vec<Amendment>,
        audit: Option<AuditEntry>,
    ) -> Result<Vec<(DagRun, Vec<InstanceKey>)>>;

    /// Sets or removes a run's remark: no change of the run for the engine, nor for `updated_at`.
    ///
    /// # Errors
    /// `NotFound`.
    async fn set_run_note(
        &self,
        now: DateTime<Utc>,
        run: RunId,
        note: Option<Note>,
        audit: Option<AuditEntry>,
    ) -> Result<DagRun>;

    /// Forgets a run with all that belongs to it but its entries of the event log. Its live attempts become obsolete and
    /// hold their slots until they have ended, or their scheduler is gone.
    ///
    /// # Errors
    /// `NotFound`.
    async fn delete_run(&self, run: RunId, audit: Option<AuditEntry>) -> Result<()>;
}
