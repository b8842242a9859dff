//! Runs: trigger, list, look at.

use std::collections::BTreeSet;

use chrono::{DateTime, FixedOffset, SubsecRound, TimeDelta, Utc};
use serde_json::{Map, Value, json};
use updraft_core::model::{DagRecord, DagRun, RunState};
use updraft_core::python;
use updraft_core::service::{ServiceError, TriggerRequest};
use updraft_core::storage::{OrderBy, PageRequest, RunOrder, RunQuery, Subject};

use super::{body, dag};
use crate::access::{Access, Action, Resource};
use crate::airflow::date::isoformat;
use crate::airflow::param;
use crate::airflow_experimental::date;
use crate::airflow_experimental::reply::{Answer, Failure, Reply};
use crate::airflow_experimental::route::{Call, Route, route};
use crate::airflow_experimental::show::{graph_url, python_date, run_repr};

/// What a trigger may bring; whatever else it brings does not count.
const MEMBERS: [&str; 4] = ["run_id", "conf", "execution_date", "replace_microseconds"];

/// How many runs are read at a time where all of a DAG are asked for.
const RUNS_AT_A_TIME: usize = 10_000;

pub(super) fn routes() -> Vec<Route> {
    let read = Access::DagPart(Action::Read, &[Resource::DagRuns]);
    vec![
        route!(POST "/dags/{dag_id}/dag_runs", Access::DagPart(Action::Create, &[Resource::DagRuns]), trigger),
        route!(GET "/dags/{dag_id}/dag_runs", read, list),
        route!(GET "/dags/{dag_id}/dag_runs/{execution_date}", read, state),
        route!(GET "/latest_runs", Access::Plain(Action::Read, Resource::DagRuns), latest),
    ]
}

/// The date of the path.
pub(super) async fn path_date(call: &Call) -> Result<DateTime<FixedOffset>, Failure> {
    let text = call.part("execution_date");
    date::parse(text, call.service.now().await?).ok_or_else(|| no_date(text))
}

fn no_date(text: &str) -> Failure {
    Failure::bad_request(format!(
        "Given execution date, {text}, could not be identified as a date. Example date format: 2015-11-16T14:34:15+00:00"
    ))
}

/// The run of the path's DAG on a date.
pub(super) async fn run_on(call: &Call, date: DateTime<FixedOffset>) -> Result<DagRun, Failure> {
    let dag_id = call.part("dag_id");
    call.service.dag_run_on(dag_id, date.to_utc()).await.map_err(|error| match error {
        ServiceError::NotFound(_) => {
            Failure::not_found(format!("Dag Run for date {} not found in dag {dag_id}", python_date(date)))
        }
        error => error.into(),
    })
}

async fn trigger(call: Call) -> Answer {
    let body = body(&call)?;
    let actor = call.actor(&body);
    let members = members(body)?;
    let conf = match members.get("conf") {
        None => Map::new(),
        Some(Value::Object(conf)) => conf.clone(),
        Some(_) => {
            let text = "Dag Run conf must be a dictionary object, other types are not supported";
            return Err(Failure::bad_request(text));
        }
    };
    let now = call.service.now().await?;
    let given = match members.get("execution_date") {
        None | Some(Value::Null) => None,
        Some(Value::String(text)) => Some(date::parse(text, now).ok_or_else(|| no_date(text))?),
        Some(other) => return Err(no_date(&python::str(other))),
    };
    let cuts = match members.get("replace_microseconds") {
        None => given.is_none(),
        Some(value) => flag(value)?,
    };
    let dag = dag_to_trigger(&call).await?;
    let run_id = run_id(members.get("run_id"))?;
    let logical_date = match given {
        Some(date) if cuts => Some(date.trunc_subsecs(0)),
        None if cuts => Some(now.fixed_offset().trunc_subsecs(0)),
        given => given,
    };
    let request = TriggerRequest { run_id: run_id.clone(), logical_date, conf, ..TriggerRequest::default() };
    let run = call.service.trigger(&dag, request, &actor).await.map_err(|error| match error {
        ServiceError::AlreadyExists(subject) => already_exists(&subject, dag.dag_id().as_str(), logical_date, run_id),
        ServiceError::InvalidParam { name, value, schema, message } => {
            let text = param::explain(value.as_ref(), &schema).unwrap_or(message);
            Failure::bad_request(format!("Invalid input for param {name}: {text}"))
        }
        error => error.into(),
    })?;
    // As it was sent, with its offset.
    let date = logical_date.unwrap_or_else(|| run.logical_date.fixed_offset());
    Ok(Reply::json(&json!({
        "execution_date": isoformat(date),
        "message": format!("Created {}", run_repr(&run, date)),
        "run_id": run.run_id,
    })))
}

/// A text or a list has no members, as in Airflow; what is neither that nor an object is refused, where Airflow fails.
fn members(body: Value) -> Result<Map<String, Value>, Failure> {
    match body {
        Value::Object(members) => Ok(members),
        Value::String(text) if !MEMBERS.iter().any(|name| text.contains(name)) => Ok(Map::new()),
        Value::Array(items) if !MEMBERS.iter().any(|name| items.iter().any(|item| item == name)) => Ok(Map::new()),
        _ => Err(Failure::bad_request("The request body must be a JSON object")),
    }
}

