//! Task instances: read, clear, mark, annotate.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};

use super::interval::dates_on_schedule;
use super::relatives::Relatives;
use super::{Actor, Result, Service, ServiceError};
use crate::id::{DagId, RunId, TaskIx, UNMAPPED};
use crate::model::{
    AuditEntry, Dag, DagRun, Note, RunType, Schedule, StateSet, TaskInstance, TaskInstanceTry, TaskState,
};
use crate::storage::{Amendment, InstanceAmendment, Page, Range, RunQuery, Subject, TaskInstanceQuery};

/// States that the clearing of failed instances is about.
const FAILED: StateSet = StateSet::of(&[TaskState::Failed, TaskState::UpstreamFailed]);

/// Which task instances of a DAG start over.
#[derive(Debug, Clone, Default)]
pub struct ClearRequest {
    /// Of this run alone.
    pub run_id: Option<String>,
    /// Of runs with this logical date or a later one.
    pub start_date: Option<DateTime<Utc>>,
    /// Of runs with this logical date or an earlier one; never of runs in the future.
    pub end_date: Option<DateTime<Utc>>,
    /// Of these tasks; `None` for all. Unknown ones are ignored.
    pub task_ids: Option<BTreeSet<String>>,
    /// Failed and upstream_failed ones only.
    pub only_failed: bool,
    /// Running ones only.
    pub only_running: bool,
    /// Also of all tasks before those.
    pub include_upstream: bool,
    /// Also of all tasks after those.
    pub include_downstream: bool,
    /// Also of later runs.
    pub include_future: bool,
    /// Also of earlier runs.
    pub include_past: bool,
    /// Whether runs that have ended start over, too.
    pub reset_dag_runs: bool,
}

/// The run that a [`MarkRequest`] starts from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RunAnchor {
    /// By its text id.
    RunId(String),
    /// By its logical date.
    LogicalDate(DateTime<Utc>),
}

/// Which task instances of a DAG are set to a finished state.
#[derive(Debug, Clone)]
pub struct MarkRequest {
    /// Of this task.
    pub task_id: String,
    /// Of this run.
    pub run: RunAnchor,
    /// This mapped instance alone; `None` for all.
    pub map_index: Option<i32>,
    /// The state.
    pub state: TaskState,
    /// Also of all tasks before it.
    pub include_upstream: bool,
    /// Also of all tasks after it.
    pub include_downstream: bool,
    /// Also of later runs.
    pub include_future: bool,
    /// Also of earlier runs.
    pub include_past: bool,
    /// Whether nothing is changed.
    pub dry_run: bool,
}

