//! What keeps a task instance from being queued.

use std::collections::BTreeSet;

use chrono::{DateTime, SecondsFormat, Utc};

use super::{Result, Service, ServiceError};
use crate::id::DagId;
use crate::model::{RunState, Task, TaskInstance, TaskState, TriggerRule};
use crate::storage::{PageRequest, TaskInstanceQuery};

/// A reason why a task instance is not queued.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dependency {
    /// Airflow's name of the rule.
    pub name: &'static str,
    /// Why it does not hold.
    pub reason: String,
}

impl Service {
    /// What keeps an instance that has no state yet, or is scheduled, from being queued, by name; nothing for others.
    ///
    /// # Errors
    /// Those of the storage.
    pub async fn unmet_dependencies(&self, instance: &TaskInstance) -> Result<Vec<Dependency>> {
        if !matches!(instance.state, TaskState::None | TaskState::Scheduled) {
            return Ok(Vec::new());
        }
        let record = match self.storage.dag(instance.dag.dag_id.as_str()).await {
            Ok(record) => record,
            Err(error) => match ServiceError::from(error) {
                ServiceError::NotFound(_) => return Ok(Vec::new()),
                error => return Err(error),
            },
        };
        let Some(task) = instance.task() else { return Ok(Vec::new()) };
        let mut unmet = Vec::new();
        let mut add = |name, reason| unmet.push(Dependency { name, reason });

        if record.is_paused {
            add("Dag Not Paused", format!("Task's DAG '{}' is paused.", instance.dag.dag_id));
        }
        if instance.run.state != RunState::Running {
            let state = instance.run.state;
            add(
                "Dagrun Running",
                format!("Task instance's dagrun was not in the 'running' state but in the state '{state}'."),
            );
        }
        for reason in date_reasons(instance, task, self.now().await?) {
            add("Execution Date", reason);
        }
        if let Some(reason) = self.pool_reason(task).await? {
            add("Pool Slots Available", reason);
        }
        if let Some((_, hold)) = self.hold_of_past(instance).await? {
            add("Previous Dagrun State", hold.to_string());
        }
        if let Some(reason) = self.task_limit_reason(instance, task).await? {
            add("Task Concurrency", reason);
        }
        let running = self.count_running(instance, false, false).await?;
        let limit = record.dag().max_active_tasks;
        if running >= u64::from(limit) {
            let dag_id = &instance.dag.dag_id;
            let reason = format!(
                "The maximum number of running tasks ({limit}) for this task's DAG '{dag_id}' has been reached."
            );
            add("Task Instance Slots Available", reason);
        }
        if instance.state == TaskState::None {
            add("Task Instance State", "Task is in the 'None' state.".into());
        }
        let upstream = self.upstream_states(instance, task).await?;
        if let Some(reason) = trigger_rule_reason(task.trigger_rule, &upstream, instance.key.map_index >= 0) {
            add("Trigger Rule", reason);
        }
        Ok(unmet)
    }

    async fn pool_reason(&self, task: &Task) -> Result<Option<String>> {
        let pool = &task.pool;
        let usage = match self.storage.pool(pool).await {
            Ok(usage) => usage,
            Err(error) => {
                return match ServiceError::from(error) {
                    ServiceError::NotFound(_) => {
                        Ok(Some(format!("Tasks using non-existent pool '{pool}' will not be scheduled")))
                    }
                    error => Err(error),
                };
            }
        };
        let needed = task.pool_slots;
        Ok(usage.open().filter(|open| *open < i64::from(needed)).map(|open| {
            format!("Not scheduling since there are {open} open slots in pool {pool} and require {needed} pool slots")
        }))
    }

    async fn task_limit_reason(&self, instance: &TaskInstance, task: &Task) -> Result<Option<String>> {
        if let Some(limit) = task.max_active_tis_per_dag
            && self.count_running(instance, true, false).await? >= u64::from(limit)
        {
            return Ok(Some("The max task concurrency has been reached.".into()));
        }
        if let Some(limit) = task.max_active_tis_per_dagrun
            && self.count_running(instance, true, true).await? >= u64::from(limit)
        {
            return Ok(Some("The max task concurrency per run has been reached.".into()));
        }
        Ok(None)
    }

