use std::collections::BTreeSet;
use std::sync::Arc;

use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Utc};

use super::{OrderBy, Page, PageRequest, Result};
use crate::id::{DagId, DagVersionId};
use crate::model::{AuditEntry, Dag, DagRecord, DagVersion};

/// A DAG that somebody declares.
#[derive(Debug, Clone)]
pub struct DagRegistration {
    /// The declaration.
    pub dag: Arc<Dag>,
    /// Hash of the declaration, as [`content_hash`](crate::dag::content_hash) computes it.
    pub content_hash: String,
    /// Whether it starts paused, if it is new.
    pub paused_upon_creation: bool,
    /// The text of the file that declares it, for `dagSources`.
    pub source: Option<Arc<str>>,
}

/// How long a DAG stays active that nobody reports, if another scheduler may still declare it.
pub const UNREPORTED: TimeDelta = TimeDelta::seconds(60);

/// By what DAGs are listed; their id by default.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum DagOrder {
    /// The id.
    DagId,
    /// Paused ones last.
    IsPaused,
    /// Active ones last.
    IsActive,
    /// When they were last read.
    LastParsedTime,
    /// The file.
    Fileloc,
    /// The description.
    Description,
    /// The most runs at a time.
    MaxActiveRuns,
    /// The most task instances at a time.
    MaxActiveTasks,
    /// The owners, joined by commas.
    Owners,
}

/// Which DAGs are asked for.
#[derive(Debug, Clone, Default)]
pub struct DagQuery {
    /// Active or inactive ones only.
    pub is_active: Option<bool>,
    /// Paused or unpaused ones only.
    pub is_paused: Option<bool>,
    /// Those that have one of these tags, unless empty.
    pub tags: Vec<String>,
    /// Those whose id contains this, in any case; `%` and `_` are wildcards as in SQL's `LIKE`.
    pub dag_id_pattern: Option<String>,
    /// Those with one of these ids.
    pub dag_ids: Option<BTreeSet<DagId>>,
    /// Those that one of these files declares.
    pub filelocs: Option<BTreeSet<String>>,
    /// Those that the caller may see; `None` for all.
    pub readable: Option<Arc<BTreeSet<DagId>>>,
    /// The order.
    pub order_by: Option<OrderBy<DagOrder>>,
    /// The part.
    pub page: PageRequest,
}

/// DAGs, their versions and their sources.
#[async_trait]
pub trait DagStorage {
    /// Makes DAGs known, in one step: inserts new ones, adds a version where the content hash differs from the newest
    /// version's, makes inactive ones active, and notes the time. Of new versions, the datasets that they use become known
    /// (those that tasks update before those that schedules wait for, in the order given), and what they use no longer is
    /// no more queued for them. Returns the newest version of each, in the order given.
    ///
    /// Where a new version says who may access it ([`Dag::access_control`]), roles other than Admin lose what else they were
    /// given on the DAG and its runs, and get what it says. Roles that do not exist are ignored; a DAG that says nothing
    /// leaves roles as they are.
    async fn register_dags(&self, now: DateTime<Utc>, dags: Vec<DagRegistration>) -> Result<Vec<DagVersion>>;

    /// Says that these DAGs, which were made known before, are still declared as they were: makes inactive ones active, and
    /// notes the time. Their newest version stays, whoever declared it. Returns those that are not known any more, sorted.
    async fn report_dags(&self, now: DateTime<Utc>, dag_ids: &[DagId]) -> Result<Vec<DagId>>;

    /// Says that the caller does not declare these DAGs any more. They turn inactive; but while more than one scheduler
    /// lives, another may declare them, too: then only those turn inactive that nobody has made known or reported for
    /// [`UNREPORTED`], and the others are returned, sorted, to be asked for again. Their runs stay; unknown ids are ignored.
    async fn deactivate_dags(&self, now: DateTime<Utc>, dag_ids: &[DagId]) -> Result<Vec<DagId>>;

    /// A DAG.
    ///
    /// # Errors
    /// `NotFound`.
    async fn dag(&self, dag_id: &str) -> Result<DagRecord>;

    /// A page of DAGs.
    async fn dags(&self, query: &DagQuery) -> Result<Page<DagRecord>>;

    /// A version, for as long as a run has it or it is one of the DAG's last two.
    ///
    /// # Errors
    /// `NotFound`.
    async fn dag_version(&self, id: DagVersionId) -> Result<DagVersion>;

    /// Pauses or unpauses DAGs. From this step on no run of a paused DAG starts and none of its task instances is
    /// admitted. Unknown ids are ignored.
    async fn set_paused(
        &self,
        now: DateTime<Utc>,
        dag_ids: &[DagId],
        is_paused: bool,
        audit: Option<AuditEntry>,
    ) -> Result<()>;

    /// Forgets a DAG with all its runs, versions and import errors of its file, and what was queued for it; the datasets
    /// that it used, their updates, and entries of the event log stay.
    ///
    /// # Errors
    /// `NotFound`; `Conflict` while one of its attempts is live, obsolete ones included.
    async fn delete_dag(&self, now: DateTime<Utc>, dag_id: &str, audit: Option<AuditEntry>) -> Result<()>;

    /// The text of a file that declares DAGs.
    ///
    /// # Errors
    /// `NotFound`.
    async fn dag_source(&self, fileloc: &str) -> Result<Arc<str>>;

    /// The ids of all DAGs whose newest version a file declares, inactive ones included, sorted.
    async fn dags_of_file(&self, fileloc: &str) -> Result<Vec<DagId>>;
}
