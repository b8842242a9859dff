//! Warnings about DAGs.

use serde_json::{Value, json};
use updraft_core::model::DagWarning;
use updraft_core::python;
use updraft_core::storage::{DagWarningOrder, DagWarningQuery, OrderBy, Page};

use crate::access::{Action, Resource};
use crate::airflow::State;
use crate::airflow::call::Call;
use crate::airflow::date;
use crate::airflow::operation::{Access, Answer, Operation, operation};
use crate::airflow::reply::Reply;

/// The only type of warning that there is.
const TYPE: &str = "non-existent pool";

/// What one may sort by. Messages begin with the DAG's id.
const ORDERS: [(&str, Option<DagWarningOrder>); 4] = [
    ("dag_id", Some(DagWarningOrder::DagId)),
    ("warning_type", None),
    ("message", Some(DagWarningOrder::DagId)),
    ("timestamp", Some(DagWarningOrder::Timestamp)),
];

pub(super) fn operations() -> Vec<Operation<State>> {
    let access = Access::DagPart(Action::Read, &[Resource::DagWarnings]);
    vec![operation!(get_dag_warnings, access, get_dag_warnings)]
}

async fn get_dag_warnings(call: Call) -> Answer {
    // An empty text filters nothing, as in Airflow.
    let text = |name| call.query.text(name).filter(|text| !text.is_empty());
    let page = call.query.page()?;
    let order = call.query.order_by(&ORDERS)?;
    let query = DagWarningQuery {
        page,
        dag_id: text("dag_id").map(str::to_owned),
        readable: call.readable().await?,
        order_by: order.and_then(|order| Some(OrderBy { field: order.field?, descending: order.descending })),
    };
    let found = match text("warning_type") {
        None | Some(TYPE) => call.service().dag_warnings(&query).await?,
        Some(_) => Page { items: Vec::new(), total: 0 },
    };
    let shown: Vec<_> = found.items.iter().map(show).collect();
    Ok(Reply::json(&json!({"dag_warnings": shown, "total_entries": found.total})))
}

fn show(warning: &DagWarning) -> Value {
    let pools = python::repr(&json!(warning.missing_pools));
    json!({
        "dag_id": warning.dag_id.as_str(),
        "warning_type": TYPE,
        "message": format!("Dag '{}' references non-existent pools: {pools}", warning.dag_id),
        "timestamp": date::show(warning.timestamp),
    })
}
