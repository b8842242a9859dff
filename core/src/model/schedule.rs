//! When a DAG wants runs, as declared. What acts on it is a [`Timetable`](crate::schedule::Timetable).

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

/// Start and end of the data that a run covers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct DataInterval {
    /// The first moment.
    pub start: DateTime<Utc>,
    /// The moment after the last; that of `start` for a run that stands for a moment alone.
    pub end: DateTime<Utc>,
}

impl DataInterval {
    /// The interval that is one moment.
    pub fn exact(at: DateTime<Utc>) -> Self {
        Self { start: at, end: at }
    }
}

/// The next run that a schedule wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NextRun {
    /// The moment that it stands for.
    pub logical_date: DateTime<Utc>,
    /// The data that it covers.
    pub data_interval: DataInterval,
    /// The earliest moment at which it is created.
    pub create_after: DateTime<Utc>,
}

impl NextRun {
    /// The run for an interval, which is named by its start and created at its end.
    pub fn interval(data_interval: DataInterval) -> Self {
        Self { logical_date: data_interval.start, data_interval, create_after: data_interval.end }
    }
}

/// A DAG's schedule, as declared.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Schedule {
    /// Runs exist only when triggered.
    #[default]
    None,
    /// A cron expression or a preset such as `@daily`, as written; a run covers the interval that ends at its tick.
    Cron {
        /// The expression or preset.
        expression: String,
    },
    /// One run, as soon as possible.
    Once,
    /// A new run as soon as the last one has ended.
    Continuous,
    /// A fixed length of time.
    TimeDelta {
        /// The length, in microseconds.
        microseconds: i64,
    },
    /// A length in calendar units (`dateutil.relativedelta`).
    RelativeDelta {
        /// Its keyword arguments, as declared.
        fields: serde_json::Map<String, serde_json::Value>,
    },
    /// Runs once updates of datasets have satisfied a condition.
    Datasets {
        /// The condition.
        condition: DatasetCondition,
    },
    /// Runs when either the condition or the timetable says so.
    DatasetOrTime {
        /// The condition.
        condition: DatasetCondition,
        /// The timetable.
        timetable: Box<Schedule>,
    },
    /// Any other timetable of Airflow, by its import path.
    Timetable {
        /// Import path of the class.
        class: String,
        /// Its positional and keyword arguments, as declared.
        arguments: serde_json::Value,
    },
}

impl Schedule {
    /// Whether it makes runs by time.
    pub fn is_timed(&self) -> bool {
        !matches!(self, Self::None | Self::Datasets { .. })
    }

    /// The ticks of a cron expression or a preset, such as `0 6 * * mon-fri` or `@daily`, on the clock of the DAG's zone.
    pub fn cron(expression: impl Into<String>) -> Self {
        Self::Cron { expression: expression.into() }
    }

    /// A run for each length of time, in whole microseconds.
    pub fn every(length: Duration) -> Self {
        Self::TimeDelta { microseconds: i64::try_from(length.as_micros()).unwrap_or(i64::MAX) }
    }

    /// A timetable by its class, with its keyword arguments as a JSON object: one of Airflow's, or one that the host added
    /// to its [`Timetables`](crate::schedule::Timetables).
    pub fn timetable(class: impl Into<String>, arguments: serde_json::Value) -> Self {
        Self::Timetable { class: class.into(), arguments: serde_json::json!({"args": [], "kwargs": arguments}) }
    }

    /// A run whenever all of some datasets have been updated.
    pub fn datasets(uris: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self::Datasets { condition: DatasetCondition::all(uris.into_iter().map(Into::into)) }
    }
}

/// A condition over datasets. It is kept flat, as a list of nodes in postfix order, because trees of any depth may be
/// declared.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct DatasetCondition {
    /// The nodes; each operator comes after its operands.
    pub postfix: Vec<DatasetNode>,
}

/// A node of a [`DatasetCondition`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum DatasetNode {
    /// An update of the dataset of this URI.
    Uri(String),
    /// All of the last `n` operands.
    All(u32),
    /// Any of the last `n` operands.
    Any(u32),
}

impl DatasetCondition {
    /// A condition that needs every one of `uris`.
    pub fn all(uris: impl IntoIterator<Item = String>) -> Self {
        let mut postfix: Vec<_> = uris.into_iter().map(DatasetNode::Uri).collect();
        let count = u32::try_from(postfix.len()).unwrap_or(u32::MAX);
        postfix.push(DatasetNode::All(count));
        Self { postfix }
    }

    /// The URIs in the condition, in the order of their first mention.
    pub fn uris(&self) -> impl Iterator<Item = &str> {
        self.postfix.iter().filter_map(|node| match node {
            DatasetNode::Uri(uri) => Some(uri.as_str()),
            _ => None,
        })
    }
}
