//! Import errors.

use serde_json::{Value, json};
use updraft_core::model::ImportError;
use updraft_core::service::ServiceError;
use updraft_core::storage::ImportErrorOrder;

use crate::access::{Action, Resource};
use crate::airflow::State;
use crate::airflow::call::Call;
use crate::airflow::date;
use crate::airflow::operation::{Access, Answer, Operation, operation};
use crate::airflow::problem::Problem;
use crate::airflow::reply::Reply;

/// What one may sort by.
const ORDERS: [(&str, ImportErrorOrder); 3] = [
    ("import_error_id", ImportErrorOrder::Id),
    ("timestamp", ImportErrorOrder::Timestamp),
    ("filename", ImportErrorOrder::Filename),
];

pub(super) fn operations() -> Vec<Operation<State>> {
    let access = Access::Plain(Action::Read, Resource::ImportErrors);
    vec![
        operation!(get_import_errors, access, get_import_errors),
        operation!(get_import_error, access, get_import_error),
    ]
}

async fn get_import_errors(call: Call) -> Answer {
    let page = call.query.page()?;
    let order = call.query.order_by(&ORDERS)?;
    let readable = call.readable().await?;
    let errors = call.service().import_errors(readable.as_deref(), order, page).await?;
    let shown: Vec<_> = errors.items.iter().map(show).collect();
    Ok(Reply::json(&json!({"import_errors": shown, "total_entries": errors.total})))
}

async fn get_import_error(call: Call) -> Answer {
    let id = call.path.integer("import_error_id");
    let not_found = || {
        let id = id.map(|id| id.to_string()).unwrap_or_default();
        let detail = format!("The ImportError with import_error_id: `{id}` was not found");
        Problem::not_found("Import error not found", Some(detail))
    };
    let readable = call.readable().await?;
    let found = call.service().import_error(id.ok_or_else(not_found)?, readable.as_deref()).await;
    let error = found.map_err(|error| match error {
        // Ids are numbers in a row: that there is one tells nobody anything.
        ServiceError::NotFound(_) => not_found(),
        ServiceError::Conflict(..) => {
            Problem::forbidden(Some("You do not have read permission on any of the DAGs in the file".to_owned()))
        }
        error => error.into(),
    })?;
    Ok(Reply::json(&show(&error)))
}

/// An import error as clients see it.
fn show(error: &ImportError) -> Value {
    json!({
        "import_error_id": error.id,
        "timestamp": date::show(error.timestamp),
        "filename": error.filename,
        "stack_trace": error.stack_trace,
    })
}