/// None where one is to be made.
fn run_id(value: Option<&Value>) -> Result<Option<String>, Failure> {
    match value {
        Some(Value::String(run_id)) => Ok(Some(run_id.clone()).filter(|run_id| !run_id.is_empty())),
        None | Some(Value::Null) => Ok(None),
        Some(_) => Err(Failure::bad_request("`run_id` should be a str")),
    }
}

fn flag(value: &Value) -> Result<bool, Failure> {
    match value {
        Value::Null => Ok(false),
        Value::Bool(flag) => Ok(*flag),
        Value::String(text) => {
            Ok(["on", "t", "true", "y", "yes", "1"].iter().any(|yes| yes.eq_ignore_ascii_case(text)))
        }
        _ => Err(Failure::bad_request("replace_microseconds must be 'true' or 'false'")),
    }
}

async fn dag_to_trigger(call: &Call) -> Result<DagRecord, Failure> {
    let dag_id = call.part("dag_id");
    dag::declared(&call.service, dag_id).await?;
    call.service.dag_to_trigger(dag_id).await.map_err(|error| match error {
        ServiceError::NotFound(_) => Failure::not_found(format!("Dag id {dag_id} not found")),
        ServiceError::Conflict(..) => Failure::bad_request(format!("Dag id {dag_id} has import errors")),
        error => error.into(),
    })
}

/// Names the date and the id that were asked for, whichever of them is taken.
fn already_exists(
    subject: &Subject,
    dag_id: &str,
    asked: Option<DateTime<FixedOffset>>,
    run_id: Option<String>,
) -> Failure {
    let date = match (asked, subject) {
        (None, Subject::LogicalDate(_, date)) => Some(date.fixed_offset()),
        (asked, _) => asked,
    };
    let run_id = run_id.or_else(|| date.map(|date| format!("manual__{}", isoformat(date)))).unwrap_or_default();
    let at = date.map(|date| format!(" at {}", python_date(date))).unwrap_or_default();
    Failure::bad_request(format!("A DAG Run already exists for DAG {dag_id}{at} with run id {run_id}"))
}

async fn list(call: Call) -> Answer {
    let dag_id = call.part("dag_id");
    dag::declared(&call.service, dag_id).await.map_err(|failure| match failure.is_not_found() {
        true => failure.with_status(http::StatusCode::BAD_REQUEST),
        false => failure,
    })?;
    let states = match call.parameter("state").map(|state| state.to_lowercase()) {
        None => None,
        Some(state) if state.is_empty() => None,
        Some(state) => {
            let known = state.parse::<RunState>();
            let invalid = |_| Failure::bad_request(format!("{} is not a valid DagRunState", python::str_repr(&state)));
            Some(vec![known.map_err(invalid)?])
        }
    };
    let mut query = RunQuery {
        dag_ids: Some(BTreeSet::from([dag_id.into()])),
        states,
        order_by: Some(OrderBy { field: RunOrder::LogicalDate, descending: false }),
        page: PageRequest { limit: RUNS_AT_A_TIME, offset: 0 },
        ..RunQuery::default()
    };
    let mut shown = Vec::new();
    loop {
        let runs = call.service.dag_runs(&query).await?.items;
        shown.extend(runs.iter().map(show));
        match runs.last() {
            // The dates of a DAG's runs differ.
            Some(last) if runs.len() == RUNS_AT_A_TIME => {
                query.logical_date.at_least = Some(last.logical_date + TimeDelta::microseconds(1));
            }
            _ => return Ok(Reply::json(&shown.into())),
        }
    }
}

fn show(run: &DagRun) -> Value {
    json!({
        "dag_id": run.dag_id.as_str(),
        "dag_run_url": graph_url(run),
        "execution_date": isoformat(run.logical_date.fixed_offset()),
        "id": run.id.0,
        "run_id": run.run_id,
        "start_date": start_date(run.start_date),
        "state": run.state.as_str(),
    })
}

/// A run that has not started shows an empty text.
fn start_date(date: Option<DateTime<Utc>>) -> String {
    date.map(|date| isoformat(date.fixed_offset())).unwrap_or_default()
}

async fn state(call: Call) -> Answer {
    let date = path_date(&call).await?;
    dag::declared(&call.service, call.part("dag_id")).await?;
    let run = run_on(&call, date).await?;
    Ok(Reply::json(&json!({"state": run.state.as_str()})))
}

async fn latest(call: Call) -> Answer {
    let runs = call.service.latest_runs(call.readable().await?).await?;
    let shown = runs.iter().map(|run| {
        json!({
            "dag_id": run.dag_id.as_str(),
            "dag_run_url": graph_url(run),
            "execution_date": isoformat(run.logical_date.fixed_offset()),
            "start_date": start_date(run.start_date),
        })
    });
    Ok(Reply::json(&json!({"items": shown.collect::<Vec<_>>()})))
}
