//! What the tasks of a run read and wrote.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};
use updraft_core::model::TaskState;
use updraft_core::storage::TaskInstanceQuery;

use super::{dag, dag_run};
use crate::access::{Access, Action, Resource};
use crate::airflow_experimental::reply::{Answer, Reply};
use crate::airflow_experimental::route::{Call, Route, route};
use crate::airflow_experimental::show::dataset;

pub(super) fn routes() -> Vec<Route> {
    let access = Access::DagPart(Action::Read, &[Resource::TaskInstances]);
    vec![route!(GET "/lineage/{dag_id}/{execution_date}", access, lineage)]
}

/// A task leaves its lineage when it succeeds; one that declares neither inlets nor outlets has none.
async fn lineage(call: Call) -> Answer {
    let date = dag_run::path_date(&call).await?;
    let dag_id = call.part("dag_id");
    dag::declared(&call.service, dag_id).await?;
    let run = dag_run::run_on(&call, date).await?;
    let query = TaskInstanceQuery {
        dag_ids: Some(BTreeSet::from([dag_id.into()])),
        run_ids: Some(BTreeSet::from([run.run_id])),
        states: Some(BTreeSet::from([TaskState::Success])),
        ..TaskInstanceQuery::default()
    };
    let mut tasks = Map::new();
    for instance in call.service.task_instances(&query).await?.items {
        let Some(task) = instance.task() else { continue };
        let mut shown = Map::new();
        for (name, datasets) in [("inlets", &task.inlets), ("outlets", &task.outlets)] {
            if !datasets.is_empty() {
                shown.insert(name.to_owned(), datasets.iter().map(show).collect());
            }
        }
        if !shown.is_empty() {
            tasks.insert(task.task_id.to_string(), shown.into());
        }
    }
    Ok(Reply::json(&json!({"task_ids": tasks})))
}

/// As Airflow writes what it has stored and does not read back.
fn show(declared: &Value) -> Value {
    let (uri, extra) = dataset(declared);
    format!("airflow.datasets.Dataset@version=1(uri={uri},extra={extra})").into()
}
