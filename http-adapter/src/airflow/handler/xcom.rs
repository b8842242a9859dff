//! XComs.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};
use updraft_core::python;
use updraft_core::service::ServiceError;
use updraft_core::storage::{XComEntry, XComQuery};

use super::task_instance::map_index;
use crate::access::{Action, Resource};
use crate::airflow::State;
use crate::airflow::call::Call;
use crate::airflow::date;
use crate::airflow::operation::{Access, Answer, Operation, operation};
use crate::airflow::problem::Problem;
use crate::airflow::reply::Reply;

pub(super) fn operations() -> Vec<Operation<State>> {
    vec![
        operation!(get_xcom_entries, Access::DagPart(Action::Read, &[Resource::XComs]), get_xcom_entries),
        operation!(get_xcom_entry, Access::DagPart(Action::Read, &[Resource::XComs]), get_xcom_entry),
    ]
}

async fn get_xcom_entries(call: Call) -> Answer {
    let (dag_id, readable) = match call.path_text("dag_id") {
        "~" => (None, call.readable().await?),
        dag_id => (Some(dag_id.to_owned()), None),
    };
    let unless_all = |name: &str| Some(call.path_text(name)).filter(|text| *text != "~").map(str::to_owned);
    let query = XComQuery {
        dag_id,
        readable,
        run_id: unless_all("dag_run_id"),
        task_ids: unless_all("task_id").map(|task_id| BTreeSet::from([task_id])),
        map_index: call.query.integer("map_index").map(map_index),
        key: call.query.text("xcom_key").map(str::to_owned),
        page: call.query.page()?,
    };
    let entries = call.service().xcoms(&query).await?;
    let shown: Vec<_> = entries.items.iter().map(|entry| Value::Object(show_entry(entry))).collect();
    Ok(Reply::json(&json!({"xcom_entries": shown, "total_entries": entries.total})))
}

async fn get_xcom_entry(call: Call) -> Answer {
    // All values are JSON, so there is nothing else to make of them where it is allowed.
    if call.query.flag("deserialize") == Some(true) && !call.state.deserializes_xcoms {
        return Err(Problem::bad_request("XCom deserialization is disabled in configuration."));
    }
    let index = call.query.integer("map_index").map_or(-1, map_index);
    let (dag_id, run_id, task_id) = (call.path_text("dag_id"), call.path_text("dag_run_id"), call.path_text("task_id"));
    let entry = call.service().xcom(dag_id, run_id, task_id, index, call.path_text("xcom_key")).await;
    let entry = entry.map_err(|error| match error {
        ServiceError::NotFound(_) => Problem::not_found("XCom entry not found", None),
        error => error.into(),
    })?;
    let mut shown = show_entry(&entry);
    let value = match (&entry.xcom.value, call.query.flag("stringify").unwrap_or(true)) {
        (Value::Null, _) => Value::Null,
        (value, true) => python::str(value).into(),
        (value, false) => value.clone(),
    };
    shown.insert("value".to_owned(), value);
    Ok(Reply::json(&Value::Object(shown)))
}

fn show_entry(entry: &XComEntry) -> Map<String, Value> {
    let mut shown = Map::new();
    shown.insert("dag_id".to_owned(), entry.run.dag_id.as_str().into());
    shown.insert("execution_date".to_owned(), date::show(entry.run.logical_date));
    shown.insert("key".to_owned(), entry.xcom.key.as_str().into());
    shown.insert("map_index".to_owned(), entry.xcom.instance.map_index.into());
    shown.insert("task_id".to_owned(), entry.task_id.as_str().into());
    shown.insert("timestamp".to_owned(), date::show(entry.xcom.timestamp));
    shown
}
