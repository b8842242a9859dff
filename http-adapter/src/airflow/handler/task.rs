//! Tasks of DAGs.

use std::cmp::Ordering;

use chrono::TimeDelta;
use serde_json::{Value, json};
use updraft_core::model::{Dag, DagRecord, OperatorRef, Task};
use updraft_core::service::ServiceError;

use super::dag::show_params;
use crate::access::{Action, Resource};
use crate::airflow::State;
use crate::airflow::call::Call;
use crate::airflow::date;
use crate::airflow::operation::{Access, Answer, Operation, operation};
use crate::airflow::problem::Problem;
use crate::airflow::reply::Reply;
use crate::airflow::timetable::time_delta;

pub(super) fn operations() -> Vec<Operation<State>> {
    let access = Access::DagPart(Action::Read, &[Resource::TaskInstances]);
    vec![operation!(get_tasks, access, get_tasks), operation!(get_task, access, get_task)]
}

async fn get_tasks(call: Call) -> Answer {
    let record = find_dag(&call).await?;
    let dag = record.dag();
    let downstream = dag.downstream();
    let mut tasks: Vec<_> = dag.tasks.iter().zip(&downstream).collect();
    let order = call.query.text("order_by").unwrap_or("task_id");
    let attribute = order.trim_start_matches('-');
    if let Some(task) = dag.tasks.iter().find(|task| Key::of(dag, task, attribute).is_none()) {
        let class = if task.is_mapped() { "MappedOperator" } else { "SerializedBaseOperator" };
        return Err(Problem::bad_request(format!("'{class}' object has no attribute '{attribute}'")));
    }
    // As in Python, equal tasks keep their order also where it is reversed.
    tasks.sort_by(|(a, _), (b, _)| {
        let ordering = Key::of(dag, a, attribute).partial_cmp(&Key::of(dag, b, attribute)).unwrap_or(Ordering::Equal);
        if order.starts_with('-') { ordering.reverse() } else { ordering }
    });
    let shown: Vec<_> =
        tasks.into_iter().map(|(task, after)| show(dag, task, after.iter().filter_map(|ix| dag.task(*ix)))).collect();
    let total = shown.len();
    Ok(Reply::json(&json!({"tasks": shown, "total_entries": total})))
}

async fn get_task(call: Call) -> Answer {
    let record = find_dag(&call).await?;
    let dag = record.dag();
    let found = dag.find_task(call.path_text("task_id")).and_then(|ix| Some((ix, dag.task(ix)?)));
    let (ix, task) = found.ok_or_else(|| Problem::not_found("Task not found", None))?;
    let after = dag.tasks.iter().filter(|later| later.upstream.contains(&ix));
    Ok(Reply::json(&show(dag, task, after)))
}

async fn find_dag(call: &Call) -> Result<DagRecord, Problem> {
    call.service().dag(call.path_text("dag_id")).await.map_err(|error| match error {
        ServiceError::NotFound(_) => Problem::not_found("DAG not found", None),
        error => error.into(),
    })
}

/// A task as clients see it.
fn show<'a>(dag: &'a Dag, task: &'a Task, downstream: impl Iterator<Item = &'a Task>) -> Value {
    let mut downstream: Vec<_> = downstream.map(|task| task.task_id.as_str()).collect();
    downstream.sort_unstable();
    let delta = |length| time_delta(TimeDelta::from_std(length).unwrap_or(TimeDelta::MAX));
    json!({
        "class_ref": class_ref(&task.operator),
        "depends_on_past": task.depends_on_past,
        "doc_md": task.doc_md,
        "downstream_task_ids": downstream,
        // The DAG's dates bound those of its tasks.
        "end_date": date::show_option(task.end_date.into_iter().chain(dag.end_date).min()),
        "execution_timeout": task.execution_timeout.map(delta),
        "extra_links": extra_links(&task.operator),
        "is_mapped": task.is_mapped(),
        "operator_name": task.operator.class_name,
        "owner": task.owner,
        "params": show_params(dag.params.iter().chain(&task.params)),
        "pool": task.pool,
        // Airflow writes these as floating-point numbers.
        "pool_slots": f64::from(task.pool_slots),
        "priority_weight": f64::from(task.priority_weight),
        "queue": task.queue,
        "retries": f64::from(task.retries),
        "retry_delay": delta(task.retry_delay),
        "retry_exponential_backoff": task.retry_exponential_backoff,
        "start_date": date::show_option(task.start_date.into_iter().chain(dag.start_date).max()),
        "task_display_name": task.display_name(),
        "task_id": task.task_id.as_str(),
        "template_fields": task.template_fields,
        "trigger_rule": task.trigger_rule.as_str(),
        "ui_color": task.ui_color,
        "ui_fgcolor": task.ui_fgcolor,
        "wait_for_downstream": task.wait_for_downstream,
        "weight_rule": task.weight_rule.as_str(),
    })
}

fn class_ref(operator: &OperatorRef) -> Value {
    json!({"class_name": operator.class_name, "module_path": operator.module_path})
}

