//! Variables.

use serde_json::{Map, Value, json};
use updraft_core::model::Variable;
use updraft_core::secret::StoredSecret;
use updraft_core::service::ServiceError;
use updraft_core::storage::{VariableOrder, VariableUpdate};

use crate::access::{Action, Resource};
use crate::airflow::State;
use crate::airflow::call::Call;
use crate::airflow::field::FieldErrors;
use crate::airflow::operation::{Access, Answer, Operation, logged, operation};
use crate::airflow::problem::Problem;
use crate::airflow::reply::Reply;

/// What one may sort by.
const ORDERS: [(&str, VariableOrder); 3] =
    [("value", VariableOrder::Value), ("key", VariableOrder::Key), ("id", VariableOrder::Id)];

pub(super) fn operations() -> Vec<Operation<State>> {
    let access = |action| Access::Plain(action, Resource::Variables);
    vec![
        operation!(get_variables, access(Action::Read), get_variables),
        operation!(get_variable, access(Action::Read), get_variable),
        logged!(post_variables, "variable.create", access(Action::Create), post_variables),
        logged!(patch_variable, "variable.edit", access(Action::Edit), patch_variable),
        logged!(delete_variable, "variable.delete", access(Action::Delete), delete_variable),
    ]
}

async fn get_variables(call: Call) -> Answer {
    let page = call.query.page()?;
    let order_by = call.query.order_by(&ORDERS)?;
    let variables = call.service().variables(order_by, page).await?;
    let shown: Vec<_> = variables
        .items
        .iter()
        .map(|(variable, problem)| {
            let mut shown = show(variable);
            if let Some(error) = problem {
                // As in Airflow, so that one variable does not hide the others.
                tracing::warn!(key = variable.key, %error, "a variable cannot be decrypted");
                shown["value"] = Value::Null;
            }
            shown
        })
        .collect();
    Ok(Reply::json(&json!({"variables": shown, "total_entries": variables.total})))
}

async fn get_variable(call: Call) -> Answer {
    let variable = call.service().variable(call.path_text("variable_key")).await.map_err(worded)?;
    Ok(Reply::json(&show(&variable)))
}

async fn post_variables(mut call: Call) -> Answer {
    let actor = call.actor_of("variable.create");
    let body = call.body_members();
    let (key, value) = read(&body)?;
    let description = body.get("description").and_then(Value::as_str).map(str::to_owned);
    let variable = Variable { id: 0, key, value, description, is_encrypted: false };
    call.service().set_variable(variable, &actor).await.map_err(worded)?;
    // Airflow answers with what it was sent.
    Ok(Reply::json(&Value::Object(body)))
}

async fn patch_variable(mut call: Call) -> Answer {
    let actor = call.actor_of("variable.edit");
    let path_key = call.path_text("variable_key").to_owned();
    let mask = call.query.list("update_mask");
    let body = call.body_members();
    let (key, value) = read(&body)?;
    if key != path_key {
        let detail = "key from request body doesn't match uri parameter".to_owned();
        return Err(Problem::bad_request_titled("Invalid post body", Some(detail)));
    }
    // Before the mask, as in Airflow; whether it can be decrypted does not matter.
    call.service().storage().variable(&key).await.map_err(|error| worded(error.into()))?;
    let mask: Option<Vec<&str>> = mask.as_ref().map(|names| names.iter().map(|name| name.trim()).collect());
    for field in mask.iter().flatten() {
        // Airflow's mask knows the value by its internal name alone.
        if *field != "val" && !(*field == "description" && body.contains_key("description")) {
            return Err(Problem::bad_request(format!("'{field}' is unknown or cannot be updated.")));
        }
    }
    let is_chosen = |field| mask.as_ref().is_none_or(|mask| mask.contains(&field));
    let update = VariableUpdate {
        value: is_chosen("val").then(|| StoredSecret::clear(value)),
        description: body
            .get("description")
            .filter(|_| is_chosen("description"))
            .map(|text| text.as_str().map(str::to_owned)),
    };
    let changed = call.service().update_variable(&key, update, &actor).await.map_err(worded)?;
    Ok(Reply::json(&show(&changed)))
}

async fn delete_variable(call: Call) -> Answer {
    let actor = call.actor_of("variable.delete");
    let deleted = call.service().delete_variable(call.path_text("variable_key"), &actor).await;
    deleted.map_err(|error| match error {
        ServiceError::NotFound(_) => Problem::not_found("Variable not found", None),
        error => error.into(),
    })?;
    Ok(Reply::no_content_page())
}

/// The key and the value, which every body has.
fn read(body: &Map<String, Value>) -> Result<(String, String), Problem> {
    let mut errors = FieldErrors::default();
    errors.add_missing(body, &["key", "value"]);
    if body.get("description").is_some_and(Value::is_null) {
        errors.add("description", "Field may not be null.");
    }
    errors.add_unknown(body, &["key", "value", "description"]);
    errors.check().map_err(|problem| problem.titled("Invalid Variable schema"))?;
    let text = |name: &str| body.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    Ok((text("key"), text("value")))
}

/// A variable as clients see it: as in Airflow its value is not hidden.
fn show(variable: &Variable) -> Value {
    json!({"key": variable.key, "value": variable.value, "description": variable.description})
}

fn worded(error: ServiceError) -> Problem {
    match error {
        ServiceError::NotFound(_) => {
            Problem::not_found("Variable not found", Some("Variable does not exist".to_owned()))
        }
        ServiceError::Invalid { field, message } => {
            FieldErrors::one(&field, &message).into_problem().titled("Invalid Variable schema")
        }
        error => error.into(),
    }
}
