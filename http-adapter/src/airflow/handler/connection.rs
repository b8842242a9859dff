//! Connections.

use serde_json::{Map, Value, json};
use updraft_core::mask::{MASK, SensitiveNames};
use updraft_core::model::Connection;
use updraft_core::secret::StoredSecret;
use updraft_core::service::ServiceError;
use updraft_core::storage::{ConnectionOrder, ConnectionUpdate};

use crate::access::{Action, Resource};
use crate::airflow::State;
use crate::airflow::call::Call;
use crate::airflow::field::FieldErrors;
use crate::airflow::json;
use crate::airflow::operation::{Access, Answer, Operation, logged, operation};
use crate::airflow::problem::Problem;
use crate::airflow::reply::Reply;

/// Members of a connection that callers may send, in Airflow's order, each with its longest text.
const FIELDS: [(&str, usize); 9] = [
    ("connection_id", 250),
    ("conn_type", 500),
    ("description", usize::MAX),
    ("host", 500),
    ("login", usize::MAX),
    ("schema", 500),
    ("port", usize::MAX),
    ("password", usize::MAX),
    ("extra", usize::MAX),
];

/// What one may sort by.
const ORDERS: [(&str, ConnectionOrder); 6] = [
    ("connection_id", ConnectionOrder::ConnId),
    ("conn_type", ConnectionOrder::ConnType),
    ("description", ConnectionOrder::Description),
    ("host", ConnectionOrder::Host),
    ("port", ConnectionOrder::Port),
    ("id", ConnectionOrder::Id),
];

pub(super) fn operations() -> Vec<Operation<State>> {
    let access = |action| Access::Plain(action, Resource::Connections);
    vec![
        operation!(get_connections, access(Action::Read), get_connections),
        operation!(get_connection, access(Action::Read), get_connection),
        logged!(post_connection, "connection.create", access(Action::Create), post_connection),
        logged!(patch_connection, "connection.edit", access(Action::Edit), patch_connection),
        logged!(delete_connection, "connection.delete", access(Action::Delete), delete_connection),
        operation!(test_connection, access(Action::Create), test_connection),
    ]
}

async fn get_connections(call: Call) -> Answer {
    let page = call.query.page()?;
    let order_by = call.query.order_by(&ORDERS)?;
    let connections = call.service().connections(order_by, page).await?;
    let shown: Vec<_> = connections.items.iter().map(|one| Value::Object(show_item(one))).collect();
    Ok(Reply::json(&json!({"connections": shown, "total_entries": connections.total})))
}

async fn get_connection(call: Call) -> Answer {
    let conn_id = call.path_text("connection_id");
    let connection = call.service().connection(conn_id).await.map_err(|error| worded(error, conn_id))?;
    Ok(Reply::json(&show(&connection, &call.service().settings().sensitive_names)))
}

async fn post_connection(mut call: Call) -> Answer {
    let actor = call.actor_of("connection.create");
    let body = call.body_members();
    let new = read(&body, true)?;
    let conn_id = new.conn_id.clone();
    let made = call.service().create_connection(new, &actor).await.map_err(|error| worded(error, &conn_id))?;
    Ok(Reply::json(&show(&made, &call.service().settings().sensitive_names)))
}

async fn patch_connection(mut call: Call) -> Answer {
    let actor = call.actor_of("connection.edit");
    let conn_id = call.path_text("connection_id").to_owned();
    let mask = call.query.list("update_mask");
    let body = call.body_members();
    let sent = read(&body, false)?;
    // Before what the body asks for, as in Airflow; whether it can be decrypted does not matter.
    call.service().storage().connection(&conn_id).await.map_err(|error| worded(error.into(), &conn_id))?;
    if body.contains_key("connection_id") && sent.conn_id != conn_id {
        return Err(Problem::bad_request("The connection_id cannot be updated."));
    }
    for field in mask.iter().flatten().map(|field| field.trim()) {
        if !body.contains_key(field) || field == "connection_id" {
            return Err(Problem::bad_request(format!("'{field}' is unknown or cannot be updated.")));
        }
    }
    let is_chosen = |field: &str| {
        body.contains_key(field) && mask.as_ref().is_none_or(|mask| mask.iter().any(|name| name.trim() == field))
    };
    let update = ConnectionUpdate {
        conn_type: is_chosen("conn_type").then_some(sent.conn_type),
        description: is_chosen("description").then_some(sent.description),
        host: is_chosen("host").then_some(sent.host),
        login: is_chosen("login").then_some(sent.login),
        schema: is_chosen("schema").then_some(sent.schema),
        port: is_chosen("port").then_some(sent.port),
        password: sent.password.filter(|_| is_chosen("password")).map(StoredSecret::clear),
        extra: is_chosen("extra").then_some(sent.extra.map(StoredSecret::clear)),
    };
    let changed = call.service().update_connection(&conn_id, update, &actor).await;
    let changed = changed.map_err(|error| worded(error, &conn_id))?;
    Ok(Reply::json(&show(&changed, &call.service().settings().sensitive_names)))
}

