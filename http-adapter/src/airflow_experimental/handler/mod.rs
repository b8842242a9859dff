//! The handlers, by noun.

mod dag;
mod dag_run;
mod lineage;
mod pool;
mod status;
mod task;

use serde_json::Value;

use super::reply::Failure;
use super::route::{Call, Route};
use crate::airflow::check::has_nul;

/// All routes.
pub(crate) fn routes() -> Vec<Route> {
    [status::routes(), dag::routes(), dag_run::routes(), task::routes(), pool::routes(), lineage::routes()]
        .into_iter()
        .flatten()
        .collect()
}

/// The body, whatever the caller says of its type.
fn body(call: &Call) -> Result<Value, Failure> {
    let body: Value = serde_json::from_slice(&call.body).map_err(|_| Failure::not_json())?;
    if has_nul(&body) {
        return Err(Failure::bad_request("The request body holds a NUL character"));
    }
    Ok(body)
}
