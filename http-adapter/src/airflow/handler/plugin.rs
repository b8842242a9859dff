//! Plugins.

use serde_json::json;

use crate::access::{Action, Resource};
use crate::airflow::State;
use crate::airflow::call::Call;
use crate::airflow::operation::{Access, Answer, Operation, operation};
use crate::airflow::reply::Reply;

pub(super) fn operations() -> Vec<Operation<State>> {
    vec![operation!(get_plugins, Access::Plain(Action::Read, Resource::Plugins), get_plugins)]
}

/// What a host adds to Updraft is part of its program; nothing is plugged in while it runs.
async fn get_plugins(call: Call) -> Answer {
    call.query.page()?;
    Ok(Reply::json(&json!({"plugins": [], "total_entries": 0})))
}
