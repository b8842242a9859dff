//! Roles, and the actions that they permit.

use serde_json::{Map, Value, json};
use updraft_core::model::Role;
use updraft_core::python;
use updraft_core::service::ServiceError;
use updraft_core::storage::{RoleOrder, RoleUpdate, Subject};

use super::user::{ascending, item_name};
use crate::access::{Action, Resource};
use crate::airflow::State;
use crate::airflow::call::Call;
use crate::airflow::field::FieldErrors;
use crate::airflow::operation::{Access, Answer, Operation, operation};
use crate::airflow::problem::Problem;
use crate::airflow::reply::Reply;

/// What one may sort by; Airflow takes no minus before it.
const ORDERS: [(&str, RoleOrder); 2] = [("role_id", RoleOrder::Id), ("name", RoleOrder::Name)];
/// Longest name.
const MAX_NAME: usize = 64;
/// The actions in Airflow's order.
const ACTIONS: [Action; 5] = [Action::Edit, Action::Read, Action::Create, Action::Delete, Action::Menu];

pub(super) fn operations() -> Vec<Operation<State>> {
    vec![
        operation!(get_roles, Access::Plain(Action::Read, Resource::Roles), get_roles),
        operation!(get_role, Access::Plain(Action::Read, Resource::Roles), get_role),
        operation!(post_role, Access::Plain(Action::Create, Resource::Roles), post_role),
        operation!(patch_role, Access::Plain(Action::Edit, Resource::Roles), patch_role),
        operation!(delete_role, Access::Plain(Action::Delete, Resource::Roles), delete_role),
        operation!(get_permissions, Access::Plain(Action::Read, Resource::Permissions), get_permissions),
    ]
}

async fn get_roles(call: Call) -> Answer {
    let page = call.query.page()?;
    let order = call.query.text("order_by").map(|text| ascending(text, &ORDERS)).transpose()?;
    let roles = call.service().roles(order, page).await?;
    let shown: Vec<_> = roles.items.iter().map(show).collect();
    Ok(Reply::json(&json!({"roles": shown, "total_entries": roles.total})))
}

async fn get_role(call: Call) -> Answer {
    let name = call.path_text("role_name");
    let role = call.service().role(name).await.map_err(|error| worded(error, name))?;
    Ok(Reply::json(&show(&role)))
}

/// As in Airflow, the answer says nothing of the role that was made.
async fn post_role(mut call: Call) -> Answer {
    let body = call.body_members();
    let sent = Sent::read(&body)?;
    let Some(permissions) = sent.permissions else {
        // Before what is missing, as in Airflow, which fails without the actions.
        return match call.service().role(&sent.name).await {
            Ok(_) => Err(exists(&sent.name)),
            Err(ServiceError::NotFound(_)) => {
                Err(FieldErrors::one("actions", "Missing data for required field.").into_problem())
            }
            Err(error) => Err(error.into()),
        };
    };
    let made = call.service().create_role(sent.name.clone(), permissions).await;
    made.map_err(|error| worded(error, &sent.name))?;
    Ok(Reply::json(&json!({})))
}