/// The links that Airflow's own operators show.
fn extra_links(operator: &OperatorRef) -> Vec<Value> {
    let link = match operator.class_name.as_str() {
        "TriggerDagRunOperator" => "TriggerDagRunLink",
        "ExternalTaskSensor" | "ExternalTaskMarker" => "ExternalDagLink",
        _ => return Vec::new(),
    };
    vec![json!({"class_name": link, "module_path": operator.module_path})]
}

/// The id without those of the groups around the task.
fn label<'a>(dag: &'a Dag, task: &'a Task) -> &'a str {
    let id = task.task_id.as_str();
    let group = task.group.and_then(|group| dag.groups.get(group as usize)).filter(|group| group.prefix_group_id);
    group.and_then(|group| id.strip_prefix(&group.group_id)?.strip_prefix('.')).unwrap_or(id)
}

/// What tasks are sorted by: in Airflow, any attribute of the operator.
#[derive(PartialEq, PartialOrd)]
enum Key<'a> {
    /// Absent ones come first. In Airflow they cannot be compared.
    Absent,
    Number(f64),
    Text(&'a str),
    Texts(Vec<&'a str>),
}

impl<'a> Key<'a> {
    /// None if operators have no such attribute.
    fn of(dag: &'a Dag, task: &'a Task, attribute: &str) -> Option<Self> {
        let flag = |flag: bool| Self::Number(f64::from(u8::from(flag)));
        let number = |number: Option<u32>| number.map_or(Self::Absent, |number| Self::Number(number.into()));
        let text = |text: Option<&'a str>| text.map_or(Self::Absent, Self::Text);
        let length =
            |length: Option<std::time::Duration>| length.map_or(Self::Absent, |l| Self::Number(l.as_secs_f64()));
        // Microseconds of this millennium fit an f64.
        let moment = |at: Option<chrono::DateTime<chrono::Utc>>| {
            at.map_or(Self::Absent, |at| Self::Number(at.timestamp_micros() as f64))
        };
        Some(match attribute {
            "task_id" | "node_id" => Self::Text(task.task_id.as_str()),
            "label" => Self::Text(label(dag, task)),
            "task_display_name" => Self::Text(task.display_name()),
            "operator_name" | "task_type" | "_task_type" => Self::Text(&task.operator.class_name),
            "_task_module" => Self::Text(&task.operator.module_path),
            "owner" => Self::Text(&task.owner),
            "queue" => Self::Text(&task.queue),
            "pool" => Self::Text(&task.pool),
            "trigger_rule" => Self::Text(task.trigger_rule.as_str()),
            "ui_color" => Self::Text(&task.ui_color),
            "ui_fgcolor" => Self::Text(&task.ui_fgcolor),
            "doc_md" => text(task.doc_md.as_deref()),
            "executor" => text(task.executor.as_deref()),
            "map_index_template" => text(task.map_index_template.as_deref()),
            "start_date" => moment(task.start_date),
            "end_date" => moment(task.end_date),
            "retries" => number(Some(task.retries)),
            "pool_slots" => number(Some(task.pool_slots)),
            "max_active_tis_per_dag" => number(task.max_active_tis_per_dag),
            "max_active_tis_per_dagrun" => number(task.max_active_tis_per_dagrun),
            "priority_weight" => Self::Number(task.priority_weight.into()),
            "priority_weight_total" => Self::Number(task.effective_priority.into()),
            "retry_delay" => length(Some(task.retry_delay)),
            "max_retry_delay" => length(task.max_retry_delay),
            "execution_timeout" => length(task.execution_timeout),
            "sla" => length(task.sla),
            "template_fields" => Self::Texts(task.template_fields.iter().map(String::as_str).collect()),
            "inherits_from_empty_operator" => flag(task.is_empty),
            "depends_on_past" => flag(task.depends_on_past),
            "wait_for_downstream" => flag(task.wait_for_downstream),
            "ignore_first_depends_on_past" => flag(task.ignore_first_depends_on_past),
            "retry_exponential_backoff" => flag(task.retry_exponential_backoff),
            "do_xcom_push" => flag(task.do_xcom_push),
            "is_setup" => flag(task.is_setup),
            "is_teardown" => flag(task.is_teardown),
            "on_failure_fail_dagrun" => flag(task.on_failure_fail_dagrun),
            "dag_id"
            | "email"
            | "email_on_failure"
            | "email_on_retry"
            | "run_as_user"
            | "resources"
            | "doc"
            | "doc_json"
            | "doc_rst"
            | "doc_yaml"
            | "dag"
            | "params"
            | "template_ext"
            | "downstream_task_ids"
            | "upstream_task_ids"
            | "inlets"
            | "outlets"
            | "task_group"
            | "weight_rule"
            | "operator_extra_links"
            | "extra_links"
            | "executor_config"
            | "subdag"
            | "allow_nested_operators"
            | "deps"
            | "multiple_outputs"
            | "shallow_copy_attrs"
            | "supports_lineage"
            | "wait_for_past_depends_before_skipping" => Self::Absent,
            argument if task.template_fields.iter().any(|field| field == argument) => {
                text(task.arguments.get(argument).and_then(Value::as_str))
            }
            _ => return None,
        })
    }
}
