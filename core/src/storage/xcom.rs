use std::collections::BTreeSet;
use std::sync::Arc;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use serde_json::Value;

use super::{Page, PageRequest, Result};
use crate::id::{AttemptToken, DagId};
use crate::model::{DagRun, XCom};

/// Which XComs are asked for. They are listed by DAG, task, run (each by its text id), map index and key.
#[derive(Debug, Clone, Default)]
pub struct XComQuery {
    /// Of this DAG; `None` for all.
    pub dag_id: Option<String>,
    /// Of DAGs that the caller may see; `None` for all.
    pub readable: Option<Arc<BTreeSet<DagId>>>,
    /// Of the run with this text id; `None` for all.
    pub run_id: Option<String>,
    /// Of these tasks; `None` for all.
    pub task_ids: Option<BTreeSet<String>>,
    /// Of this mapped instance; `None` for all.
    pub map_index: Option<i32>,
    /// With this key; `None` for all.
    pub key: Option<String>,
    /// The part.
    pub page: PageRequest,
}

/// An XCom with the run and task that it belongs to.
#[derive(Debug, Clone)]
pub struct XComEntry {
    /// The run.
    pub run: Arc<DagRun>,
    /// The task's id.
    pub task_id: String,
    /// The XCom.
    pub xcom: XCom,
}

/// XComs.
#[async_trait]
pub trait XComStorage {
    /// A page of XComs.
    async fn xcoms(&self, query: &XComQuery) -> Result<Page<XComEntry>>;

    /// Leaves a value for other tasks, in place of one with the same key. A new try of the instance removes what earlier
    /// tries left.
    ///
    /// # Errors
    /// `Fenced` if the attempt is not live or obsolete.
    async fn set_xcom(&self, now: DateTime<Utc>, token: AttemptToken, key: &str, value: Value) -> Result<()>;
}
