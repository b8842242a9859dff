//! Tasks and task instances: their attributes in Python, as text.

use serde_json::{Map, Value};
use updraft_core::model::{Dag, Task, TaskInstance, TaskState, WeightRule};
use updraft_core::python;
use updraft_core::service::ServiceError;

use super::{dag, dag_run};
use crate::access::{Access, Action, Resource};
use crate::airflow_experimental::reply::{Answer, Failure, Reply};
use crate::airflow_experimental::route::{Call, Route, route};
use crate::airflow_experimental::show::{
    dataset, none, python_bool, python_date_option, python_duration, python_set, run_repr,
};

/// Attributes of which nothing is known here, with what Airflow shows of them where nobody sets them.
const UNSET: &[(&str, &str)] = &[
    ("allow_nested_operators", "True"),
    ("doc", "None"),
    ("doc_json", "None"),
    ("doc_rst", "None"),
    ("doc_yaml", "None"),
    ("email", "None"),
    ("email_on_failure", "True"),
    ("email_on_retry", "True"),
    ("executor_config", "{}"),
    ("multiple_outputs", "False"),
    ("on_execute_callback", "None"),
    ("on_failure_callback", "None"),
    ("on_retry_callback", "None"),
    ("on_skipped_callback", "None"),
    ("on_success_callback", "None"),
    ("resources", "None"),
    ("run_as_user", "None"),
    ("start_from_trigger", "False"),
    ("start_trigger_args", "None"),
    ("wait_for_past_depends_before_skipping", "False"),
];

/// Attributes of task instances that only Airflow's own workers have.
const UNSET_OF_INSTANCES: &[(&str, &str)] = &[
    ("custom_operator_name", "None"),
    ("executor_config", "{}"),
    ("external_executor_id", "None"),
    ("job_id", "None"),
    ("next_kwargs", "None"),
    ("next_method", "None"),
    ("queued_by_job_id", "None"),
    ("rendered_task_instance_fields", "None"),
    ("test_mode", "False"),
    ("trigger_id", "None"),
    ("trigger_timeout", "None"),
];

pub(super) fn routes() -> Vec<Route> {
    let access = Access::DagPart(Action::Read, &[Resource::TaskInstances]);
    vec![
        route!(GET "/dags/{dag_id}/tasks/{task_id}", access, task),
        route!(GET "/dags/{dag_id}/dag_runs/{execution_date}/tasks/{task_id}", access, task_instance),
    ]
}

fn no_task(call: &Call) -> Failure {
    Failure::not_found(format!("Task {} not found in dag {}", call.part("task_id"), call.part("dag_id")))
}

async fn task(call: Call) -> Answer {
    let record = dag::declared(&call.service, call.part("dag_id")).await?;
    let dag = record.dag();
    let found = dag.find_task(call.part("task_id")).and_then(|ix| Some((ix, dag.task(ix)?)));
    let (ix, task) = found.ok_or_else(|| no_task(&call))?;
    let after = dag.tasks.iter().filter(|later| later.upstream.contains(&ix));
    Ok(Reply::json(&show_task(dag, task, after)))
}

async fn task_instance(call: Call) -> Answer {
    let date = dag_run::path_date(&call).await?;
    let (dag_id, task_id) = (call.part("dag_id"), call.part("task_id"));
    let record = dag::declared(&call.service, dag_id).await?;
    record.dag().find_task(task_id).ok_or_else(|| no_task(&call))?;
    let run = dag_run::run_on(&call, date).await?;
    let found = call.service.task_instance(dag_id, &run.run_id, task_id, -1).await;
    let instance = found.map_err(|error| match error {
        ServiceError::NotFound(_) => {
            let date = crate::airflow_experimental::show::python_date(date);
            Failure::not_found(format!("Task {task_id} instance for date {date} not found"))
        }
        error => error.into(),
    })?;
    Ok(Reply::json(&show_instance(&instance)))
}

