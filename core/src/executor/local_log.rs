//! What the local executor writes to the logs of attempts, in the words of Airflow.

use std::panic::Location;
use std::sync::{Arc, OnceLock};

use chrono::{DateTime, Utc};

use super::Attempt;
use crate::clock::Clock;
use crate::log::{LogKey, LogLevel, LogSource, LogStore, record};
use crate::operator::{CancelReason, Outcome, TaskError};

/// The log of an attempt. It is opened by the first thing that is written to it.
#[derive(Debug)]
pub(super) struct AttemptLog {
    pub(super) attempt: Arc<Attempt>,
    pub(super) clock: Arc<dyn Clock>,
    key: OnceLock<LogKey>,
}

impl AttemptLog {
    pub(super) fn new(attempt: Arc<Attempt>, clock: Arc<dyn Clock>) -> Self {
        Self { attempt, clock, key: OnceLock::new() }
    }

    /// How the attempt starts.
    fn banner(&self) -> Vec<u8> {
        let attempt = &self.attempt;
        let task = attempt.task();
        let kind = if task.is_mapped() { "Mapped" } else { "Task" };
        let on = attempt.run.logical_date;
        let on = if on.timestamp_subsec_micros() == 0 {
            on.format("%Y-%m-%d %H:%M:%S+00:00")
        } else {
            on.format("%Y-%m-%d %H:%M:%S%.6f+00:00")
        };
        let now = self.clock.now();
        [
            "::group::Pre task execution logs".to_owned(),
            format!("Starting attempt {} of {}", attempt.try_number, attempt.max_tries.saturating_add(1)),
            format!("Executing <{kind}({}): {}> on {on}", task.operator.class_name, task.task_id),
            format!("Running {}", self.instance("running")),
            "::endgroup::".to_owned(),
        ]
        .iter()
        .map(|text| line(now, LogLevel::Info, text))
        .collect::<String>()
        .into_bytes()
    }

    fn instance(&self, state: &str) -> String {
        let attempt = &self.attempt;
        let map_index = match attempt.key.map_index {
            crate::id::UNMAPPED => String::new(),
            index => format!(" map_index={index}"),
        };
        format!(
            "<TaskInstance: {}.{} {}{map_index} [{state}]>",
            attempt.dag.dag_id,
            attempt.task().task_id,
            attempt.run.run_id
        )
    }

    /// How the attempt ends.
    pub(super) fn ending(&self, result: &Result<Outcome, TaskError>) -> String {
        let now = self.clock.now();
        let mut text = String::new();
        let mut say = |level, what: &str| text.push_str(&line(now, level, what));
        let state = match result {
            Ok(Outcome::Success { .. }) => "SUCCESS",
            Ok(Outcome::Skipped) => "SKIPPED",
            Err(TaskError::Cancelled(reason)) => {
                say(LogLevel::Error, &format!("Received SIGTERM. Terminating subprocesses. Reason: {reason}"));
                if *reason == CancelReason::Obsolete {
                    return text;
                }
                "stopped"
            }
            Err(error) => {
                say(LogLevel::Error, &format!("Task failed with exception\n{error}"));
                let retries = error.may_retry() && self.attempt.try_number <= self.attempt.max_tries;
                if retries { "UP_FOR_RETRY" } else { "FAILED" }
            }
        };
        say(LogLevel::Info, "::group::Post task execution logs");
        say(LogLevel::Info, &format!("Marking task as {state}. {}", self.facts(now)));
        say(LogLevel::Info, "::endgroup::");
        text
    }

    fn facts(&self, now: DateTime<Utc>) -> String {
        let attempt = &self.attempt;
        let map_index = match attempt.key.map_index {
            crate::id::UNMAPPED => String::new(),
            index => format!(" map_index={index},"),
        };
        let date = |moment: DateTime<Utc>| moment.format("%Y%m%dT%H%M%S");
        format!(
            "dag_id={}, task_id={}, run_id={},{map_index} execution_date={}, start_date={}, end_date={}",
            attempt.dag.dag_id,
            attempt.task().task_id,
            attempt.run.run_id,
            date(attempt.run.logical_date),
            date(attempt.queued_when),
            date(now)
        )
    }
}

impl LogSource for AttemptLog {
    fn open(&self, store: &dyn LogStore) -> &LogKey {
        self.key.get_or_init(|| {
            let key = self.attempt.log_key();
            store.append(&key, &self.banner());
            key
        })
    }

    fn opened(&self) -> Option<&LogKey> {
        self.key.get()
    }
}

#[track_caller]
fn line(at: DateTime<Utc>, level: LogLevel, text: &str) -> String {
    record(at, level, Location::caller(), &text)
}