impl Service {
    /// A task instance.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn task_instance(
        &self,
        dag_id: &str,
        run_id: &str,
        task_id: &str,
        map_index: i32,
    ) -> Result<TaskInstance> {
        Ok(self.storage.task_instance(dag_id, run_id, task_id, map_index).await?)
    }

    /// A page of task instances.
    ///
    /// # Errors
    /// Those of the storage.
    pub async fn task_instances(&self, query: &TaskInstanceQuery) -> Result<Page<TaskInstance>> {
        Ok(self.storage.task_instances(query).await?)
    }

    /// All instances of a task in a run, by map index.
    ///
    /// # Errors
    /// Those of the storage.
    pub async fn instances_of_task(&self, dag_id: &str, run_id: &str, task_id: &str) -> Result<Vec<TaskInstance>> {
        let query = TaskInstanceQuery {
            dag_ids: Some(BTreeSet::from([DagId::from(dag_id)])),
            run_ids: Some(BTreeSet::from([run_id.to_owned()])),
            task_ids: Some(BTreeSet::from([task_id.to_owned()])),
            ..TaskInstanceQuery::default()
        };
        Ok(self.storage.task_instances(&query).await?.items)
    }

    /// The tries of an instance, oldest first. The last one is the instance as it stands, also before its first try and
    /// between clearing and the next try; while it waits for a retry, that is the failed try that it was.
    ///
    /// # Errors
    /// Those of the storage.
    pub async fn tries(&self, instance: &TaskInstance) -> Result<Vec<TaskInstanceTry>> {
        Ok(self.storage.tries(instance.run.id, instance.key).await?)
    }

    /// The task instances that a request starts over.
    ///
    /// # Errors
    /// `NotFound` for the DAG or the run.
    pub async fn task_instances_to_clear(&self, dag_id: &str, request: &ClearRequest) -> Result<Vec<TaskInstance>> {
        let record = self.storage.dag(dag_id).await?;
        let (mut start, mut end) = (request.start_date, request.end_date);
        if let Some(run_id) = &request.run_id {
            let run = self.storage.dag_run(dag_id, run_id).await?;
            (start, end) = (Some(run.logical_date), Some(run.logical_date));
        }
        if request.include_past {
            start = None;
        }
        if request.include_future {
            end = None;
        }
        let end = match end {
            Some(end) => end,
            None => self.now().await?,
        };
        let dag = record.dag();
        let task_ids = request.task_ids.as_ref().map(|ids| {
            let matched =
                dag.tasks().filter(|(_, task)| ids.contains(task.task_id.as_str())).map(|(ix, _)| ix).collect();
            let subset = Relatives::new(dag).subset(&matched, request.include_upstream, request.include_downstream);
            ids_of(dag, subset)
        });
        let states = match (request.only_failed, request.only_running) {
            (false, false) => None,
            (failed, running) => {
                let failed = failed.then_some([TaskState::Failed, TaskState::UpstreamFailed]);
                Some(failed.into_iter().flatten().chain(running.then_some(TaskState::Running)).collect())
            }
        };
        let query = TaskInstanceQuery {
            dag_ids: Some(BTreeSet::from([dag.dag_id.clone()])),
            task_ids,
            states,
            logical_date: Range { at_least: start, at_most: Some(end) },
            ..TaskInstanceQuery::default()
        };
        Ok(self.storage.task_instances(&query).await?.items)
    }

    /// Starts task instances over, and returns them as they were.
    ///
    /// # Errors
    /// `NotFound` for the DAG or the run.
    pub async fn clear_task_instances(
        &self,
        dag_id: &str,
        request: &ClearRequest,
        actor: &Actor,
    ) -> Result<Vec<TaskInstance>> {
        let instances = self.task_instances_to_clear(dag_id, request).await?;
        let only = match (request.only_failed, request.only_running) {
            (false, false) => StateSet::ALL,
            (true, false) => FAILED,
            (false, true) => StateSet::of(&[TaskState::Running]),
            (true, true) => StateSet::of(&[TaskState::Failed, TaskState::UpstreamFailed, TaskState::Running]),
        };
        let amendments = clear_amendments(&instances, only, request.reset_dag_runs);
        let audit = AuditEntry { dag_id: Some(dag_id.into()), ..actor.audit("post_clear_task_instances") };
        self.amend(amendments, audit).await?;
        Ok(instances)
    }

    /// Sets task instances to a finished state, and returns those that had another, as they were. Failed instances after
    /// the task are then cleared, and their runs go on, as Airflow does it.
    ///
    /// # Errors
    /// `NotFound` for the DAG, the task or the task instance.
    pub async fn mark_task_instances(
        &self,
        dag_id: &str,
        request: &MarkRequest,
        actor: &Actor,
    ) -> Result<Vec<TaskInstance>> {
        let record = self.storage.dag(dag_id).await?;
        let dag = record.dag();
        let task = dag
            .find_task(&request.task_id)
            .ok_or_else(|| ServiceError::NotFound(Subject::Task(dag_id.into(), request.task_id.clone())))?;
        let run = self.anchor(dag_id, request).await?;
        let runs = self.runs_around(dag, &run, request).await?;

        let relatives = Relatives::new(dag);
        let start = BTreeSet::from([task]);
        let mut marked = start.clone();
        if request.include_upstream {
            marked.extend(relatives.upstream(&start));
        }
        if request.include_downstream {
            marked.extend(relatives.downstream(&start));
        }
        let mut cleared = relatives.subset(&start, false, true);
        cleared.remove(&task);
        let marked = ids_of(dag, marked);
        let cleared = ids_of(dag, cleared);

        let query = TaskInstanceQuery {
            dag_ids: Some(BTreeSet::from([dag.dag_id.clone()])),
            run_ids: Some(runs.iter().map(|(run, _)| run.run_id.clone()).collect()),
            task_ids: Some(marked.union(&cleared).cloned().collect()),
            ..TaskInstanceQuery::default()
        };
        let is_marked_run: BTreeMap<RunId, bool> = runs.iter().map(|(run, is_marked)| (run.id, *is_marked)).collect();
        let mut altered = Vec::new();
        let mut amendments = Amendments::default();
        for instance in self.storage.task_instances(&query).await?.items {
            let task_id = task_id_of(&instance);
            let is_the_task = task_id == request.task_id;
            let is_marked = is_marked_run.get(&instance.run.id).copied().unwrap_or(false)
                && marked.contains(task_id)
                && (!is_the_task || request.map_index.is_none_or(|index| index == instance.key.map_index))
                && instance.state != request.state;
            let state = if is_marked { request.state } else { instance.state };
            if is_marked {
                let mark = InstanceAmendment::Mark { state: request.state, only: StateSet::ALL };
                amendments.add(&instance, mark, false);
            }
            if cleared.contains(task_id) && FAILED.contains(state) {
                amendments.add(&instance, clear(&instance, FAILED), true);
            }
            if is_marked {
                altered.push(instance);
            }
        }
        if !request.dry_run {
            let operation =
                if request.map_index.is_some() { "patch_task_instance" } else { "post_set_task_instances_state" };
            let mut audit = AuditEntry { dag_id: Some(dag_id.into()), ..actor.audit(operation) };
            if request.map_index.is_some() {
                audit.task_id = Some(request.task_id.clone());
                audit.run_id = Some(run.run_id.clone());
            }
            self.amend(amendments.into_inner(), audit).await?;
        }
        Ok(altered)
    }

    /// Sets an instance's remark.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn set_task_instance_note(
        &self,
        instance: &TaskInstance,
        note: Option<String>,
        actor: &Actor,
    ) -> Result<TaskInstance> {
        let now = self.now().await?;
        let task_id = task_id_of(instance);
        let run = &instance.run;
        let audit = AuditEntry {
            dag_id: Some(run.dag_id.clone()),
            run_id: Some(run.run_id.clone()),
            task_id: Some(task_id.into()),
            ..actor.audit("set_task_instance_note")
        };
        let note = note.map(|content| Note { content, user: actor.user().map(Into::into) });
        self.storage.set_task_instance_note(now, run.id, instance.key, note, Some(audit)).await?;
        self.task_instance(run.dag_id.as_str(), &run.run_id, task_id, instance.key.map_index).await
    }

    /// The run that a request names, which must have an instance of the task.
    async fn anchor(&self, dag_id: &str, request: &MarkRequest) -> Result<DagRun> {
        let missing = |run_id: &str, index| {
            let subject = Subject::TaskInstance(dag_id.into(), run_id.into(), request.task_id.clone(), index);
            ServiceError::NotFound(subject)
        };
        match &request.run {
            RunAnchor::RunId(run_id) => {
                let index = request.map_index.unwrap_or(UNMAPPED);
                let found = self.storage.task_instance(dag_id, run_id, &request.task_id, index).await?;
                Ok(DagRun::clone(&found.run))
            }
            RunAnchor::LogicalDate(date) => {
                let query = TaskInstanceQuery {
                    dag_ids: Some(BTreeSet::from([DagId::from(dag_id)])),
                    task_ids: Some(BTreeSet::from([request.task_id.clone()])),
                    logical_date: Range { at_least: Some(*date), at_most: Some(*date) },
                    ..TaskInstanceQuery::default()
                };
                let found = self.storage.task_instances(&query).await?.items.pop();
                found.map(|instance| DagRun::clone(&instance.run)).ok_or_else(|| missing(&date.to_rfc3339(), UNMAPPED))
            }
        }
    }

    /// The runs that a request is about, each with whether instances of it are marked; failed ones are cleared in all.
    async fn runs_around(&self, dag: &Dag, run: &DagRun, request: &MarkRequest) -> Result<Vec<(DagRun, bool)>> {
        if !request.include_future && !request.include_past {
            return Ok(vec![(run.clone(), true)]);
        }
        let query = RunQuery {
            dag_ids: Some(BTreeSet::from([dag.dag_id.clone()])),
            logical_date: Range {
                at_least: (!request.include_past).then_some(run.logical_date),
                at_most: (!request.include_future).then_some(run.logical_date),
            },
            ..RunQuery::default()
        };
        let around = self.storage.dag_runs(&query).await?.items;
        let reach = reach_of(&dag.schedule);
        let on_schedule = match (&reach, self.timetables.timetable(&dag.schedule, &dag.timezone)) {
            (Reach::Scheduled, Ok(timetable)) => {
                let dates = around.iter().map(|run| run.logical_date).collect();
                dates_on_schedule(&dag.schedule, timetable.as_ref(), &dates)
            }
            _ => BTreeSet::new(),
        };
        let is_marked = |other: &DagRun| {
            other.id == run.id
                || match reach {
                    Reach::All => true,
                    Reach::Scheduled => {
                        matches!(other.run_type, RunType::Scheduled | RunType::Backfill)
                            || on_schedule.contains(&other.logical_date)
                    }
                    Reach::Itself => false,
                }
        };
        Ok(around.into_iter().map(|run| (is_marked(&run), run)).map(|(is_marked, run)| (run, is_marked)).collect())
    }

    async fn amend(&self, amendments: Vec<Amendment>, audit: AuditEntry) -> Result<()> {
        let now = self.now().await?;
        self.storage.amend_runs(now, amendments, Some(audit)).await?;
        Ok(())
    }
}

