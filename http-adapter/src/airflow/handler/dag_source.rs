//! Sources of DAG files.

use serde_json::json;
use updraft_core::service::ServiceError;

use crate::access::{Action, Resource};
use crate::airflow::State;
use crate::airflow::call::Call;
use crate::airflow::file_token::file_of;
use crate::airflow::operation::{Access, Answer, Operation, operation};
use crate::airflow::problem::Problem;
use crate::airflow::reply::Reply;

pub(super) fn operations() -> Vec<Operation<State>> {
    vec![operation!(get_dag_source, Access::DagPart(Action::Read, &[Resource::DagCode]), get_dag_source)]
}

async fn get_dag_source(call: Call) -> Answer {
    let not_found = || Problem::not_found("Dag source not found", None);
    let fileloc = file_of(call.path_text("file_token")).ok_or_else(not_found)?;
    if let Some(readable) = call.readable().await? {
        let dags = call.service().dags_of_files([fileloc.clone()].into()).await?;
        if !dags.values().all(|of_file| of_file.is_subset(&readable)) {
            return Err(Problem::forbidden(None));
        }
    }
    let found = call.service().dag_source(&fileloc).await;
    let source = found.map_err(|error| match error {
        ServiceError::NotFound(_) => not_found(),
        error => error.into(),
    })?;
    match call.accepts(&["text/plain", "application/json"]) {
        Some("text/plain") => Ok(Reply::text(&*source)),
        Some(_) => Ok(Reply::json_line(&json!({"content": &*source}))),
        None => Ok(Reply::not_acceptable("Not Allowed Accept Header")),
    }
}
