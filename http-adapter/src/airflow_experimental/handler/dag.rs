//! DAGs: delete, read their code, pause.

use http::StatusCode;
use serde_json::{Value, json};
use updraft_core::model::DagRecord;
use updraft_core::service::{Service, ServiceError};

use crate::access::{Access, Action, Resource};
use crate::airflow_experimental::reply::{Answer, Failure, Reply};
use crate::airflow_experimental::route::{Call, Route, route};

pub(super) fn routes() -> Vec<Route> {
    vec![
        route!(DELETE "/dags/{dag_id}", Access::Dag(Action::Delete), delete),
        route!(GET "/dags/{dag_id}/code", Access::DagPart(Action::Read, &[Resource::DagCode]), code),
        route!(GET "/dags/{dag_id}/paused", Access::Dag(Action::Read), paused),
        route!(GET "/dags/{dag_id}/paused/{value}", Access::Dag(Action::Edit), set_paused),
    ]
}

/// A DAG that somebody declares.
pub(super) async fn declared(service: &Service, dag_id: &str) -> Result<DagRecord, Failure> {
    let record = service.dag(dag_id).await.map_err(|error| unknown(error, dag_id))?;
    if !record.is_active {
        return Err(Failure::not_found(format!("Dag id {dag_id} not found")));
    }
    Ok(record)
}

fn unknown(error: ServiceError, dag_id: &str) -> Failure {
    match error {
        ServiceError::NotFound(_) => Failure::not_found(format!("Dag id {dag_id} not found in DagModel")),
        error => error.into(),
    }
}

async fn delete(call: Call) -> Answer {
    let dag_id = call.part("dag_id");
    let count = call.service.count_records(dag_id).await?;
    let deleted = call.service.delete_dag(dag_id, &call.actor(&Value::Null)).await;
    deleted.map_err(|error| match error {
        ServiceError::NotFound(_) => Failure::not_found(format!("Dag id {dag_id} not found")),
        // Airflow fails there.
        ServiceError::Conflict(..) => Failure::new(StatusCode::CONFLICT, "TaskInstances still running"),
        error => error.into(),
    })?;
    Ok(Reply::json(&json!({"message": format!("Removed {count} record(s)"), "count": count})))
}

async fn code(call: Call) -> Answer {
    let dag_id = call.part("dag_id");
    let record = declared(&call.service, dag_id).await?;
    let source = call.service.dag_source(&record.dag().fileloc).await.map_err(|error| match error {
        ServiceError::NotFound(_) => Failure::not_found(format!("Error {error} while reading Dag id {dag_id} Code")),
        error => error.into(),
    })?;
    Ok(Reply::html(&*source))
}

async fn paused(call: Call) -> Answer {
    let dag_id = call.part("dag_id");
    let record = call.service.dag(dag_id).await.map_err(|error| unknown(error, dag_id))?;
    Ok(Reply::json(&json!({"is_paused": record.is_paused})))
}

/// Whatever is not `true` unpauses.
async fn set_paused(call: Call) -> Answer {
    let dag_id = call.part("dag_id");
    let changed = call.service.set_paused(dag_id, call.part("value") == "true", &call.actor(&Value::Null)).await;
    changed.map_err(|error| unknown(error, dag_id))?;
    Ok(Reply::json(&json!({"response": "ok"})))
}
