//! Runs: trigger, mark, clear, annotate, delete.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use chrono::{DateTime, FixedOffset, SubsecRound, TimeDelta, Utc};
use serde_json::{Map, Value};
use uuid::Uuid;

use super::param::check_params;
use super::task_instance::clear_amendments;
use super::{Actor, Result, Service, ServiceError};
use crate::id::DagId;
use crate::model::{
    AuditEntry, DagRecord, DagRun, DataInterval, Note, RunState, RunType, StateSet, TaskInstance, TaskState,
};
use crate::schedule::Timetable;
use crate::storage::{
    Amendment, InstanceAmendment, NewRun, Page, PageRequest, Range, RunQuery, StorageError, Subject, TaskInstanceQuery,
};

/// Longest text id of a run.
const MAX_RUN_ID: usize = 250;

/// How many moments are tried for a run whose logical date is free to choose.
const MAX_DATE_ATTEMPTS: i64 = 1000;

/// A run that a client asks for.
#[derive(Debug, Clone, Default)]
pub struct TriggerRequest {
    /// Its text id; made from its type and logical date if absent or empty.
    pub run_id: Option<String>,
    /// The moment that it stands for; now if absent.
    pub logical_date: Option<DateTime<FixedOffset>>,
    /// Start and end of the data that it covers; as the DAG's schedule says if absent.
    pub data_interval: Option<(DateTime<Utc>, DateTime<Utc>)>,
    /// What it is given.
    pub conf: Map<String, Value>,
    /// A remark.
    pub note: Option<String>,
}

/// A run that was asked for and may be created.
#[derive(Debug)]
pub struct CheckedTrigger<'a> {
    dag: &'a DagRecord,
    request: TriggerRequest,
    actor: &'a Actor,
    /// `None` where no timetable can be made of the DAG's schedule.
    timetable: Option<Arc<dyn Timetable>>,
    uid: Uuid,
    now: DateTime<Utc>,
    logical_date: DateTime<FixedOffset>,
    attempts: i64,
}

impl CheckedTrigger<'_> {
    /// When it was checked.
    pub fn now(&self) -> DateTime<Utc> {
        self.now
    }

    /// The run to create.
    pub fn run(&self) -> NewRun {
        new_run(self)
    }

    /// Chooses another logical date if that is free to choose and was what the run met: two clients may ask within the same
    /// microsecond.
    ///
    /// # Errors
    /// The obstacle, if there is no way around it.
    pub fn step_aside(&mut self, obstacle: StorageError) -> Result<()> {
        let may = matches!(obstacle, StorageError::AlreadyExists(Subject::LogicalDate(..)))
            && self.request.logical_date.is_none()
            && self.attempts < MAX_DATE_ATTEMPTS;
        if !may {
            return Err(obstacle.into());
        }
        self.attempts += 1;
        self.logical_date += TimeDelta::microseconds(self.attempts);
        Ok(())
    }
}

impl Service {
    /// A DAG that a run can be triggered of.
    ///
    /// # Errors
    /// `NotFound` if it does not exist or nobody declares it any more; `Conflict` if an import error is why nobody does.
    pub async fn dag_to_trigger(&self, dag_id: &str) -> Result<DagRecord> {
        let record = self.storage.dag(dag_id).await?;
        if record.has_import_errors {
            return Err(ServiceError::Conflict(Subject::Dag(dag_id.into()), "its file has import errors".into()));
        }
        if !record.is_active {
            return Err(ServiceError::NotFound(Subject::Dag(dag_id.into())));
        }
        Ok(record)
    }

    /// Creates a run of a DAG that [`Service::dag_to_trigger`] gave.
    ///
    /// # Errors
    /// Those of [`Service::check_trigger`]; `AlreadyExists` for a run with the same logical date (looked at first) or text
    /// id.
    pub async fn trigger(&self, dag: &DagRecord, request: TriggerRequest, actor: &Actor) -> Result<DagRun> {
        let mut trigger = self.check_trigger(dag, request, actor).await?;
        loop {
            match self.storage.create_runs(trigger.now(), vec![trigger.run()]).await?.pop() {
                Some(Ok(run)) => return Ok(run),
                Some(Err(obstacle)) => trigger.step_aside(obstacle)?,
                None => return Err(StorageError::Internal("a created run was not returned".into()).into()),
            }
        }
    }

