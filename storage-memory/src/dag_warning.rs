//! Warnings about DAGs.

use std::collections::BTreeSet;

use async_trait::async_trait;
use updraft_core::model::DagWarning;
use updraft_core::storage::{DagWarningOrder, DagWarningQuery, DagWarningStorage, Page, Result};

use crate::MemoryStorage;
use crate::list::{may_read, page, sort};
use crate::state::State;

impl State {
    fn list_dag_warnings(&self, query: &DagWarningQuery) -> Page<DagWarning> {
        let pools: BTreeSet<&str> = self.pools.all().map(|pool| pool.name.as_str()).collect();
        let dags = self
            .dag_places
            .iter()
            .filter(|(id, _)| query.dag_id.as_ref().is_none_or(|of| of == id.as_str()))
            .filter(|(id, _)| may_read(query.readable.as_ref(), id))
            .filter_map(|(_, &place)| self.dag_at(place))
            .filter(|dag| dag.is_active);
        let mut warnings: Vec<DagWarning> = dags
            .filter_map(|dag| {
                let named = dag.newest.dag.tasks.iter().map(|task| task.pool.as_str());
                let missing: BTreeSet<&str> = named.filter(|name| !pools.contains(name)).collect();
                (!missing.is_empty()).then(|| DagWarning {
                    dag_id: dag.newest.dag.dag_id.clone(),
                    missing_pools: missing.into_iter().map(str::to_owned).collect(),
                    timestamp: dag.last_parsed_time,
                })
            })
            .collect();
        sort(&mut warnings, false, |warning| warning.timestamp);
        if let Some(order) = query.order_by {
            match order.field {
                DagWarningOrder::DagId => sort(&mut warnings, order.descending, |warning| warning.dag_id.clone()),
                _ => sort(&mut warnings, order.descending, |warning| warning.timestamp),
            }
        }
        page(warnings.into_iter(), query.page)
    }
}

#[async_trait]
impl DagWarningStorage for MemoryStorage {
    async fn dag_warnings(&self, query: &DagWarningQuery) -> Result<Page<DagWarning>> {
        Ok(self.lock().list_dag_warnings(query))
    }
}
