//! Who did what.

use chrono::{DateTime, Utc};

use crate::id::DagId;

/// An entry of the event log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventLogEntry {
    /// The storage's key, in the order of writing.
    pub id: i64,
    /// When.
    pub when: DateTime<Utc>,
    /// What happened: `api.<operation>` for clients, a state for task instances.
    pub event: String,
    /// The DAG that it concerns.
    pub dag_id: Option<DagId>,
    /// The task that it concerns.
    pub task_id: Option<String>,
    /// The run that it concerns.
    pub run_id: Option<String>,
    /// The mapped instance that it concerns.
    pub map_index: Option<i32>,
    /// The try that it concerns.
    pub try_number: Option<u32>,
    /// The run's logical date.
    pub logical_date: Option<DateTime<Utc>>,
    /// Who: a user, or the owner of the task.
    pub owner: Option<String>,
    /// Further facts, as text (JSON for requests).
    pub extra: Option<String>,
}

/// What a mutating call writes to the event log, together with its change.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AuditEntry {
    /// What happened.
    pub event: String,
    /// The DAG that it concerns.
    pub dag_id: Option<DagId>,
    /// The task that it concerns.
    pub task_id: Option<String>,
    /// The run that it concerns.
    pub run_id: Option<String>,
    /// The mapped instance that it concerns.
    pub map_index: Option<i32>,
    /// The logical date that it concerns.
    pub logical_date: Option<DateTime<Utc>>,
    /// Who.
    pub owner: Option<String>,
    /// Further facts, as text.
    pub extra: Option<String>,
}

impl AuditEntry {
    /// What the event log says once the scheduler has paused a DAG whose last runs have all failed (Airflow 2.11,
    /// `models/dagrun.py`, `_check_last_n_dagruns_failed`).
    pub fn paused_by_scheduler(dag_id: &DagId) -> Self {
        Self {
            event: "paused".into(),
            dag_id: Some(dag_id.clone()),
            owner: Some("scheduler".into()),
            extra: Some(format!("[('dag_id', '{dag_id}'), ('is_paused', True)]")),
            ..Self::default()
        }
    }
}

/// Which transitions of task instances go to the event log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum TaskEventLog {
    /// All starts and ends.
    #[default]
    On,
    /// Failures only.
    Failures,
    /// None.
    Off,
}
