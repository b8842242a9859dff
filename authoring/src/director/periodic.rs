//! When a workflow is launched by itself.

use serde_json::{Value, json};
use updraft_core::model::Schedule;
use updraft_core::schedule::Timetables;

use crate::node::{Data, Mapping, Node};
use crate::schedule::checked;

/// The schedule of a `periodic` mapping: exactly one of `interval`, `crontab` and `schedule`, beside `payload`.
///
/// # Errors
/// The text says what is wrong.
pub(super) fn read(periodic: &Mapping) -> Result<Schedule, String> {
    if let Some(payload) = periodic.get("payload")
        && payload.as_map().is_none()
    {
        return Err(format!("the payload of 'periodic' must be a mapping, not of type '{}'", payload.type_name()));
    }
    let keys: Vec<_> = periodic.entries.iter().filter(|(key, _)| key.as_str() != Some("payload")).collect();
    match keys.as_slice() {
        [(key, value)] => match key.as_str() {
            Some("interval") => interval(value),
            Some("crontab") => crontab(value, [0, 1, 2, 3, 4]),
            // Written in the order of Director's first releases: the day of the week is the third field.
            Some("schedule") => interval(value).or_else(|_| crontab(value, [0, 1, 3, 4, 2])),
            _ => Err(UNKNOWN.into()),
        },
        _ => Err(UNKNOWN.into()),
    }
}

const CRON_TRIGGER: &str = "airflow.timetables.trigger.CronTriggerTimetable";

const UNKNOWN: &str = "'periodic' needs exactly one of 'interval', 'crontab' and 'schedule'";

/// Seconds.
fn interval(value: &Node) -> Result<Schedule, String> {
    let seconds = match &value.data {
        #[allow(clippy::cast_precision_loss, reason = "an interval of 285 million years may be inexact")]
        Data::Int(seconds) => Some(*seconds as f64),
        Data::Float(seconds) => Some(*seconds),
        Data::Str(text) => text.trim().parse::<f64>().ok(),
        _ => None,
    };
    let micros = seconds.map(|seconds| seconds * 1e6).filter(|micros| *micros >= 1.0 && *micros < 9e18);
    #[allow(clippy::cast_possible_truncation, reason = "it is within the bounds of 64 bits")]
    let micros = micros
        .ok_or_else(|| format!("{} is not an interval in seconds", updraft_core::python::repr(&value.to_json())))?
        as i64;
    Ok(Schedule::TimeDelta { microseconds: micros })
}

/// Five fields, of which `order` says where those of a crontab stand.
fn crontab(value: &Node, order: [usize; 5]) -> Result<Schedule, String> {
    let shown = || updraft_core::python::repr(&value.to_json());
    let text = value.as_str().ok_or_else(|| format!("{} is not a crontab", shown()))?;
    let fields: Vec<&str> = text.split(' ').collect();
    let Ok(fields) = <[&str; 5]>::try_from(fields) else {
        return Err(format!("{} is not a crontab: it needs five fields with one space between them", shown()));
    };
    let expression = order.map(|at| fields[at]).join(" ");
    // Launched at each tick, rather than for the interval before it.
    let arguments = json!({"args": [expression], "kwargs": {"timezone": "UTC"}});
    checked(Schedule::Timetable { class: CRON_TRIGGER.into(), arguments }, 0, &Timetables::default())
}

/// Whether a value of the definition is an offset of retention: a whole number.
pub(super) fn retention(value: &Value) -> Result<Option<u64>, String> {
    match value.get("offset") {
        None => Ok(None),
        Some(offset) => match offset.as_i64() {
            Some(offset) => Ok(u64::try_from(offset).ok()),
            None => {
                Err(format!("the offset of 'retention' must be a number, not {}", updraft_core::python::repr(offset)))
            }
        },
    }
}
