//! Pools.

use serde_json::{Value, json};
use updraft_core::model::PoolUsage;
use updraft_core::python;
use updraft_core::service::{NewPool, ServiceError};
use updraft_core::storage::PageRequest;

use super::body;
use crate::access::{Access, Action, Resource};
use crate::airflow_experimental::reply::{Answer, Failure, Reply};
use crate::airflow_experimental::route::{Call, Route, route};

/// What a pool is made of; all of it is needed, nothing else is taken.
const MEMBERS: [&str; 3] = ["name", "slots", "description"];

pub(super) fn routes() -> Vec<Route> {
    let access = |action| Access::Plain(action, Resource::Pools);
    vec![
        route!(POST "/pools", access(Action::Create), put),
        route!(GET "/pools", access(Action::Read), list),
        route!(DELETE "/pools/{name}", access(Action::Delete), delete),
        route!(GET "/pools/{name}", access(Action::Read), get),
    ]
}

async fn list(call: Call) -> Answer {
    let pools = call.service.pools(None, PageRequest::ALL).await?;
    Ok(Reply::json(&pools.items.iter().map(show).collect()))
}

async fn get(call: Call) -> Answer {
    Ok(Reply::json(&show(&find(&call).await?)))
}

async fn find(call: &Call) -> Result<PoolUsage, Failure> {
    let name = call.part("name");
    check_name(name)?;
    call.service.pool(name).await.map_err(|error| missing(error, name))
}

/// Makes a pool, or changes that of this name.
async fn put(call: Call) -> Answer {
    let body = body(&call)?;
    let actor = call.actor(&body);
    let Value::Object(members) = &body else {
        return Err(Failure::bad_request("The request body must be a JSON object"));
    };
    // Airflow fails at these.
    if let Some(missing) = MEMBERS.iter().find(|name| !members.contains_key(**name)) {
        return Err(Failure::bad_request(format!("create_pool() misses the argument '{missing}'")));
    }
    if let Some(unknown) = members.keys().find(|name| !MEMBERS.contains(&name.as_str())) {
        let shown = python::str_repr(unknown);
        return Err(Failure::bad_request(format!("create_pool() got an unexpected keyword argument {shown}")));
    }
    let name = match &members["name"] {
        Value::Null => "",
        Value::String(name) => name,
        _ => return Err(Failure::bad_request("Pool name should be a str")),
    };
    check_name(name)?;
    let slots = slots(&members["slots"])?;
    let description = match &members["description"] {
        Value::Null => None,
        other => Some(python::str(other)),
    };
    let pool = NewPool { name: name.to_owned(), slots, description, include_deferred: false };
    let made = call.service.put_pool(pool, &actor).await.map_err(|error| match error {
        ServiceError::Invalid { field, .. } if field == "name" => {
            Failure::bad_request("Pool name can't be more than 256 characters")
        }
        ServiceError::Invalid { .. } => bad_slots(&members["slots"]),
        error => error.into(),
    })?;
    Ok(Reply::json(&show(&made)))
}

async fn delete(call: Call) -> Answer {
    let name = call.part("name");
    check_name(name)?;
    let pool = call.service.pool(name).await;
    let deleted = call.service.delete_pool(name, &call.actor(&Value::Null)).await;
    deleted.map_err(|error| missing(error, name))?;
    let pool = pool.map_err(|error| missing(error, name))?;
    Ok(Reply::json(&show(&pool)))
}

fn check_name(name: &str) -> Result<(), Failure> {
    match name.trim().is_empty() {
        true => Err(Failure::bad_request("Pool name shouldn't be empty")),
        false => Ok(()),
    }
}

/// What Python's `int()` makes of it.
fn slots(value: &Value) -> Result<i64, Failure> {
    let slots = match value {
        Value::Bool(flag) => Some(i64::from(*flag)),
        // A number that does not fit is refused later as one that is out of range.
        Value::Number(number) => number.as_i64().or_else(|| number.as_f64().map(|number| number as i64)),
        Value::String(text) => integer(text),
        _ => None,
    };
    slots.ok_or_else(|| bad_slots(value))
}

/// Blanks around it, a sign, and single underscores between digits are allowed.
fn integer(text: &str) -> Option<i64> {
    let text = text.trim();
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    if !digits.split('_').all(|part| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit())) {
        return None;
    }
    text.replace('_', "").parse().ok()
}

fn bad_slots(value: &Value) -> Failure {
    Failure::bad_request(format!("Bad value for `slots`: {}", python::str(value)))
}

fn missing(error: ServiceError, name: &str) -> Failure {
    match error {
        ServiceError::NotFound(_) => Failure::not_found(format!("Pool '{name}' doesn't exist")),
        ServiceError::Conflict(..) => Failure::bad_request(format!("{name} cannot be deleted")),
        error => error.into(),
    }
}

fn show(usage: &PoolUsage) -> Value {
    json!({
        "description": usage.pool.description,
        "id": usage.pool.id,
        "include_deferred": usage.pool.include_deferred,
        "pool": usage.pool.name,
        "slots": usage.pool.slots,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_what_python_makes_of_them() {
        for (given, expected) in [
            (json!(5), Some(5)),
            (json!(5.7), Some(5)),
            (json!(-5.7), Some(-5)),
            (json!(true), Some(1)),
            (json!(" 5_0 "), Some(50)),
            (json!("-1"), Some(-1)),
            (json!("1.5"), None),
            (json!("5__0"), None),
            (json!(""), None),
            (json!("é"), None),
            (json!(null), None),
            (json!([1]), None),
        ] {
            assert_eq!(slots(&given).ok(), expected, "{given}");
        }
    }
}