/// Which other runs of a DAG count as its past and future (Airflow 2.11, `mark_tasks.get_run_ids`).
enum Reach {
    /// All that there are.
    All,
    /// Those that the schedule made, or could have made.
    Scheduled,
    /// None.
    Itself,
}

fn reach_of(schedule: &Schedule) -> Reach {
    match schedule {
        Schedule::None => Reach::All,
        Schedule::Once | Schedule::Continuous | Schedule::Datasets { .. } => Reach::Itself,
        _ => Reach::Scheduled,
    }
}

fn task_id_of(instance: &TaskInstance) -> &str {
    instance.task().map_or("", |task| task.task_id.as_str())
}

fn ids_of(dag: &Dag, tasks: BTreeSet<TaskIx>) -> BTreeSet<String> {
    tasks.into_iter().filter_map(|ix| dag.task(ix)).map(|task| task.task_id.to_string()).collect()
}

fn clear(instance: &TaskInstance, only: StateSet) -> InstanceAmendment {
    InstanceAmendment::Clear { retries: instance.task().map_or(0, |task| task.retries), only }
}

/// Amendments that start `instances` over, where their state is in `only`; with `reset`, runs that have ended, too.
pub(super) fn clear_amendments(instances: &[TaskInstance], only: StateSet, reset: bool) -> Vec<Amendment> {
    let mut amendments = Amendments::default();
    for instance in instances {
        amendments.add(instance, clear(instance, only), reset);
    }
    amendments.into_inner()
}

/// Amendments by run.
#[derive(Debug, Default)]
struct Amendments(BTreeMap<RunId, Amendment>);

impl Amendments {
    fn add(&mut self, instance: &TaskInstance, change: InstanceAmendment, resets_run: bool) {
        let run = &instance.run;
        let empty = || Amendment { run: run.id, state: None, restarts: false, instances: Vec::new() };
        let amendment = self.0.entry(run.id).or_insert_with(empty);
        amendment.instances.push((instance.key, change));
        if resets_run {
            amendment.restarts = true;
        }
    }

    fn into_inner(self) -> Vec<Amendment> {
        self.0.into_values().collect()
    }
}
