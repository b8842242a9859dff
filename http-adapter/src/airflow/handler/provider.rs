//! Providers.

use serde_json::json;

use crate::access::{Action, Resource};
use crate::airflow::State;
use crate::airflow::call::Call;
use crate::airflow::operation::{Access, Answer, Operation, operation};
use crate::airflow::reply::Reply;

pub(super) fn operations() -> Vec<Operation<State>> {
    vec![operation!(get_providers, Access::Plain(Action::Read, Resource::Providers), get_providers)]
}

/// None of Airflow's packages is installed here, whatever the operators are called.
async fn get_providers(_: Call) -> Answer {
    Ok(Reply::json(&json!({"providers": [], "total_entries": 0})))
}
