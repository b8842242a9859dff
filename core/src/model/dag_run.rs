//! A run of a DAG.

use std::fmt::{self, Display};
use std::str::FromStr;

use chrono::{DateTime, FixedOffset, SecondsFormat, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use super::RunState;
use crate::id::{DagId, DagVersionId, RunId, SchedulerId};

/// Why a run exists; the ids of runs start with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum RunType {
    /// Somebody made up for past intervals.
    Backfill,
    /// The schedule asked for it.
    Scheduled,
    /// Somebody triggered it.
    Manual,
    /// Datasets were updated.
    DatasetTriggered,
}

impl RunType {
    /// All types.
    pub const ALL: [Self; 4] = [Self::Backfill, Self::Scheduled, Self::Manual, Self::DatasetTriggered];

    /// Airflow's name; with two underscores behind it, the prefix of ids.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Backfill => "backfill",
            Self::Scheduled => "scheduled",
            Self::Manual => "manual",
            Self::DatasetTriggered => "dataset_triggered",
        }
    }

    /// The text id of a run of this type (Airflow 2.11, `utils/types.py`): microseconds only where there are any, and the offset
    /// that the date is given with.
    pub fn run_id(self, logical_date: DateTime<FixedOffset>) -> String {
        let has_micros = logical_date.timestamp_subsec_micros() > 0;
        let format = if has_micros { SecondsFormat::Micros } else { SecondsFormat::Secs };
        format!("{self}__{}", logical_date.to_rfc3339_opts(format, false))
    }

    /// The type whose prefix `run_id` has; [`RunType::Manual`] if none.
    pub fn from_run_id(run_id: &str) -> Self {
        Self::ALL
            .into_iter()
            .find(|kind| run_id.strip_prefix(kind.as_str()).is_some_and(|rest| rest.starts_with("__")))
            .unwrap_or(Self::Manual)
    }
}

impl Display for RunType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for RunType {
    type Err = super::UnknownState;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text).ok_or_else(|| super::UnknownState(text.into()))
    }
}

/// A remark on a run or task instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// The text.
    pub content: String,
    /// Who wrote it.
    pub user: Option<String>,
}

/// A run of a DAG.
#[derive(Debug, Clone, PartialEq)]
pub struct DagRun {
    /// The storage's key.
    pub id: RunId,
    /// Unique among all runs of all storages: what a run is known by where ids are UUIDs.
    pub uid: Uuid,
    /// The DAG.
    pub dag_id: DagId,
    /// Unique among the runs of the DAG.
    pub run_id: String,
    /// Why it exists.
    pub run_type: RunType,
    /// Where it stands.
    pub state: RunState,
    /// The moment that it stands for; unique among the runs of the DAG.
    pub logical_date: DateTime<Utc>,
    /// Start of the data that it covers.
    pub data_interval_start: DateTime<Utc>,
    /// End of the data that it covers.
    pub data_interval_end: DateTime<Utc>,
    /// When it was queued, last.
    pub queued_at: DateTime<Utc>,
    /// When its tasks could first start, since it was last queued.
    pub start_date: Option<DateTime<Utc>>,
    /// When it ended.
    pub end_date: Option<DateTime<Utc>>,
    /// Whether it came from outside the schedule.
    pub external_trigger: bool,
    /// What its creator gave it: a JSON object.
    pub conf: Value,
    /// A remark.
    pub note: Option<Note>,
    /// When a scheduler last moved it on.
    pub last_scheduling_decision: Option<DateTime<Utc>>,
    /// The version of the DAG that it runs.
    pub dag_version: DagVersionId,
    /// How often it was cleared.
    pub clear_number: u32,
    /// Counts changes from outside the engine; an owner whose count is lower must read the run again.
    pub version: u64,
    /// The scheduler that runs it.
    pub owner: Option<SchedulerId>,
    /// When it last changed.
    pub updated_at: DateTime<Utc>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_keep_the_offset_of_the_date() {
        let date = DateTime::parse_from_rfc3339("2024-03-02T02:00:00+02:00").unwrap();
        assert_eq!(RunType::Manual.run_id(date), "manual__2024-03-02T02:00:00+02:00");
        let date = DateTime::parse_from_rfc3339("2024-03-03T01:02:03.5Z").unwrap();
        assert_eq!(RunType::DatasetTriggered.run_id(date), "dataset_triggered__2024-03-03T01:02:03.500000+00:00");
    }
}
