//! Workflows and tasks as clients see them.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde_json::{Map, Value, json};
use updraft_core::id::{TaskIx, task_uid};
use updraft_core::model::{
    Dag, DagRun, RETURN_VALUE, RunState, RunType, TaskInstance, TaskState, TriggerRule, WORKFLOW_ERROR, Workflow,
    WorkflowTask,
};
use updraft_core::storage::XComEntry;

use crate::airflow::date::isoformat;

/// Where a workflow stands, by its run and the task that ends it; see [`Workflow::end`].
pub(super) fn status(run: RunState, end: Option<TaskState>) -> &'static str {
    match (run, end) {
        (RunState::Queued, _) => "pending",
        (RunState::Success, _) => "success",
        (RunState::Failed, Some(TaskState::Skipped)) => "canceled",
        (RunState::Failed, _) | (_, Some(TaskState::UpstreamFailed | TaskState::Failed)) => "error",
        _ => "progress",
    }
}

fn date(date: DateTime<Utc>) -> Value {
    isoformat(date.fixed_offset()).into()
}

/// When a run was created. A run that was cleared was queued again.
pub(super) fn created(run: &DagRun) -> DateTime<Utc> {
    if run.clear_number == 0 { run.queued_at } else { run.logical_date.min(run.queued_at) }
}

/// What stands between a run's id and the length of its project, where that is not what stands before the first dot.
const SPLIT: char = '~';

/// The text id of a run whose project and name are not split at the first dot.
pub(super) fn run_id(project: &str, now: DateTime<Utc>) -> String {
    format!("{}__{}{SPLIT}{}", RunType::Manual, isoformat(now.fixed_offset()), project.len())
}

/// The project and the name, as they were sent.
pub(super) fn split(run: &DagRun) -> (&str, &str) {
    let fullname = run.dag_id.as_str();
    let at = run.run_id.rsplit_once(SPLIT).and_then(|(_, at)| at.parse::<usize>().ok());
    let at = at.filter(|at| fullname.as_bytes().get(*at) == Some(&b'.')).or_else(|| fullname.find('.'));
    at.map_or((fullname, ""), |at| (&fullname[..at], &fullname[at + 1..]))
}

/// A workflow without its tasks.
pub(super) fn workflow(run: &DagRun, payload: Option<&Value>, status: &str) -> Map<String, Value> {
    let (project, name) = split(run);
    let mut shown = Map::new();
    let mut put = |name: &str, value: Value| shown.insert(name.to_owned(), value);
    put("created", date(created(run)));
    put("fullname", run.dag_id.as_str().into());
    put("id", run.uid.to_string().into());
    put("name", name.into());
    put("periodic", (run.run_type == RunType::Scheduled).into());
    put("project", project.into());
    put("status", status.into());
    put("updated", date(run.updated_at));
    if let Some(payload) = payload {
        put("payload", payload.clone());
    }
    if let Some(note) = &run.note {
        put("comment", note.content.as_str().into());
    }
    shown
}

/// What tasks left, by task and key.
pub(super) type Left = BTreeMap<(String, String), Value>;

pub(super) fn left(entries: Vec<XComEntry>) -> Left {
    entries.into_iter().map(|entry| ((entry.task_id, entry.xcom.key), entry.xcom.value)).collect()
}

/// A workflow with its tasks; `instances` are all of its run's, in the order of the definition.
pub(super) fn whole(run: &DagRun, instances: &[TaskInstance], left: &Left) -> Value {
    // Instances were read with their run, which may have gone on since it was found.
    let run = instances.first().map_or(run, |instance| &*instance.run);
    let found = instances.first().map(|instance| &*instance.dag);
    let workflow_of = found.and_then(Workflow::of);
    let end = workflow_of.and_then(|workflow| workflow.end());
    let end = end.and_then(|end| instances.iter().find(|instance| instance.key.task == end));
    let status = status(run.state, end.map(|end| end.state));
    let payload = workflow_of.map_or(&run.conf, |workflow| workflow.payload(run));
    let mut shown = workflow(run, Some(payload), status);
    let tasks = instances.iter().filter_map(|instance| task(instance, status == "canceled", left));
    shown.insert("tasks".into(), tasks.collect());
    shown.into()
}