fn texts<const N: usize>(texts: [(&str, String); N]) -> impl Iterator<Item = (String, Value)> {
    texts.into_iter().map(|(name, text)| (name.to_owned(), text.into()))
}

fn unset(known: &[(&str, &str)]) -> Map<String, Value> {
    known.iter().map(|(name, text)| ((*name).to_owned(), (*text).into())).collect()
}

fn show_task<'a>(dag: &'a Dag, task: &'a Task, after: impl Iterator<Item = &'a Task>) -> Value {
    let template_fields = task.template_fields.iter();
    let arguments = template_fields.map(|name| (name.clone(), Value::from(argument(task, name))));
    if task.is_mapped() {
        // Airflow shows no more of them.
        return Value::Object(task.template_fields.iter().map(|name| (name.clone(), "None".into())).collect());
    }
    let before = task.upstream.iter().filter_map(|ix| dag.task(*ix)).map(|task| task.task_id.as_str());
    let number = |number: Option<u32>| number.map_or_else(none, |number| number.to_string());
    let length = |length: Option<_>| length.map_or_else(none, python_duration);
    let text = |text: &Option<String>| text.clone().unwrap_or_else(none);
    let params = dag.params.iter().chain(&task.params);
    let params: Map<_, _> = params.map(|param| (param.name.clone(), param.value.clone().unwrap_or_default())).collect();
    let (extensions, renderers) = template_facts(&task.operator.class_name);
    let weight_rule = match task.weight_rule {
        WeightRule::Absolute => "Absolute",
        WeightRule::Upstream => "Upstream",
        _ => "Downstream",
    };
    let mut shown = unset(UNSET);
    for (name, value) in &mut shown {
        if let Some(given) = task.extra.get(name) {
            *value = python::str(given).into();
        }
    }
    shown.extend(texts([
        ("depends_on_past", python_bool(task.depends_on_past)),
        ("do_xcom_push", python_bool(task.do_xcom_push)),
        ("doc_md", text(&task.doc_md)),
        ("downstream_task_ids", python_set(after.map(|task| task.task_id.as_str()))),
        // The DAG's dates bound those of its tasks.
        ("end_date", python_date_option(task.end_date.into_iter().chain(dag.end_date).min())),
        ("execution_timeout", length(task.execution_timeout)),
        ("executor", text(&task.executor)),
        ("ignore_first_depends_on_past", python_bool(task.ignore_first_depends_on_past)),
        ("inlets", datasets(&task.inlets)),
        ("map_index_template", text(&task.map_index_template)),
        ("max_active_tis_per_dag", number(task.max_active_tis_per_dag)),
        ("max_active_tis_per_dagrun", number(task.max_active_tis_per_dagrun)),
        ("max_retry_delay", length(task.max_retry_delay)),
        ("operator_extra_links", links(&task.operator.class_name).to_owned()),
        ("outlets", datasets(&task.outlets)),
        ("owner", task.owner.clone()),
        ("params", python::repr(&Value::Object(params))),
        ("pool", task.pool.clone()),
        ("pool_slots", task.pool_slots.to_string()),
        ("priority_weight", task.priority_weight.to_string()),
        ("queue", task.queue.clone()),
        ("retries", task.retries.to_string()),
        ("retry_delay", python_duration(task.retry_delay)),
        ("retry_exponential_backoff", python_bool(task.retry_exponential_backoff)),
        ("sla", length(task.sla)),
        ("start_date", python_date_option(task.start_date.into_iter().chain(dag.start_date).max())),
        // In Airflow these two end with the address of the object.
        ("task_group", "<airflow.utils.task_group.TaskGroup object>".to_owned()),
        ("weight_rule", format!("<airflow.task.priority_strategy._{weight_rule}PriorityWeightStrategy object>")),
        ("task_id", task.task_id.to_string()),
        ("template_ext", extensions.to_owned()),
        ("template_fields", python::repr(&task.template_fields.clone().into())),
        ("template_fields_renderers", renderers.to_owned()),
        ("trigger_rule", task.trigger_rule.as_str().to_owned()),
        ("ui_color", task.ui_color.clone()),
        ("ui_fgcolor", task.ui_fgcolor.clone()),
        ("upstream_task_ids", python_set(before)),
        ("wait_for_downstream", python_bool(task.wait_for_downstream)),
    ]));
    shown.extend(arguments);
    Value::Object(shown)
}