    /// Checks what a client asks for, without creating the run.
    ///
    /// # Errors
    /// `Invalid` for a text id that may not be used; `InvalidParam` if the conf does not fit the DAG's parameters. Of a
    /// wrong request for a run that exists already, `AlreadyExists` is all that is said.
    pub async fn check_trigger<'a>(
        &self,
        dag: &'a DagRecord,
        request: TriggerRequest,
        actor: &'a Actor,
    ) -> Result<CheckedTrigger<'a>> {
        let now = self.now().await?;
        if let Err(error) = check_request(dag, &request) {
            // That such a run exists already is said before anything else about the request.
            self.check_is_new(dag, &request).await?;
            return Err(error);
        }
        let logical_date = request.logical_date.unwrap_or_else(|| now.fixed_offset()).trunc_subsecs(6);
        let timetable = match request.data_interval {
            Some(_) => None,
            None => self.timetables.timetable(&dag.dag().schedule, &dag.dag().timezone).ok(),
        };
        let uid = self.ids().uuid(now);
        Ok(CheckedTrigger { dag, request, actor, timetable, uid, now, logical_date, attempts: 0 })
    }

    async fn check_is_new(&self, dag: &DagRecord, request: &TriggerRequest) -> Result<()> {
        let dag_ids = Some(BTreeSet::from([dag.dag_id().clone()]));
        let page = PageRequest { limit: 1, offset: 0 };
        if let Some(date) = request.logical_date {
            let date = date.trunc_subsecs(6).to_utc();
            let logical_date = Range { at_least: Some(date), at_most: Some(date) };
            let query = RunQuery { dag_ids: dag_ids.clone(), logical_date, page, ..RunQuery::default() };
            if self.storage.dag_runs(&query).await?.total > 0 {
                return Err(ServiceError::AlreadyExists(Subject::LogicalDate(dag.dag_id().to_string(), date)));
            }
        }
        if let Some(run_id) = &request.run_id {
            let query =
                RunQuery { dag_ids, run_ids: Some(BTreeSet::from([run_id.clone()])), page, ..RunQuery::default() };
            if self.storage.dag_runs(&query).await?.total > 0 {
                return Err(ServiceError::AlreadyExists(Subject::DagRun(dag.dag_id().to_string(), run_id.clone())));
            }
        }
        Ok(())
    }

    /// A run.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn dag_run(&self, dag_id: &str, run_id: &str) -> Result<DagRun> {
        Ok(self.storage.dag_run(dag_id, run_id).await?)
    }

    /// The run with this uid.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn dag_run_by_uid(&self, uid: Uuid) -> Result<DagRun> {
        Ok(self.storage.dag_run_by_uid(uid).await?)
    }

    /// How many runs of these DAGs are in each state; DAGs that do not exist are left out.
    ///
    /// # Errors
    /// The storage failed.
    pub async fn count_runs(&self, dag_ids: &BTreeSet<DagId>) -> Result<BTreeMap<DagId, BTreeMap<RunState, u64>>> {
        Ok(self.storage.count_runs(dag_ids).await?)
    }

    /// The run of a DAG that has a logical date.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn dag_run_on(&self, dag_id: &str, logical_date: DateTime<Utc>) -> Result<DagRun> {
        let query = RunQuery {
            dag_ids: Some(BTreeSet::from([DagId::from(dag_id)])),
            logical_date: Range { at_least: Some(logical_date), at_most: Some(logical_date) },
            page: PageRequest { limit: 1, offset: 0 },
            ..RunQuery::default()
        };
        let found = self.storage.dag_runs(&query).await?.items.pop();
        found.ok_or_else(|| ServiceError::NotFound(Subject::LogicalDate(dag_id.into(), logical_date)))
    }

    /// Of each DAG that the caller may see (`None` for all) the run with the latest logical date, by the DAG's id.
    ///
    /// # Errors
    /// Those of the storage.
    pub async fn latest_runs(&self, readable: Option<Arc<BTreeSet<DagId>>>) -> Result<Vec<DagRun>> {
        Ok(self.storage.latest_runs(readable).await?)
    }

    /// A page of runs.
    ///
    /// # Errors
    /// Those of the storage.
    pub async fn dag_runs(&self, query: &RunQuery) -> Result<Page<DagRun>> {
        Ok(self.storage.dag_runs(query).await?)
    }

    /// Sets the state of a run and, for a finished one, of its task instances: `success` makes all succeed, `failed` makes
    /// those fail that are under way and skips those that have not started. Teardowns are left to do their work, and then
    /// the engine ends the run. `queued` starts the run over, without touching its instances.
    ///
    /// # Errors
    /// `NotFound`; `Invalid` for a state that cannot be set.
    pub async fn set_run_state(&self, dag_id: &str, run_id: &str, state: RunState, actor: &Actor) -> Result<DagRun> {
        let run = self.storage.dag_run(dag_id, run_id).await?;
        let (instances, waits_for_teardown) = match state {
            RunState::Queued => (Vec::new(), false),
            RunState::Success => {
                let instances = self.instances_of(dag_id, run_id).await?;
                let has_teardown = instances.iter().any(is_teardown);
                (mark_success(&instances), has_teardown)
            }
            RunState::Failed => {
                let instances = self.instances_of(dag_id, run_id).await?;
                let has_teardown =
                    instances.iter().any(|instance| is_teardown(instance) && !instance.state.is_finished());
                (mark_failed(&instances), has_teardown)
            }
            RunState::Running => return Err(ServiceError::invalid("state", "a run starts by itself once it may")),
        };
        // A run that has the state keeps its dates.
        let state = (state != run.state && !waits_for_teardown).then_some(state);
        let audit = run_audit(actor, "update_dag_run_state", dag_id, run_id);
        self.amend_run(Amendment { run: run.id, state, restarts: false, instances }, audit).await
    }

    /// Ends a run at once, whatever its state: it is failed, what is under way is ended and failed, and what has not started
    /// is skipped. So are the tasks that end the run and have no work of their own, even if they had ended: by them a
    /// cancelled run is told from one that failed by itself, for as long as it exists.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn cancel_run(&self, dag_id: &str, run_id: &str, actor: &Actor) -> Result<DagRun> {
        let run = self.storage.dag_run(dag_id, run_id).await?;
        let found = self.instances_of(dag_id, run_id).await?;
        let downstream = found.first().map(|instance| instance.dag.downstream()).unwrap_or_default();
        let (last, others): (Vec<_>, Vec<_>) = found.into_iter().partition(|instance| {
            instance.task().is_some_and(|task| task.is_empty)
                && downstream.get(instance.key.task.index()).is_some_and(Vec::is_empty)
        });
        let mark = InstanceAmendment::Mark { state: TaskState::Skipped, only: StateSet::ALL };
        let mut instances = mark_failed(&others);
        instances.extend(last.iter().map(|instance| (instance.key, mark.clone())));
        let audit = run_audit(actor, "cancel_dag_run", dag_id, run_id);
        let state = (run.state != RunState::Failed).then_some(RunState::Failed);
        self.amend_run(Amendment { run: run.id, state, restarts: false, instances }, audit).await
    }

    /// The task instances of a run that [`Service::clear_run`] starts over.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn run_to_clear(&self, dag_id: &str, run_id: &str) -> Result<Vec<TaskInstance>> {
        self.storage.dag_run(dag_id, run_id).await?;
        self.instances_of(dag_id, run_id).await
    }

    /// Starts all task instances of a run over, and the run itself if it has ended.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn clear_run(&self, dag_id: &str, run_id: &str, actor: &Actor) -> Result<DagRun> {
        let run = self.storage.dag_run(dag_id, run_id).await?;
        let instances = self.instances_of(dag_id, run_id).await?;
        let audit = run_audit(actor, "clear_dag_run", dag_id, run_id);
        let amendment = clear_amendments(&instances, StateSet::ALL, true).pop();
        let amendment =
            amendment.unwrap_or(Amendment { run: run.id, state: None, restarts: false, instances: Vec::new() });
        self.amend_run(amendment, audit).await
    }

    /// Sets a run's remark.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn set_run_note(
        &self,
        dag_id: &str,
        run_id: &str,
        note: Option<String>,
        actor: &Actor,
    ) -> Result<DagRun> {
        let run = self.storage.dag_run(dag_id, run_id).await?;
        let now = self.now().await?;
        let audit = run_audit(actor, "set_dag_run_note", dag_id, run_id);
        let note = note.map(|content| Note { content, user: actor.user().map(Into::into) });
        Ok(self.storage.set_run_note(now, run.id, note, Some(audit)).await?)
    }

    /// Forgets a run with all that belongs to it.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn delete_run(&self, dag_id: &str, run_id: &str, actor: &Actor) -> Result<()> {
        let run = self.storage.dag_run(dag_id, run_id).await?;
        self.storage.delete_run(run.id, Some(run_audit(actor, "delete_dag_run", dag_id, run_id))).await?;
        if let Err(error) = self.logs.delete_run(dag_id, run_id).await {
            tracing::warn!(%error, dag_id, run_id, "the logs of a deleted run remain");
        }
        Ok(())
    }

    async fn instances_of(&self, dag_id: &str, run_id: &str) -> Result<Vec<TaskInstance>> {
        let query = TaskInstanceQuery {
            dag_ids: Some(BTreeSet::from([DagId::from(dag_id)])),
            run_ids: Some(BTreeSet::from([run_id.to_owned()])),
            ..TaskInstanceQuery::default()
        };
        Ok(self.storage.task_instances(&query).await?.items)
    }

    async fn amend_run(&self, amendment: Amendment, audit: AuditEntry) -> Result<DagRun> {
        let now = self.now().await?;
        let amended = self.storage.amend_runs(now, vec![amendment], Some(audit)).await?.pop();
        let (run, _) = amended.ok_or_else(|| StorageError::Internal("an amended run was not returned".into()))?;
        Ok(run)
    }
}

