//! Pools.

use serde_json::{Map, Value, json};
use updraft_core::model::{DEFAULT_POOL, Pool, PoolUsage};
use updraft_core::service::{NewPool, PoolChange, ServiceError};
use updraft_core::storage::PoolOrder;

use crate::access::{Action, Resource};
use crate::airflow::State;
use crate::airflow::call::Call;
use crate::airflow::field::FieldErrors;
use crate::airflow::operation::{Access, Answer, Operation, logged, operation};
use crate::airflow::problem::Problem;
use crate::airflow::reply::Reply;
use crate::schema::quote;

/// Members of a pool that callers may send.
const WRITABLE: [&str; 4] = ["name", "slots", "description", "include_deferred"];
/// Members of a pool that Airflow calculates.
const CALCULATED: [&str; 6] =
    ["occupied_slots", "running_slots", "queued_slots", "scheduled_slots", "open_slots", "deferred_slots"];
/// What one may sort by.
const ORDERS: [(&str, PoolOrder); 3] = [("name", PoolOrder::Name), ("slots", PoolOrder::Slots), ("id", PoolOrder::Id)];

pub(super) fn operations() -> Vec<Operation<State>> {
    vec![
        operation!(get_pools, Access::Plain(Action::Read, Resource::Pools), get_pools),
        operation!(get_pool, Access::Plain(Action::Read, Resource::Pools), get_pool),
        logged!(post_pool, "post_pool", Access::Plain(Action::Create, Resource::Pools), post_pool),
        logged!(patch_pool, "patch_pool", Access::Plain(Action::Edit, Resource::Pools), patch_pool),
        logged!(delete_pool, "delete_pool", Access::Plain(Action::Delete, Resource::Pools), delete_pool),
    ]
}

async fn get_pools(call: Call) -> Answer {
    let page = call.query.page()?;
    let order = call.query.order_by(&ORDERS)?;
    let pools = call.service().pools(order, page).await?;
    let shown: Vec<_> = pools.items.iter().map(show).collect();
    Ok(Reply::json(&json!({"pools": shown, "total_entries": pools.total})))
}

async fn get_pool(call: Call) -> Answer {
    let name = call.path_text("pool_name");
    let pool = call.service().pool(name).await.map_err(|error| worded(error, name))?;
    Ok(Reply::json(&show(&pool)))
}

async fn post_pool(mut call: Call) -> Answer {
    let actor = call.actor();
    let body = call.body_members();
    require_name_and_slots(&body)?;
    let sent = Sent::read(&body)?;
    let pool = NewPool {
        name: sent.name.unwrap_or_default(),
        slots: sent.slots.unwrap_or_default(),
        description: sent.description.flatten(),
        include_deferred: sent.include_deferred,
    };
    let name = pool.name.clone();
    let made = call.service().create_pool(pool, &actor).await.map_err(|error| worded(error, &name))?;
    Ok(Reply::json(&show(&made)))
}

async fn patch_pool(mut call: Call) -> Answer {
    let actor = call.actor();
    let name = call.path_text("pool_name").to_owned();
    let mask = call.query.list("update_mask");
    let mask: Option<Vec<&str>> = mask.as_ref().map(|names| names.iter().map(|name| name.trim()).collect());
    let body = call.body_members();
    check_default_pool(&name, &body, mask.as_deref())?;
    // Before the body, as in Airflow.
    call.service().pool(&name).await.map_err(|error| worded(error, &name))?;
    let sent = Sent::read(&body)?;
    let all = WRITABLE.as_slice();
    let chosen = match &mask {
        Some(mask) => {
            check_mask(mask, &body)?;
            mask
        }
        None => {
            require_name_and_slots(&body)?;
            all
        }
    };
    let is_chosen = |field| chosen.contains(&field);
    let change = PoolChange {
        name: sent.name.filter(|_| is_chosen("name")),
        slots: sent.slots.filter(|_| is_chosen("slots")),
        description: sent.description.filter(|_| is_chosen("description")),
        include_deferred: is_chosen("include_deferred").then_some(sent.include_deferred),
    };
    let new_name = change.name.clone().unwrap_or_else(|| name.clone());
    let changed = call.service().update_pool(&name, change, &actor).await;
    let changed = changed.map_err(|error| match error {
        ServiceError::AlreadyExists(_) => worded(error, &new_name),
        error => worded(error, &name),
    })?;
    Ok(Reply::json(&show(&changed)))
}

