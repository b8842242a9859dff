//! When does the next try start? (Airflow 2.11, `models/taskinstance.py`, `next_retry_datetime`.)

use std::time::Duration;

use chrono::{DateTime, Utc};
use sha1::{Digest, Sha1};

use crate::model::Task;

/// The longest pause with exponential backoff, in seconds (Airflow's `max_task_retry_delay`).
const MAX_BACKOFF_SECS: u64 = 86_400;

/// The pause after try `try_number` of a task instance has failed. With exponential backoff it doubles with each try and
/// is spread by a hash of the instance, so that instances that failed together do not come back together.
pub fn delay(dag_id: &str, task: &Task, logical_date: DateTime<Utc>, try_number: u32) -> Duration {
    if !task.retry_exponential_backoff {
        return task.retry_delay;
    }
    let doubled =
        task.retry_delay.as_secs_f64() * 2f64.powi(i32::try_from(try_number.saturating_sub(1)).unwrap_or(i32::MAX));
    let seconds = if doubled >= MAX_BACKOFF_SECS as f64 {
        MAX_BACKOFF_SECS
    } else {
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 0 and a day's seconds")]
        let least = (doubled.ceil() as u64).max(1);
        let text = format!("{dag_id}#{}#{}#{try_number}", task.task_id, python_datetime(logical_date));
        let spread = Sha1::digest(text).iter().fold(0, |rest, &byte| (rest * 256 + u64::from(byte)) % least);
        (least + spread).min(MAX_BACKOFF_SECS)
    };
    let delay = Duration::from_secs(seconds);
    task.max_retry_delay.map_or(delay, |longest| delay.min(longest))
}

/// A moment as Python's `str` prints it.
fn python_datetime(moment: DateTime<Utc>) -> String {
    let format =
        if moment.timestamp_subsec_micros() == 0 { "%Y-%m-%d %H:%M:%S+00:00" } else { "%Y-%m-%d %H:%M:%S%.6f+00:00" };
    moment.format(format).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::OperatorRef;

    fn task() -> Task {
        let mut task = Task::new("t", OperatorRef::from_path("x"));
        task.retry_exponential_backoff = true;
        task
    }

    #[test]
    fn backoff_is_airflows() {
        let date = "2024-01-01T00:00:00Z".parse().unwrap();
        let seconds = [(1, 521), (2, 817), (3, 1518), (6, 9625)];
        for (try_number, expected) in seconds {
            assert_eq!(delay("d", &task(), date, try_number).as_secs(), expected, "try {try_number}");
        }
    }

    #[test]
    fn backoff_is_bounded() {
        let mut task = task();
        assert_eq!(delay("d", &task, DateTime::UNIX_EPOCH, u32::MAX).as_secs(), 86_400);
        task.max_retry_delay = Some(Duration::from_secs(60));
        assert_eq!(delay("d", &task, DateTime::UNIX_EPOCH, 5).as_secs(), 60);
        task.retry_exponential_backoff = false;
        assert_eq!(delay("d", &task, DateTime::UNIX_EPOCH, 5).as_secs(), 300);
    }
}
