//! What templates may know of a try.

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Map, Value, json};
use tokio::runtime::Handle;
use updraft_core::model::{Dag, Dataset, Schedule, Task};
use updraft_core::operator::{TaskContext, TaskError};

use crate::template::{Attribute, Attributes, PreviousSuccess, TemplateFacts};

fn plain(name: &str, value: impl Into<Value>) -> (String, Attribute) {
    (name.into(), Attribute::Json(value.into()))
}

fn date(name: &str, at: Option<DateTime<Utc>>) -> (String, Attribute) {
    (name.into(), Attribute::Date(at))
}

fn length(name: &str, length: Option<std::time::Duration>) -> (String, Attribute) {
    (name.into(), Attribute::Duration(length.map(|length| TimeDelta::from_std(length).unwrap_or(TimeDelta::MAX))))
}

/// The facts of a try, for templates of these texts. Those that cost time in proportion to the DAG or its history are there
/// only if the texts can ask for them.
pub(super) fn facts(context: &TaskContext, texts: &str) -> Result<TemplateFacts, TaskError> {
    let (attempt, task) = (context.attempt(), context.task());
    let (dag, run) = (&attempt.dag, &attempt.run);
    let previous = match texts.contains("_success") {
        true => Handle::current().block_on(context.store().previous_success(attempt)),
        false => Ok(None),
    };
    let previous = previous.map_err(|error| TaskError::failed(format!("the last success cannot be read: {error}")))?;
    let store = context.store();
    let unread = |error| TaskError::failed(format!("updates of datasets cannot be read: {error}"));
    let triggering_dataset_events = match texts.contains("triggering_dataset_events") {
        true => Handle::current().block_on(store.triggering_dataset_events(attempt)).map_err(unread)?,
        false => Vec::new(),
    };
    let datasets = |declared: &[Value]| declared.iter().filter_map(Dataset::from_value).collect::<Vec<_>>();
    let inlets = datasets(&task.inlets);
    let mut inlet_events = Vec::new();
    if texts.contains("inlet_events") {
        for dataset in &inlets {
            let events = Handle::current().block_on(store.dataset_events(&dataset.uri)).map_err(unread)?;
            inlet_events.extend(events.into_iter().map(|event| (event, None)));
        }
    }
    let (next, before) = neighbours(dag, run.logical_date, run.data_interval_start, run.data_interval_end);
    let (next, before) =
        if run.external_trigger { (Some(run.logical_date), Some(run.logical_date)) } else { (next, before) };
    let (high, low) = attempt.token.0.as_u64_pair();
    Ok(TemplateFacts {
        dag_id: dag.dag_id.to_string(),
        task_id: task.task_id.to_string(),
        task_type: task.operator.class_name.clone(),
        run_id: run.run_id.clone(),
        run_type: run.run_type.to_string(),
        external_trigger: run.external_trigger,
        conf: run.conf.clone(),
        params: Value::Object(context.params()),
        logical_date: run.logical_date,
        data_interval_start: run.data_interval_start,
        data_interval_end: run.data_interval_end,
        next_execution_date: next,
        prev_execution_date: before,
        previous_success: previous.map(|[start, end, started, ended]| PreviousSuccess {
            logical_date: start.unwrap_or(run.logical_date),
            data_interval_start: start.unwrap_or(run.logical_date),
            data_interval_end: end.unwrap_or(run.logical_date),
            start_date: started,
            end_date: ended,
        }),
        inlets,
        outlets: datasets(&task.outlets),
        triggering_dataset_events,
        inlet_events,
        map_index: attempt.key.map_index.into(),
        try_number: attempt.try_number.into(),
        expanded_ti_count: None,
        map_index_template: task.map_index_template.clone(),
        dag: of_dag(dag, texts),
        dag_run: vec![
            plain("id", run.id.0),
            plain("state", run.state.as_str()),
            date("start_date", run.start_date),
            date("end_date", run.end_date),
            date("queued_at", Some(run.queued_at)),
            date("last_scheduling_decision", run.last_scheduling_decision),
            plain("clear_number", run.clear_number),
            plain("note", run.note.as_ref().map(|note| note.content.clone())),
        ],
        task: of_task(dag, task, attempt.key.task, texts),
        task_instance: vec![
            plain("max_tries", attempt.max_tries),
            plain("state", "running"),
            plain("prev_attempted_tries", attempt.try_number.saturating_sub(1)),
            date("start_date", Some(attempt.queued_when)),
            date("end_date", None),
            date("queued_dttm", Some(attempt.queued_when)),
            plain("duration", Value::Null),
            plain("pool", task.pool.as_str()),
            plain("pool_slots", task.pool_slots),
            plain("queue", task.queue.as_str()),
            plain("priority_weight", task.effective_priority),
            plain("task_display_name", task.display_name()),
            plain("external_executor_id", Value::Null),
            plain("rendered_map_index", Value::Null),
            plain("next_method", Value::Null),
            plain("note", Value::Null),
        ],
        more: Map::new(),
        now: context.clock().now(),
        seed: high ^ low,
    })
}

