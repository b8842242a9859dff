//! How many runs DAGs have, by state.

use std::collections::BTreeSet;

use serde_json::json;
use updraft_core::id::DagId;
use updraft_core::model::RunState;

use crate::access::{Action, Resource};
use crate::airflow::State;
use crate::airflow::call::Call;
use crate::airflow::operation::{Access, Answer, Operation, operation};
use crate::airflow::reply::Reply;

pub(super) fn operations() -> Vec<Operation<State>> {
    let access = Access::DagPart(Action::Read, &[Resource::DagRuns]);
    vec![operation!(get_dag_stats, access, get_dag_stats)]
}

async fn get_dag_stats(call: Call) -> Answer {
    let readable = call.readable().await?;
    let may_read = |id: &DagId| readable.as_ref().is_none_or(|ids| ids.contains(id));
    let named: Vec<DagId> = call.query.text("dag_ids").unwrap_or_default().split(',').map(DagId::from).collect();
    let asked: BTreeSet<DagId> = named.iter().filter(|id| may_read(id)).cloned().collect();
    let mut counts = call.service().count_runs(&asked).await?;
    // In the order in which they were named; unknown ones are left out, as in Airflow.
    let known = named.into_iter().filter_map(|id| counts.remove(&id).map(|counts| (id, counts)));
    let dags: Vec<_> = known
        .map(|(id, counts)| {
            let stat = |state: &RunState| {
                json!({"state": state.as_str(), "count": counts.get(state).copied().unwrap_or_default()})
            };
            json!({"dag_id": id.as_str(), "stats": RunState::ALL.iter().map(stat).collect::<Vec<_>>()})
        })
        .collect();
    Ok(Reply::json(&json!({"total_entries": dags.len(), "dags": dags})))
}