    pub(super) async fn count_running(&self, instance: &TaskInstance, same_task: bool, same_run: bool) -> Result<u64> {
        let task_id = instance.task().map(|task| task.task_id.to_string()).unwrap_or_default();
        let query = TaskInstanceQuery {
            dag_ids: Some(BTreeSet::from([DagId::clone(&instance.dag.dag_id)])),
            run_ids: same_run.then(|| BTreeSet::from([instance.run.run_id.clone()])),
            task_ids: same_task.then(|| BTreeSet::from([task_id])),
            states: Some(BTreeSet::from([TaskState::Running])),
            page: PageRequest { limit: 1, offset: 0 },
            ..TaskInstanceQuery::default()
        };
        Ok(self.storage.task_instances(&query).await?.total)
    }

    async fn upstream_states(&self, instance: &TaskInstance, task: &Task) -> Result<UpstreamStates> {
        let mut states = UpstreamStates::default();
        let upstream: Vec<_> = task.upstream.iter().filter_map(|ix| instance.dag.task(*ix)).collect();
        if upstream.is_empty() {
            return Ok(states);
        }
        states.task_ids = upstream.iter().map(|task| task.task_id.to_string()).collect();
        states.tasks = upstream.len();
        let query = TaskInstanceQuery {
            dag_ids: Some(BTreeSet::from([instance.run.dag_id.clone()])),
            run_ids: Some(BTreeSet::from([instance.run.run_id.clone()])),
            task_ids: Some(states.task_ids.clone()),
            ..TaskInstanceQuery::default()
        };
        for other in self.storage.task_instances(&query).await?.items {
            states.count(other.state, other.task().is_some_and(|task| task.is_setup));
        }
        Ok(states)
    }
}

fn isoformat(date: DateTime<Utc>) -> String {
    let format = if date.timestamp_subsec_micros() == 0 { SecondsFormat::Secs } else { SecondsFormat::Micros };
    date.to_rfc3339_opts(format, false)
}

fn date_reasons(instance: &TaskInstance, task: &Task, now: DateTime<Utc>) -> Vec<String> {
    let date = instance.run.logical_date;
    let shown = isoformat(date);
    let mut reasons = Vec::new();
    if date > now {
        reasons.push(format!("Execution date {shown} is in the future (the current date is {}).", isoformat(now)));
    }
    for (end, whose) in [(task.end_date, "the task's end date"), (instance.dag.end_date, "the task's DAG's end date")] {
        if let Some(end) = end.filter(|end| date > *end) {
            reasons.push(format!("The execution date is {shown} but this is after {whose} {}.", isoformat(end)));
        }
    }
    for (start, whose) in
        [(task.start_date, "the task's start date"), (instance.dag.start_date, "the task's DAG's start date")]
    {
        if let Some(start) = start.filter(|start| date < *start) {
            reasons.push(format!("The execution date is {shown} but this is before {whose} {}.", isoformat(start)));
        }
    }
    reasons
}

/// The states of the instances directly before one.
#[derive(Debug, Default)]
struct UpstreamStates {
    task_ids: BTreeSet<String>,
    tasks: usize,
    total: usize,
    total_setup: usize,
    success: usize,
    skipped: usize,
    failed: usize,
    upstream_failed: usize,
    removed: usize,
    done: usize,
    success_setup: usize,
    skipped_setup: usize,
}

impl UpstreamStates {
    fn count(&mut self, state: TaskState, is_setup: bool) {
        let setup = usize::from(is_setup);
        self.total += 1;
        self.total_setup += setup;
        self.done += usize::from(state.is_finished());
        match state {
            TaskState::Success => {
                self.success += 1;
                self.success_setup += setup;
            }
            TaskState::Skipped => {
                self.skipped += 1;
                self.skipped_setup += setup;
            }
            TaskState::Failed => self.failed += 1,
            TaskState::UpstreamFailed => self.upstream_failed += 1,
            TaskState::Removed => self.removed += 1,
            _ => {}
        }
    }

    fn show(&self) -> String {
        let ids: Vec<_> = self.task_ids.iter().map(|id| crate::python::str_repr(id)).collect();
        let ids = if ids.is_empty() { "set()".to_owned() } else { format!("{{{}}}", ids.join(", ")) };
        format!(
            "upstream_states=_UpstreamTIStates(success={}, skipped={}, failed={}, upstream_failed={}, removed={}, done={}, \
             success_setup={}, skipped_setup={}), upstream_task_ids={ids}",
            self.success,
            self.skipped,
            self.failed,
            self.upstream_failed,
            self.removed,
            self.done,
            self.success_setup,
            self.skipped_setup
        )
    }
}

