//! Users.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};
use updraft_core::model::User;
use updraft_core::python;
use updraft_core::service::{NewUser, ServiceError};
use updraft_core::storage::{OrderBy, Subject, UserOrder, UserUpdate};

use crate::access::{Action, Resource, hash_in_background};
use crate::airflow::State;
use crate::airflow::call::Call;
use crate::airflow::date;
use crate::airflow::field::FieldErrors;
use crate::airflow::operation::{Access, Answer, Operation, operation};
use crate::airflow::problem::Problem;
use crate::airflow::reply::Reply;

/// Members of a user that callers may send.
const WRITABLE: [&str; 6] = ["first_name", "last_name", "username", "email", "roles", "password"];
/// Those that they must send.
const REQUIRED: [&str; 4] = ["first_name", "last_name", "username", "email"];
/// How long texts may be.
const LIMITS: [(&str, usize); 5] =
    [("first_name", 256), ("last_name", 256), ("username", 512), ("email", 512), ("password", 256)];
/// What one may sort by; Airflow takes no minus before it.
const ORDERS: [(&str, UserOrder); 6] = [
    ("id", UserOrder::Id),
    ("first_name", UserOrder::FirstName),
    ("last_name", UserOrder::LastName),
    ("user_name", UserOrder::Username),
    ("email", UserOrder::Email),
    ("is_active", UserOrder::Active),
];

pub(super) fn operations() -> Vec<Operation<State>> {
    vec![
        operation!(get_users, Access::Plain(Action::Read, Resource::Users), get_users),
        operation!(get_user, Access::Plain(Action::Read, Resource::Users), get_user),
        operation!(post_user, Access::Plain(Action::Create, Resource::Users), post_user),
        operation!(patch_user, Access::Plain(Action::Edit, Resource::Users), patch_user),
        operation!(delete_user, Access::Plain(Action::Delete, Resource::Users), delete_user),
    ]
}

async fn get_users(call: Call) -> Answer {
    let page = call.query.page()?;
    let order = call.query.text("order_by").map(|text| ascending(text, &ORDERS)).transpose()?;
    let users = call.service().users(order, page).await?;
    let shown: Vec<_> = users.items.iter().map(show).collect();
    Ok(Reply::json(&json!({"users": shown, "total_entries": users.total})))
}

/// An order by one of these names, which Airflow compares with what was sent as it is.
pub(super) fn ascending<F: Copy>(text: &str, allowed: &[(&str, F)]) -> Result<OrderBy<F>, Problem> {
    let found = allowed.iter().find(|(name, _)| *name == text);
    let detail = || format!("Ordering with '{text}' is disallowed or the attribute does not exist on the model");
    found.map(|(_, field)| OrderBy { field: *field, descending: false }).ok_or_else(|| Problem::bad_request(detail()))
}

async fn get_user(call: Call) -> Answer {
    let username = call.path_text("username");
    let user = call.service().user(username).await.map_err(|error| worded(error, username))?;
    Ok(Reply::json(&show(&user)))
}

async fn post_user(mut call: Call) -> Answer {
    let body = call.body_members();
    let sent = Sent::read(&body)?;
    let conflict = |error| match error {
        ServiceError::AlreadyExists(Subject::Email(email)) => {
            Problem::conflict(format!("The email `{email}` is already taken."))
        }
        ServiceError::AlreadyExists(Subject::User(name)) => {
            Problem::conflict(format!("Username `{name}` already exists. Use PATCH to update."))
        }
        error => error.into(),
    };
    let service = call.service();
    service.check_user_is_new(sent.username.as_deref(), sent.email.as_deref()).await.map_err(conflict)?;
    let password_hash = hash(&call, sent.password.unwrap_or_default()).await?;
    let user = NewUser {
        username: sent.username.unwrap_or_default(),
        email: sent.email.unwrap_or_default(),
        first_name: sent.first_name.unwrap_or_default(),
        last_name: sent.last_name.unwrap_or_default(),
        roles: sent.roles.unwrap_or_default(),
        password_hash,
    };
    let made = service.create_user(user).await.map_err(conflict)?;
    Ok(Reply::json(&show(&made)))
}

