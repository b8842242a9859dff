//! Task instances, as clients see them, and what live attempts say of themselves.

use std::ops::RangeBounds;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use serde_json::Value;
use updraft_core::id::{AttemptToken, InstanceKey, RunId};
use updraft_core::model::{AuditEntry, Host, Note, TaskInstance, TaskInstanceTry, TaskState};
use updraft_core::storage::{Page, Range, Result, StorageError, Subject, TaskInstanceQuery, TaskInstanceStorage};

use crate::MemoryStorage;
use crate::instance::{Instance, hostname, key_at, pid};
use crate::list::{among, may_read};
use crate::run::Run;
use crate::state::State;

/// Whether a query asks for nothing that differs among the instances of a run.
fn asks_for_runs_only(query: &TaskInstanceQuery) -> bool {
    let no_range = |range: &Range<DateTime<Utc>>| *range == Range::default();
    query.task_ids.is_none()
        && query.map_indexes.is_none()
        && query.states.is_none()
        && query.pools.is_none()
        && query.queues.is_none()
        && query.executors.is_none()
        && no_range(&query.start_date)
        && no_range(&query.end_date)
        && no_range(&query.updated_at)
        && query.duration == Range::default()
}

fn matches(query: &TaskInstanceQuery, run: &Run, key: InstanceKey, instance: &Instance) -> bool {
    let Some(task) = run.version.dag.task(key.task) else {
        return false;
    };
    let executor_matches = |executors: &std::collections::BTreeSet<String>| {
        task.executor.as_ref().is_some_and(|executor| executors.contains(executor))
    };
    query.states.as_ref().is_none_or(|states| states.contains(&instance.state))
        && among(query.task_ids.as_ref(), task.task_id.as_str())
        && among(query.map_indexes.as_ref(), &key.map_index)
        && among(query.pools.as_ref(), task.pool.as_str())
        && among(query.queues.as_ref(), task.queue.as_str())
        && query.executors.as_ref().is_none_or(executor_matches)
        && query.start_date.contains(instance.start.get())
        && query.end_date.contains(instance.end.get())
        && query.updated_at.contains(instance.updated.get())
        && (query.duration == Range::default() || query.duration.contains(instance.duration()))
}

impl State {
    fn list_task_instances(&self, query: &TaskInstanceQuery) -> Page<TaskInstance> {
        let range = query.page.offset..query.page.offset.saturating_add(query.page.limit);
        let mut page = Page { items: Vec::new(), total: 0 };
        let mut index = 0;
        let runs = self.runs_of(query.dag_ids.as_ref()).into_iter().filter(|run| {
            may_read(query.readable.as_ref(), &run.record.dag_id)
                && among(query.run_ids.as_ref(), run.record.run_id.as_str())
                && query.logical_date.contains(Some(run.record.logical_date))
        });
        let all_match = asks_for_runs_only(query);
        for run in runs {
            if all_match && (index + run.instances.len() <= range.start || index >= range.end) {
                index += run.instances.len();
                continue;
            }
            // A single task of many needs no look at the others.
            let only = query.task_ids.as_ref().filter(|ids| ids.len() * 8 < run.instances.len());
            let mut visit = |place: usize, instance: &Instance| {
                let key = key_at(place);
                if all_match || matches(query, run, key, instance) {
                    if RangeBounds::contains(&range, &index) {
                        page.items.push(instance.view(&run.record, &run.version, &self.host, key));
                    }
                    index += 1;
                }
            };
            if let Some(ids) = only {
                let mut places: Vec<_> =
                    ids.iter().filter_map(|id| run.version.find_task(id)).map(|ix| ix.index()).collect();
                places.sort_unstable();
                places.into_iter().for_each(|place| visit(place, &run.instances[place]));
            } else {
                run.instances.iter().enumerate().for_each(|(place, instance)| visit(place, instance));
            }
        }
        page.total = index as u64;
        page
    }