fn run_audit(actor: &Actor, operation: &str, dag_id: &str, run_id: &str) -> AuditEntry {
    AuditEntry { dag_id: Some(dag_id.into()), run_id: Some(run_id.into()), ..actor.audit(operation) }
}

fn is_teardown(instance: &TaskInstance) -> bool {
    instance.task().is_some_and(|task| task.is_teardown)
}

fn mark_success(instances: &[TaskInstance]) -> Vec<(crate::id::InstanceKey, InstanceAmendment)> {
    let mark = InstanceAmendment::Mark { state: TaskState::Success, only: StateSet::ALL };
    instances.iter().filter(|instance| !is_teardown(instance)).map(|instance| (instance.key, mark.clone())).collect()
}

fn mark_failed(instances: &[TaskInstance]) -> Vec<(crate::id::InstanceKey, InstanceAmendment)> {
    let is_under_way = |state| matches!(state, TaskState::Running | TaskState::Deferred | TaskState::UpForReschedule);
    instances
        .iter()
        .filter(|instance| !instance.state.is_finished() && !is_teardown(instance))
        .map(|instance| {
            let state = if is_under_way(instance.state) { TaskState::Failed } else { TaskState::Skipped };
            // Whatever an instance has become meanwhile, nothing of a failed run goes on.
            (instance.key, InstanceAmendment::Mark { state, only: StateSet::FINISHED.complement() })
        })
        .collect()
}