async fn delete_connection(call: Call) -> Answer {
    let actor = call.actor_of("connection.delete");
    let conn_id = call.path_text("connection_id");
    call.service().delete_connection(conn_id, &actor).await.map_err(|error| worded(error, conn_id))?;
    Ok(Reply::no_content())
}

/// There are no hooks here, so nothing is reached: the answer is that of an Airflow without the type's provider.
async fn test_connection(mut call: Call) -> Answer {
    if !call.state.allows_connection_test {
        return Ok(Reply::forbidden_page(
            "Testing connections is disabled in Airflow configuration. Contact your deployment admin to enable it.",
        ));
    }
    let connection = read(&call.body_members(), true)?;
    let message = format!("Unknown hook type \"{}\"", connection.conn_type);
    Ok(Reply::json(&json!({"status": false, "message": message})))
}

/// What a body says of a connection, its secrets in the clear; what it does not say is empty.
fn read(body: &Map<String, Value>, is_whole: bool) -> Result<Connection, Problem> {
    let mut errors = FieldErrors::default();
    let text = |name: &str| body.get(name).and_then(Value::as_str).map(str::to_owned);
    // The schema lets integers of any size pass.
    let port = body.get("port").filter(|port| !port.is_null());
    let port = port.map(|port| port.as_i64().and_then(|port| i32::try_from(port).ok()));
    for (name, longest) in FIELDS {
        let is_required = is_whole && matches!(name, "connection_id" | "conn_type");
        if is_required && !body.contains_key(name) {
            errors.add(name, "Missing data for required field.");
        } else if text(name).is_some_and(|text| text.chars().count() > longest) {
            errors.add(name, &format!("Longer than maximum length {longest}."));
        } else if name == "port" && port == Some(None) {
            errors.add(name, "Not a valid integer.");
        }
    }
    errors.add_unknown(body, &FIELDS.map(|(name, _)| name));
    errors.check()?;
    Ok(Connection {
        conn_id: text("connection_id").unwrap_or_default(),
        conn_type: text("conn_type").unwrap_or_default(),
        description: text("description"),
        host: text("host"),
        login: text("login"),
        schema: text("schema"),
        port: port.flatten(),
        password: text("password"),
        extra: text("extra"),
        ..Connection::default()
    })
}

/// A connection in lists.
fn show_item(connection: &Connection) -> Map<String, Value> {
    let mut shown = Map::new();
    shown.insert("connection_id".to_owned(), connection.conn_id.as_str().into());
    shown.insert("conn_type".to_owned(), connection.conn_type.as_str().into());
    shown.insert("description".to_owned(), connection.description.as_deref().into());
    shown.insert("host".to_owned(), connection.host.as_deref().into());
    shown.insert("login".to_owned(), connection.login.as_deref().into());
    shown.insert("schema".to_owned(), connection.schema.as_deref().into());
    shown.insert("port".to_owned(), connection.port.into());
    shown
}

/// A connection as clients see it: never its password, and its extra without secrets.
fn show(connection: &Connection, names: &SensitiveNames) -> Value {
    let mut shown = show_item(connection);
    shown.insert("extra".to_owned(), connection.extra.as_deref().map(|extra| show_extra(extra, names)).into());
    Value::Object(shown)
}

fn show_extra(extra: &str, names: &SensitiveNames) -> String {
    match names.redact_extra(extra) {
        Some(extra) => json::dumps_unsorted(&extra),
        // Python may read what is no JSON here, as NaN, and would know what to hide in it.
        None if extra.trim_start().starts_with(['{', '[']) && names.is_sensitive(extra) => MASK.to_owned(),
        None => extra.to_owned(),
    }
}

fn worded(error: ServiceError, conn_id: &str) -> Problem {
    match error {
        ServiceError::NotFound(_) => Problem::not_found(
            "Connection not found",
            Some(format!("The Connection with connection_id: `{conn_id}` was not found")),
        ),
        ServiceError::AlreadyExists(_) => Problem::conflict(format!("Connection already exist. ID: {conn_id}")),
        error => error.into(),
    }
}