/// The logical dates that the schedule has next and before, as far as the run's own interval tells them.
fn neighbours(
    dag: &Dag,
    logical: DateTime<Utc>,
    start: DateTime<Utc>,
    end: DateTime<Utc>,
) -> (Option<DateTime<Utc>>, Option<DateTime<Utc>>) {
    match dag.schedule {
        Schedule::Cron { .. } | Schedule::TimeDelta { .. } | Schedule::RelativeDelta { .. } => {
            (Some(end), logical.checked_sub_signed(end - start))
        }
        _ => (None, None),
    }
}

fn of_dag(dag: &Dag, texts: &str) -> Attributes {
    let params: Map<String, Value> =
        dag.params.iter().map(|param| (param.name.clone(), param.value.clone().unwrap_or(Value::Null))).collect();
    let folder = super::folder(&dag.fileloc).map(|folder| folder.to_string_lossy().into_owned());
    let mut attributes = vec![
        plain("description", dag.description.clone()),
        plain("dag_display_name", dag.display_name()),
        plain("tags", json!(dag.tags)),
        plain("fileloc", dag.fileloc.as_str()),
        plain("folder", folder.unwrap_or_default()),
        plain("catchup", dag.catchup),
        plain("max_active_runs", dag.max_active_runs),
        plain("max_active_tasks", dag.max_active_tasks),
        plain("timezone", dag.timezone.as_str()),
        date("start_date", dag.start_date),
        date("end_date", dag.end_date),
        length("dagrun_timeout", dag.dagrun_timeout),
        plain("default_args", Value::Object(dag.default_args.clone())),
        plain("params", Value::Object(params)),
        plain("doc_md", dag.doc_md.clone()),
        plain("default_view", dag.default_view.as_str()),
        plain("orientation", dag.orientation.as_str()),
        plain("template_searchpath", json!(dag.template_searchpath)),
        plain("render_template_as_native_obj", dag.render_template_as_native_obj),
        plain("is_paused_upon_creation", dag.is_paused_upon_creation),
        plain("schedule_interval", schedule_interval(&dag.schedule)),
    ];
    if texts.contains("owner") && texts.contains("dag") {
        attributes.push(plain("owner", dag.owners().join(", ")));
    }
    if [".task_ids", "'task_ids'", "\"task_ids\"", "has_task"].iter().any(|name| texts.contains(name)) {
        let ids: Vec<&str> = dag.task_ids().map(|id| id.as_str()).collect();
        attributes.push(plain("task_ids", json!(ids)));
    }
    attributes
}

fn schedule_interval(schedule: &Schedule) -> Value {
    match schedule {
        Schedule::Cron { expression } => expression.as_str().into(),
        Schedule::Once => "@once".into(),
        Schedule::Continuous => "@continuous".into(),
        Schedule::Datasets { .. } => "Dataset".into(),
        _ => Value::Null,
    }
}

fn of_task(dag: &Dag, task: &Task, ix: updraft_core::id::TaskIx, texts: &str) -> Attributes {
    let id = |ix: &updraft_core::id::TaskIx| dag.task(*ix).map(|task| task.task_id.as_str());
    let mut attributes: Attributes = task
        .template_fields
        .iter()
        .map(|name| plain(name, Value::Null))
        .chain(task.arguments.iter().map(|(name, value)| plain(name, value.clone())))
        .collect();
    attributes.extend([
        plain("owner", task.owner.as_str()),
        plain("task_display_name", task.display_name()),
        plain("retries", task.retries),
        length("retry_delay", Some(task.retry_delay)),
        plain("retry_exponential_backoff", task.retry_exponential_backoff),
        length("max_retry_delay", task.max_retry_delay),
        plain("trigger_rule", task.trigger_rule.as_str()),
        plain("pool", task.pool.as_str()),
        plain("pool_slots", task.pool_slots),
        plain("queue", task.queue.as_str()),
        plain("priority_weight", task.priority_weight),
        plain("priority_weight_total", task.effective_priority),
        length("execution_timeout", task.execution_timeout),
        plain("depends_on_past", task.depends_on_past),
        plain("wait_for_downstream", task.wait_for_downstream),
        date("start_date", task.start_date.or(dag.start_date)),
        date("end_date", task.end_date.or(dag.end_date)),
        plain("doc_md", task.doc_md.clone()),
        plain("do_xcom_push", task.do_xcom_push),
        plain("email", task.extra.get("email").cloned().unwrap_or_default()),
        plain("upstream_task_ids", json!(task.upstream.iter().filter_map(id).collect::<Vec<_>>())),
        ("template_fields".into(), Attribute::Tuple(task.template_fields.clone())),
    ]);
    if texts.contains("downstream_task_ids") {
        let after = dag.tasks.iter().filter(|other| other.upstream.contains(&ix)).map(|other| other.task_id.as_str());
        attributes.push(plain("downstream_task_ids", json!(after.collect::<Vec<_>>())));
    }
    attributes
}
