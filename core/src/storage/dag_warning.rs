use std::collections::BTreeSet;
use std::sync::Arc;

use async_trait::async_trait;

use super::{OrderBy, Page, PageRequest, Result};
use crate::id::DagId;
use crate::model::DagWarning;

/// By what warnings are listed; their time by default, then their DAG.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum DagWarningOrder {
    /// The DAG.
    DagId,
    /// The time.
    Timestamp,
}

/// Which warnings are asked for.
#[derive(Debug, Clone, Default)]
pub struct DagWarningQuery {
    /// Of this DAG.
    pub dag_id: Option<String>,
    /// Of DAGs that the caller may see; `None` for all.
    pub readable: Option<Arc<BTreeSet<DagId>>>,
    /// The order.
    pub order_by: Option<OrderBy<DagWarningOrder>>,
    /// The part.
    pub page: PageRequest,
}

/// Warnings about DAGs. They are not kept: they follow from the newest versions of active DAGs and from the pools.
#[async_trait]
pub trait DagWarningStorage {
    /// A page of warnings.
    async fn dag_warnings(&self, query: &DagWarningQuery) -> Result<Page<DagWarning>>;
}