fn check_request(dag: &DagRecord, request: &TriggerRequest) -> Result<()> {
    if let Some(run_id) = request.run_id.as_deref().filter(|run_id| !run_id.is_empty()) {
        check_run_id(run_id)?;
    }
    check_params(&dag.dag().params, &request.conf)
}

/// A manual run's id must not look like one of another type, and must be fit for a path.
fn check_run_id(run_id: &str) -> Result<()> {
    let kind = RunType::from_run_id(run_id);
    if kind != RunType::Manual {
        let text = format!("A manual DAG run cannot use ID '{run_id}' since it is reserved for {kind} runs");
        return Err(ServiceError::invalid("dag_run_id", text));
    }
    if run_id.chars().count() > MAX_RUN_ID {
        return Err(ServiceError::invalid("dag_run_id", format!("Longer than maximum length {MAX_RUN_ID}.")));
    }
    let is_allowed = |c: char| c.is_ascii_alphanumeric() || "_.~:+-".contains(c);
    if !run_id.chars().all(is_allowed) {
        let shown = crate::python::str_repr(run_id);
        let text =
            format!("The provided run ID {shown} is invalid. It does not match the pattern '^[A-Za-z0-9_.~:+-]+$'");
        return Err(ServiceError::invalid("dag_run_id", text));
    }
    Ok(())
}

fn new_run(trigger: &CheckedTrigger<'_>) -> NewRun {
    let CheckedTrigger { dag, request, actor, timetable, uid, logical_date, .. } = trigger;
    let run_id = match request.run_id.as_deref() {
        None | Some("") => RunType::Manual.run_id(*logical_date),
        Some(run_id) => run_id.to_owned(),
    };
    let date = logical_date.to_utc();
    let inferred = || timetable.as_ref().map_or(DataInterval::exact(date), |timetable| timetable.manual_interval(date));
    let interval = request.data_interval.map_or_else(inferred, |(start, end)| DataInterval { start, end });
    let audit = AuditEntry { dag_id: Some(dag.dag_id().clone()), ..actor.audit("post_dag_run") };
    NewRun {
        uid: *uid,
        dag_version: dag.version.id,
        run_id,
        run_type: RunType::Manual,
        state: RunState::Queued,
        logical_date: date,
        data_interval_start: interval.start,
        data_interval_end: interval.end,
        external_trigger: true,
        conf: Value::Object(request.conf.clone()),
        note: request.note.clone().map(|content| Note { content, user: actor.user().map(Into::into) }),
        audit: Some(audit),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_of_runs_are_checked() {
        let text = |run_id: &str| check_run_id(run_id).err().map(|error| error.to_string());
        assert_eq!(text("manual__2024-03-13T00:00:00+00:00"), None);
        assert_eq!(text("rec_1.a~b:c+d-E"), None);
        assert_eq!(
            text("scheduled__x").as_deref(),
            Some("dag_run_id: A manual DAG run cannot use ID 'scheduled__x' since it is reserved for scheduled runs")
        );
        for bad in ["rec/slash", "rec space", "rec_é", "a\n"] {
            assert!(text(bad).is_some(), "{bad}");
        }
        assert_eq!(text(&"r".repeat(250)), None);
        assert!(text(&"r".repeat(251)).is_some());
    }
}