/// A task; `None` for what only holds stages together, and for a failure hook that has not run.
fn task(instance: &TaskInstance, is_canceled: bool, left: &Left) -> Option<Value> {
    let declared = instance.task()?;
    let part = WorkflowTask::of(declared)?;
    let has_not_run = matches!(
        instance.state,
        TaskState::None | TaskState::Scheduled | TaskState::Skipped | TaskState::UpstreamFailed | TaskState::Removed
    );
    if part.is_hook() && declared.trigger_rule == TriggerRule::OneFailed && has_not_run {
        return None;
    }
    let task_id = declared.task_id.as_str();
    let find = |key: &str| left.get(&(task_id.to_owned(), key.to_owned()));
    let error = find(WORKFLOW_ERROR);
    let status = match instance.state {
        TaskState::None | TaskState::Scheduled | TaskState::Queued => "pending",
        TaskState::Success => "success",
        // What was ended with its workflow has not failed.
        TaskState::Failed if is_canceled && error.is_none() => "canceled",
        TaskState::Failed => "error",
        TaskState::Skipped | TaskState::UpstreamFailed | TaskState::Removed => "canceled",
        _ => "progress",
    };
    let result = match status {
        "success" => find(RETURN_VALUE).cloned().unwrap_or_default(),
        "error" => error.cloned().unwrap_or_else(
            || json!({ "exception": "The task ended without a word. Its log may say more.", "traceback": "" }),
        ),
        _ => Value::Null,
    };
    let run = &instance.run;
    let id = task_uid(run.uid, task_id).to_string();
    let created = created(run);
    let dates = [instance.queued_when, instance.start_date, instance.end_date];
    let updated = dates.into_iter().flatten().fold(created, DateTime::max);
    let previous = if part.is_hook() { Vec::new() } else { previous(&instance.dag, &declared.upstream) };
    let previous: Vec<_> =
        previous.into_iter().map(|task_id| Value::from(task_uid(run.uid, task_id).to_string())).collect();
    Some(json!({
        "created": date(created),
        "id": id,
        "is_hook": part.is_hook(),
        "key": part.key(),
        "previous": previous,
        "result": result,
        "status": status,
        "task": id,
        "updated": date(updated),
    }))
}

/// The ids of the tasks before a task. What only holds stages together stands for what is before it, and never comes
/// directly after another such task.
fn previous<'a>(dag: &'a Dag, upstream: &[TaskIx]) -> Vec<&'a str> {
    let tasks = |upstream: &[TaskIx]| upstream.iter().filter_map(|ix| dag.task(*ix)).collect::<Vec<_>>();
    let mut found = Vec::new();
    for task in tasks(upstream) {
        if WorkflowTask::of(task).is_some() {
            found.push(task.task_id.as_str());
        } else {
            found.extend(tasks(&task.upstream).into_iter().map(|task| task.task_id.as_str()));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_workflow_stands_where_its_run_and_its_end_do() {
        use TaskState as T;
        for (run, end, expected) in [
            (RunState::Queued, T::None, "pending"),
            (RunState::Running, T::None, "progress"),
            (RunState::Running, T::UpstreamFailed, "error"),
            (RunState::Running, T::Success, "progress"),
            (RunState::Success, T::Success, "success"),
            (RunState::Success, T::Skipped, "success"),
            (RunState::Failed, T::UpstreamFailed, "error"),
            (RunState::Failed, T::Success, "error"),
            (RunState::Failed, T::Skipped, "canceled"),
        ] {
            assert_eq!(status(run, Some(end)), expected, "{run} {end}");
        }
        assert_eq!(status(RunState::Failed, None), "error");
    }
}