/// As in Airflow, actions are added to those that the role has; none is taken away.
async fn patch_role(mut call: Call) -> Answer {
    let name = call.path_text("role_name").to_owned();
    let mask = call.query.list("update_mask");
    let body = call.body_members();
    let sent = Sent::read(&body)?;
    call.service().role(&name).await.map_err(|error| worded(error, &name))?;
    let mask: Option<Vec<&str>> = mask.as_ref().map(|mask| mask.iter().map(|field| field.trim()).collect());
    if let Some(unknown) = mask.iter().flatten().find(|field| !["name", "actions"].contains(field)) {
        return Err(Problem::bad_request(format!("'{unknown}' in update_mask is unknown")));
    }
    let is_chosen = |field| mask.as_ref().is_none_or(|mask| mask.contains(&field));
    if mask.is_some() && is_chosen("actions") && sent.permissions.is_none() {
        return Err(FieldErrors::one("actions", "Missing data for required field.").into_problem());
    }
    let update = RoleUpdate {
        name: is_chosen("name").then(|| sent.name.clone()),
        add: sent.permissions.filter(|_| is_chosen("actions")).unwrap_or_default(),
        remove: Vec::new(),
    };
    let service = call.service();
    let changed = match service.update_role(&name, update.clone()).await {
        // In Airflow the role keeps its name then, and nobody is told.
        Err(ServiceError::AlreadyExists(_)) => service.update_role(&name, RoleUpdate { name: None, ..update }).await,
        changed => changed,
    };
    let changed = changed.map_err(|error| worded(error, &name))?;
    Ok(Reply::json(&show(&changed)))
}

async fn delete_role(call: Call) -> Answer {
    let name = call.path_text("role_name");
    call.service().delete_role(name).await.map_err(|error| worded(error, name))?;
    Ok(Reply::no_content())
}

async fn get_permissions(call: Call) -> Answer {
    let page = call.query.page()?;
    let shown: Vec<_> =
        ACTIONS.iter().skip(page.offset).take(page.limit).map(|action| named(action.as_str())).collect();
    Ok(Reply::json(&json!({"actions": shown, "total_entries": ACTIONS.len()})))
}

fn exists(name: &str) -> Problem {
    let name = python::str_repr(name);
    Problem::conflict(format!("Role with name {name} already exists; please update with the PATCH endpoint"))
}

fn worded(error: ServiceError, name: &str) -> Problem {
    match error {
        ServiceError::NotFound(Subject::Role(_)) => {
            let detail = format!("Role with name {} was not found", python::str_repr(name));
            Problem::not_found("Role not found", Some(detail))
        }
        ServiceError::AlreadyExists(_) => exists(name),
        error => error.into(),
    }
}

fn named(name: &str) -> Value {
    json!({"name": name})
}

/// A role as clients see it.
fn show(role: &Role) -> Value {
    let actions: Vec<_> = role
        .permissions
        .iter()
        .map(|(action, resource)| json!({"action": named(action), "resource": named(resource)}))
        .collect();
    json!({"actions": actions, "name": role.name})
}

/// What a body says of a role.
struct Sent {
    name: String,
    permissions: Option<Vec<(String, String)>>,
}

impl Sent {
    fn read(body: &Map<String, Value>) -> Result<Self, Problem> {
        let mut errors = FieldErrors::default();
        errors.add_missing(body, &["name"]);
        errors.add_too_long(body, &[("name", MAX_NAME)]);
        errors.add_unknown(body, &["name", "actions"]);
        errors.check()?;
        let items = body.get("actions").and_then(Value::as_array);
        let permissions = items.map(|items| items.iter().enumerate().filter_map(read_permission).collect());
        Ok(Self {
            name: body.get("name").and_then(Value::as_str).unwrap_or_default().to_owned(),
            permissions: permissions.transpose()?,
        })
    }
}

/// A permission that an item of a body names; an empty item names none, as in Airflow.
fn read_permission((index, item): (usize, &Value)) -> Option<Result<(String, String), Problem>> {
    let Value::Object(members) = item else {
        return Some(Err(FieldErrors::nested("actions", index, &[], "Field may not be null.")));
    };
    if members.is_empty() {
        return None;
    }
    if let Some(unknown) = members.keys().find(|member| !["action", "resource"].contains(&member.as_str())) {
        return Some(Err(FieldErrors::nested("actions", index, &[unknown], "Unknown field.")));
    }
    let name = |member| match members.get(member) {
        Some(item) => item_name("actions", index, &[member], item),
        None => Err(FieldErrors::nested("actions", index, &[member], "Missing data for required field.")),
    };
    Some(name("action").and_then(|action| Ok((action, name("resource")?))))
}