async fn patch_user(mut call: Call) -> Answer {
    let username = call.path_text("username").to_owned();
    let mask = call.query.list("update_mask");
    let body = call.body_members();
    let sent = Sent::read(&body)?;
    let service = call.service();
    let user = service.user(&username).await.map_err(|error| worded(error, &username))?;
    let conflict = |error| match error {
        ServiceError::AlreadyExists(Subject::Email(email)) => {
            Problem::conflict(format!("The email `{email}` already exists"))
        }
        ServiceError::AlreadyExists(Subject::User(name)) => {
            Problem::conflict(format!("The username `{name}` already exists"))
        }
        error => worded(error, &username),
    };
    // As in Airflow: also of what the mask leaves out, and whose name is to change its case is in its own way.
    let new_name = sent.username.as_deref().filter(|name| *name != username);
    let new_email = sent.email.as_deref().filter(|email| *email != user.email);
    service.check_user_is_new(new_name, new_email).await.map_err(conflict)?;
    let chosen = chosen(mask, &body)?;
    let is_chosen = |field: &str| chosen.as_ref().is_none_or(|chosen| chosen.contains(field));
    let password = sent.password.filter(|_| is_chosen("password"));
    let password_hash = match password {
        Some(password) => Some(hash(&call, password).await?),
        None => None,
    };
    let update = UserUpdate {
        username: sent.username.filter(|_| is_chosen("username")),
        email: sent.email.filter(|_| is_chosen("email")),
        first_name: sent.first_name.filter(|_| is_chosen("first_name")),
        last_name: sent.last_name.filter(|_| is_chosen("last_name")),
        roles: sent.roles.filter(|_| is_chosen("roles")).map(|roles| roles.into_iter().collect()),
        active: None,
        password_hash,
    };
    let changed = service.update_user(&username, update).await.map_err(conflict)?;
    Ok(Reply::json(&show(&changed)))
}

async fn delete_user(call: Call) -> Answer {
    let username = call.path_text("username");
    call.service().delete_user(username).await.map_err(|error| worded(error, username))?;
    Ok(Reply::no_content())
}

/// The fields that a mask names; each must be in the body.
fn chosen(mask: Option<Vec<String>>, body: &Map<String, Value>) -> Result<Option<BTreeSet<String>>, Problem> {
    let Some(mask) = mask else { return Ok(None) };
    let mask: Vec<&str> = mask.iter().map(|field| field.trim()).collect();
    let missing: Vec<_> =
        mask.iter().filter(|field| !body.contains_key(**field)).map(|field| python::str_repr(field)).collect();
    if !missing.is_empty() {
        return Err(Problem::bad_request(format!("Unknown update masks: {}", missing.join(", "))));
    }
    Ok(Some(mask.into_iter().map(str::to_owned).collect()))
}

async fn hash(call: &Call, password: String) -> Result<String, Problem> {
    let hashed = hash_in_background(password, call.service().ids().clone()).await;
    hashed.map_err(|error| Problem::bad_request(error.to_string()))
}

fn worded(error: ServiceError, username: &str) -> Problem {
    match error {
        ServiceError::NotFound(Subject::User(_)) => {
            let detail = format!("The User with username `{username}` was not found");
            Problem::not_found("User not found", Some(detail))
        }
        error => error.into(),
    }
}

/// A user as clients see it.
fn show(user: &User) -> Value {
    let roles: Vec<_> = user.roles.iter().map(|name| json!({"name": name})).collect();
    json!({
        "active": user.active,
        "changed_on": date::show_naive(user.changed_on),
        "created_on": date::show_naive(user.created_on),
        "email": user.email,
        "fail_login_count": user.fail_login_count,
        "first_name": user.first_name,
        "last_login": user.last_login.map(date::show_naive),
        "last_name": user.last_name,
        "login_count": user.login_count,
        "roles": roles,
        "username": user.username,
    })
}

/// What a body says of a user.
struct Sent {
    first_name: Option<String>,
    last_name: Option<String>,
    username: Option<String>,
    email: Option<String>,
    roles: Option<Vec<String>>,
    password: Option<String>,
}

impl Sent {
    fn read(body: &Map<String, Value>) -> Result<Self, Problem> {
        let mut errors = FieldErrors::default();
        errors.add_missing(body, &REQUIRED);
        errors.add_too_long(body, &LIMITS);
        errors.add_unknown(body, &WRITABLE);
        errors.check()?;
        let text = |name: &str| body.get(name).and_then(Value::as_str).map(str::to_owned);
        let items = body.get("roles").and_then(Value::as_array);
        let role = |(index, item)| item_name("roles", index, &[], item);
        Ok(Self {
            first_name: text("first_name"),
            last_name: text("last_name"),
            username: text("username"),
            email: text("email"),
            roles: items.map(|items| items.iter().enumerate().map(role).collect()).transpose()?,
            password: text("password"),
        })
    }
}

/// The name of what an item of a list names, `{"name": …}`, at a path within the item.
pub(super) fn item_name(list: &str, index: usize, path: &[&str], item: &Value) -> Result<String, Problem> {
    let wrong = |member: Option<&str>, message: &str| {
        let path: Vec<&str> = path.iter().copied().chain(member).collect();
        FieldErrors::nested(list, index, &path, message)
    };
    let Value::Object(members) = item else {
        return Err(wrong(None, "Field may not be null."));
    };
    let name = match members.get("name") {
        None => return Err(wrong(Some("name"), "Missing data for required field.")),
        Some(Value::String(name)) => name.clone(),
        Some(Value::Null) => return Err(wrong(Some("name"), "Field may not be null.")),
        Some(_) => return Err(wrong(Some("name"), "Not a valid string.")),
    };
    match members.keys().find(|member| *member != "name") {
        Some(unknown) => Err(wrong(Some(unknown), "Unknown field.")),
        None => Ok(name),
    }
}
