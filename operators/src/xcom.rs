//! Finds XComs as Airflow's `xcom_pull` does.

use updraft_core::operator::TaskContext;
use updraft_core::storage::{StorageError, XComEntry, XComQuery};

use crate::template::{Pulled, XComPull};

/// Answers a pull (Airflow 2.11, `models/taskinstance.py`, `_xcom_pull`): one task gives its newest value, or the values
/// of its mapped instances; several give what is found, in the order in which they are named.
pub(crate) async fn pull(context: &TaskContext, pull: &XComPull) -> Result<Pulled, StorageError> {
    let query = XComQuery {
        dag_id: pull.dag_id.clone(),
        run_id: pull.run_id.clone(),
        task_ids: pull.task_ids.as_ref().map(|ids| ids.iter().cloned().collect()),
        key: pull.key.clone().filter(|key| !key.is_empty()),
        ..XComQuery::default()
    };
    let mut found = context.store().xcoms(context.attempt(), &query, pull.include_prior_dates).await?;
    let index = |entry: &XComEntry| i64::from(entry.xcom.instance.map_index);
    if let Some(indexes) = &pull.map_indexes {
        found.retain(|entry| indexes.contains(&index(entry)));
    }
    if !pull.many {
        let Some(newest) = found.first() else { return Ok(Pulled::Nothing) };
        if pull.map_indexes.is_some() || index(newest) < 0 {
            return Ok(found.into_iter().next().map_or(Pulled::Nothing, |entry| Pulled::One(entry.xcom.value)));
        }
        found.sort_by_key(|entry| (index(entry), entry.run.logical_date));
        return Ok(Pulled::Many(found.into_iter().map(|entry| entry.xcom.value).collect()));
    }
    let place = |entry: &XComEntry| {
        let ids = pull.task_ids.iter().flatten();
        let at = ids.clone().position(|id| *id == entry.task_id);
        let map_index = pull.map_indexes.as_ref().and_then(|all| all.iter().position(|&one| one == index(entry)));
        (at, entry.task_id.clone(), map_index, index(entry), entry.run.logical_date)
    };
    found.sort_by_cached_key(place);
    Ok(Pulled::Many(found.into_iter().map(|entry| entry.xcom.value).collect()))
}