/// An argument of the operator, or what it is where nobody gives it.
fn argument(task: &Task, name: &str) -> String {
    match (task.arguments.get(name), name) {
        (Some(value), _) => python::str(value),
        (None, "op_args") => "[]".to_owned(),
        (None, "op_kwargs") => "{}".to_owned(),
        (None, "wait_for_completion" | "skip_when_already_exists") => python_bool(false),
        (None, _) => none(),
    }
}

/// The endings of files that are templates, and how Airflow's page colours the arguments.
fn template_facts(class: &str) -> (&'static str, &'static str) {
    match class {
        "BashOperator" => ("['.sh', '.bash']", "{'bash_command': 'bash', 'env': 'json'}"),
        "PythonOperator" | "BranchPythonOperator" | "ShortCircuitOperator" => {
            ("[]", "{'templates_dict': 'json', 'op_args': 'py', 'op_kwargs': 'py'}")
        }
        "TriggerDagRunOperator" => ("[]", "{'conf': 'py'}"),
        _ => ("[]", "{}"),
    }
}

fn links(class: &str) -> &'static str {
    match class {
        "TriggerDagRunOperator" => "[TriggerDagRunLink()]",
        "ExternalTaskSensor" | "ExternalTaskMarker" => "[ExternalDagLink()]",
        _ => "()",
    }
}

fn datasets(declared: &[Value]) -> String {
    let shown = declared.iter().map(|declared| {
        let (uri, extra) = dataset(declared);
        format!("Dataset(uri={}, extra={extra})", python::str_repr(&uri))
    });
    format!("[{}]", shown.collect::<Vec<_>>().join(", "))
}

fn show_instance(instance: &TaskInstance) -> Value {
    let task = instance.task();
    let text = |text: Option<&str>| text.map_or_else(none, str::to_owned);
    let number = |number: Option<u32>| number.map_or_else(none, |number| number.to_string());
    let changes = [Some(instance.run.queued_at), instance.queued_when, instance.start_date, instance.end_date];
    let mut shown = unset(UNSET_OF_INSTANCES);
    shown.extend(texts([
        ("dag_id", instance.run.dag_id.to_string()),
        ("dag_run", run_repr(&instance.run, instance.run.logical_date.fixed_offset())),
        ("duration", instance.duration().map_or_else(none, python::float_repr)),
        ("end_date", python_date_option(instance.end_date)),
        ("executor", text(task.and_then(|task| task.executor.as_deref()))),
        ("hostname", instance.hostname.clone()),
        ("map_index", instance.key.map_index.to_string()),
        ("max_tries", instance.max_tries.to_string()),
        ("operator", text(task.map(|task| task.operator.class_name.as_str()))),
        ("pid", number(instance.pid)),
        ("pool", text(task.map(|task| task.pool.as_str()))),
        ("pool_slots", number(task.map(|task| task.pool_slots))),
        ("priority_weight", task.map_or_else(none, |task| task.effective_priority.to_string())),
        ("queue", text(task.map(|task| task.queue.as_str()))),
        ("queued_dttm", python_date_option(instance.queued_when)),
        ("rendered_map_index", text(instance.rendered_map_index.as_deref())),
        ("run_id", instance.run.run_id.clone()),
        ("start_date", python_date_option(instance.start_date)),
        ("state", text(Some(instance.state).filter(|state| *state != TaskState::None).map(TaskState::as_str))),
        ("task_id", text(task.map(|task| task.task_id.as_str()))),
        ("try_number", instance.try_number.to_string()),
        ("unixname", instance.unixname.clone()),
        ("updated_at", python_date_option(changes.into_iter().flatten().max())),
    ]));
    Value::Object(shown)
}