async fn delete_pool(call: Call) -> Answer {
    let actor = call.actor();
    let name = call.path_text("pool_name");
    call.service().delete_pool(name, &actor).await.map_err(|error| match error {
        ServiceError::Conflict(..) => Problem::bad_request("Default Pool can't be deleted"),
        error => worded(error, name),
    })?;
    Ok(Reply::no_content_page())
}

/// A pool as clients see it.
fn show(usage: &PoolUsage) -> Value {
    json!({
        "name": usage.pool.name,
        "slots": usage.pool.slots,
        "occupied_slots": usage.occupied(),
        "running_slots": usage.running,
        "queued_slots": usage.queued,
        "scheduled_slots": usage.scheduled,
        "deferred_slots": usage.deferred,
        "open_slots": usage.open().unwrap_or(i64::from(Pool::UNBOUNDED)),
        "description": usage.pool.description,
        "include_deferred": usage.pool.include_deferred,
    })
}

fn worded(error: ServiceError, name: &str) -> Problem {
    match error {
        ServiceError::NotFound(_) => Problem::not_found_detail(format!("Pool with name:'{name}' not found")),
        ServiceError::AlreadyExists(_) => Problem::conflict(format!("Pool: {name} already exists")),
        ServiceError::Conflict(..) => Problem::bad_request("Default Pool's name can't be modified"),
        ServiceError::Invalid { field, message } => FieldErrors::one(&field, &message).into_problem(),
        error => error.into(),
    }
}

/// What a body says of a pool.
struct Sent {
    name: Option<String>,
    slots: Option<i64>,
    description: Option<Option<String>>,
    /// False where the body does not say, also when a pool is changed.
    include_deferred: bool,
}

impl Sent {
    fn read(body: &Map<String, Value>) -> Result<Self, Problem> {
        let mut errors = FieldErrors::default();
        errors.add_unknown(body, &WRITABLE);
        // The schema lets integers of any size pass, and 1.0 with them.
        let slots = body.get("slots").map(|slots| slots.as_i64());
        if slots == Some(None) {
            errors.add("slots", "Not a valid integer.");
        }
        errors.check()?;
        let text = |value: &Value| value.as_str().map(str::to_owned);
        Ok(Self {
            name: body.get("name").and_then(text),
            slots: slots.flatten(),
            description: body.get("description").map(text),
            include_deferred: body.get("include_deferred").and_then(Value::as_bool).unwrap_or(false),
        })
    }
}

fn require_name_and_slots(body: &Map<String, Value>) -> Result<(), Problem> {
    let missing: Vec<_> =
        ["name", "slots"].iter().filter(|field| !body.contains_key(**field)).map(|f| quote(f)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    Err(Problem::bad_request(format!("Missing required property(ies): [{}]", missing.join(", "))))
}

/// Whoever changes the default pool says that its name stays: by the name itself, or by a mask without it.
fn check_default_pool(name: &str, body: &Map<String, Value>, mask: Option<&[&str]>) -> Result<(), Problem> {
    let keeps_name = body.get("name").and_then(Value::as_str) == Some(DEFAULT_POOL);
    let masked = mask.is_some_and(|mask| mask.iter().all(|field| ["slots", "include_deferred"].contains(field)));
    if name != DEFAULT_POOL || keeps_name || masked {
        return Ok(());
    }
    Err(Problem::bad_request("Default Pool's name can't be modified"))
}

fn check_mask(mask: &[&str], body: &Map<String, Value>) -> Result<(), Problem> {
    let known = |field: &&str| WRITABLE.contains(field) || CALCULATED.contains(field);
    if let Some(unknown) = mask.iter().find(|field| !known(field)) {
        return Err(Problem::bad_request(format!("Invalid field: {unknown} in update mask")));
    }
    // Airflow fails here without a word.
    let given = |field: &&str| body.contains_key(*field) || *field == "include_deferred";
    match mask.iter().find(|field| !given(field)) {
        Some(absent) => {
            Err(Problem::bad_request(format!("The update mask names '{absent}', which is not in the body")))
        }
        None => Ok(()),
    }
}
