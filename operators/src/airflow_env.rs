//! What Airflow tells a task through its environment.

use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::Value;
use updraft_core::operator::TaskContext;

use updraft_core::python::str_repr;

/// A moment as Python's `isoformat` prints it.
pub(crate) fn isoformat(moment: DateTime<Utc>) -> String {
    let digits = if moment.timestamp_subsec_micros() == 0 { SecondsFormat::Secs } else { SecondsFormat::Micros };
    moment.to_rfc3339_opts(digits, false)
}

/// The variables, in Airflow's order (2.11, `utils/operator_helpers.py`); those that have no value are left out.
pub(crate) fn variables(context: &TaskContext) -> Vec<(&'static str, String)> {
    let (attempt, task) = (context.attempt(), context.task());
    let email = match task.extra.get("email") {
        Some(Value::String(email)) => email.clone(),
        Some(Value::Array(emails)) => emails.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(","),
        _ => String::new(),
    };
    let mut variables = vec![
        ("AIRFLOW_CTX_DAG_EMAIL", email),
        ("AIRFLOW_CTX_DAG_OWNER", task.owner.clone()),
        ("AIRFLOW_CTX_DAG_ID", attempt.dag.dag_id.to_string()),
        ("AIRFLOW_CTX_TASK_ID", task.task_id.to_string()),
        ("AIRFLOW_CTX_EXECUTION_DATE", isoformat(attempt.run.logical_date)),
        ("AIRFLOW_CTX_TRY_NUMBER", attempt.try_number.to_string()),
        ("AIRFLOW_CTX_DAG_RUN_ID", attempt.run.run_id.clone()),
    ];
    variables.retain(|(_, value)| !value.is_empty());
    let list: Vec<String> = variables.iter().map(|(name, value)| format!("{name}={}", str_repr(value))).collect();
    context.info(format_args!("Exporting env vars: {}", list.join(" ")));
    variables
}