    /// The instance of a live attempt whose outcome still counts.
    pub(crate) fn current_instance(&mut self, token: AttemptToken) -> Result<&mut Instance> {
        let (_, live) = self.attempts.find(token).ok_or(StorageError::Fenced)?;
        if live.attempt.is_obsolete {
            return Err(StorageError::Fenced);
        }
        let (run, key) = (live.attempt.run, live.attempt.key);
        self.run_mut(run).and_then(|run| run.instance_mut(key)).ok_or(StorageError::Fenced)
    }
}

impl Instance {
    fn duration(&self) -> Option<f64> {
        if self.is_branched_off() {
            return None;
        }
        let micros = (self.end.get()? - self.start.get()?).num_microseconds()?;
        #[allow(clippy::cast_precision_loss, reason = "as TaskInstance::duration has it")]
        Some(micros as f64 / 1e6)
    }

    fn tries(&self, host: &Host) -> Vec<TaskInstanceTry> {
        let mut tries = self.history().to_vec();
        let mut last = self.last_try();
        if last.state == TaskState::UpForRetry {
            // Passed, but not in the history before the next begins.
            last.state = TaskState::Failed;
        }
        tries.push(last);
        for one in &mut tries {
            one.hostname = hostname(host, one.queued_when);
            one.pid = pid(host, one.pid, one.queued_when, one.start_date);
            one.unixname = host.unixname.clone();
        }
        tries
    }
}

#[async_trait]
impl TaskInstanceStorage for MemoryStorage {
    async fn task_instance(&self, dag_id: &str, run_id: &str, task_id: &str, map_index: i32) -> Result<TaskInstance> {
        let state = self.lock();
        let run = state.find_run(dag_id, run_id)?;
        let key = run.version.find_task(task_id).map(|task| InstanceKey { task, map_index });
        let found = key.and_then(|key| Some((key, run.instance(key)?)));
        let (key, instance) = found.ok_or_else(|| {
            StorageError::NotFound(Subject::TaskInstance(dag_id.into(), run_id.into(), task_id.into(), map_index))
        })?;
        Ok(instance.view(&run.record, &run.version, &state.host, key))
    }

    async fn task_instances(&self, query: &TaskInstanceQuery) -> Result<Page<TaskInstance>> {
        Ok(self.lock().list_task_instances(query))
    }

    async fn instance_states(&self, places: &[(RunId, InstanceKey)]) -> Result<Vec<Option<TaskState>>> {
        let state = self.lock();
        let find = |(run, key): &(RunId, InstanceKey)| Some(state.run(*run)?.instance(*key)?.state);
        Ok(places.iter().map(find).collect())
    }

    async fn tries(&self, run: RunId, key: InstanceKey) -> Result<Vec<TaskInstanceTry>> {
        let state = self.lock();
        let instance = state.run(run).and_then(|run| run.instance(key));
        Ok(instance.map(|instance| instance.tries(&state.host)).unwrap_or_default())
    }

    async fn set_task_instance_note(
        &self,
        now: DateTime<Utc>,
        run: RunId,
        key: InstanceKey,
        note: Option<Note>,
        audit: Option<AuditEntry>,
    ) -> Result<()> {
        let mut state = self.lock();
        let run = state.existing_run(run)?;
        let names = (run.record.dag_id.to_string(), run.record.run_id.clone());
        let task = run.version.dag.task(key.task).map_or_else(|| key.task.to_string(), |task| task.task_id.to_string());
        let instance = run
            .instance_mut(key)
            .ok_or_else(|| StorageError::NotFound(Subject::TaskInstance(names.0, names.1, task, key.map_index)))?;
        if note.is_some() || instance.cold.is_some() {
            instance.cold_mut().note = note;
        }
        state.audit(now, audit);
        Ok(())
    }

    async fn set_process(&self, token: AttemptToken, pid: u32) -> Result<()> {
        let mut state = self.lock();
        state.current_instance(token)?.cold_mut().pid = Some(pid);
        Ok(())
    }

    async fn set_rendered_fields(&self, token: AttemptToken, fields: Value) -> Result<()> {
        let mut state = self.lock();
        state.current_instance(token)?.cold_mut().rendered = Some(fields);
        Ok(())
    }
}