/// Why a trigger rule does not hold (Airflow 2.11, `trigger_rule_dep.py`).
fn trigger_rule_reason(rule: TriggerRule, up: &UpstreamStates, is_mapped: bool) -> Option<String> {
    use TriggerRule as R;
    if up.tasks == 0 {
        return None;
    }
    let removed = if is_mapped { up.removed } else { 0 };
    let short = |of: usize, parts: &[usize]| of.saturating_sub(parts.iter().sum());
    let undone = up.tasks.saturating_sub(up.done);
    let completed = || {
        (up.done < up.total).then(|| {
            format!("requires all upstream tasks to have completed, but found {undone} task(s) that were not done.")
        })
    };
    let text = match rule {
        R::Always => None,
        R::OneSuccess => (up.success == 0).then(|| "requires one upstream task success, but none were found.".into()),
        R::OneFailed => {
            (up.failed + up.upstream_failed == 0).then(|| "requires one upstream task failure, but none were found.".into())
        }
        R::OneDone => (up.success + up.failed == 0)
            .then(|| "requires at least one upstream task failure or success but none were failed or success.".into()),
        R::AllSuccess => Some(short(up.total, &[up.success, removed])).filter(|count| *count > 0).map(|count| {
            format!("requires all upstream tasks to have succeeded, but found {count} non-success(es).")
        }),
        R::AllFailed => Some(short(up.total, &[up.failed, up.upstream_failed, removed])).filter(|count| *count > 0).map(
            |count| format!("requires all upstream tasks to have failed, but found {count} non-failure(s)."),
        ),
        R::AllDone => completed(),
        R::NoneFailed | R::NoneFailedMinOneSuccess => {
            Some(short(up.total, &[up.success, up.skipped, removed])).filter(|count| *count > 0).map(|count| {
                format!("requires all upstream tasks to have succeeded or been skipped, but found {count} non-success(es).")
            })
        }
        R::NoneSkipped => (up.done < up.total || up.skipped > 0).then(|| {
            format!("requires all upstream tasks to not have been skipped, but found {} task(s) skipped.", up.skipped)
        }),
        R::AllSkipped => Some(short(up.total, &[up.skipped])).filter(|count| *count > 0).map(|count| {
            format!("requires all upstream tasks to have been skipped, but found {count} task(s) in non skipped state.")
        }),
        R::AllDoneSetupSuccess => completed().or_else(|| {
            (up.total_setup > 0 && up.success_setup == 0).then(|| {
                let missing = up.total_setup - up.success_setup;
                format!("requires at least one upstream setup task be successful, but found {missing} task(s) that were not.")
            })
        }),
    };
    text.map(|text| format!("Task's trigger rule '{rule}' {text} {}", up.show()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_waiting_task_says_what_it_waits_for() {
        let mut up =
            UpstreamStates { task_ids: BTreeSet::from(["sleep".to_owned()]), tasks: 1, ..UpstreamStates::default() };
        up.count(TaskState::Running, false);
        assert_eq!(
            trigger_rule_reason(TriggerRule::AllSuccess, &up, false).as_deref(),
            Some(
                "Task's trigger rule 'all_success' requires all upstream tasks to have succeeded, but found 1 \
                 non-success(es). upstream_states=_UpstreamTIStates(success=0, skipped=0, failed=0, upstream_failed=0, \
                 removed=0, done=0, success_setup=0, skipped_setup=0), upstream_task_ids={'sleep'}"
            )
        );
        assert_eq!(trigger_rule_reason(TriggerRule::Always, &up, false), None);
        up = UpstreamStates { task_ids: up.task_ids, tasks: 1, ..UpstreamStates::default() };
        up.count(TaskState::Success, false);
        for rule in [TriggerRule::AllSuccess, TriggerRule::OneSuccess, TriggerRule::AllDone, TriggerRule::NoneFailed] {
            assert_eq!(trigger_rule_reason(rule, &up, false), None, "{rule}");
        }
        assert!(trigger_rule_reason(TriggerRule::AllSkipped, &up, false).is_some());
    }
}
